package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// plainObjects fills a bucket with objects of some sizes.
func plainObjects(t testing.TB, b *blob.Bucket) map[string][]byte {
	t.Helper()
	contents := map[string][]byte{
		"a/empty": {}, "a/one": {1}, "a/../odd": []byte("odd"), "b/some": pattern(plainSegmentSize), "b/more": pattern(2*plainSegmentSize + 3), "b": []byte("b"),
	}
	for key, content := range contents {
		must(t, b.WriteAll(t.Context(), key, content, &blob.WriterOptions{ContentType: "text/x-note", ContentLanguage: "de",
			ContentDisposition: "inline", CacheControl: "no-cache", ContentEncoding: "x", Metadata: map[string]string{"of": key}}))
	}
	return contents
}

func actions(r *ImportReport) string { return fmt.Sprint(r.Actions) }

// checkImported compares what the tenant has with what was imported, and the source with what it was.
func checkImported(t testing.TB, ctx context.Context, to, from *blob.Bucket, contents map[string][]byte) {
	t.Helper()
	for key, content := range contents {
		got, err := to.ReadAll(ctx, key)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
		a, err := to.Attributes(ctx, key)
		if err != nil || a.ContentType != "text/x-note" || a.ContentLanguage != "de" || a.ContentDisposition != "inline" || a.CacheControl != "no-cache" ||
			a.ContentEncoding != "x" || len(a.Metadata) != 1 || a.Metadata["of"] != key {
			t.Errorf("%s: %+v, %v", key, a, err)
		}
		if from != nil {
			if got, err := from.ReadAll(t.Context(), key); err != nil || !bytes.Equal(got, content) {
				t.Errorf("the source's %s: %d bytes, %v", key, len(got), err)
			}
		}
	}
}

// ranges counts the ranges that a store was asked for.
func ranges(c *counting) (n int) {
	for _, r := range c.requests {
		if strings.HasPrefix(r, "range") {
			n++
		}
	}
	return n
}

func TestImport(t *testing.T) { eachNaming(t, testImport) }

