package blobs

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// NewRangeReader implements driver.Bucket. The portable Reader calls it again where it goes on somewhere else after a Seek, with the
// same options: what it reads then is of the version that it began with, or an error.
func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	return b.newReader(ctx, key, offset, length, opts, &b.begun)
}

// newReader opens an object, and if begun is not nil the version of it that was opened with these options before.
func (b *bucket) newReader(ctx context.Context, key string, offset, length int64, opts *driver.ReaderOptions, begun *begun) (*reader, error) {
	pass, p, err := b.begin(ctx, audit.CodeBlobRead, tenant.Read, key)
	if err != nil {
		return nil, err
	}
	ctx = pass.Context(ctx)
	var o *object
	err = b.find(ctx, pass, key, p, func(k tenantkeys.Keys, p place) (err error) {
		o, err = b.open(ctx, k, key, p, offset, length)
		return err
	})
	opened := err == nil
	if err = b.release(ctx, pass, key, err); err != nil && opened {
		o.close()
	}
	if err == nil {
		if err = hook(opts.BeforeRead); err == nil {
			err = begun.one(pass.Tenant(), key, opts, o)
		}
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}
	if err != nil {
		return nil, b.leave(ctx, pass, key, gate.Result{Rows: -1, Bytes: 0, Err: err})
	}
	return &reader{object: o, bucket: b, ctx: ctx, pass: pass, key: key}, nil
}

// begun has the versions that readers began with, by the options that they were opened with, for as long as those are in use.
type begun struct{ headers sync.Map }

// reading is an object that is read with options, which may be of several.
type reading struct {
	tenant tenant.ID
	key    string
	opts   weak.Pointer[driver.ReaderOptions]
}

var errReplacedWhileRead = &codedError{gcerrors.FailedPrecondition, "replaced while it was read",
	"blobs: the object was replaced while it was being read, and what was read of it before is of another version; open it again and read it from its beginning"}

// one returns an error for another version than the one that was opened with the same options before. What opens no segment, as a
// range of no bytes, is of no version.
func (b *begun) one(id tenant.ID, key string, opts *driver.ReaderOptions, o *object) error {
	if b == nil || o.segments == nil {
		return nil
	}
	of, this := reading{id, key, weak.Make(opts)}, [headersSize]byte(o.headers)
	first, again := b.headers.LoadOrStore(of, this)
	if !again {
		runtime.AddCleanup(opts, func(of reading) { b.headers.Delete(of) }, of)
	}
	if first != this {
		return errReplacedWhileRead
	}
	return nil
}

// reader implements driver.Reader: an object, and the pass to be left when it is closed.
type reader struct {
	object *object
	bucket *bucket
	ctx    context.Context // of the operation that the reader is
	pass   *gate.Pass
	key    string
	closed atomic.Bool // what was read is recorded, or about to be
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.object.Read(p)
	if err != nil && err != io.EOF && errors.Is(err, storage.ErrIsolation) && r.closed.CompareAndSwap(false, true) {
		// The alert does not wait for a Close that may never come.
		return n, r.finish()
	}
	return n, err
}

// Attributes implements driver.Reader.
func (r *reader) Attributes() *driver.ReaderAttributes {
	s := r.object.stat
	return &driver.ReaderAttributes{ContentType: s.sealed.ContentType, ModTime: s.stored.ModTime, Size: s.layout.size}
}

// As implements driver.Reader; see noAs.
func (r *reader) As(any) bool { return false }

// Close implements driver.Reader. It records what was read.
func (r *reader) Close() error {
	closeErr := r.object.close()
	if !r.closed.CompareAndSwap(false, true) {
		return closeErr
	}
	_, failed := r.object.outcome()
	if err := r.finish(); err != failed {
		return errors.Join(err, closeErr)
	}
	// What Read returned already is not Close's failure too.
	return closeErr
}

func (r *reader) finish() error {
	read, err := r.object.outcome()
	return r.bucket.leave(r.ctx, r.pass, r.key, gate.Result{Rows: -1, Bytes: read, Err: err})
}
