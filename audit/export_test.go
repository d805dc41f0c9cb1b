package audit

import "github.com/strongroom-go/strongroom/audit/internal/vfs"

// OnFS returns the options with another file system, for tests outside the package.
func OnFS(o Options, fsys vfs.FS) *Options {
	o.fs = fsys
	return &o
}