func testImport(t *testing.T) {
	w := newWorld(t)
	from, store := memory(), memory()
	contents := plainObjects(t, from)
	inner := &counting{bucketDriver: innerDriver(store)}
	to := w.wrap(t, blob.NewBucket(inner), "records")
	checkpoint := new(bytes.Buffer)
	one := func(o ImportOptions) *ImportReport {
		t.Helper()
		o.Concurrency = 1
		inner.requests = nil
		var last ImportReport
		seen := 0
		o.Progress = func(p ImportProgress) {
			seen++
			last = p.Report
			if p.Key != p.Source && p.Action != ImportLeftOut || p.Err != nil {
				t.Errorf("progress %+v", p)
			}
		}
		r, err := Import(w.a, to, from, &o)
		must(t, err)
		if last.Failures = r.Failures; fmt.Sprint(last) != fmt.Sprint(*r) || seen != int(r.Listed) {
			t.Errorf("the last progress was %+v, the report is %+v", last, r)
		}
		return r
	}
	if r := one(ImportOptions{DryRun: true, DeleteSource: true, Checkpoint: checkpoint}); actions(r) != "map[imported:6]" || r.Bytes == 0 || r.Deleted != 0 ||
		len(rawNames(t, store)) != 0 || checkpoint.Len() != 0 {
		t.Errorf("a dry run: %+v; the store has %q", r, rawNames(t, store))
	}
	total := int64(0)
	for _, c := range contents {
		total += int64(len(c))
	}
	if r := one(ImportOptions{Checkpoint: checkpoint}); actions(r) != "map[imported:6]" || r.Bytes != total || checkpoint.Len() != 6*checkpointLine {
		t.Errorf("got %+v, a checkpoint of %d bytes", r, checkpoint.Len())
	}
	checkImported(t, w.a, to, from, contents)
	if a, err := to.Attributes(w.a, "a/../odd"); err != nil || fmt.Sprintf("%x", a.MD5) != "a2b6f2a6066ed8700d83335fc50a2b8e" {
		t.Errorf("the MD5 is %x, %v", a.MD5, err)
	}
	if names := rawNames(t, store); len(names) != 6 {
		t.Errorf("the store has %q", names)
	}
	for _, o := range rawNames(t, store) {
		if r := getRaw(t, store, o); bytes.Contains(r.body, []byte("odd")) || len(r.meta) != 1 {
			t.Errorf("%s has plaintext", o)
		}
	}
	if _, err := to.List(nil).Next(w.b); err != io.EOF {
		t.Errorf("the other tenant has objects: %v", err)
	}
	// Again: what the checkpoint has is not read; without it all is read back, and what is damaged imported anew.
	text := bytes.Clone(checkpoint.Bytes())
	if r := one(ImportOptions{Checkpoint: checkpoint}); actions(r) != "map[done before:6]" || ranges(inner) != 0 {
		t.Errorf("got %+v after %d ranges", r, ranges(inner))
	}
	if r := one(ImportOptions{}); actions(r) != "map[verified:6]" || ranges(inner) != 6 || r.Bytes != 0 {
		t.Errorf("got %+v after %d ranges", r, ranges(inner))
	}
	if r := one(ImportOptions{Checkpoint: bytes.NewBuffer(bytes.Clone(text[:len(text)-1]))}); actions(r) != "map[done before:5 verified:1]" {
		t.Errorf("with a line that was cut short: %+v", r)
	}
	name := w.nameOf(t, alice, "b/more")
	damaged := getRaw(t, store, name)
	damaged.body[70_000] ^= 1
	putRaw(t, store, name, damaged)
	if r := one(ImportOptions{}); actions(r) != "map[imported:1 verified:5]" {
		t.Errorf("with a damaged object: %+v", r)
	}
	// A line is of the version that was verified: an object that was imported anew is not that.
	if r := one(ImportOptions{Checkpoint: bytes.NewBuffer(bytes.Clone(text))}); actions(r) != "map[done before:5 verified:1]" {
		t.Errorf("with an old line: %+v", r)
	}
	// Left out, and a part.
	leave := func(key string) (string, bool) { return key, key != "b/some" }
	if r := one(ImportOptions{Prefix: "b/", Key: leave, Checkpoint: bytes.NewBuffer(bytes.Clone(text))}); r.Listed != 2 || r.Actions[ImportLeftOut] != 1 {
		t.Errorf("a part: %+v", r)
	}
	if r := one(ImportOptions{DeleteSource: true}); actions(r) != "map[verified:6]" || r.Deleted != 6 || len(rawNames(t, from)) != 0 {
		t.Errorf("got %+v; the source has %q", r, rawNames(t, from))
	}
	checkImported(t, w.a, to, nil, contents)
}

// An import overwrites nothing but its own, and each place has one source.
func TestImportConflicts(t *testing.T) { eachNaming(t, testImportConflicts) }

func testImportConflicts(t *testing.T) {
	w := newWorld(t)
	to, _ := w.mem(t, "records")
	from := memory()
	write := func(b *blob.Bucket, ctx context.Context, key, content string) {
		t.Helper()
		must(t, b.WriteAll(ctx, key, []byte(content), nil))
	}
	read := func(key, want string) {
		t.Helper()
		if got, err := to.ReadAll(w.a, key); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", key, got, err, want)
		}
	}
	run := func(o *ImportOptions, conflicts int64, done string) {
		t.Helper()
		r, err := Import(w.a, to, from, o)
		if errors.Is(err, ErrImportConflict) != (conflicts > 0) || r.Actions[ImportFailed] != conflicts || actions(r) != done || r.Deleted != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	write(to, w.a, "taken", "the application's")
	write(from, t.Context(), "taken", "the source's")
	write(from, t.Context(), "x", "x")
	run(&ImportOptions{DeleteSource: false}, 1, "map[failed:1 imported:1]")
	read("taken", "the application's")
	must(t, to.Delete(w.a, "taken"))
	run(nil, 0, "map[imported:1 verified:1]")
	// A newer version of the source is imported anew; where the application wrote since, it is not.
	write(from, t.Context(), "x", "x, newer")
	run(nil, 0, "map[imported:1 verified:1]")
	read("x", "x, newer")
	write(to, w.a, "x", "edited")
	write(from, t.Context(), "x", "x, newest")
	run(&ImportOptions{DeleteSource: true, Prefix: "x"}, 1, "map[failed:1]")
	read("x", "edited")
	// A copy of an imported object is the application's.
	must(t, to.Copy(w.a, "copy", "taken", nil))
	write(from, t.Context(), "copy", "the source's other")
	run(&ImportOptions{Prefix: "copy"}, 1, "map[failed:1]")
	read("copy", "the source's")
	write(from, t.Context(), "taken", "the source's, newer")
	run(&ImportOptions{Prefix: "taken", Key: func(string) (string, bool) { return "copy", true }}, 1, "map[failed:1]")
	read("copy", "the source's")
	// The application takes a place while an object is on its way there.
	slow := blob.NewBucket(&changing{bucketDriver: innerDriver(from), change: func(calls int, key string) {
		if calls == 1 {
			write(to, w.a, key, "the application's, meanwhile")
		}
	}})
	write(from, t.Context(), "raced", "the source's")
	r, err := Import(w.a, to, slow, &ImportOptions{Prefix: "raced", DeleteSource: true})
	wantIs(t, err, ErrImportConflict)
	if r.Deleted != 0 {
		t.Errorf("got %+v", r)
	}
	read("raced", "the application's, meanwhile")
	// Two sources for one place: one of them, and never both deleted.
	from = memory()
	write(from, t.Context(), "1", "one")
	write(from, t.Context(), "2", "two")
	r, err = Import(w.a, to, from, &ImportOptions{DeleteSource: true, Key: func(string) (string, bool) { return "both", true }})
	wantIs(t, err, ErrImportConflict)
	left := rawNames(t, from)
	if r.Deleted != 1 || len(left) != 1 {
		t.Fatalf("got %+v; left %q", r, left)
	}
	read("both", map[string]string{"1": "two", "2": "one"}[left[0]])
}

