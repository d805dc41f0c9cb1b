package blobs

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/internal/atomicfile"
)

// fileLocks are locks of a directory in which gocloud.dev's fileblob keeps objects: files that are locked by each process that changes
// one, and stay. They are in the directory itself, so that whoever uses it meets there, and are called as the attributes of
// objects, which no listing of fileblob shows.
type fileLocks struct {
	inner *blob.Bucket

	mu    sync.Mutex
	locks []*atomicfile.Locker // nil until the directory is known
}

// locksPrefix is what the names of the locks begin with, which no tenant's id does.
const locksPrefix = ".strongroom/"

// lock waits for its turn on one of the locks, in this process and among them all.
func (f *fileLocks) lock(ctx context.Context, i int) (done func(), err error) {
	locks, err := f.all(ctx)
	if err != nil {
		return nil, err
	}
	held, err := locks[i].Lock(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("blobs: an object on files: %w", err)
	}
	return held.Unlock, nil
}

// all finds out where the directory is, from where fileblob puts an object.
func (f *fileLocks) all(ctx context.Context) ([]*atomicfile.Locker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks != nil {
		return f.locks, nil
	}
	name := locksPrefix + rand.Text()
	if err := f.inner.WriteAll(ctx, name, nil, &blob.WriterOptions{ContentType: storedContentType}); err != nil {
		return nil, fmt.Errorf("blobs: find the store's directory: %w", fromStore(err))
	}
	defer f.inner.Delete(context.WithoutCancel(ctx), name)
	path, err := filePath(ctx, f.inner, name)
	if err != nil {
		return nil, err
	}
	locks := make([]*atomicfile.Locker, exclusionLocks)
	for i := range locks {
		locks[i] = atomicfile.NewLocker(filepath.Join(filepath.Dir(path), fmt.Sprintf("lock%02d%s", i, fileAttributes)))
	}
	f.locks = locks
	return locks, nil
}
