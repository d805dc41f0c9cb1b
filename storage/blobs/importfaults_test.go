package blobs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// swapping is a store that loses the new version of an object and keeps the old one.
type swapping struct {
	bucketDriver
	t    testing.TB
	old  map[string]raw
	lose bool
}

func (s *swapping) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if r, ok := s.old[key]; ok && s.lose {
		putRaw(s.t, s.b, key, r)
	}
	return s.bucketDriver.Attributes(ctx, key)
}

// What is read back must be what was written, and not merely something that opens there.
func TestImportReadsBack(t *testing.T) { eachNaming(t, testImportReadsBack) }

func testImportReadsBack(t *testing.T) {
	w := newWorld(t)
	store := memory()
	inner := &swapping{bucketDriver: innerDriver(store), t: t}
	to := w.wrap(t, blob.NewBucket(inner), "records")
	from := memory()
	must(t, from.WriteAll(t.Context(), "k", []byte("one"), nil))
	_, err := Import(w.a, to, from, nil)
	must(t, err)
	inner.old = map[string]raw{w.nameOf(t, alice, "k"): getRaw(t, store, w.nameOf(t, alice, "k"))}
	must(t, from.WriteAll(t.Context(), "k", []byte("two"), nil))
	inner.lose = true
	r, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true})
	if err == nil || !strings.Contains(err.Error(), "read back") || r.Deleted != 0 || len(rawNames(t, from)) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// A damaged object in the destination is never taken for a verified one.
func TestImportOverDamage(t *testing.T) { eachNaming(t, testImportOverDamage) }

func testImportOverDamage(t *testing.T) {
	w := newWorld(t)
	to, store := w.mem(t, "records")
	from := memory()
	must(t, from.WriteAll(t.Context(), "k", []byte("content"), nil))
	_, err := Import(w.a, to, from, nil)
	must(t, err)
	object := getRaw(t, store, w.nameOf(t, alice, "k"))
	putRaw(t, store, w.nameOf(t, alice, "k"), raw{object.body, nil})
	r, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true})
	wantIs(t, err, storage.ErrIsolation)
	if r.Deleted != 0 || len(rawNames(t, from)) != 1 {
		t.Errorf("got %+v", r)
	}
}

// Whatever call of either store fails, at any time each object is whole in the source or whole and verified in the
// destination; and what is run again gets to the end.
func TestImportFaults(t *testing.T) {
	w := newWorld(t)
	for _, side := range []string{"source", "destination"} {
		for failAt := 1; ; failAt++ {
			source, store := memory(), memory()
			contents := plainObjects(t, source)
			faulty := &faultyLister{faulty{bucketDriver: innerDriver(source), failAt: failAt}}
			from, to := blob.NewBucket(faulty), w.wrap(t, store, "records")
			if side == "destination" {
				faulty.bucketDriver = innerDriver(store)
				from, to = source, w.wrap(t, blob.NewBucket(faulty), "records")
			}
			o := &ImportOptions{DeleteSource: true, Concurrency: 1, Checkpoint: new(bytes.Buffer)}
			r, err := Import(w.a, to, from, o)
			left := map[string]bool{}
			for _, name := range rawNames(t, source) {
				left[name] = true
			}
			plain := w.wrap(t, store, "records")
			for key, content := range contents {
				got, readErr := plain.ReadAll(w.a, key)
				if readErr == nil && !bytes.Equal(got, content) || readErr != nil && gcerrors.Code(readErr) != gcerrors.NotFound {
					t.Errorf("%s call %d: %s is %d bytes, %v", side, failAt, key, len(got), readErr)
				}
				if readErr != nil && !left[key] {
					t.Errorf("%s call %d: %s is lost", side, failAt, key)
				}
			}
			if len(contents)-len(left) != int(r.Deleted) {
				t.Errorf("%s call %d: %d of %d left, %d reported as deleted", side, failAt, len(left), len(contents), r.Deleted)
			}
			if faulty.calls < failAt {
				must(t, err)
				if failAt < 20 {
					t.Errorf("%s: only %d calls", side, failAt)
				}
				break
			}
			if _, err := Import(w.a, to, from, o); err != nil {
				t.Errorf("%s call %d, run again: %v", side, failAt, err)
			}
			checkImported(t, w.a, plain, nil, contents)
		}
	}
}

// faultyLister is faulty, and fails listing and deleting too.
type faultyLister struct{ faulty }

func (f *faultyLister) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	return f.bucketDriver.ListPaged(ctx, o)
}

func (f *faultyLister) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.bucketDriver.Delete(ctx, key, o)
}

