package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/tenant"
)

// NewTypedWriter implements driver.Bucket. It returns no error but a writer that fails: gocloud's portable Writer, when
// it has buffered the beginning to find out the content type and opening fails, opens once more in Close, and would then
// make an object without that beginning, if meanwhile the store or the audit log has come back.
func (b *bucket) NewTypedWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	w, err := b.newWriter(ctx, key, contentType, opts)
	if err != nil {
		return failedWriter{err}, nil
	}
	return w, nil
}

type failedWriter struct{ err error }

func (w failedWriter) Write([]byte) (int, error) { return 0, w.err }

func (w failedWriter) Close() error { return w.err }

func (b *bucket) newWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (*writer, error) {
	return b.newWriterOf(ctx, key, &attributes{
		ContentType:        contentType,
		CacheControl:       opts.CacheControl,
		ContentDisposition: opts.ContentDisposition,
		ContentEncoding:    opts.ContentEncoding,
		ContentLanguage:    opts.ContentLanguage,
		// The portable Writer has checked it against what was written before it lets the object come to be.
		MD5:      opts.ContentMD5,
		Metadata: opts.Metadata,
	}, opts)
}

func (b *bucket) newWriterOf(ctx context.Context, key string, a *attributes, opts *driver.WriterOptions) (*writer, error) {
	pass, p, err := b.enter(ctx, audit.CodeBlobWrite, tenant.Write, key)
	if err != nil {
		return nil, err
	}
	ctx = pass.Context(ctx)
	var d *draft
	if err = hook(opts.BeforeWrite); err == nil {
		d, err = b.create(ctx, pass, key, p, a,
			&blob.WriterOptions{BufferSize: opts.BufferSize, MaxConcurrency: opts.MaxConcurrency, IfNotExist: opts.IfNotExist})
	}
	if err != nil {
		return nil, b.leave(ctx, pass, key, gate.Result{Rows: -1, Bytes: 0, Err: err})
	}
	return &writer{draft: d, bucket: b, ctx: ctx, pass: pass, key: key}, nil
}

// draft is an object that is being written. It comes to be in commit, or not at all.
type draft struct {
	ctx      context.Context
	cancel   context.CancelFunc
	inner    *blob.Writer
	sealing  io.WriteCloser                  // Tink's encrypting writer into inner
	written  int64                           // of plaintext
	err      error                           // sticky
	unknown  bool                            // whether the object came to be
	shared   func() (done func(), err error) // keeps Reseal from the name while the object comes to be; nil for Reseal itself
	settling *settling                       // nil for plain names
	with     *sealedWith                     // nil for Reseal, whose object stays what it was until then, and is counted
	placing  *placing                        // nil but on files
	instead  *replaced                       // what it replaces, and nothing else; nil for what IfNotExist or nothing says
	verify   func() error                    // asked once all is sealed, before the object comes to be; nil for no question
}

// create begins an object. The attributes are sealed with the object's headers, which is why Tink's encrypting
// writer comes before the inner one: it writes its header at once, and nothing else before the first segment is full.
func (b *bucket) create(ctx context.Context, pass *gate.Pass, key string, p place, a *attributes, opts *blob.WriterOptions) (*draft, error) {
	name, mark, err := b.target(ctx, pass.Keys(), key, p, opts.IfNotExist)
	if err == nil {
		err = checkListable(name)
	}
	if err != nil {
		return nil, err
	}
	how, at := *opts, name
	var onFiles *placing
	switch {
	case b.onFiles && strings.HasSuffix(name, fileAttributes):
		return nil, errAttributesName
	case b.onFiles:
		onFiles = b.newPlacing(pass.Tenant(), name, opts.IfNotExist, mark)
		how.IfNotExist, at = false, onFiles.stagedName()
	case mark != nil:
		how.IfNotExist = false
		if b.ifMatch != nil {
			how.BeforeWrite = matched(b.ifMatch, mark)
		}
	}
	d, err := b.createVia(ctx, pass.Keys(), key, at, a, &how, b.limit, nil)
	if err != nil {
		onFiles.drop()
		return nil, err
	}
	d.placing = onFiles
	if mark != nil {
		d.instead = &replaced{b, name, mark}
	}
	d.shared, d.with = func() (func(), error) { return b.exclusion.shared(d.ctx, name) }, newSealedWith(pass, pass.Keys())
	if b.sealNames {
		d.settling = &settling{b, pass, key, name, opts.IfNotExist, a.Headers}
	}
	return d, nil
}

// createVia begins an object whose segments go through what via returns, if it is not nil, on their way to the store.
func (b *bucket) createVia(ctx context.Context, k tenantkeys.Keys, key, name string, a *attributes, opts *blob.WriterOptions, limit int,
	via func(to io.Writer, headers []byte) (io.Writer, error)) (*draft, error) {
	if err := b.oneNaming(ctx, k); err != nil {
		return nil, err
	}
	out := &deferred{held: envelope.AppendBlobHeader(nil, k.BlobKeyID())}
	sealing, err := k.Blobs().NewEncryptingWriter(out, envelope.BlobAD(nil, k.ID(), b.label, key))
	if err != nil {
		return nil, fmt.Errorf("blobs: begin to seal: %w", err)
	}
	if len(out.held) != headersSize {
		return nil, fmt.Errorf("blobs: the tenant's streaming key wrote %d bytes of header, not %d; it is not an AES256-GCM-HKDF key", len(out.held), headersSize)
	}
	a.Headers = out.held
	o := *opts
	o.ContentType, o.DisableContentTypeDetection = storedContentType, true
	if o.Metadata, err = a.seal(k, b.label, key, limit); err != nil {
		return nil, err
	}
	// The inner writer has a context of its own: to cancel it before closing it is how a draft is dropped.
	ctx, cancel := context.WithCancel(ctx)
	inner, err := b.inner.NewWriter(ctx, name, &o)
	if err != nil {
		cancel()
		return nil, fromStore(err)
	}
	d := &draft{ctx: ctx, cancel: cancel, inner: inner, sealing: sealing}
	if err := out.release(inner); err != nil {
		return nil, errors.Join(fromStore(err), d.drop())
	}
	if via != nil {
		if out.to, err = via(inner, a.Headers); err != nil {
			return nil, errors.Join(err, d.drop())
		}
	}
	return d, nil
}

