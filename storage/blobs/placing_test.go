package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/atomicfile"
	"github.com/strongroom-go/strongroom/keys"
)

// escapedKeys are some that fileblob does not keep at their names, and one that it does.
var escapedKeys = []string{"plain/key", "a../b", "dir/", "line\nfeed", "__0x2f__", "deep/er/..", "../up"}

// An overwrite on files changes neither of the object's files: whatever it is in when the process is killed, the object that was
// there is still whole.
func TestFilesAreReplacedWhole(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w, dir := newWorld(t), t.TempDir()
		b := w.wrap(t, fileBucket(t, dir), "records")
		for i, key := range escapedKeys {
			must(t, b.WriteAll(w.a, key, pattern(100_000), rich(i)))
			was := map[*os.File][]byte{}
			must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
				if err != nil || e.IsDir() || isLock(path) {
					return err
				}
				f, err := os.Open(path)
				must(t, err)
				t.Cleanup(func() { f.Close() })
				was[f], err = io.ReadAll(f)
				return err
			}))
			if len(was) != 2*(i+1) {
				t.Errorf("%q: %d files are there, want two for each object", key, len(was))
			}
			must(t, b.WriteAll(w.a, key, []byte("newer"), rich(100)))
			for f, content := range was {
				_, err := f.Seek(0, io.SeekStart)
				must(t, err)
				if now, err := io.ReadAll(f); err != nil || !bytes.Equal(now, content) {
					t.Errorf("%q: a file was written to in its place, %v", key, err)
				}
			}
			got, err := b.ReadAll(w.a, key)
			a, failed := b.Attributes(w.a, key)
			if err != nil || failed != nil || string(got) != "newer" || a.Metadata["number"] != "100" {
				t.Errorf("%q: %q, %+v, %v, %v", key, got, a, err, failed)
			}
			must(t, b.WriteAll(w.a, key, nil, nil))
		}
	})
}

// What a write on files acknowledges is there after the machine went down: each directory on the way to the object was synced since
// what leads to the object came to be in it, whoever made it. So is what Reseal says that it sealed anew.
func TestFilesAreOnDisk(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		dir := t.TempDir()
		r := &resealed{world: quickWorld(t, t.TempDir()), inner: fileBucket(t, dir), opts: ResealOptions{SoleProcess: true}, store: "files"}
		r.bucket = r.wrap(t, r.inner, "records")
		must(t, os.MkdirAll(filepath.Join(dir, scopeOf(bob).prefix, "made", "elsewhere"), 0o700))
		var mu sync.Mutex // Reseal has several objects at a time
		var synced []string
		directory := syncDirectory
		defer func() { syncDirectory = directory }()
		syncDirectory = func(at string) error {
			mu.Lock()
			synced = append(synced, at)
			mu.Unlock()
			return directory(at)
		}
		written := []string{"x", "deep/er/x", "deep/x", "made/elsewhere/x", "a../b", "new/a../b", "deep/er/x"}
		inner := &files{sole: sole{&bucket{inner: r.inner}}}
		onDisk := func(name, top string) {
			t.Helper()
			path, err := inner.path(t.Context(), name)
			must(t, err)
			for at := filepath.Dir(path); len(at) >= len(top); at = filepath.Dir(at) {
				if !slices.Contains(synced, at) {
					t.Errorf("what is in the directory %q may not be on disk, on the way to %q", strings.TrimPrefix(at, dir), name)
				}
			}
		}
		for _, key := range written {
			must(t, r.bucket.WriteAll(r.a, key, []byte(key), nil))
			onDisk(r.nameOf(t, alice, key), dir)
			must(t, r.bucket.WriteAll(r.b, key, []byte(key), nil))
			onDisk(r.nameOf(t, bob, key), dir)
		}
		for _, purpose := range []keys.Purpose{keys.PurposeBlobs, keys.PurposeData} {
			r.rotate(t, purpose)
			synced = nil
			_, err := r.reseal(r.a)
			must(t, err)
			for _, key := range written {
				path, err := inner.path(t.Context(), r.nameOf(t, alice, key))
				must(t, err)
				onDisk(r.nameOf(t, alice, key), filepath.Dir(path))
			}
		}
	})
}

// An object whose key ends as fileblob's files of attributes do does not come to be in the place of another object's attributes.
func TestFilesOfAttributesAreNotOverwritten(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	b := w.wrap(t, fileBucket(t, dir), "records")
	must(t, b.WriteAll(w.a, "dir/x", []byte("kept"), rich(1)))
	must(t, b.WriteAll(w.a, "y", []byte("other"), rich(2)))
	wantCode(t, b.WriteAll(w.a, "dir/x.attrs", []byte("new"), nil), gcerrors.InvalidArgument)
	wantCode(t, b.WriteAll(w.a, "dir/x.attrs", []byte("new"), &blob.WriterOptions{IfNotExist: true}), gcerrors.InvalidArgument)
	wantCode(t, b.Copy(w.a, "dir/x.attrs", "y", nil), gcerrors.InvalidArgument)
	got, err := b.ReadAll(w.a, "dir/x")
	a, failed := b.Attributes(w.a, "dir/x")
	if err != nil || failed != nil || string(got) != "kept" || a.Metadata["number"] != "1" {
		t.Errorf("%q, %+v, %v, %v", got, a, err, failed)
	}
	w.sealNames = true
	sealed := w.wrap(t, fileBucket(t, t.TempDir()), "records")
	must(t, sealed.WriteAll(w.a, "x", []byte("kept"), nil))
	must(t, sealed.WriteAll(w.a, "x.attrs", []byte("new"), nil))
	if got, err := sealed.ReadAll(w.a, "x"); err != nil || string(got) != "kept" {
		t.Errorf("%q, %v", got, err)
	}
}

