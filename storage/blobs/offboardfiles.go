package blobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files deletes what a store of files keeps beside the objects that it lists: their directories, and attributes whose object a process
// that was killed did not make, or had deleted already. Keys are in the names of both. Undeleted tells that an object is left, of
// which the error is told elsewhere.
func (s *sweeper) files(ctx context.Context, undeleted bool) error {
	if !s.bucket.onFiles {
		return nil
	}
	if err := s.departure.Still(ctx); err != nil {
		return err
	}
	root, err := s.bucket.exclusion.files.root(ctx)
	left := false
	if err == nil {
		left, err = removeRemains(ctx, filepath.Clean(root+filepath.FromSlash(s.prefix)))
	}
	if err == nil && left && !undeleted {
		err = errors.New("a file is there that cannot be deleted by the name that it is listed under, and that this package has not written; delete it")
	}
	if err != nil {
		return fmt.Errorf("blobs: delete what files leave of a tenant: %w", fromStore(err))
	}
	return nil
}

// removeRemains deletes a directory with all that is no object, as links and pipes are not. Left tells that there is one with an object,
// which stays.
func removeRemains(ctx context.Context, dir string) (left bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	objects := map[string]bool{}
	for _, e := range entries {
		objects[e.Name()+fileAttributes] = e.Type().IsRegular()
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			below, err := removeRemains(ctx, path)
			if err != nil {
				return false, err
			}
			left = left || below
		case e.Type().IsRegular() && (!strings.HasSuffix(e.Name(), fileAttributes) || objects[e.Name()]):
			left = true
		default:
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return false, err
			}
		}
	}
	if left {
		return true, nil
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return false, nil
}
