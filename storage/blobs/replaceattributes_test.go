package blobs

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/keys"
)

// contentsOf are the contents' files of a store on files, whose modification times tell that they are the same.
func contentsOf(t *testing.T, dir string) map[string]os.FileInfo {
	t.Helper()
	all := map[string]os.FileInfo{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, fileAttributes) {
			return err
		}
		all[path], err = e.Info()
		return err
	}))
	return all
}

// After a rotation of data keys alone, which seal attributes, contents on files stay the files that they are, and the older
// key can be destroyed.
func TestResealAttributesAlone(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		dir := t.TempDir()
		r := &resealed{world: quickWorld(t, t.TempDir()), inner: fileBucket(t, dir), opts: ResealOptions{SoleProcess: true}, store: "files"}
		r.bucket = r.wrap(t, r.inner, "records")
		written := r.fill(t, r.a)
		before, md5s := map[string]any{}, map[string]string{}
		for _, key := range written {
			before[key] = r.seen(t, r.a, key)
			a, err := r.inner.Attributes(t.Context(), r.nameOf(t, alice, key))
			must(t, err)
			md5s[key] = string(a.MD5)
		}
		was := contentsOf(t, dir)
		r.rotate(t, keys.PurposeData)
		report, err := r.reseal(r.a)
		if err != nil || report.Resealed != int64(len(written)) || report.Bytes != 0 || len(report.Left) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		now := contentsOf(t, dir)
		for path, info := range was {
			if now[path] == nil || !os.SameFile(info, now[path]) || len(now) != len(was) {
				t.Errorf("the content at %s was rewritten; %d files, were %d", path, len(now), len(was))
			}
		}
		old := r.key(t, keys.PurposeData, 0)
		left := func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeData) }
		must(t, r.ring.DisableKey(r.a, alice, keys.PurposeData, old, "old", left))
		must(t, r.ring.DestroyKey(r.a, alice, keys.PurposeData, old, "old", left))
		for _, key := range written {
			if now := r.seen(t, r.a, key); !reflect.DeepEqual(now, before[key]) {
				t.Errorf("%s is not what it was", key)
			}
			if a, err := r.inner.Attributes(t.Context(), r.nameOf(t, alice, key)); err != nil || string(a.MD5) != md5s[key] {
				t.Errorf("%s: the store's own MD5 is another one, %v", key, err)
			}
		}
		r.nothingStaged(t)
	})
}

// What somebody writes while an object's attributes are sealed anew stands.
func TestResealAttributesMeddledWith(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		m := &watched{completing: &completing{meddled: &meddled{bucketDriver: innerDriver(fileBucket(t, t.TempDir()))}}}
		r := &resealed{world: quickWorld(t, t.TempDir()), inner: m.b, opts: ResealOptions{SoleProcess: true}, store: "files"}
		r.bucket = r.wrap(t, blob.NewBucket(m), "records")
		must(t, r.bucket.WriteAll(r.a, "x", []byte("content"), rich(1)))
		r.rotate(t, keys.PurposeData)
		looks := 0
		m.looked = func(name string) {
			if strings.HasPrefix(name, stagingPrefix(alice)) {
				if looks++; looks == 2 { // after the store was tried, the attributes are staged and not in their place
					m.looked = nil
					must(t, r.bucket.WriteAll(r.a, "x", []byte("another's"), rich(2)))
				}
			}
		}
		report, err := r.reseal(r.a)
		if err != nil || report.Changed != 1 || len(report.Left) != 0 || m.looked != nil {
			t.Errorf("%+v, %v", report, err)
		}
		got, err := r.bucket.ReadAll(r.a, "x")
		a, failed := r.bucket.Attributes(r.a, "x")
		if err != nil || failed != nil || string(got) != "another's" || a.Metadata["number"] != "2" {
			t.Errorf("%q, %+v, %v, %v", got, a, err, failed)
		}
	})
}

// lookedAt is a store that tells of a look at an object's attributes before it.
type lookedAt struct {
	*meddled
	first func(key string)
}

func (l *lookedAt) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if l.first != nil {
		l.first(key)
	}
	return l.meddled.Attributes(ctx, key)
}

// TestAnotherProcessLeavesAttributesThatAreStaged: what is staged to replace the attributes alone has the content's own file beside it, which
// may be as old as a leftover of a process that was killed.
func TestAnotherProcessLeavesAttributesThatAreStaged(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		dir := t.TempDir()
		store := fileBucket(t, dir)
		m := &lookedAt{meddled: &meddled{bucketDriver: innerDriver(store)}}
		r := &resealed{world: quickWorld(t, t.TempDir()), inner: store, opts: ResealOptions{SoleProcess: true}, store: "files"}
		r.bucket = r.wrap(t, blob.NewBucket(m), "records")
		must(t, r.bucket.WriteAll(r.a, "x", []byte("content"), rich(1)))
		long := time.Now().Add(-2 * leftoverAge)
		for path := range contentsOf(t, dir) {
			must(t, os.Chtimes(path, long, long))
		}
		staging := filepath.Join(dir, filepath.FromSlash(stagingPrefix(alice)))
		must(t, os.MkdirAll(staging, 0o700))
		left := filepath.Join(staging, "killed")
		for _, path := range []string{left, left + fileAttributes} {
			must(t, os.WriteFile(path, nil, 0o600))
			must(t, os.Chtimes(path, long, long))
		}
		r.rotate(t, keys.PurposeData)
		cleaned := 0
		m.first = func(name string) {
			if strings.HasPrefix(name, stagingPrefix(alice)) {
				cleaned++
				must(t, (&files{sole: sole{&bucket{}}}).clean(staging))
			}
		}
		report, err := r.reseal(r.a)
		if err != nil || report.Resealed != 1 || report.Bytes != 0 || len(report.Left) != 0 || cleaned < 2 {
			t.Errorf("%+v, %v; cleaned %d times", report, err, cleaned)
		}
		if found, err := os.ReadDir(staging); err != nil || len(found) != 0 {
			t.Errorf("left there: %v, %v", found, err)
		}
		if got, err := r.bucket.ReadAll(r.a, "x"); err != nil || string(got) != "content" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
