// Package atomicfile replaces small files so that a reader, or a crash, sees the old content or the new and nothing in
// between, and lets several processes take turns at it.
package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Write puts data at path durably, with mode 0600: a temporary file beside it, synced, renamed over it, and the
// directory synced. On an error path holds what it held before, or, if one of the last steps failed, data.
func (h *Held) Write(path string, data []byte) (err error) {
	dir, name := split(path)
	f, err := os.CreateTemp(dir, "."+name+infix) // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return h.guarded(func() error {
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
		return h.settled(dir)
	})
}

// Remove removes the file at path durably.
func (h *Held) Remove(path string) error {
	return h.guarded(func() error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return h.settled(filepath.Dir(path))
	})
}

// guarded makes sure that the lock was held all through a change, as far as that can be: with its file gone, somebody
// else may hold another one, and have read what is being replaced.
func (h *Held) guarded(change func() error) error {
	if err := h.check(); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return h.check()
}

// settled makes a change in dir durable, and notes when it was.
func (h *Held) settled(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		h.locker.changed = info.ModTime()
	}
	return SyncDir(dir)
}

func split(path string) (dir, name string) {
	dir, name = filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	return dir, name
}

// SyncDir makes what was created, renamed or removed in dir durable.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// CheckPrivate refuses a file or directory that anybody but its owner may touch.
func CheckPrivate(path string, info fs.FileInfo) error {
	if runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	want := "600"
	if info.IsDir() {
		want = "700"
	}
	return fmt.Errorf("%s has mode %#o, which lets others than its owner in; run: chmod %s %s", path, info.Mode().Perm(), want, path)
}
