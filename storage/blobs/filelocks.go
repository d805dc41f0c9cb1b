package blobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/atomicfile"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// fileLocks are locks of a directory in which gocloud.dev's fileblob keeps objects: files that are locked by each process that changes
// one, and stay. They are in the directory itself, so that whoever uses it meets there, and are called as the attributes of
// objects, which no listing of fileblob shows.
type fileLocks struct {
	inner *blob.Bucket

	mu    sync.Mutex
	path  string // see root
	dir   string
	locks []*atomicfile.Locker             // nil until the directory is known
	held  [exclusionLocks]*atomicfile.Held // whoever holds a lock may look at its own
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
	if errors.Is(err, fs.ErrNotExist) { // the directory was taken away
		if err = os.Mkdir(f.dir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			held, err = locks[i].Lock(ctx)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("blobs: an object on files: %w", err)
	}
	f.held[i] = held
	return held.Unlock, nil
}

// kept returns an error where somebody else may have the lock, too, that the caller holds.
func (f *fileLocks) kept(i int) error {
	if err := f.held[i].Check(); err != nil {
		return fmt.Errorf("blobs: an object on files, in the store's directory .strongroom: %w", redact.Path(err))
	}
	return nil
}

// all finds out where the directory is.
func (f *fileLocks) all(ctx context.Context) ([]*atomicfile.Locker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks != nil {
		return f.locks, nil
	}
	dir, err := f.directory(ctx)
	if err != nil {
		return nil, fmt.Errorf("blobs: find the store's directory: %w", err)
	}
	locks := make([]*atomicfile.Locker, exclusionLocks)
	for i := range locks {
		locks[i] = atomicfile.NewLocker(filepath.Join(dir, fmt.Sprintf("lock%02d%s", i, fileAttributes)))
	}
	f.dir, f.locks = dir, locks
	return locks, nil
}

// root returns what the paths of all objects begin with: a directory, and for a part of a bucket (blob.PrefixedBucket) its prefix.
func (f *fileLocks) root(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		path, err := filesRoot(ctx, f.inner)
		if err != nil {
			return "", fmt.Errorf("blobs: find the store's directory: %w", err)
		}
		f.path = path
	}
	return f.path, nil
}

// filesRoot finds out where fileblob would look for an object that is nobody's: it says so where there is none. It is none beside the
// locks, whose directory is closed to other users' processes, which may read objects all the same.
func filesRoot(ctx context.Context, inner *blob.Bucket) (string, error) {
	name := ".strongroom-" + rand.Text()
	r, err := inner.NewRangeReader(ctx, name, 0, 0, nil)
	if err == nil {
		return "", errors.Join(errNoFiles, r.Close())
	}
	var missing *fs.PathError
	switch {
	case gcerrors.Code(err) != gcerrors.NotFound:
		return "", fromStore(err)
	case !inner.ErrorAs(err, &missing):
		return "", errNoFiles
	}
	root, ok := strings.CutSuffix(missing.Path, filepath.FromSlash(name))
	if !ok {
		return "", errNoFiles
	}
	return root, nil
}

// directory is that of the locks. Nothing is written for it but the directory itself, once: where no room is left, objects can be
// deleted all the same.
func (f *fileLocks) directory(ctx context.Context) (string, error) {
	root, err := filesRoot(ctx, f.inner)
	if err != nil {
		return "", err
	}
	dir := filepath.Clean(root + locksPrefix)
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil { // of fileblob's, for a prefix
		return "", fromStore(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fromStore(err)
	}
	return dir, nil
}
