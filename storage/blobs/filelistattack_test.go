package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

func listAll(ctx context.Context, b *blob.Bucket, prefix string) (keys []string, err error) {
	for it := b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := it.Next(ctx)
		if err == io.EOF {
			return keys, nil
		}
		if err != nil {
			return keys, err
		}
		keys = append(keys, o.Key)
	}
}

// Where the locks are is no business of a listing's: their directory is only for who writes, as a process that reads may not be.
func TestFilesAreListedWithoutTheirLocks(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w, dir := newWorld(t), t.TempDir()
		must(t, w.wrap(t, fileBucket(t, dir), "records").WriteAll(w.a, "dir/x", []byte("x"), nil))
		must(t, os.RemoveAll(filepath.Join(dir, locksPrefix)))
		must(t, os.WriteFile(filepath.Join(dir, ".strongroom"), nil, 0))
		if keys, err := listAll(w.a, w.wrap(t, fileBucket(t, dir), "records"), ""); err != nil || !slices.Equal(keys, []string{"dir/x"}) {
			t.Errorf("%q, %v", keys, err)
		}
	})
}

// A store whose directory is gone, as with its file system, has not lost its objects: nothing that needs an older key is counted there.
func TestFilesWhoseDirectoryIsGone(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		for _, part := range []string{"", "part/", "part/of-"} {
			w, dir := newWorld(t), filepath.Join(t.TempDir(), "store")
			must(t, os.Mkdir(dir, 0o700))
			store := fileBucket(t, dir)
			if part != "" {
				store = blob.PrefixedBucket(store, part)
			}
			b := w.wrap(t, store, "records")
			if keys, err := listAll(w.a, b, ""); err != nil || len(keys) > 0 {
				t.Errorf("%q: an empty store: %q, %v", part, keys, err)
			}
			must(t, b.WriteAll(w.a, "dir/x", []byte("x"), nil))
			must(t, os.Rename(dir, dir+"-away"))
			for _, prefix := range []string{"", "dir/"} {
				if keys, err := listAll(w.a, b, prefix); err == nil {
					t.Errorf("%q: a store that is away is listed: %q", part, keys)
				}
			}
			if r, err := Reseal(w.a, b, &ResealOptions{DryRun: true}); err == nil {
				t.Errorf("%q: a store that is away is counted: %+v", part, r)
			}
			must(t, os.Rename(dir+"-away", dir))
			if keys, err := listAll(w.a, b, ""); err != nil || len(keys) != 1 {
				t.Errorf("%q: %q, %v", part, keys, err)
			}
		}
	})
}

// A directory that is a link is not passed over, nor does it lead into another tenant's.
func TestFilesBehindLinks(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	b := w.wrap(t, fileBucket(t, dir), "records")
	own := filepath.Join(dir, alice.Segment())
	must(t, b.WriteAll(w.a, "a/x", []byte("x"), nil))
	must(t, b.WriteAll(w.b, "secret", []byte("x"), nil))
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	must(t, os.Rename(filepath.Join(own, "a"), elsewhere))
	for what, to := range map[string]string{"elsewhere": elsewhere, "another tenant's": filepath.Join(dir, bob.Segment()), "itself": own, "nowhere": filepath.Join(dir, "absent")} {
		must(t, os.Symlink(to, filepath.Join(own, "a")))
		for _, prefix := range []string{"", "a", "a/", "a/a/"} {
			keys, err := listAll(w.a, b, prefix)
			if slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, "secret") }) {
				t.Errorf("%s, prefix %q: another tenant's keys are listed: %q", what, prefix, keys)
			}
			if err == nil && !slices.Contains(keys, "a/x") && (what != "nowhere" || prefix != "a/a/") {
				t.Errorf("%s, prefix %q: an object is left out: %q", what, prefix, keys)
			}
		}
		if r, err := Reseal(w.a, b, &ResealOptions{DryRun: true}); err == nil && r.Objects == 0 {
			t.Errorf("%s: Reseal counted %+v", what, r)
		}
		must(t, os.Remove(filepath.Join(own, "a")))
	}
	// The tenant's directory itself may be elsewhere, and so may a file.
	must(t, os.Rename(elsewhere, filepath.Join(own, "a")))
	must(t, os.Rename(own, elsewhere))
	must(t, os.Symlink(elsewhere, own))
	must(t, os.Rename(filepath.Join(elsewhere, "a", "x"), filepath.Join(dir, "x")))
	must(t, os.Symlink(filepath.Join(dir, "x"), filepath.Join(elsewhere, "a", "x")))
	o, err := b.List(nil).Next(w.a)
	if err != nil || o.Key != "a/x" || o.Size != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}

