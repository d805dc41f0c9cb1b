package sink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/internal/plainfile"
)

// maxCursor is more than a cursor can have: two numbers, a name and 63 hashes.
const maxCursor = 64 << 10

// cursor is the file that says how far a sink is.
type cursor struct {
	name string
	lock vfs.Lock
}

// openCursor takes a cursor for this process, and returns what it says; nil where there is none yet.
func openCursor(name string) (*cursor, []byte, error) {
	lock, err := (vfs.OS{}).Lock(name + ".lock")
	if errors.Is(err, vfs.ErrLocked) {
		return nil, nil, fmt.Errorf("sink: the cursor %s is in use; end the other shipper first, or give this one a cursor of its own", name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sink: the cursor's lock: %w", err)
	}
	c := &cursor{name, lock}
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil, nil
	case err == nil && (!info.Mode().IsRegular() || info.Size() > maxCursor || info.Size() == 0):
		err = errors.New("it is no cursor; without the file, delivery begins with the log's first event")
	}
	var data []byte
	if err == nil {
		data, err = plainfile.Read(name, maxCursor)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("sink: the cursor %s: %w", name, err), lock.Close())
	}
	return c, data, nil
}

// write replaces the cursor: after a crash, and a loss of power, it is the old one or the new one.
func (c *cursor) write(data []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("sink: the cursor was not written, so that events may be delivered again: %w", err)
		}
	}()
	if err := c.lock.Held(); err != nil {
		return err
	}
	tmp := c.name + ".tmp"
	f, err := fresh(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, c.name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return vfs.OS{}.SyncDir(filepath.Dir(c.name))
}

// fresh makes a file. What is there is what a process left that was killed, or a link that somebody put there, which may lead to any file
// that this process can write, such as the log's.
func fresh(name string) (*os.File, error) {
	if info, err := os.Lstat(name); err == nil && !info.IsDir() {
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (c *cursor) close() error { return c.lock.Close() }
