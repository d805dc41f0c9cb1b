package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Datasync implements [File] with fdatasync(2), which leaves out times that nobody reads back.
func (f osFile) Datasync() error { return f.control("fdatasync", unix.Fdatasync) }

// Allocate implements [File] with fallocate(2), or by writing zeros where the file system has none.
func (f osFile) Allocate(size int64) error {
	err := f.control("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return zeros(f.File, 0, size)
	}
	return err
}

// control runs a system call on the descriptor, again where a signal interrupted it before it did anything.
func (f osFile) control(op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		for inner = call(int(fd)); inner == unix.EINTR; inner = call(int(fd)) {
		}
	})
	if err == nil && inner != nil {
		err = &os.PathError{Op: op, Path: f.Name(), Err: inner}
	}
	return err
}