// deferred holds what is written to it until it knows where to.
type deferred struct {
	held []byte
	to   io.Writer
}

func (d *deferred) Write(p []byte) (int, error) {
	if d.to == nil {
		d.held = append(d.held, p...)
		return len(p), nil
	}
	return d.to.Write(p)
}

func (d *deferred) release(to io.Writer) error {
	d.to = to
	_, err := to.Write(d.held)
	return err
}

// Write implements io.Writer. Once it failed it fails for good, and so does commit.
func (d *draft) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.sealing.Write(p)
	d.written += int64(n)
	d.err = fromStore(err)
	return n, d.err
}

// commit makes the object, or drops the draft and returns why.
func (d *draft) commit() error {
	defer d.cancel()
	defer d.placing.drop()
	if d.err == nil {
		d.err = fromStore(d.sealing.Close())
	}
	if d.err == nil {
		d.err = d.ctx.Err()
	}
	if d.err == nil && d.verify != nil {
		d.err = d.verify()
	}
	if d.err == nil && d.with != nil {
		d.err = d.with.inUse(d.ctx)
	}
	if d.err == nil && d.settling != nil {
		d.err = d.settling.before(d.ctx)
	}
	if d.err != nil {
		return errors.Join(d.err, d.drop())
	}
	err := d.complete()
	if d.err = err; err != nil && err != errExists {
		d.err, d.unknown = fromStore(err), unanswered(err)
		if d.placing != nil {
			d.unknown = d.placing.changed || d.unknown && d.placing.began
		}
	}
	if d.err == nil && d.settling != nil {
		d.err = d.settling.after(context.WithoutCancel(d.ctx))
		d.unknown = d.err != nil && d.err != errExists
	}
	if d.err == nil && d.with != nil {
		d.err = d.with.inUse(context.WithoutCancel(d.ctx))
		d.unknown = d.err != nil
	}
	return d.err
}

// replaced is a version that was read, at a name in the store.
type replaced struct {
	bucket *bucket
	name   string
	read   *blob.Attributes
}

// complete has the store make the object.
func (d *draft) complete() error {
	if d.placing != nil {
		if err := d.placing.complete(d.ctx, d.inner); !errors.Is(err, errReplaced) {
			return err
		}
		return errExists
	}
	if d.instead != nil {
		return d.completeInstead()
	}
	if d.shared != nil {
		done, err := d.shared()
		if err != nil {
			return errors.Join(err, d.drop())
		}
		defer done()
	}
	return d.inner.Close()
}

// completeInstead has the store make the object in the place of the version that was read, or returns that there is another.
func (d *draft) completeInstead() error {
	r := d.instead
	done, err := r.bucket.versions().alone(d.ctx, r.name)
	if err == nil {
		defer done()
		err = r.bucket.unchanged(d.ctx, r.name, r.read)
	}
	if err != nil {
		err = errors.Join(err, d.drop())
	} else {
		err = d.inner.Close()
	}
	if errors.Is(err, errReplaced) || err != nil && conditionFailed(err) {
		return errExists
	}
	return err
}

// drop ends the inner writer so that it leaves no object. The error of doing so is the wanted outcome; a store that
// made the object all the same is not to be kept quiet about.
func (d *draft) drop() error {
	d.cancel()
	if err := d.inner.Close(); err == nil {
		d.unknown = true
		return errors.New("blobs: the store completed an object whose writing was cancelled; it may hold only a part")
	}
	return nil
}

// writer implements driver.Writer and driver.Uploader: a draft, and the pass to be left when it is closed.
type writer struct {
	*draft
	bucket *bucket
	ctx    context.Context // of the operation that the writer is
	pass   *gate.Pass
	key    string
	closed bool
	result error // of Close
}

var _ driver.Uploader = (*writer)(nil)

// Upload implements driver.Uploader: unlike the portable type's own copying, it does not let Close complete the object
// after r has failed. Where r panics, the portable type closes nothing, and its caller has nothing to close.
func (w *writer) Upload(r io.Reader) (err error) {
	buf, returned := make([]byte, segmentSize), false
	defer func() {
		if !returned {
			w.err = errPanicked
			w.Close()
		}
	}()
	// The wrapper hides r's WriteTo and our absent ReadFrom, so that buf is what is used.
	_, err = io.CopyBuffer(struct{ io.Writer }{w.draft}, struct{ io.Reader }{r}, buf)
	if returned = true; err != nil && w.err == nil {
		w.err = err
	}
	return err
}

var errPanicked = errors.New("blobs: what was to be stored could not be read to its end")

// Close implements driver.Writer. It returns when the store has the object and the audit log its outcome, and the same
// again when it is called again.
func (w *writer) Close() error {
	if w.closed {
		return w.result
	}
	w.closed = true
	err := w.commit()
	bytes := w.written
	if err != nil {
		bytes = 0
	}
	w.result = w.bucket.leave(w.ctx, w.pass, w.key, gate.Result{Rows: -1, Bytes: bytes, Err: err, Unknown: w.unknown})
	return w.result
}
