package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
)

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