// changing is a source that somebody changes while it is read.
type changing struct {
	bucketDriver
	change func(calls int, key string)
	mu     sync.Mutex
	calls  int
}

func (c *changing) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := c.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
	return &changingReader{r, c, key}, err
}

type changingReader struct {
	driver.Reader
	c   *changing
	key string
}

func (r *changingReader) Read(p []byte) (int, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.calls++
	r.c.change(r.c.calls, r.key)
	return r.Reader.Read(p)
}

// A source that changes while it is read leaves nothing in the destination, and stays.
func TestImportChangingSource(t *testing.T) {
	w := newWorld(t)
	old := pattern(3 * plainSegmentSize)
	for name, newer := range map[string][]byte{"same size": bytes.Repeat([]byte{7}, len(old)), "shorter": old[:10], "longer": append(bytes.Clone(old), 1), "same": old} {
		for at := 1; at < 4; at++ {
			to, store := w.mem(t, "records")
			source := memory()
			must(t, source.WriteAll(t.Context(), "k", old, nil))
			from := blob.NewBucket(&changing{bucketDriver: innerDriver(source), change: func(calls int, key string) {
				if calls == at {
					must(t, source.WriteAll(t.Context(), key, newer, nil))
				}
			}})
			r, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true})
			wantIs(t, err, ErrSourceChanged)
			if names := rawNames(t, store); len(names) != 0 || r.Deleted != 0 || r.Actions[ImportFailed] != 1 {
				t.Errorf("%s: %+v; the destination has %q", name, r, names)
			}
			r, err = Import(w.a, to, from, &ImportOptions{DeleteSource: true})
			if got, readErr := to.ReadAll(w.a, "k"); err != nil || r.Deleted != 1 || readErr != nil || !bytes.Equal(got, newer) {
				t.Errorf("%s, when it has come to rest: %+v, %v, %v", name, r, err, readErr)
			}
		}
	}
	// Changed when it has been verified, and is about to be deleted.
	to, _ := w.mem(t, "records")
	from := memory()
	must(t, from.WriteAll(t.Context(), "k", old, nil))
	checkpoint := &notifying{on: func() { must(t, from.WriteAll(t.Context(), "k", []byte("newer"), nil)) }}
	r, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true, Checkpoint: checkpoint})
	wantIs(t, err, ErrSourceChanged)
	if got, err := from.ReadAll(t.Context(), "k"); r.Deleted != 0 || err != nil || string(got) != "newer" {
		t.Errorf("%+v; the source has %q, %v", r, got, err)
	}
}

// notifying is a checkpoint that tells when an object was verified.
type notifying struct {
	buf bytes.Buffer
	on  func()
}

func (n *notifying) Read(p []byte) (int, error) { return n.buf.Read(p) }

