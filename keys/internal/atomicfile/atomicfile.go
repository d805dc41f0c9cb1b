// Package atomicfile replaces small files so that a reader, or a crash, sees the old content or the new and nothing in
// between, and lets several processes take turns at it.
package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// retryDelay is how often a lock that another process holds is tried again.
const retryDelay = 2 * time.Millisecond

// Locker takes turns on a lock file, among processes and, fairly, within one. Make it with [NewLocker].
type Locker struct {
	path string
	turn chan struct{}
}

// NewLocker returns a Locker on the file path, which is created when it is first locked, and never removed.
func NewLocker(path string) *Locker { return &Locker{path, make(chan struct{}, 1)} }

// Lock waits until the lock is held or ctx ends. The lock goes with its process if that dies.
func (l *Locker) Lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f := flock.New(l.path, flock.SetPermissions(0o600))
	ok, err := f.TryLockContext(ctx, retryDelay)
	if err == nil && !ok {
		err = errors.New("the lock was not granted")
	}
	if err != nil {
		<-l.turn
		return nil, fmt.Errorf("lock %s: %w", l.path, err)
	}
	return func() {
		f.Close() // unlocks
		<-l.turn
	}, nil
}

// Write puts data at path durably, with mode 0600: a temporary file beside it, synced, renamed over it, and the
// directory synced. On an error path holds what it held before, or, if only the last step failed, data.
func Write(path string, data []byte) (err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+name+".tmp-") // mode 0600
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
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Remove removes the file at path durably.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
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
