//go:build !unix

package main

import (
	"errors"
	"io/fs"
)

// owner is not known here.
func owner(fs.FileInfo) (uid int, ok bool) { return 0, false }

// freeSpace is not known here.
func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }
