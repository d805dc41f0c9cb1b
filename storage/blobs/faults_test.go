package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
)

// hanging is a store of which one call does not return before its context ends.
type hanging struct {
	bucketDriver
	calls, hangAt int
	hung          func() // called when it hangs
}

func (h *hanging) hang(ctx context.Context) error {
	h.calls++
	if h.calls != h.hangAt {
		return nil
	}
	h.hung()
	<-ctx.Done()
	return ctx.Err()
}

func (h *hanging) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if err := h.hang(ctx); err != nil {
		return nil, err
	}
	return h.bucketDriver.Attributes(ctx, key)
}

func (h *hanging) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	if err := h.hang(ctx); err != nil {
		return nil, err
	}
	return h.bucketDriver.ListPaged(ctx, o)
}

func (h *hanging) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	if err := h.hang(ctx); err != nil {
		return err
	}
	return h.bucketDriver.Delete(ctx, key, o)
}

func (h *hanging) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if err := h.hang(ctx); err != nil {
		return nil, err
	}
	r, err := h.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
	return &hangingReader{r, h, ctx}, err
}

type hangingReader struct {
	driver.Reader
	h   *hanging
	ctx context.Context
}

func (r *hangingReader) Read(p []byte) (int, error) {
	if err := r.h.hang(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(p[:min(len(p), segmentSize/2)])
}

func (h *hanging) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	if err := h.hang(ctx); err != nil {
		return nil, err
	}
	w, err := h.bucketDriver.NewTypedWriter(ctx, key, contentType, o)
	return &hangingWriter{w, h, ctx}, err
}

type hangingWriter struct {
	driver.Writer
	h   *hanging
	ctx context.Context
}

func (w *hangingWriter) Write(p []byte) (int, error) {
	if err := w.h.hang(w.ctx); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w *hangingWriter) Close() error {
	if err := w.h.hang(w.ctx); err != nil {
		return errors.Join(err, w.Writer.Close())
	}
	return w.Writer.Close()
}

// Whatever call of the store hangs: cancelling the operation's context ends it, nothing comes to be, nothing is an
// alert, and the trail has the outcome.
func TestStoreHangs(t *testing.T) { eachNaming(t, testStoreHangs) }

func testStoreHangs(t *testing.T) {
	content := pattern(fourSegments)
	w := newWorld(t)
	for name, do := range map[string]func(ctx context.Context, b *blob.Bucket) error{
		"read": func(ctx context.Context, b *blob.Bucket) error {
			got, err := b.ReadAll(ctx, "k")
			if !bytes.HasPrefix(content, got) {
				t.Errorf("read %d bytes that are not the object's", len(got))
			}
			return err
		},
		"range": func(ctx context.Context, b *blob.Bucket) error {
			_, err := readRange(b, ctx, "k", 70_000, 9)
			return err
		},
		"write":      func(ctx context.Context, b *blob.Bucket) error { return b.WriteAll(ctx, "new", content, nil) },
		"copy":       func(ctx context.Context, b *blob.Bucket) error { return b.Copy(ctx, "new", "k", nil) },
		"attributes": func(ctx context.Context, b *blob.Bucket) error { _, err := b.Attributes(ctx, "k"); return err },
		"list":       func(ctx context.Context, b *blob.Bucket) error { _, err := b.List(nil).Next(ctx); return err },
		"delete":     func(ctx context.Context, b *blob.Bucket) error { return b.Delete(ctx, "k") },
	} {
		for hangAt := 1; ; hangAt++ {
			store := memory()
			must(t, w.wrap(t, store, "records").WriteAll(w.a, "k", content, nil))
			ctx, cancel := context.WithCancel(w.a)
			inner := &hanging{bucketDriver: innerDriver(store), hangAt: hangAt, hung: cancel}
			w.log.take()
			err := do(ctx, w.wrap(t, blob.NewBucket(inner), "records"))
			cancel()
			events := w.log.take()
			if inner.calls < hangAt {
				must(t, err)
				if hangAt == 1 {
					t.Errorf("%s: nothing was asked", name)
				}
				break
			}
			wantIs(t, err, context.Canceled)
			if names := rawNames(t, store); len(names) != 1 || alerts(events) > 0 || events[len(events)-1].Phase != audit.Outcome || events[len(events)-1].Reason != "cancelled" {
				t.Errorf("%s, call %d: the store has %q; recorded %+v", name, hangAt, names, events)
			}
		}
	}
}

// lying is a store that says or gives other lengths than there are.
type lying struct {
	bucketDriver
	attributes, reader int64 // added to the sizes in attributes and readers
	extra, missing     int   // bytes that readers have too many, too few
}

func (l *lying) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a, err := l.bucketDriver.Attributes(ctx, key)
	if err == nil {
		a.Size += l.attributes
	}
	return a, err
}

func (l *lying) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if length >= 0 {
		length = max(0, length-int64(l.missing))
	}
	r, err := l.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
	if err != nil {
		return nil, err
	}
	return &lyingReader{r, io.MultiReader(r, bytes.NewReader(make([]byte, l.extra))), l}, nil
}