// isLock tells whether a file of the store's directory is no object's.
func isLock(path string) bool {
	return filepath.Base(filepath.Dir(path))+"/" == locksPrefix && strings.HasPrefix(filepath.Base(path), "lock")
}

// Of several who write an object on files at once, in one process or in several, one is there in the end, with its own attributes; of
// those that write it only if it does not exist, one succeeds. Whoever deletes it meanwhile leaves all of it or nothing.
func TestFilesWrittenAtOnce(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w, dir := newWorld(t), t.TempDir()
		var processes [2]*blob.Bucket // which share nothing but the directory
		for i := range processes {
			processes[i] = w.wrap(t, fileBucket(t, dir), "records")
		}
		for round := range 20 {
			b := processes[round%2]
			key, deleted := fmt.Sprint("new/", round), fmt.Sprint("deleted/", round)
			must(t, b.WriteAll(w.a, deleted, []byte("before"), nil))
			var writers sync.WaitGroup
			made := make([]error, 6)
			for i := range made {
				b := processes[i%2]
				writers.Go(func() { must(t, b.WriteAll(w.a, "x", []byte(fmt.Sprint(i)), rich(i))) })
				writers.Go(func() {
					made[i] = b.WriteAll(w.a, key, []byte(fmt.Sprint(i)), &blob.WriterOptions{IfNotExist: true})
				})
				writers.Go(func() {
					if i < 3 {
						must(t, b.WriteAll(w.a, deleted, []byte(fmt.Sprint(i)), rich(i)))
					} else if err := b.Delete(w.a, deleted); gcerrors.Code(err) != gcerrors.NotFound {
						must(t, err)
					}
				})
			}
			writers.Wait()
			for _, key := range []string{"x", deleted} {
				got, err := b.ReadAll(w.a, key)
				if key == deleted && gcerrors.Code(err) == gcerrors.NotFound {
					continue
				}
				must(t, err)
				if a, err := b.Attributes(w.a, key); err != nil || a.Metadata["number"] != string(got) {
					t.Errorf("the content of %s, %s, has the attributes of %+v, %v", key, got, a, err)
				}
			}
			maker, err := b.ReadAll(w.a, key)
			must(t, err)
			for i, err := range made {
				if own := fmt.Sprint(i) == string(maker); own != (err == nil) {
					t.Errorf("%d made the object that %s made: %v", i, maker, err)
				} else if !own {
					wantCode(t, err, gcerrors.FailedPrecondition)
				}
			}
		}
	})
}

// Where the locks' directory is emptied while a process holds one, another gets one, too: what the first was about to do is not done, and what
// it did is not acknowledged.
func TestFilesLockIsTakenAway(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w, dir := newWorld(t), t.TempDir()
		takeAway := func() {
			found, err := os.ReadDir(filepath.Join(dir, locksPrefix))
			must(t, err)
			for _, e := range found {
				must(t, os.Remove(filepath.Join(dir, locksPrefix, e.Name())))
			}
		}
		m := &watched{completing: &completing{meddled: &meddled{bucketDriver: innerDriver(fileBucket(t, dir))}}}
		b, other := w.wrap(t, blob.NewBucket(m), "records"), w.wrap(t, fileBucket(t, dir), "records")
		only := &blob.WriterOptions{IfNotExist: true, ContentType: "text/plain"}
		name := w.nameOf(t, alice, "x")
		m.looked = func(looked string) {
			if looked == name { // the writer holds the lock, and has seen that there is nothing
				m.looked = nil
				takeAway()
				must(t, other.WriteAll(w.a, "x", []byte("other"), only))
			}
		}
		err := b.WriteAll(w.a, "x", []byte("mine"), only)
		if got, read := other.ReadAll(w.a, "x"); err == nil || m.looked != nil || read != nil || string(got) != "other" {
			t.Errorf("both made it: %v, %v; %q, %v", err, m.looked == nil, got, read)
		}
		if !errors.Is(err, atomicfile.ErrLockLost) {
			t.Errorf("got %v", err)
		}
		directory := syncDirectory
		defer func() { syncDirectory = directory }()
		for what, change := range map[string]func() error{
			"written": func() error { return b.WriteAll(w.a, "x", []byte("mine"), nil) },
			"deleted": func() error { return b.Delete(w.a, "x") },
		} {
			var once sync.Once
			syncDirectory = func(at string) error {
				once.Do(takeAway) // somebody else may do what follows at the same time
				return directory(at)
			}
			if err := change(); !errors.Is(err, atomicfile.ErrLockLost) {
				t.Errorf("it was %s without the lock, and acknowledged: %v", what, err)
			}
			syncDirectory = directory
			must(t, os.RemoveAll(filepath.Join(dir, locksPrefix)))
			must(t, b.WriteAll(w.a, "x", []byte("mine"), nil))
		}
	})
}

