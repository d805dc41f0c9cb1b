// Package vfs is everything the audit log asks of a file system. The log reaches its files through [FS] alone, so
// that tests can make any single step fail, fall short or lose power.
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked means that another process, or another log in this one, holds the lock.
var ErrLocked = errors.New("it is locked")

// ErrLockLost means that a locked file was removed or replaced: another process may hold the lock on its successor.
var ErrLockLost = errors.New("the lock file was removed or replaced")

// ErrNotRegular means that a name is a directory, a symbolic link, a pipe, a socket or a device.
var ErrNotRegular = errors.New("it is not a regular file")

// FS is a file system. Names are paths as the os package takes them.
type FS interface {
	// OpenFile opens regular files alone, and never waits; for anything else the error wraps [ErrNotRegular].
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Mkdir(name string, perm fs.FileMode) error
	Rename(oldname, newname string) error
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	// Lstat describes name itself, not what a symbolic link there points to.
	Lstat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable: files created in, renamed into and removed from it.
	SyncDir(name string) error
	// Lock takes the exclusive advisory lock on the file, creating it with mode 0600, without waiting; the error
	// wraps [ErrLocked] where it is held.
	Lock(name string) (Lock, error)
}

// Lock is a lock that is held. Closing it releases it and leaves the file.
type Lock interface {
	io.Closer
	// Held returns nil while the name is still that of the file that is locked, and wraps [ErrLockLost] when it is
	// not.
	Held() error
}

// File is an open file. A Write that stores less than it was given returns an error.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Zero writes zeros from one offset to before another.
	Zero(from, to int64) error
	// Allocate reserves size bytes of disk space for the file and makes it that long.
	Allocate(size int64) error
	// Datasync makes the content durable, with as much of the metadata as is needed to read it back.
	Datasync() error
}
