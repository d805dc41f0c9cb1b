package blobs

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
)

// A write that does not end well leaves what was there before: nothing, or the object it would have replaced.
func TestUnfinishedWrites(t *testing.T) { eachNaming(t, testUnfinishedWrites) }

func testUnfinishedWrites(t *testing.T) {
	failing := errors.New("the source failed")
	begin := func(ctx context.Context, t *testing.T, b *blob.Bucket, n int) *blob.Writer {
		w, err := b.NewWriter(ctx, "k", &blob.WriterOptions{ContentType: "text/plain"})
		must(t, err)
		_, err = w.Write(pattern(n))
		must(t, err)
		return w
	}
	for _, c := range []struct {
		name string
		do   func(ctx context.Context, t *testing.T, b *blob.Bucket)
	}{
		{"not closed", func(ctx context.Context, t *testing.T, b *blob.Bucket) { begin(ctx, t, b, fourSegments) }},
		{"cancelled", func(ctx context.Context, t *testing.T, b *blob.Bucket) {
			ctx, cancel := context.WithCancel(ctx)
			w := begin(ctx, t, b, fourSegments)
			cancel()
			wantIs(t, w.Close(), context.Canceled)
		}},
		{"cancelled before a segment was full", func(ctx context.Context, t *testing.T, b *blob.Bucket) {
			ctx, cancel := context.WithCancel(ctx)
			w := begin(ctx, t, b, 1)
			cancel()
			wantIs(t, w.Close(), context.Canceled)
		}},
		{"another MD5", func(ctx context.Context, t *testing.T, b *blob.Bucket) {
			sum := md5.Sum([]byte("other"))
			wantCode(t, b.WriteAll(ctx, "k", pattern(fourSegments), &blob.WriterOptions{ContentMD5: sum[:]}), gcerrors.FailedPrecondition)
		}},
		{"a source that fails", func(ctx context.Context, t *testing.T, b *blob.Bucket) {
			source := io.MultiReader(bytes.NewReader(pattern(fourSegments)), iotest.ErrReader(failing))
			wantIs(t, b.Upload(ctx, "k", source, &blob.WriterOptions{ContentType: "text/plain"}), failing)
		}},
		{"a source that breaks off", func(ctx context.Context, t *testing.T, b *blob.Bucket) {
			source := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))
			wantIs(t, b.Upload(ctx, "k", source, &blob.WriterOptions{ContentType: "text/plain"}), io.ErrUnexpectedEOF)
		}},
		{"a callback that refuses", func(ctx context.Context, t *testing.T, b *blob.Bucket) {
			err := b.WriteAll(ctx, "k", []byte("x"), &blob.WriterOptions{BeforeWrite: func(func(any) bool) error { return failing }})
			wantIs(t, err, failing)
		}},
		{"attributes over the limit", func(ctx context.Context, t *testing.T, b *blob.Bucket) {
			err := b.WriteAll(ctx, "k", []byte("x"), &blob.WriterOptions{Metadata: map[string]string{"a": strings.Repeat("v", 2000)}})
			wantCode(t, err, gcerrors.InvalidArgument)
			if !strings.Contains(err.Error(), "AttributesLimit") {
				t.Errorf("%v does not say what to do", err)
			}
		}},
	} {
		for _, store := range stores {
			t.Run(c.name+" on "+store.name, func(t *testing.T) {
				w := newWorld(t)
				inner := store.open(t)
				b := w.wrap(t, inner, "records")
				c.do(w.a, t, b)
				if names := rawNames(t, inner); len(objects(names)) > 0 {
					t.Errorf("the store has %q", names)
				}
				must(t, b.WriteAll(w.a, "k", []byte("before"), nil))
				c.do(w.a, t, b)
				if got, err := b.ReadAll(w.a, "k"); err != nil || string(got) != "before" {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
	}
}

// objects leaves out fileblob's temporary files of writers that are still open.
func objects(names []string) (kept []string) {
	for _, n := range names {
		if !strings.HasSuffix(n, ".tmp") {
			kept = append(kept, n)
		}
	}
	return kept
}

// deaf does not hear that a context was cancelled.
type deaf struct{ bucketDriver }

func (d deaf) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	return d.bucketDriver.NewTypedWriter(context.WithoutCancel(ctx), key, contentType, o)
}

// A store that completes an object in spite of all is not what the caller is told is success.
func TestStoreIgnoresCancellation(t *testing.T) {
	w := newWorld(t)
	b := w.wrap(t, blob.NewBucket(deaf{innerDriver(memory())}), "records")
	ctx, cancel := context.WithCancel(w.a)
	writer, err := b.NewWriter(ctx, "k", &blob.WriterOptions{ContentType: "text/plain"})
	must(t, err)
	_, err = writer.Write([]byte("half"))
	must(t, err)
	cancel()
	err = writer.Close()
	wantIs(t, err, context.Canceled)
	if err == nil || !strings.Contains(err.Error(), "only a part") {
		t.Errorf("%v does not say that there is an object", err)
	}
}

// Close returns after the store has the object and the log its outcome, in this order.
func TestCloseOrder(t *testing.T) { eachNaming(t, testCloseOrder) }

func testCloseOrder(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	stored := false
	w.log.set(func(e *audit.Event) bool {
		if e.Phase == audit.Outcome {
			stored = len(rawNames(t, inner)) == 1
		} else if len(rawNames(t, inner)) != 0 {
			t.Error("the store has the object before the intent is recorded")
		}
		return false
	})
	must(t, b.WriteAll(w.a, "k", []byte("x"), nil))
	if !stored {
		t.Error("the outcome was recorded before the store had the object")
	}
}

func TestAttributesRoundTrip(t *testing.T) { eachNaming(t, testAttributesRoundTrip) }

func testAttributesRoundTrip(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	options := &blob.WriterOptions{
		ContentType: "text/x-secret", CacheControl: "no-store", ContentDisposition: "attachment; filename=jane", ContentEncoding: "gzip",
		ContentLanguage: "de", Metadata: map[string]string{"patient": "jane", "☺": "\x01"},
	}
	must(t, b.WriteAll(w.a, "k", []byte("the content"), options))
	a, err := b.Attributes(w.a, "k")
	must(t, err)
	sum := md5.Sum([]byte("the content"))
	if a.ContentType != options.ContentType || a.CacheControl != options.CacheControl || a.ContentDisposition != options.ContentDisposition ||
		a.ContentEncoding != options.ContentEncoding || a.ContentLanguage != options.ContentLanguage || len(a.Metadata) != 2 ||
		a.Metadata["patient"] != "jane" || a.Metadata["☺"] != "\x01" || !bytes.Equal(a.MD5, sum[:]) || a.Size != 11 || a.ETag == "" {
		t.Errorf("got %+v", a)
	}
	stored, err := inner.Attributes(t.Context(), w.nameOf(t, alice, "k"))
	must(t, err)
	if stored.ContentType != storedContentType || stored.CacheControl+stored.ContentDisposition+stored.ContentEncoding+stored.ContentLanguage != "" ||
		len(stored.Metadata) != 1 || stored.ETag != a.ETag || bytes.Equal(stored.MD5, sum[:]) {
		t.Errorf("the store has %+v", stored)
	}
	if object := getRaw(t, inner, w.nameOf(t, alice, "k")); strings.Contains(object.meta[attributesName], "jane") || bytes.Contains(object.body, []byte("content")) {
		t.Error("the store has plaintext")
	}
	// The same content twice is not the same ciphertext.
	before := getRaw(t, inner, w.nameOf(t, alice, "k"))
	must(t, b.WriteAll(w.a, "k", []byte("the content"), options))
	if after := getRaw(t, inner, w.nameOf(t, alice, "k")); bytes.Equal(before.body[headersSize:], after.body[headersSize:]) {
		t.Error("sealing is deterministic")
	}
	// What is sealed may be more where the store takes more.
	wide, err := Wrap(inner, w.guard, &Options{Label: "records", AttributesLimit: 8 << 10, SealNames: w.sealNames})
	must(t, err)
	must(t, wide.WriteAll(w.a, "wide", nil, &blob.WriterOptions{Metadata: map[string]string{"a": strings.Repeat("v", 5000)}}))
}

// Content and attributes that a crash tore apart, on a store that keeps them in two files: the content is not lost.
func TestAttributesOfAnUnbornVersion(t *testing.T) { eachNaming(t, testAttributesOfAnUnbornVersion) }

func testAttributesOfAnUnbornVersion(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	content := pattern(fourSegments)
	must(t, b.WriteAll(w.a, "k", content, nil))
	old := getRaw(t, inner, w.nameOf(t, alice, "k"))
	must(t, b.WriteAll(w.a, "k", []byte("never came to be"), nil))
	unborn := getRaw(t, inner, w.nameOf(t, alice, "k"))
	putRaw(t, inner, w.nameOf(t, alice, "k"), raw{old.body, unborn.meta})
	for _, at := range rangesToTry() {
		if got, err := readRange(b, w.a, "k", at[0], at[1]); err != nil || !bytes.Equal(got, clip(content, at[0], at[1])) {
			t.Errorf("range %v: %d bytes, %v", at, len(got), err)
		}
	}
}

// sparse is an inner store for one huge object that it does not keep: what is written is read at the same time.
type sparse struct {
	bucketDriver
	size       int64
	begun      chan struct{} // closed when the two below are there
	attributes driver.Attributes
	pipe       *io.PipeReader
}

func (s *sparse) NewTypedWriter(_ context.Context, _, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	s.attributes = driver.Attributes{ContentType: contentType, Metadata: o.Metadata, Size: s.size}
	r, w := io.Pipe()
	s.pipe = r
	close(s.begun)
	return w, nil
}

func (s *sparse) Attributes(context.Context, string) (*driver.Attributes, error) {
	<-s.begun
	a := s.attributes
	return &a, nil
}

func (s *sparse) NewRangeReader(context.Context, string, int64, int64, *driver.ReaderOptions) (driver.Reader, error) {
	return &sparseReader{s.pipe, s.size}, nil
}

type sparseReader struct {
	*io.PipeReader
	size int64
}

func (r *sparseReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{ContentType: storedContentType, Size: r.size}
}
func (r *sparseReader) As(any) bool { return false }

// A gigabyte passes through a writer and a reader in a few segments of memory.
func TestConstantMemory(t *testing.T) {
	const size = 1 << 30
	w := newWorld(t)
	const stream = size + streamHeaderSize
	store := &sparse{bucketDriver: innerDriver(memory()), begun: make(chan struct{})}
	store.size = objectHeaderSize + stream + (stream+plainSegmentSize-1)/plainSegmentSize*tagSize
	b := w.wrap(t, blob.NewBucket(store), "records")
	block := pattern(1 << 20)
	written := make(chan error, 1)
	go func() {
		writer, err := b.NewWriter(w.a, "huge", &blob.WriterOptions{ContentType: "x/y"})
		for i := 0; err == nil && i < size/len(block); i++ {
			_, err = writer.Write(block)
		}
		if err == nil {
			err = writer.Close()
		}
		written <- err
	}()
	reader, err := b.NewReader(w.a, "huge", nil)
	must(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	buf := make([]byte, len(block))
	for i := range size / len(block) {
		if _, err := io.ReadFull(reader, buf); err != nil || !bytes.Equal(buf, block) {
			t.Fatalf("megabyte %d: %v", i, err)
		}
	}
	runtime.ReadMemStats(&after)
	// The bound is on all that was allocated, not on what was left: it does not depend on the collector.
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("%d MB were allocated for %d MB", n>>20, size>>20)
	}
	if n, err := reader.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("at the end got %d, %v", n, err)
	}
	must(t, reader.Close())
	must(t, <-written)
}

// faulty fails the calls of the inner store one after another.
type faulty struct {
	bucketDriver
	calls, failAt int
}

var errStore = errors.New("connection reset")

func (f *faulty) fail() error {
	f.calls++
	if f.calls == f.failAt {
		return errStore
	}
	return nil
}

func (f *faulty) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	return f.bucketDriver.Attributes(ctx, key)
}

