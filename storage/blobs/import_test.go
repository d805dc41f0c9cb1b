package blobs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
)

// importing is a plaintext bucket to import from, and a guarded one to import to for the tenant of w.a.
type importing struct {
	*world
	from, to *blob.Bucket
	store    *blob.Bucket // that to guards
}

// newImporting makes the source's objects of text.
func newImporting(t testing.TB, source map[string]string) *importing {
	t.Helper()
	w := &importing{world: newWorld(t), from: memory()}
	w.to, w.store = w.mem(t, "records")
	for key, content := range source {
		must(t, w.from.WriteAll(t.Context(), key, []byte(content), nil))
	}
	return w
}

// run imports, wants an error that wraps wantErr, and what became of the objects.
func (w *importing) run(t testing.TB, o *ImportOptions, wantErr error, done string) *ImportReport {
	t.Helper()
	r, err := Import(w.a, w.to, w.from, o)
	if wantErr == nil {
		must(t, err)
	} else {
		wantIs(t, err, wantErr)
	}
	if done != "" && actions(r) != done {
		t.Errorf("got %+v, want %s", r, done)
	}
	return r
}

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

// An import overwrites nothing but its own, and leaves the source of what it did not import.
func TestImportConflicts(t *testing.T) {
	const mine, theirs, newer = "the application's", "the source's", "the source's, newer"
	one := func(string) (string, bool) { return "k", true }
	again := func(t *testing.T, w *importing) { // what was imported has a newer version
		w.run(t, nil, nil, "map[imported:1]")
		must(t, w.from.WriteAll(t.Context(), "k", []byte(newer), nil))
	}
	for _, c := range []struct {
		name   string
		before func(*testing.T, *importing)
		opts   ImportOptions
		done   string // a conflict where something failed
		want   string // what the tenant has at k
	}{
		{name: "a free place", done: "map[imported:1]", want: theirs},
		{"a newer version", again, ImportOptions{}, "map[imported:1]", newer},
		{"taken", func(t *testing.T, w *importing) {
			must(t, w.to.WriteAll(w.a, "k", []byte(mine), nil))
		}, ImportOptions{}, "map[failed:1]", mine},
		{"taken, and others not", func(t *testing.T, w *importing) {
			must(t, w.to.WriteAll(w.a, "k", []byte(mine), nil))
			must(t, w.from.WriteAll(t.Context(), "x", []byte("x"), nil))
		}, ImportOptions{}, "map[failed:1 imported:1]", mine},
		{"taken and given up", func(t *testing.T, w *importing) {
			must(t, w.to.WriteAll(w.a, "k", []byte(mine), nil))
			w.run(t, nil, ErrImportConflict, "map[failed:1]")
			must(t, w.to.Delete(w.a, "k"))
		}, ImportOptions{}, "map[imported:1]", theirs},
		{"edited since", func(t *testing.T, w *importing) {
			again(t, w)
			must(t, w.to.WriteAll(w.a, "k", []byte(mine), nil))
		}, ImportOptions{DeleteSource: true}, "map[failed:1]", mine},
		{"a copy of what was imported", func(t *testing.T, w *importing) {
			must(t, w.from.WriteAll(t.Context(), "other", []byte(theirs), nil))
			w.run(t, &ImportOptions{Prefix: "other"}, nil, "map[imported:1]")
			must(t, w.to.Copy(w.a, "k", "other", nil))
			must(t, w.from.WriteAll(t.Context(), "k", []byte(newer), nil))
		}, ImportOptions{Prefix: "k", DeleteSource: true}, "map[failed:1]", theirs},
		{"a copy of what was imported from the same source", func(t *testing.T, w *importing) {
			must(t, w.from.WriteAll(t.Context(), "other", []byte(theirs), nil))
			w.run(t, &ImportOptions{Prefix: "other"}, nil, "map[imported:1]")
			must(t, w.to.Copy(w.a, "k", "other", nil))
			must(t, w.from.WriteAll(t.Context(), "other", []byte(newer), nil))
		}, ImportOptions{Prefix: "other", Key: one, DeleteSource: true}, "map[failed:1]", theirs},
		{"taken on the way", func(t *testing.T, w *importing) {
			w.from = blob.NewBucket(&changing{bucketDriver: innerDriver(w.from), change: func(calls int, key string) {
				if calls == 1 {
					must(t, w.to.WriteAll(w.a, key, []byte(mine), nil))
				}
			}})
		}, ImportOptions{DeleteSource: true}, "map[failed:1]", mine},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachNaming(t, func(t *testing.T) {
				w := newImporting(t, map[string]string{"k": theirs})
				if c.before != nil {
					c.before(t, w)
				}
				var want error
				if strings.Contains(c.done, "failed") {
					want = ErrImportConflict
				}
				if r := w.run(t, &c.opts, want, c.done); r.Deleted != 0 {
					t.Errorf("deleted %d", r.Deleted)
				}
				if got, err := w.to.ReadAll(w.a, "k"); err != nil || string(got) != c.want {
					t.Errorf("the tenant has %q, %v; want %q", got, err, c.want)
				}
			})
		})
	}
}

// Of two sources for one place one is imported, and they are never both deleted.
func TestImportOfTwoSourcesForOnePlace(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newImporting(t, map[string]string{"1": "one", "2": "two"})
		r := w.run(t, &ImportOptions{DeleteSource: true, Key: func(string) (string, bool) { return "both", true }}, ErrImportConflict, "")
		left := rawNames(t, w.from)
		if r.Deleted != 1 || len(left) != 1 {
			t.Fatalf("got %+v; left %q", r, left)
		}
		want := map[string]string{"1": "two", "2": "one"}[left[0]]
		if got, err := w.to.ReadAll(w.a, "both"); err != nil || string(got) != want {
			t.Errorf("the tenant has %q, %v; want %q", got, err, want)
		}
	})
}

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

// TestImportWhoseKeyBreaks: an object for which Key does not return is one that was not imported, and the run says so.
func TestImportWhoseKeyBreaks(t *testing.T) {
	for name, does := range map[string]func(){"panicked": func() { panic("of the application's") }, "ended": runtime.Goexit} {
		w := newImporting(t, map[string]string{"a": "1", "b": "2"})
		r, err := Import(w.a, w.to, w.from, &ImportOptions{Key: func(source string) (string, bool) {
			if source == "b" {
				does()
			}
			return source, true
		}})
		if err == nil || len(r.Failures) != 1 || r.Failures[0].Source != "b" || !strings.Contains(r.Failures[0].Err.Error(), "Key "+name) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
