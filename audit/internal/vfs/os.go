package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/gofrs/flock"
)

// OS is the operating system's file system.
type OS struct{}

type osFile struct{ *os.File }

// OpenFile implements [FS]. It looks before it opens, because opening some devices has effects; and again afterwards,
// because the name may have come to mean another file meanwhile. It neither waits for a pipe's other end nor follows a
// symbolic link.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(name)
	}
	f, err := os.OpenFile(name, flag|guardedOpen, perm)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		if err == nil {
			err = notRegular(name)
		}
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

func notRegular(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
}

// Mkdir implements [FS].
func (OS) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// Rename implements [FS].
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove implements [FS].
func (OS) Remove(name string) error { return os.Remove(name) }

// ReadDir implements [FS].
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Lstat implements [FS].
func (OS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// SyncDir implements [FS].
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	// Some file systems cannot sync a directory and say so; they order names and contents by other means.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Lock implements [FS].
func (OS) Lock(name string) (Lock, error) {
	opts := []flock.Option{flock.SetPermissions(0o600)}
	_, err := os.Lstat(name)
	there := err == nil
	if there { // nothing is made where a link leads to
		opts = append(opts, flock.SetFlag(os.O_RDWR))
	}
	l := flock.New(name, opts...)
	ok, err := l.TryLock()
	switch {
	case err == nil && !ok:
		err = ErrLocked
	case there && errors.Is(err, fs.ErrNotExist): // it has just gone
		err = fmt.Errorf("%w: %w", ErrLocked, err)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	held, err := l.Stat()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	// Whoever created the file may have removed it again before the lock was ours: then nobody else sees our lock.
	lock := osLock{l, name, held}
	if err := lock.Held(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrLocked, err), l.Close())
	}
	return lock, nil
}

type osLock struct {
	io.Closer
	name string
	held fs.FileInfo
}

// Held implements [Lock]. While the locked file is open, no other file can have its number.
func (l osLock) Held() error {
	now, err := os.Lstat(l.name)
	if err == nil && os.SameFile(l.held, now) {
		return nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrLockLost, l.name)
	}
	return err
}

// Zero implements [File].
func (f osFile) Zero(from, to int64) error { return zeros(f.File, from, to) }

// zeros writes zeros, which reserves disk space on any file system that does not compress.
func zeros(f *os.File, from, to int64) error {
	block := make([]byte, max(0, min(to-from, 128<<10)))
	for at := from; at < to; at += int64(len(block)) {
		if _, err := f.WriteAt(block[:min(to-at, int64(len(block)))], at); err != nil {
			return err
		}
	}
	return nil
}