func (f *faulty) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	r, err := f.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
	if err != nil {
		return nil, err
	}
	return &faultyReader{r, f}, nil
}

type faultyReader struct {
	driver.Reader
	f *faulty
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if err := r.f.fail(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p[:min(len(p), segmentSize/2)])
}

func (r *faultyReader) Close() error { return errors.Join(r.Reader.Close(), r.f.fail()) }

func (f *faulty) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w, err := f.bucketDriver.NewTypedWriter(ctx, key, contentType, o)
	return &faultyWriter{w, f, cancel}, err
}

type faultyWriter struct {
	driver.Writer
	f      *faulty
	cancel func()
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if err := w.f.fail(); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w *faultyWriter) Close() error {
	if err := w.f.fail(); err != nil {
		w.cancel()
		return errors.Join(err, w.Writer.Close())
	}
	return w.Writer.Close()
}

// Whatever call of the store fails: the operation fails with the store's error, no part of an object comes to be, what
// was read before is right, and it is no alert.
func TestStoreFaults(t *testing.T) { eachNaming(t, testStoreFaults) }

func testStoreFaults(t *testing.T) {
	content := pattern(fourSegments)
	w := newWorld(t)
	for _, op := range []struct {
		name string
		do   func(b *blob.Bucket) error
	}{
		{"read", func(b *blob.Bucket) error {
			got, err := b.ReadAll(w.a, "k")
			if !bytes.HasPrefix(content, got) || err == nil && len(got) < len(content) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			return err
		}},
		{"write", func(b *blob.Bucket) error { return b.WriteAll(w.a, "new", content, nil) }},
		{"copy", func(b *blob.Bucket) error { return b.Copy(w.a, "new", "k", nil) }},
		{"attributes", func(b *blob.Bucket) error { _, err := b.Attributes(w.a, "k"); return err }},
	} {
		t.Run(op.name, func(t *testing.T) {
			for failAt := 1; ; failAt++ {
				store := memory()
				must(t, w.wrap(t, store, "records").WriteAll(w.a, "k", content, nil))
				inner := &faulty{bucketDriver: innerDriver(store), failAt: failAt}
				b := w.wrap(t, blob.NewBucket(inner), "records")
				w.log.take()
				err := op.do(b)
				events := w.log.take()
				if inner.calls < failAt {
					must(t, err)
					if failAt < 2 {
						t.Error("nothing was tried")
					}
					return
				}
				// ReadAll ignores what closing says when all was read and authenticated.
				if !(err == nil && op.name == "read") {
					wantIs(t, err, errStore)
					if len(rawNames(t, store)) != 1 {
						t.Errorf("call %d failed, and there is a new object", failAt)
					}
				}
				if errors.Is(err, storage.ErrIsolation) || alerts(events) > 0 {
					t.Errorf("call %d failed, and that is an alert", failAt)
				}
				if last := events[len(events)-1]; last.Phase != audit.Outcome || err != nil && last.Status != audit.Failure && last.Status != audit.Unknown {
					t.Errorf("call %d failed, and the last event is %s %s", failAt, last.Phase, last.Status)
				}
			}
		})
	}
}

