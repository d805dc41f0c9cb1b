package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// retryDelay is how often a lock that another process holds is tried again.
const retryDelay = 2 * time.Millisecond

// ErrLockLost means that the lock file was removed or replaced while it was locked, so that somebody else may have made
// changes at the same time.
var ErrLockLost = errors.New("the lock file was removed or replaced while it was held; let nobody touch it, and repeat the change")

// Locker takes turns on a lock file, among processes and, fairly, within one. Make it with [NewLocker].
type Locker struct {
	path string
	turn chan struct{}

	// Of the directory that is changed under the lock; whoever holds it may use them.
	large   bool
	changed time.Time // by this process
}

// NewLocker returns a Locker on the file path, which is created when it is first locked, and never removed.
func NewLocker(path string) *Locker { return &Locker{path: path, turn: make(chan struct{}, 1)} }

// Held is a lock that is held. Files are changed through it.
type Held struct {
	file   *flock.Flock
	locker *Locker
}

// Lock waits until the lock is held or ctx ends. The lock goes with its process if that dies.
func (l *Locker) Lock(ctx context.Context) (*Held, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	h, err := l.lock(ctx)
	if err != nil {
		<-l.turn
		return nil, fmt.Errorf("lock %s: %w", filepath.Base(l.path), err)
	}
	return h, nil
}

func (l *Locker) lock(ctx context.Context) (*Held, error) {
	for {
		h := &Held{flock.New(l.path, flock.SetPermissions(0o600)), l}
		ok, err := h.file.TryLockContext(ctx, retryDelay)
		if err == nil && !ok {
			err = errors.New("the lock was not granted")
		}
		if err == nil {
			err = h.check()
		}
		if err == nil {
			return h, nil
		}
		h.file.Close()
		if !errors.Is(err, ErrLockLost) {
			return nil, err
		}
		// What was waited for is not the file that others lock now.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// Check returns an error that wraps [ErrLockLost] where the lock's file was removed or replaced since: then somebody else may hold another
// lock of that name. Who changes something in other ways than Held's asks before, and once more after.
func (h *Held) Check() error { return h.check() }

// check reports whether what is locked is still the file of that name.
func (h *Held) check() error {
	locked, err := h.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(h.locker.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrLockLost
	case err != nil:
		return err
	case !os.SameFile(locked, there):
		return ErrLockLost
	}
	return nil
}

// Unlock gives the lock back.
func (h *Held) Unlock() {
	h.file.Close() // unlocks
	<-h.locker.turn
}
