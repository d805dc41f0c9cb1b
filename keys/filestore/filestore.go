// Package filestore keeps the tenants' key records in a directory, one file each.
//
// It suits one machine, or several that share a file system whose locks and renames are sound (local disks are; NFS
// needs version 4). For services on several machines use sqlstore.
package filestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/atomicfile"
	"github.com/strongroom-go/strongroom/internal/plainfile"
	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// magic begins every file; its last byte is the format's version. After it come the record's version, big-endian in
// 8 bytes, and the record.
var magic = [4]byte{'S', 'R', 'F', 1}

const headerSize = len(magic) + 8

// maxFileSize bounds what is read: records are below 64 KiB.
const maxFileSize = 64<<10 + headerSize

// Store is a directory of records. It is safe for concurrent use, and any number of processes may open the same
// directory.
type Store struct {
	dir  string
	lock *atomicfile.Locker
}

var _ keys.Store = (*Store)(nil)

// Options are the optional settings of [Open].
type Options struct {
	// MustExist makes Open fail where there is no directory, instead of making it.
	MustExist bool
}

// Open returns the store in dir, and makes dir, with mode 0700, where it is missing. The files in it are named by
// [tenant.ID.Segment]; each is replaced as a whole and synced, under the lock file ".lock". Temporary files of changes
// that were interrupted are removed by the next opening or change. opts may be nil.
func Open(dir string, opts *Options) (*Store, error) {
	if dir == "" {
		return nil, errors.New("filestore: the directory's name is empty")
	}
	if opts == nil || !opts.MustExist {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("filestore: make the directory: %w", err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("filestore: %s is no directory", dir)
	}
	if err := atomicfile.CheckPrivate(dir, info); err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	s := &Store{dir, atomicfile.NewLocker(filepath.Join(dir, ".lock"))}
	if err := s.lock.RemoveLeftovers(dir, isRecord); err != nil {
		return nil, fmt.Errorf("filestore: remove what an interrupted change left: %w", err)
	}
	return s, nil
}

// isRecord reports whether a file of that name is one of the store's.
func isRecord(name string) bool {
	_, err := tenant.ParseSegment(name)
	return err == nil
}

// begin takes the lock for a change.
func (s *Store) begin(ctx context.Context) (*atomicfile.Held, error) {
	held, err := s.lock.Lock(ctx)
	if err == nil {
		if err = held.RemoveLeftovers(s.dir, isRecord); err == nil {
			return held, nil
		}
		held.Unlock()
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	return nil, away(err)
}

// away is an error of the file system, without where the directory is: it reaches whoever handles a request.
func away(err error) error {
	return fmt.Errorf("%w: filestore: %w", keys.ErrUnavailable, redact.Path(err))
}

func (s *Store) path(id tenant.ID) string { return filepath.Join(s.dir, id.Segment()) }

// Get implements [keys.Store].
func (s *Store) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if err := check(ctx, id); err != nil {
		return keys.Record{}, err
	}
	return s.read(id)
}

func check(ctx context.Context, id tenant.ID) error {
	if id.IsZero() {
		return fmt.Errorf("filestore: %w: it is the zero ID", tenant.ErrInvalidID)
	}
	return ctx.Err()
}

func (s *Store) read(id tenant.ID) (keys.Record, error) {
	b, err := readFile(s.path(id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A directory that is gone, unmounted for instance, must not look like tenants that are not provisioned.
		if _, derr := os.Stat(s.dir); derr != nil {
			return keys.Record{}, fmt.Errorf("%w: filestore: the directory is gone: %w", keys.ErrUnavailable, redact.Path(derr))
		}
		return keys.Record{}, fmt.Errorf("filestore: tenant %s: %w", id, keys.ErrNotFound)
	case err != nil:
		return keys.Record{}, away(err)
	case len(b) <= headerSize || len(b) > maxFileSize || [4]byte(b) != magic:
		return keys.Record{}, fmt.Errorf("%w: filestore: the file of tenant %s is no record of version %d; restore it from a backup", keys.ErrIntegrity, id, magic[3])
	}
	version := int64(binary.BigEndian.Uint64(b[len(magic):]))
	if version <= 0 {
		return keys.Record{}, fmt.Errorf("%w: filestore: the file of tenant %s has an impossible version; restore it from a backup", keys.ErrIntegrity, id)
	}
	return keys.Record{Data: b[headerSize:], Version: version}, nil
}

// readFile reads no more than tells that a file is too large.
func readFile(path string) ([]byte, error) {
	f, err := plainfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(maxFileSize)+1))
}

// current returns the stored version, 0 for none, and no error for a record that is absent.
func (s *Store) current(id tenant.ID) (int64, error) {
	rec, err := s.read(id)
	if errors.Is(err, keys.ErrNotFound) {
		return 0, nil
	}
	return rec.Version, err
}

// Put implements [keys.Store].
func (s *Store) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	if err := check(ctx, id); err != nil {
		return 0, err
	}
	if len(data) == 0 || len(data) > maxFileSize-headerSize {
		return 0, fmt.Errorf("filestore: a record of %d bytes; it must have 1 to %d", len(data), maxFileSize-headerSize)
	}
	held, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer held.Unlock()
	stored, err := s.current(id)
	if err != nil {
		return 0, err
	}
	if stored != version {
		return 0, fmt.Errorf("filestore: tenant %s: %w: version %d is stored, not %d", id, keys.ErrConflict, stored, version)
	}
	next := keys.NextVersion(version)
	b := make([]byte, 0, headerSize+len(data))
	b = binary.BigEndian.AppendUint64(append(b, magic[:]...), uint64(next))
	if err := held.Write(s.path(id), append(b, data...)); err != nil {
		return 0, away(err)
	}
	return next, nil
}

// Delete implements [keys.Store].
func (s *Store) Delete(ctx context.Context, id tenant.ID, version int64) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	held, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer held.Unlock()
	rec, err := s.read(id)
	if err != nil {
		return err
	}
	if rec.Version != version {
		return fmt.Errorf("filestore: tenant %s: %w: version %d is stored, not %d", id, keys.ErrConflict, rec.Version, version)
	}
	if err := held.Remove(s.path(id)); err != nil {
		return away(err)
	}
	return nil
}

// List implements [keys.Store].
func (s *Store) List(ctx context.Context, after tenant.ID, limit int) ([]tenant.ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if limit <= 0 {
		return nil, fmt.Errorf("filestore: a list of at most %d ids; the limit must be above 0", limit)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, away(err)
	}
	var ids []tenant.ID
	for _, e := range entries {
		id, err := tenant.ParseSegment(e.Name())
		if err == nil && id.String() > after.String() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b tenant.ID) int { return strings.Compare(a.String(), b.String()) })
	return ids[:min(limit, len(ids))], nil
}