// An end of file inside a store's error is not the end of an object to anybody.
func TestBrokenConnectionIsNoEnd(t *testing.T) {
	err := fromStore(&urlError{io.EOF})
	if errors.Is(err, io.EOF) {
		t.Error("a broken connection passes for the end of the object")
	}
	if !strings.Contains(err.Error(), "EOF") {
		t.Errorf("%v hides its cause", err)
	}
}

type urlError struct{ error }

func (e *urlError) Unwrap() error { return e.error }

// A write whose outcome is not in the trail is not acknowledged by closing its writer once more.
func TestCloseAgainKeepsItsError(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		b, _ := w.mem(t, "records")
		writer, err := b.NewWriter(w.a, "k", nil)
		must(t, err)
		_, err = writer.Write([]byte("content"))
		must(t, err)
		w.log.set(func(e *audit.Event) bool { return e.Phase == audit.Outcome })
		for i := range 2 {
			if err := writer.Close(); !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("Close %d: %v", i+1, err)
			}
		}
	})
}

// lostAnswers does what it is asked for and loses the answer.
type lostAnswers struct{ bucketDriver }

type lostAnswer struct{ driver.Writer }

func (w lostAnswer) Close() error { return errors.Join(w.Writer.Close(), errStore) }

func (l lostAnswers) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	w, err := l.bucketDriver.NewTypedWriter(ctx, key, contentType, o)
	return lostAnswer{w}, err
}