// full is a store of files on a disk without room.
type full struct{ *meddled }

func (*full) NewTypedWriter(context.Context, string, string, *driver.WriterOptions) (driver.Writer, error) {
	return nil, syscall.ENOSPC
}

// On a full disk a process that has just begun deletes objects, and makes nothing for it that stays where it is killed.
func TestFilesAreDeletedFromAFullDisk(t *testing.T) {
	for _, prefix := range []string{"", "a/b/", "c"} {
		w, dir := newWorld(t), t.TempDir()
		inner := func() *blob.Bucket {
			if b := fileBucket(t, dir); prefix != "" {
				return blob.PrefixedBucket(b, prefix)
			} else {
				return b
			}
		}
		must(t, w.wrap(t, inner(), "records").WriteAll(w.a, "x", []byte("x"), nil))
		b := w.wrap(t, blob.NewBucket(&full{&meddled{bucketDriver: innerDriver(inner())}}), "records")
		if err := b.Delete(w.a, "x"); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
		if exists, err := b.Exists(w.a, "x"); err != nil || exists {
			t.Errorf("prefix %q: %t, %v", prefix, exists, err)
		}
		found, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(prefix+locksPrefix)))
		must(t, err)
		for _, e := range found {
			if !isLock(filepath.Join(dir, locksPrefix, e.Name())) {
				t.Errorf("prefix %q: %s is there", prefix, e.Name())
			}
		}
		if len(found) == 0 {
			t.Errorf("prefix %q: no locks are there", prefix)
		}
	}
}

// A Reseal leaves alone what another process is writing on files, and takes away what has been there for long.
func TestFilesStagedByOthers(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w, dir := newWorld(t), t.TempDir()
		b, other := w.wrap(t, fileBucket(t, dir), "records"), w.wrap(t, fileBucket(t, dir), "records")
		must(t, b.WriteAll(w.a, "x", []byte("before"), rich(1)))
		writer, err := b.NewWriter(w.a, "x", rich(2))
		must(t, err)
		_, err = writer.Write(pattern(300_000))
		must(t, err)
		staging := filepath.Join(dir, filepath.FromSlash(stagingPrefix(alice)))
		left := filepath.Join(staging, "left")
		must(t, os.WriteFile(left, nil, 0o600))
		must(t, os.Chtimes(left, time.Time{}, time.Now().Add(-2*leftoverAge)))
		_, err = Reseal(w.a, other, &ResealOptions{SoleProcess: true})
		must(t, err)
		if err := writer.Close(); err != nil {
			t.Errorf("what was being written: %v", err)
		}
		got, err := b.ReadAll(w.a, "x")
		a, failed := b.Attributes(w.a, "x")
		if err != nil || failed != nil || !bytes.Equal(got, pattern(300_000)) || a.Metadata["number"] != "2" {
			t.Errorf("%d bytes, %+v, %v, %v", len(got), a, err, failed)
		}
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was left two hours ago: %v", err)
		}
	})
}

// What is being written on files, or was when a process was killed, is in no listing.
func TestUnfinishedFilesAreNotListed(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w, dir := newWorld(t), t.TempDir()
		inner := fileBucket(t, dir)
		b := w.wrap(t, inner, "records")
		must(t, b.WriteAll(w.a, "x", []byte("x"), nil))
		must(t, b.WriteAll(w.a, "mine.185e4b2a1f00a.tmp", []byte("x"), nil)) // an application's own
		writer, err := b.NewWriter(w.a, "unfinished", &blob.WriterOptions{ContentType: "text/plain"})
		must(t, err)
		_, err = writer.Write(pattern(300_000))
		must(t, err)
		left, err := inner.NewWriter(t.Context(), w.nameOf(t, alice, "left"), &blob.WriterOptions{ContentType: storedContentType}) // as of an earlier version that was killed
		must(t, err)
		defer left.Close()
		_, err = left.Write(pattern(300_000))
		must(t, err)
		var temporary []string
		must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if strings.HasSuffix(path, ".tmp") && !strings.Contains(path, "mine") {
				temporary = append(temporary, path)
			}
			return err
		}))
		if !strings.Contains(t.Name(), "sealed") && len(temporary) != 2 {
			t.Fatalf("%q", temporary)
		}
		var keys []string
		for it := b.List(nil); ; {
			o, err := it.Next(w.a)
			if err == io.EOF {
				break
			}
			must(t, err)
			keys = append(keys, o.Key)
		}
		if !slices.Equal(keys, []string{"mine.185e4b2a1f00a.tmp", "x"}) {
			t.Errorf("listed: %q", keys)
		}
		must(t, writer.Close())
		if got, err := b.ReadAll(w.a, "unfinished"); !bytes.Equal(got, pattern(300_000)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
