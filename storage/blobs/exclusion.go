package blobs

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"sync"
	"time"
)

// exclusion keeps an object as it is while it is looked at and replaced in a store that has no conditional writes. In memory
// whatever completes or deletes an object holds the lock of its name shared, and [Reseal] holds it alone between its last look and
// the replacement, in one process, which is what [ResealOptions.SoleProcess] says there is. On files, where an object is two, whoever
// changes one holds the lock alone, among all processes that use the directory. Names share locks: nobody holds two.
type exclusion struct {
	seed  uint64 // the same in all processes
	locks [exclusionLocks]sync.RWMutex
	files *fileLocks // nil where the objects are no files
}

const exclusionLocks = 64

func (e *exclusion) of(name string) int {
	h := fnv.New64a() // also the same in all processes
	h.Write(binary.BigEndian.AppendUint64(nil, e.seed))
	h.Write([]byte(name))
	return int(h.Sum64() % exclusionLocks)
}

// exclusionPause is how long alone waits before it tries again.
const exclusionPause = time.Millisecond

// alone returns once nobody else completes or deletes the object, and what ends that. In memory it tries again and again rather than
// wait in the lock's queue, where it would hold up writers behind one that hangs.
func (e *exclusion) alone(ctx context.Context, name string) (done func(), err error) {
	if e.files != nil {
		return e.files.lock(ctx, e.of(name))
	}
	lock := &e.locks[e.of(name)]
	for !lock.TryLock() {
		select {
		case <-time.After(exclusionPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return lock.Unlock, nil
}

// shared returns once nobody has the object alone, and what lets somebody. On files it is alone.
func (e *exclusion) shared(ctx context.Context, name string) (done func(), err error) {
	if e.files != nil {
		return e.alone(ctx, name)
	}
	lock := &e.locks[e.of(name)]
	lock.RLock()
	return lock.RUnlock, nil
}

// kept returns an error where somebody else may have an object, too, that the caller has alone: on files, where the lock was taken away. It
// is asked before something is changed, and once more before that is acknowledged.
func (e *exclusion) kept(name string) error {
	if e.files == nil {
		return nil
	}
	return e.files.kept(e.of(name))
}

// keeping changes an object that the caller has alone.
func (e *exclusion) keeping(name string, change func() error) error {
	if err := e.kept(name); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return e.kept(name)
}