func (n *notifying) Write(p []byte) (int, error) {
	n.on()
	return n.buf.Write(p)
}

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
	w := newWorld(t)
	to, store := w.mem(t, "records")
	from := memory()
	plainObjects(t, from)
	_, err := Import(t.Context(), to, from, nil)
	wantIs(t, err, tenant.ErrMissing)
	must(t, w.ring.Suspend(t.Context(), alice, "court order"))
	w.log.take()
	r, err := Import(w.a, to, from, &ImportOptions{Concurrency: 1})
	wantIs(t, err, keys.ErrSuspended)
	if events := w.log.take(); len(events) != 1 || r.Actions[ImportFailed] != 1 {
		t.Errorf("got %+v after %d events", r, len(events))
	}
	must(t, w.ring.Resume(t.Context(), alice, "over"))
	w.log.set(func(e *audit.Event) bool { return e.Code == audit.CodeBlobWrite })
	_, err = Import(w.a, to, from, &ImportOptions{Concurrency: 1})
	wantIs(t, err, audit.ErrUnavailable)
	w.log.set(nil)
	_, err = Import(w.a, to, from, &ImportOptions{Concurrency: 1, Checkpoint: brokenCheckpoint{}})
	wantIs(t, err, errCheckpoint)
	ctx, cancel := context.WithCancel(w.b)
	defer cancel()
	r, err = Import(ctx, to, from, &ImportOptions{Concurrency: 1, Progress: func(ImportProgress) { cancel() }})
	wantIs(t, err, context.Canceled)
	if r.Listed > 2 {
		t.Errorf("got %+v after it was cancelled", r)
	}
	if names := rawNames(t, store); len(names) > 2 {
		t.Errorf("the store has %q", names)
	}
	for name, f := range map[string]func() error{
		"no guard":   func() error { _, err := Import(w.a, memory(), from, nil); return err },
		"no source":  func() error { _, err := Import(w.a, to, nil, nil); return err },
		"workers":    func() error { _, err := Import(w.a, to, from, &ImportOptions{Concurrency: 65}); return err },
		"rate":       func() error { _, err := Import(w.a, to, from, &ImportOptions{BytesPerSecond: -1}); return err },
		"checkpoint": func() error { _, err := Import(w.a, to, from, &ImportOptions{Checkpoint: unreadable{}}); return err },
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type brokenCheckpoint struct{}

func (brokenCheckpoint) Read([]byte) (int, error)  { return 0, io.EOF }
func (brokenCheckpoint) Write([]byte) (int, error) { return 0, errStore }

type unreadable struct{ brokenCheckpoint }

func (unreadable) Read([]byte) (int, error) { return 0, errStore }

// Sealed objects are left alone, so that a bucket can be sealed in place; what merely says that it is one is not.
func TestImportInPlace(t *testing.T) { eachNaming(t, testImportInPlace) }

func testImportInPlace(t *testing.T) {
	w := newWorld(t)
	to, store := w.mem(t, "records")
	contents := plainObjects(t, store)
	must(t, to.WriteAll(w.a, "mine", []byte("sealed"), nil))
	must(t, to.WriteAll(w.b, "bobs", []byte("sealed"), nil))
	lie := raw{pattern(1000), map[string]string{attributesName: "x"}}
	putRaw(t, store, "liar", lie)
	r, err := Import(w.a, to, store, &ImportOptions{DeleteSource: true})
	must(t, err)
	if r.Actions[ImportNew] != 7 || r.Deleted != 7 || r.Actions[ImportSealed] < 2 {
		t.Errorf("got %+v", r)
	}
	checkImported(t, w.a, to, nil, contents)
	if got, err := to.ReadAll(w.a, "liar"); err != nil || !bytes.Equal(got, lie.body) {
		t.Errorf("the liar: %v", err)
	}
	for ctx, key := range map[context.Context]string{w.a: "mine", w.b: "bobs"} {
		if got, err := to.ReadAll(ctx, key); err != nil || string(got) != "sealed" {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	for _, name := range rawNames(t, store) {
		if !strings.HasPrefix(name, alice.Segment()+"/") && name != w.nameOf(t, bob, "bobs") {
			t.Errorf("the store still has %q", name)
		}
	}
}

// An import into a prefixed view goes to where the view shows it.
func TestImportIntoPrefixedBucket(t *testing.T) { eachNaming(t, testImportIntoPrefixedBucket) }

func testImportIntoPrefixedBucket(t *testing.T) {
	w := newWorld(t)
	store, from := memory(), memory()
	contents := plainObjects(t, from)
	view := blob.PrefixedBucket(w.wrap(t, store, "records"), "old/")
	for _, want := range []string{"map[imported:6]", "map[verified:6]"} {
		r, err := Import(w.a, view, from, nil)
		must(t, err)
		if actions(r) != want {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
	checkImported(t, w.a, view, from, contents)
	whole := maps.Collect(func(yield func(string, []byte) bool) {
		for key, content := range contents {
			yield("old/"+key, content)
		}
	})
	for key, content := range whole {
		if got, err := w.wrap(t, store, "records").ReadAll(w.a, key); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// The limit is on the bytes that are read, there and back.
func TestImportRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		to, _ := w.mem(t, "records")
		from := memory()
		for i := range 4 {
			must(t, from.WriteAll(t.Context(), fmt.Sprint(i), pattern(1<<20), nil))
		}
		start := time.Now()
		_, err := Import(w.a, to, from, &ImportOptions{BytesPerSecond: 1 << 20})
		must(t, err)
		// 8 MiB but for the burst of one segment; the bubble's clock is exact.
		if took := time.Since(start); took < 7900*time.Millisecond || took > 8*time.Second {
			t.Errorf("8 MiB at 1 MiB/s took %v", took)
		}
	})
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

// The deletion of a source is on record before it happens and after, and nothing is deleted that cannot be recorded or
// that the authorizer refuses.
func TestImportDeletionsAreInTheTrail(t *testing.T) {
	w := newWorld(t)
	refuse := false
	w.guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		if refuse && a.Verb == tenant.Delete && a.Key == "k" {
			return errors.New("not yours to delete")
		}
		return nil
	})
	from := memory()
	to, _ := w.mem(t, "records")
	must(t, from.WriteAll(t.Context(), "k", []byte("content"), nil))
	run := func() error {
		_, err := Import(w.a, to, from, &ImportOptions{DeleteSource: true})
		return err
	}
	there := func(want bool) {
		t.Helper()
		if exists, err := from.Exists(t.Context(), "k"); exists != want || err != nil {
			t.Errorf("the source is there: %v, %v", exists, err)
		}
	}
	refuse = true
	wantIs(t, run(), tenant.ErrDenied)
	there(true)
	refuse = false
	w.log.set(func(e *audit.Event) bool { return e.Code == audit.CodeBlobSource && e.Phase == audit.Intent })
	wantIs(t, run(), audit.ErrUnavailable)
	there(true)
	w.log.set(nil)
	w.log.take()
	must(t, run())
	there(false)
	var got []string
	for _, e := range w.log.take() {
		if e.Code == audit.CodeBlobSource {
			got = append(got, fmt.Sprintf("%s %s %s %s", e.Phase, e.Status, e.Details["source"], e.Details["key"]))
			if e.Tenant != alice || e.Actor != "nurse@alice" || e.Name != "records" || e.Sealer == nil {
				t.Errorf("recorded %+v", e)
			}
		}
	}
	if want := []string{"intent success k k", "outcome success k k"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// A checkpoint says that an object was verified, not that it still opens: what the store did to it since does not cost the
// source.
func TestCheckpointIsNoReasonToDelete(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		from, checkpoint := memory(), new(bytes.Buffer)
		must(t, from.WriteAll(t.Context(), "k", []byte("content"), nil))
		to, inner := w.mem(t, "records")
		_, err := Import(w.a, to, from, &ImportOptions{Checkpoint: checkpoint})
		must(t, err)
		lines := checkpoint.String()
		name := w.nameOf(t, alice, "k")
		damaged := getRaw(t, inner, name)
		damaged.body[len(damaged.body)-1] ^= 1
		putRaw(t, inner, name, damaged)
		r, err := Import(w.a, to, from, &ImportOptions{Checkpoint: bytes.NewBufferString(lines), DeleteSource: true})
		must(t, err)
		got, err := to.ReadAll(w.a, "k")
		if err != nil || string(got) != "content" {
			t.Errorf("%v, deleted %d sources, and what was imported is %q, %v", r.Actions, r.Deleted, got, err)
		}
	})
}
