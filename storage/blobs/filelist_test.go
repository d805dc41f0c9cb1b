package blobs

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
)

// besideDirectories are keys whose order is not that in which a file system's directories are gone through, with names that fileblob
// escapes among them.
var besideDirectories = []string{"a/1", "a/2", "a/3", "a-b", "a-c", "a-d/1", "a-d-e", "a b/1", "a!", "a.x", "a0", "b", "ü/x", "ü-x", "line\nfeed/x", "line\nfeed-x",
	"__0x2f__", "___0x2f__", "__0x_", "a../b", "a..-b", "dir/", "deep/er/x", "deep/er-x", "deep/er.x", "deep.x", ".hidden/..", "//", "/x"}

// A listing on files has all objects, in order and once, however long its pages are.
func TestFilesAreListedInPages(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWorld(t)
		files, want := w.wrap(t, fileBucket(t, t.TempDir()), "records"), w.wrap(t, memory(), "records")
		part := w.wrap(t, blob.PrefixedBucket(fileBucket(t, t.TempDir()), "part/of-"), "records")
		for _, b := range []*blob.Bucket{files, want, part} {
			for _, key := range besideDirectories {
				must(t, b.WriteAll(w.a, key, []byte(key), nil))
				must(t, b.WriteAll(w.b, key, nil, nil))
			}
		}
		pages := func(b *blob.Bucket, size int, opts *blob.ListOptions) (keys []string) {
			for token := blob.FirstPageToken; len(token) > 0; {
				found, next, err := b.ListPage(w.a, token, size, opts)
				must(t, err)
				for _, o := range found {
					keys = append(keys, fmt.Sprintf("%q %t %d", o.Key, o.IsDir, o.Size))
				}
				token = next
			}
			return keys
		}
		for _, delimiter := range []string{"", "/", "-", "/x", "er"} {
			for _, prefix := range []string{"", "a", "a/", "a-", "a../", "deep/", "deep/er", "line\n", "__", "absent/", "b", "d", "/", "b/", "b/c/d", "a-b/", "dir/", "a//", "//", "__0x2f__/", strings.Repeat("x", 300) + "/", "deep/er/x/"} {
				opts := &blob.ListOptions{Prefix: prefix, Delimiter: delimiter}
				all := pages(want, 1000, opts)
				for _, size := range []int{1, 2, 3, 7, 1000} {
					for where, b := range map[string]*blob.Bucket{"files": files, "a part of files": part} {
						if got := pages(b, size, opts); !slices.Equal(got, all) {
							t.Errorf("%s: prefix %q, delimiter %q, pages of %d:\n got %s\nwant %s", where, prefix, delimiter, size, got, all)
						}
					}
				}
			}
		}
	})
}

// behindAThousand makes a directory of files, more than are on a page, and an object that fileblob comes to after them and whose name is before
// theirs.
func behindAThousand(t testing.TB, dir, name string) (n int64) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
	for i := range defaultPageSize + 1 {
		must(t, os.WriteFile(filepath.Join(dir, name, fmt.Sprintf("%05d", i)), []byte("junk"), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, name+"-1"), []byte("junk"), 0o600))
	return defaultPageSize + 2
}

// What is counted on files, before a key is destroyed or an import is taken for complete, is all.
func TestFilesAreCountedInPages(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	b := w.wrap(t, fileBucket(t, dir), "records")
	n := behindAThousand(t, filepath.Join(dir, alice.Segment()), "a")
	r, err := Reseal(w.a, b, &ResealOptions{DryRun: true})
	must(t, err)
	if r.Objects != n {
		t.Errorf("Reseal counts %d objects of %d", r.Objects, n)
	}
	from := t.TempDir()
	n = behindAThousand(t, from, "a")
	for _, prefix := range []string{"", "a"} {
		report, err := Import(w.a, w.wrap(t, memblob.OpenBucket(nil), "records"), fileBucket(t, from), &ImportOptions{DryRun: true, Prefix: prefix})
		must(t, err)
		if report.Listed != n {
			t.Errorf("prefix %q: Import sees %d objects of %d", prefix, report.Listed, n)
		}
	}
}

// The names of files are read as fileblob writes them.
func FuzzFileNames(f *testing.F) {
	for _, key := range besideDirectories {
		f.Add(key)
	}
	f.Add("_0x5f_")
	f.Add("__0x5f__0x2f__")
	f.Add("a__0x\x01__")
	f.Fuzz(func(t *testing.T, key string) {
		dir := t.TempDir()
		store := fileBucket(t, dir)
		if err := store.WriteAll(t.Context(), key, nil, &blob.WriterOptions{ContentType: "x/y"}); err != nil {
			t.Skip()
		}
		found, next, err := filePage(store, &fileLister{ctx: t.Context(), root: dir + string(filepath.Separator)}, "", math.MaxInt32)
		must(t, err)
		want, err := store.List(nil).Next(t.Context())
		if err == io.EOF && len(found) == 0 {
			return
		}
		must(t, err)
		if len(found) != 1 || found[0].Key != want.Key || found[0].Size != want.Size || len(next) > 0 {
			t.Errorf("%q is listed as %+v, and by fileblob as %q", key, found, want.Key)
		}
	})
}