// Where no object can succeed an import does not go on to try.
func TestImportEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(*importing)
		opts   ImportOptions
		want   error
		events int // recorded at most
	}{
		{"suspended", func(w *importing) { must(t, w.ring.Suspend(t.Context(), alice, "court order")) }, ImportOptions{}, keys.ErrSuspended, 1},
		{"no trail", func(w *importing) { w.log.set(func(e *audit.Event) bool { return e.Code == audit.CodeBlobWrite }) }, ImportOptions{}, audit.ErrUnavailable, 4},
		{"a checkpoint that cannot be written", func(*importing) {}, ImportOptions{Checkpoint: brokenCheckpoint{}}, errCheckpoint, 99},
		{"cancelled", func(w *importing) {}, ImportOptions{}, context.Canceled, 99},
	} {
		w := newImporting(t, nil)
		plainObjects(t, w.from)
		c.before(w)
		w.log.take()
		ctx, cancel := context.WithCancel(w.a)
		defer cancel()
		w.a = ctx
		if c.want == context.Canceled {
			c.opts.Progress = func(ImportProgress) { cancel() }
		}
		c.opts.Concurrency = 1
		r := w.run(t, &c.opts, c.want, "")
		if names := rawNames(t, w.store); r.Listed > 2 || len(names) > 2 {
			t.Errorf("%s: got %+v; the store has %q", c.name, r, names)
		}
		if events := w.log.take(); len(events) > c.events {
			t.Errorf("%s: %d events", c.name, len(events))
		}
	}
}

func TestImportRefuses(t *testing.T) {
	w := newImporting(t, map[string]string{"k": "content"})
	_, err := Import(t.Context(), w.to, w.from, nil)
	wantIs(t, err, tenant.ErrMissing)
	for _, c := range []struct {
		name     string
		to, from *blob.Bucket
		opts     ImportOptions
	}{
		{"no guard", memory(), w.from, ImportOptions{}},
		{"no source", w.to, nil, ImportOptions{}},
		{"workers", w.to, w.from, ImportOptions{Concurrency: 65}},
		{"rate", w.to, w.from, ImportOptions{BytesPerSecond: -1}},
		{"checkpoint", w.to, w.from, ImportOptions{Checkpoint: unreadable{}}},
	} {
		if _, err := Import(w.a, c.to, c.from, &c.opts); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if names := rawNames(t, w.store); len(names) > 0 {
			t.Errorf("%s: the store has %q", c.name, names)
		}
	}
}

type brokenCheckpoint struct{}

func (brokenCheckpoint) Read([]byte) (int, error)  { return 0, io.EOF }
func (brokenCheckpoint) Write([]byte) (int, error) { return 0, errStore }

type unreadable struct{ brokenCheckpoint }

func (unreadable) Read([]byte) (int, error) { return 0, errStore }

// signedSource is a source whose driver repeats the request in its errors, with the signature in it, as do those that sign URLs.
type signedSource struct {
	bucketDriver
	fails string
}

func (s signedSource) err(what string) error {
	if s.fails != what {
		return nil
	}
	return &url.Error{Op: "Get", URL: "https://store.example.com/b/k?sv=1&sig=hunter2", Err: &fs.PathError{Op: "open", Path: "/srv/secret/k", Err: fs.ErrPermission}}
}

func (s signedSource) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	a, err := s.bucketDriver.Attributes(ctx, key)
	return a, cmp.Or(s.err("attributes"), err)
}

func (s signedSource) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if err := s.err("reader"); err != nil {
		return nil, err
	}
	r, err := s.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
	if err := s.err("read"); err != nil {
		r = failingReader{r, err}
	}
	return r, err
}

type failingReader struct {
	driver.Reader
	err error
}

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func (s signedSource) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	p, err := s.bucketDriver.ListPaged(ctx, o)
	return p, cmp.Or(s.err("list"), err)
}

func (s signedSource) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	return cmp.Or(s.err("delete"), s.bucketDriver.Delete(ctx, key, o))
}

// The errors of a source show no credential either, nor where a file is; what they are is found all the same.
func TestImportShowsNoCredential(t *testing.T) {
	for _, fails := range []string{"attributes", "reader", "read", "list", "delete"} {
		w := newWorld(t)
		b, _ := w.mem(t, "records")
		r, err := Import(w.a, b, blob.NewBucket(signedSource{innerDriver(plainSource(t)), fails}), &ImportOptions{DeleteSource: true})
		if err == nil {
			t.Errorf("%s: no error", fails)
			continue
		}
		texts := []string{err.Error()}
		for _, f := range r.Failures {
			texts = append(texts, f.Err.Error())
		}
		if text := strings.Join(texts, "\n"); strings.Contains(text, "hunter2") || strings.Contains(text, "/srv/secret") || !strings.Contains(text, "store.example.com/b/k") {
			t.Errorf("%s: %s", fails, text)
		}
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: what %v is, is lost", fails, err)
		}
	}
}
