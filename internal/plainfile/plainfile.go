// Package plainfile reads files of configuration, credentials and keys: regular ones, to a limit. A name may come to be that of a pipe that
// nobody writes into, whose opening waits for ever, of a device, which need not have an end, or of a file of any size.
package plainfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Open opens a regular file, or a link to one, for reading. It looks before it opens, because opening some devices has effects; and again
// afterwards, because the name may have come to mean another file meanwhile. It does not wait for a pipe's other end. Errors are
// [*fs.PathError].
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := regular(path, info); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|guardedOpen, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = regular(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Read reads a regular file, or a link to one, that has at most limit bytes. It stops where it has more, and leaves what it read to no one.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has more than %d bytes; is it the file that was meant?", limit)}
	}
	if err != nil {
		clear(content)
		return nil, err
	}
	return content, nil
}

// ErrNotRegular means that a name is of a directory, a pipe, a socket or a device.
var ErrNotRegular = errors.New("it is no regular file")

func regular(path string, info fs.FileInfo) error {
	what := "something else"
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	}
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w but %s; name a file", ErrNotRegular, what)}
}