type lyingReader struct {
	driver.Reader
	from io.Reader
	l    *lying
}

func (r *lyingReader) Read(p []byte) (int, error) { return r.from.Read(p) }

func (r *lyingReader) Attributes() *driver.ReaderAttributes {
	a := r.Reader.Attributes()
	a.Size += r.l.reader
	return a
}

// Whatever lengths a store claims or gives, what comes out is what was written, from its beginning, and an error unless
// it is all of it.
func TestStoreLies(t *testing.T) { eachNaming(t, testStoreLies) }

func testStoreLies(t *testing.T) {
	w := newWorld(t)
	for _, size := range []int{0, 1, plainSegmentSize - streamHeaderSize, fourSegments} {
		content := pattern(size)
		store := memory()
		must(t, w.wrap(t, store, "records").WriteAll(w.a, "k", content, nil))
		for _, by := range []int64{-1 << 40, -segmentSize, -tagSize, -1, 0, 1, tagSize, segmentSize, 1 << 40} {
			for _, l := range []lying{{attributes: by}, {reader: by}, {attributes: by, reader: by}, {extra: int(max(0, min(by, 1<<20)))}, {missing: int(max(0, min(by, 1<<20)))}} {
				honest := l.attributes == 0 && l.reader == 0 && l.missing == 0
				l.bucketDriver = innerDriver(store)
				b := w.wrap(t, blob.NewBucket(&l), "records")
				what := fmt.Sprintf("%d bytes; %d %d %d %d", size, l.attributes, l.reader, l.extra, l.missing)
				got, err := b.ReadAll(w.a, "k")
				if !bytes.HasPrefix(content, got) || (err == nil) != honest || err == nil && len(got) < len(content) {
					t.Errorf("%s: read %d bytes, %v", what, len(got), err)
				}
				for _, at := range rangesToTry() {
					got, err := readRange(b, w.a, "k", at[0], at[1])
					if want := clip(content, min(at[0], int64(size)), at[1]); !bytes.HasPrefix(want, got) || err == nil && len(got) < len(want) {
						t.Errorf("%s, range %v: %d bytes, %v", what, at, len(got), err)
					}
				}
				if err != nil && !errors.Is(err, storage.ErrIsolation) {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	}
}

// torn is a store that answers with the size of what was at a name a moment ago, so many times.
type torn struct {
	bucketDriver
	times int
}

func (s *torn) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a, err := s.bucketDriver.Attributes(ctx, key)
	if err == nil && s.times > 0 {
		s.times--
		a.Size = markSize
	}
	return a, err
}

// Files may be asked for their attributes while an object takes a mark's place: that is no attack, and it does not stay so.
func TestAnswerTornByAReplacement(t *testing.T) {
	w := newWorld(t)
	s := &torn{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(s), "torn")
	must(t, b.WriteAll(w.a, "x", []byte("content"), nil))
	for _, c := range []struct {
		times int
		want  error
	}{{1, nil}, {2, storage.ErrIsolation}} {
		s.times = c.times
		_, err := b.Attributes(w.a, "x")
		if !errors.Is(err, c.want) {
			t.Errorf("torn %d times: %v, want %v", c.times, err, c.want)
		}
		s.times = c.times
		if got, err := b.ReadAll(w.a, "x"); !errors.Is(err, c.want) || c.want == nil && string(got) != "content" {
			t.Errorf("torn %d times: read %q, %v, want %v", c.times, got, err, c.want)
		}
	}
}

// vanishing is a store of files, which is asked for an object between the deletion of its content, or of the object, and of the attributes.
type vanishing struct {
	bucketDriver
	times int
}

func (v *vanishing) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a, err := v.bucketDriver.Attributes(ctx, key)
	if err == nil && v.times > 0 {
		if v.times--; v.times == 0 {
			if err := v.b.Delete(ctx, key); err != nil {
				return nil, err
			}
		}
		a.Metadata = nil
	}
	return a, err
}

// An object that is deleted while it is looked up is none, and that is no attack; one that stays without its attributes is.
func TestAnswerTornByADeletion(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		v := &vanishing{bucketDriver: innerDriver(memory())}
		b := w.wrap(t, blob.NewBucket(v), "vanishing")
		for name, look := range map[string]func() error{
			"attributes": func() error { _, err := b.Attributes(w.a, "x"); return err },
			"read":       func() error { _, err := b.ReadAll(w.a, "x"); return err },
			"a copy":     func() error { return b.Copy(w.a, "y", "x", nil) },
		} {
			must(t, b.WriteAll(w.a, "x", []byte("content"), nil))
			v.times = 1
			w.log.take()
			wantCode(t, look(), gcerrors.NotFound)
			if alerts(w.log.take()) != 0 {
				t.Errorf("%s: an alert", name)
			}
			must(t, b.WriteAll(w.a, "x", []byte("content"), nil))
			v.times = math.MaxInt
			w.log.take()
			wantIs(t, look(), storage.ErrIsolation)
			if alerts(w.log.take()) != 1 {
				t.Errorf("%s: no alert of what stays", name)
			}
			v.times = 0
		}
	})
}
