package blobs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// What is read or copied while somebody replaces it has the attributes of the content that it has.
func TestAttributesAreOfTheContentsVersion(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		store := memory()
		plain := w.wrap(t, store, "records")
		inner := &racing{bucketDriver: innerDriver(store)}
		b := w.wrap(t, blob.NewBucket(inner), "records")
		content := [2][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 100_000)}
		write := func(i int) {
			must(t, plain.WriteAll(w.a, "k", content[i], &blob.WriterOptions{ContentType: fmt.Sprintf("text/x-%d", i), Metadata: map[string]string{"i": fmt.Sprint(i)}}))
		}
		version := func(got []byte) int { return int(got[0] - 'a') }
		for times := 1; times < openAttempts; times++ {
			at := 0
			inner.replace = func() {
				at = 1 - at
				write(at)
			}
			write(0)
			inner.times = times
			r, err := b.NewReader(w.a, "k", nil)
			must(t, err)
			got, err := io.ReadAll(r)
			must(t, err)
			if want := fmt.Sprintf("text/x-%d", version(got)); r.ContentType() != want {
				t.Errorf("replaced %d times: the content of %s was read as %s", times, want, r.ContentType())
			}
			must(t, r.Close())
			write(0)
			at, inner.times = 0, times
			must(t, b.Copy(w.a, "copy", "k", nil))
			got, err = plain.ReadAll(w.a, "copy")
			must(t, err)
			a, err := plain.Attributes(w.a, "copy")
			must(t, err)
			if a.Metadata["i"] != fmt.Sprint(version(got)) {
				t.Errorf("replaced %d times: the copy has the content of %d and the metadata of %s", times, version(got), a.Metadata["i"])
			}
		}
	})
}

// A reader that goes on somewhere else reads the version that it began with, or nothing.
func TestSeekWithinOneVersion(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		b, _ := w.mem(t, "records")
		old, newer := bytes.Repeat([]byte("a"), 300_000), bytes.Repeat([]byte("b"), 300_000)
		for _, at := range [][2]int64{{0, -1}, {100, 200_000}, {0, 0}} {
			must(t, b.WriteAll(w.a, "k", old, nil))
			r, err := b.NewRangeReader(w.a, "k", at[0], at[1], nil)
			must(t, err)
			if at[1] != 0 {
				_, err = io.ReadFull(r, make([]byte, 10))
				must(t, err)
				for range 3 { // which is no other version
					_, err = r.Seek(150_000, io.SeekStart)
					must(t, err)
					_, err = io.ReadFull(r, make([]byte, 10))
					must(t, err)
					_, err = r.Seek(0, io.SeekStart)
					must(t, err)
					_, err = io.ReadFull(r, make([]byte, 10))
					must(t, err)
				}
			}
			must(t, b.WriteAll(w.a, "k", newer, nil))
			w.log.take()
			_, err = r.Seek(70_000, io.SeekStart)
			must(t, err)
			got, err := io.ReadAll(r)
			if bytes.Contains(got, []byte("b")) {
				t.Errorf("%v: a reader of the older version read %d bytes of the newer one, %v", at, len(got), err)
			}
			if at[1] != 0 {
				wantCode(t, err, gcerrors.FailedPrecondition)
			}
			if alerts(w.log.take()) != 0 {
				t.Errorf("%v: an alert", at)
			}
			must(t, r.Close())
			if got, err := b.ReadAll(w.a, "k"); err != nil || !bytes.Equal(got, newer) {
				t.Errorf("%v: the newer version: %d bytes, %v", at, len(got), err)
			}
		}
	})
}

// Where a crash on files left content with the attributes of the version that was to replace it, which stays so, it is read as it is, by whoever
// may not write there too.
func TestTornFilesAreRead(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	b := w.wrap(t, fileBucket(t, dir), "records")
	must(t, b.WriteAll(w.a, "k", []byte("older"), rich(1)))
	path := filepath.Join(dir, filepath.FromSlash(w.nameOf(t, alice, "k")))
	content, err := os.ReadFile(path)
	must(t, err)
	must(t, b.WriteAll(w.a, "k", []byte("newer"), rich(2)))
	must(t, os.WriteFile(path, content, 0o600))
	for range 2 {
		if got, err := b.ReadAll(w.a, "k"); err != nil || string(got) != "older" {
			t.Errorf("%q, %v", got, err)
		}
		must(t, os.RemoveAll(filepath.Join(dir, locksPrefix)))
		must(t, os.WriteFile(filepath.Join(dir, ".strongroom"), nil, 0o400)) // no locks are to be had
	}
}

// Nor does a reader of such an object wait for good, where whoever has its lock is stopped.
func TestTornFilesAreReadBesideWhoIsStopped(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.wrap(t, fileBucket(t, dir), "records")
		must(t, b.WriteAll(w.a, "k", []byte("older"), rich(1)))
		name := w.nameOf(t, alice, "k")
		path := filepath.Join(dir, filepath.FromSlash(name))
		content, err := os.ReadFile(path)
		must(t, err)
		must(t, b.WriteAll(w.a, "k", []byte("newer"), rich(2)))
		must(t, os.WriteFile(path, content, 0o600))
		for _, other := range []*blob.Bucket{b, w.wrap(t, fileBucket(t, dir), "records")} { // of another process, as good as
			done, err := guarded(other).exclusion.alone(w.a, name)
			must(t, err)
			if got, err := b.ReadAll(w.a, "k"); err != nil || string(got) != "older" {
				t.Errorf("%q, %v", got, err)
			}
			done()
		}
	})
}

// What is remembered of a reader goes with it.
func TestReadersAreForgotten(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("x"), nil))
	left := func() (n int) {
		guarded(b).begun.headers.Range(func(any, any) bool { n++; return true })
		return n
	}
	for range 100 {
		_, err := b.ReadAll(w.a, "k")
		must(t, err)
	}
	r, err := b.NewReader(w.a, "k", nil)
	must(t, err)
	if left() == 0 {
		t.Error("nothing is remembered of a reader that is in use")
	}
	must(t, r.Close())
	for range 100 {
		runtime.GC()
		if left() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d readers of 101 are remembered", left())
}
