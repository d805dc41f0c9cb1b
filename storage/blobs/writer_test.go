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

// Attributes that are no UTF-8 would come back as others: they are refused.
func TestAttributesThatAreNotUTF8(t *testing.T) {
	w := newWeb(t, nil)
	const text = "r\xe9sum\xe9.pdf"
	for name, o := range map[string]*blob.WriterOptions{
		"disposition": {ContentDisposition: "attachment; filename=" + text}, "language": {ContentLanguage: text}, "encoding": {ContentEncoding: text}, "cache": {CacheControl: text},
	} {
		wantCode(t, w.bucket.WriteAll(w.a, name, []byte("x"), o), gcerrors.InvalidArgument)
		if ok, err := w.bucket.Exists(w.a, name); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if got := do(t, "PUT", w.url, w.sign(t, w.a, Grant{Method: "PUT", Key: "type"}), "x", "Content-Type", "text/plain; name="+text); got.status != 400 {
		t.Errorf("a PUT: %d", got.status)
	}
	from := memory()
	must(t, from.WriteAll(t.Context(), "source", []byte("x"), &blob.WriterOptions{ContentDisposition: "attachment; filename=" + text}))
	r, err := Import(w.a, w.bucket, from, &ImportOptions{DeleteSource: true})
	if err == nil || r.Actions[ImportFailed] != 1 || r.Deleted != 0 {
		t.Errorf("imported: %+v, %v", r, err)
	}
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