func (l lostAnswers) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	return errors.Join(l.bucketDriver.Delete(ctx, key, o), errStore)
}

// What the store did although its answer was lost has not failed in the trail: that its outcome is not known is what it
// says.
func TestLostAnswersAreUnknownOutcomes(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		store := memory()
		good, b := w.wrap(t, store, "records"), w.wrap(t, blob.NewBucket(lostAnswers{innerDriver(store)}), "records")
		must(t, good.WriteAll(w.a, "k", []byte("content"), nil))
		for _, op := range []struct {
			name string
			do   func() error
			left int // objects in the store
		}{
			{"write", func() error { return b.WriteAll(w.a, "new", []byte("content"), nil) }, 2},
			{"copy", func() error { return b.Copy(w.a, "copy", "k", nil) }, 3},
			{"delete", func() error { return b.Delete(w.a, "k") }, 2},
		} {
			w.log.take()
			wantIs(t, op.do(), errStore)
			if n := len(rawNames(t, store)); n != op.left {
				t.Fatalf("after the %s there are %d objects; what does this test see?", op.name, n)
			}
			events := w.log.take()
			if last := events[len(events)-1]; last.Phase != audit.Outcome || last.Status != audit.Unknown {
				t.Errorf("%s: the trail ends with %s %s", op.name, last.Phase, last.Status)
			}
		}
		// A store that answers that it did not has said so.
		w.log.take()
		wantCode(t, good.Delete(w.a, "absent"), gcerrors.NotFound)
		wantCode(t, good.WriteAll(w.a, "new", nil, &blob.WriterOptions{IfNotExist: true}), gcerrors.FailedPrecondition)
		for _, e := range w.log.take() {
			if e.Phase == audit.Outcome && e.Status != audit.Failure {
				t.Errorf("an answer that came is recorded as %s", e.Status)
			}
		}
	})
}