// An import sees every object of its source, once.
func TestImportListsOddFiles(t *testing.T) {
	imported := func(from *blob.Bucket, prefix string) (*ImportReport, error) {
		w := newWorld(t)
		return Import(w.a, w.wrap(t, memory(), "records"), from, &ImportOptions{Prefix: prefix})
	}
	t.Run("a part whose keys begin with a slash", func(t *testing.T) {
		from := blob.PrefixedBucket(fileBucket(t, t.TempDir()), "part/of-")
		for _, key := range []string{"/x", "/y/z", "a"} {
			must(t, from.WriteAll(t.Context(), key, []byte("x"), nil))
		}
		for prefix, want := range map[string]int64{"": 3, "/": 2, "/y/": 1, "a": 1} {
			if r, err := imported(from, prefix); err != nil || r.Listed != want {
				t.Errorf("prefix %q: %+v, %v", prefix, r, err)
			}
		}
	})
	t.Run("a part that ends as an escape begins", func(t *testing.T) {
		from := blob.PrefixedBucket(fileBucket(t, t.TempDir()), "part_")
		must(t, from.WriteAll(t.Context(), "_0x2f__y", []byte("x"), nil))
		if r, err := imported(from, ""); err != nil || r.Listed != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("prefixes that no key has", func(t *testing.T) {
		from := fileBucket(t, t.TempDir())
		must(t, from.WriteAll(t.Context(), "a/x", []byte("x"), nil))
		for _, prefix := range []string{"/", "./", "a/./", "a/../", "../", "a//", "a/x/", "//"} {
			if r, err := imported(from, prefix); err != nil || r.Listed != 0 {
				t.Errorf("prefix %q: %+v, %v", prefix, r, err)
			}
		}
	})
	t.Run("a source that is away", func(t *testing.T) {
		for _, part := range []string{"", "part/"} {
			dir := filepath.Join(t.TempDir(), "source")
			must(t, os.Mkdir(dir, 0o700))
			from := fileBucket(t, dir)
			if part != "" {
				from = blob.PrefixedBucket(from, part)
			}
			if r, err := imported(from, ""); err != nil || r.Listed != 0 {
				t.Errorf("%q, empty: %+v, %v", part, r, err)
			}
			must(t, os.Remove(dir))
			if r, err := imported(from, ""); err == nil {
				t.Errorf("%q, away: %+v", part, r)
			}
		}
	})
	t.Run("an object that is called as the first page's token", func(t *testing.T) {
		dir := t.TempDir()
		for i := range defaultPageSize - 1 {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("a%05d", i)), nil, 0o600))
		}
		must(t, os.WriteFile(filepath.Join(dir, string(blob.FirstPageToken)), nil, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "last"), nil, 0o600))
		w := newWorld(t)
		ctx, cancel := context.WithCancel(w.a)
		defer cancel()
		r, err := Import(ctx, w.wrap(t, memory(), "records"), fileBucket(t, dir), &ImportOptions{DryRun: true, Progress: func(p ImportProgress) {
			if p.Report.Listed > 2*defaultPageSize {
				cancel()
			}
		}})
		if err != nil || r.Listed != defaultPageSize+1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// What cannot be deleted by the name that it is listed under is not gone.
func TestOffboardOfFilesUnderOtherNames(t *testing.T) {
	for _, name := range []string{"__0x41__", "dir/__0x41__"} {
		dir := t.TempDir()
		l := newLeaver(t, fileBucket(t, dir))
		path := filepath.Join(dir, leaving.Segment(), filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte("x"), 0o600))
		l.shred(t)
		_, err := Offboard(l.ctx, l.b, leaving, nil)
		if _, there := os.Lstat(path); err == nil && !errors.Is(there, os.ErrNotExist) {
			t.Errorf("%s is left, and the tenant said to be gone", name)
		}
	}
}

// Who reads several objects with the same options begins with each.
func TestReadersOfTheSameOptions(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	options := new(driver.ReaderOptions)
	for i, ctx := range []context.Context{w.a, w.b} {
		for _, key := range []string{"x", "y"} {
			must(t, b.WriteAll(ctx, key, fmt.Append(nil, i, key), nil))
		}
	}
	for i, ctx := range []context.Context{w.a, w.b} {
		for _, key := range []string{"x", "y", "x"} {
			r, err := guarded(b).NewRangeReader(ctx, key, 0, -1, options)
			must(t, err)
			got, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil || string(got) != fmt.Sprint(i, key) {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
	must(t, b.WriteAll(w.a, "x", []byte("newer"), nil))
	_, err := guarded(b).NewRangeReader(w.a, "x", 0, -1, options)
	wantCoded(t, err, gcerrors.FailedPrecondition)
}
