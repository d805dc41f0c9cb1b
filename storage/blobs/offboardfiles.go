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
// that was killed did not make, or had deleted already. Keys are in the names of both.
func (s *sweeper) files(ctx context.Context) error {
	if !s.bucket.onFiles {
		return nil
	}
	if err := s.departure.Still(ctx); err != nil {
		return err
	}
	root, err := s.bucket.exclusion.files.root(ctx)
	if err == nil {
		err = removeRemains(ctx, filepath.Clean(root+filepath.FromSlash(s.prefix)))
	}
	if err != nil {
		return fmt.Errorf("blobs: delete what files leave of a tenant: %w", fromStore(err))
	}
	return nil
}

// removeRemains deletes a directory with all that is no object. One with an object stays, which is told elsewhere.
func removeRemains(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	objects := map[string]bool{}
	for _, e := range entries {
		objects[e.Name()+fileAttributes] = !e.IsDir()
	}
	left := false
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			if err := removeRemains(ctx, path); err != nil {
				return err
			}
			_, err := os.Lstat(path)
			left = left || err == nil
		case !strings.HasSuffix(e.Name(), fileAttributes) || objects[e.Name()]:
			left = true
		default:
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if left {
		return nil
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
