package blobs

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// exclusion keeps an object as it is while [Reseal] replaces it in a store that has no conditional writes: whatever completes
// or deletes an object holds the lock of its name shared, and Reseal holds it alone between its last look and the
// replacement. It is of one bucket in one process, which is what [ResealOptions.SoleProcess] says there is. Names share
// locks: nobody holds two.
type exclusion struct {
	seed  maphash.Seed
	locks [64]sync.RWMutex
}

func newExclusion() *exclusion { return &exclusion{seed: maphash.MakeSeed()} }

func (e *exclusion) of(name string) *sync.RWMutex {
	return &e.locks[maphash.String(e.seed, name)%uint64(len(e.locks))]
}

// exclusionPause is how long alone waits before it tries again.
const exclusionPause = time.Millisecond

// alone returns once nobody else completes or deletes the object, and what ends that. It tries again and again rather than wait
// in the lock's queue, where it would hold up writers behind one that hangs.
func (e *exclusion) alone(ctx context.Context, name string) (done func(), err error) {
	lock := e.of(name)
	for !lock.TryLock() {
		select {
		case <-time.After(exclusionPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return lock.Unlock, nil
}
