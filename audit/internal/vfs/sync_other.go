//go:build !linux

package vfs

// Datasync implements [File].
func (f osFile) Datasync() error { return f.Sync() }

// Allocate implements [File] by writing zeros.
func (f osFile) Allocate(size int64) error { return zeros(f.File, 0, size) }
