package blobs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/storage"
)

func sealedWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.sealNames = true
	return w
}

// scopeIn is how alice's names are sealed in a bucket.
func (w *world) scopeIn(t testing.TB, label string) *sealedScope {
	t.Helper()
	k, err := tenantkeys.Open(t.Context(), w.ring, alice)
	must(t, err)
	s, err := newSealedScope(k, label)
	must(t, err)
	return s
}

// No segment of a key is anywhere in the store: not in names, attributes or contents, on disk or in a listing.
func TestSealedNamesShowNothing(t *testing.T) {
	w := sealedWorld(t)
	dir := t.TempDir()
	b := w.wrap(t, fileBucket(t, dir), "records")
	segments := []string{"c4nary-jane-doe", "c4nary-hiv", "c4nary-2024.pdf", "c4nary-Ärztin", "c4nary-copy"}
	key := strings.Join(segments[:3], "/")
	must(t, b.WriteAll(w.a, key, []byte("content"), &blob.WriterOptions{Metadata: map[string]string{"file": segments[2]}, ContentDisposition: segments[2]}))
	must(t, b.WriteAll(w.a, segments[3]+"/", []byte("content"), nil))
	must(t, b.Copy(w.a, segments[4], key, nil))
	files := 0
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !isLock(path) {
			files++
		}
		content, err := os.ReadFile(path)
		for _, s := range append(segments, "c4nary") {
			if strings.Contains(path, s) || bytes.Contains(content, []byte(s)) {
				t.Errorf("%s shows %q", path, s)
			}
		}
		return err
	}))
	if files != 6 { // each with its attributes
		t.Errorf("found %d files", files)
	}
}

var sealedText = regexp.MustCompile(`^t-alice/\.sealed(/[0-9a-v]{34,})+$`)

func fuzzKeys() []string {
	return append(hostileKeys(), "a", "a/", "a/b", "a//b", "/", "//", "a/b/", "ü/ü", "u\u0308", ".", "..", ".sealed", ".sealed/x", "A", strings.Repeat("k", 200))
}

// A key has one name and a name one key; what a store is told has letters and digits only; and a key's directories are
// the name's.
func FuzzSealedNames(f *testing.F) {
	keys := fuzzKeys()
	for i, key := range keys {
		f.Add(key, keys[(i+1)%len(keys)])
	}
	w := sealedWorld(f)
	s := w.scopeIn(f, "records")
	f.Fuzz(func(t *testing.T, a, b string) {
		nameA, errA := s.name(a)
		nameB, errB := s.name(b)
		if errA != nil || errB != nil {
			return
		}
		if (nameA == nameB) != (a == b) {
			t.Fatalf("%q is %q, %q is %q", a, nameA, b, nameB)
		}
		if !sealedText.MatchString(nameA) || len(nameA) > MaxKeyLength || strings.Count(nameA, "/") != strings.Count(a, "/")+2 {
			t.Fatalf("%q is %q", a, nameA)
		}
		if key, ok, err := (&opener{sealedScope: s}).key(nameA); key != a || !ok || err != nil {
			t.Fatalf("%q comes back as %q, %v, %v", a, key, ok, err)
		}
		parent := a[:strings.LastIndexByte(a, '/')+1]
		if dir, err := s.dir(parent); err != nil || nameA[:strings.LastIndexByte(nameA, '/')+1] != dir {
			t.Fatalf("%q is %q, in the directory %q, %v", a, nameA, dir, err)
		}
		// One opener for both, whatever it remembers of the first.
		o := &opener{sealedScope: s}
		for _, x := range [][2]string{{nameA, a}, {nameB, b}, {nameA, a}} {
			if key, ok, err := o.key(x[0]); key != x[1] || !ok || err != nil {
				t.Fatalf("%q comes back as %q, %v, %v", x[1], key, ok, err)
			}
		}
	})
}

// What somebody who can write to the store puts among sealed names: what looks like one and is of another place fails
// the listing, with an alert; what this package never makes is nobody's object.
func TestForeignNamesAmongSealedOnes(t *testing.T) {
	w := sealedWorld(t)
	b, inner := w.mem(t, "records")
	for _, key := range []string{"a/1", "a/2", "b/1"} {
		must(t, b.WriteAll(w.a, key, []byte("content"), nil))
	}
	must(t, b.WriteAll(w.b, "a/1", []byte("bob's"), nil))
	s, other := w.scopeIn(t, "records"), w.scopeIn(t, "archive")
	of := func(s *sealedScope, parent, piece string) string {
		t.Helper()
		name, err := envelope.SealName(s.aead, s.id, s.label, parent, piece)
		must(t, err)
		return name
	}
	a, err := s.dir("a/")
	must(t, err)
	bobs := w.nameOf(t, bob, "a/1")
	bobs = bobs[strings.LastIndexByte(bobs, '/')+1:]
	object := getRaw(t, inner, w.nameOf(t, alice, "a/1"))
	own := of(s, "a/", "1")
	for what, name := range map[string]string{
		"another tenant's name":           bobs,
		"the name of another directory":   of(s, "b/", "1"),
		"the name of the top":             of(s, "", "1"),
		"the name of another bucket":      of(other, "a/", "1"),
		"an object's name as a directory": own + "/" + of(s, "a/1/", "x"),
		"a directory's name as an object": of(s, "a/", "1/"),
		"a name of two segments":          of(s, "a/", "x/y"),
		"a changed letter":                own[:len(own)-4] + map[bool]string{true: "v", false: "0"}[own[len(own)-4] != 'v'] + own[len(own)-3:],
		"a name with something behind it": own + "00000000",
	} {
		putRaw(t, inner, a+name, object)
		w.log.take()
		for _, opts := range []blob.ListOptions{{}, {Prefix: "a/"}, {Prefix: "a/", Delimiter: "/"}, {Delimiter: "x"}} {
			page, _, err := b.ListPage(w.a, blob.FirstPageToken, 100, &opts)
			if !errors.Is(err, storage.ErrIsolation) || len(page) > 0 {
				t.Errorf("%s: %d objects, %v", what, len(page), err)
			}
			if n := alerts(w.log.take()); n != 1 {
				t.Errorf("%s: %d alerts", what, n)
			}
		}
		if got := listing(t, b, w.a, 100, blob.ListOptions{Prefix: "b/", Delimiter: "/"}); !slices.Equal(got, []string{"b/1"}) {
			t.Errorf("%s: elsewhere is %q", what, got)
		}
		must(t, inner.Delete(t.Context(), a+name))
	}
	for _, name := range []string{".DS_Store", "readme.txt", "", "1", strings.ToUpper(own), own + "=", own[:20], "x/" + own, own[:len(own)-1] + "\n"} {
		putRaw(t, inner, a+name, raw{body: []byte("junk")})
		if got := listing(t, b, w.a, 100, blob.ListOptions{Delimiter: "/"}); !slices.Equal(got, []string{"a/ >", "b/ >"}) {
			t.Errorf("with %q the top is %q", name, got)
		}
		if got := listing(t, b, w.a, 100, blob.ListOptions{}); !slices.Equal(got, []string{"a/1", "a/2", "b/1"}) {
			t.Errorf("with %q all is %q", name, got)
		}
	}
}

// A whole directory that was moved into another, or back: the listing that comes by both does not take one for the other,
// in whichever order the store has them.
func TestMovedSealedDirectory(t *testing.T) {
	w := sealedWorld(t)
	b, inner := w.mem(t, "records")
	for _, key := range []string{"a/x/1", "b/x/1"} {
		must(t, b.WriteAll(w.a, key, []byte("content"), nil))
	}
	for _, move := range [][2]string{{"a/", "b/"}, {"b/", "a/"}} {
		s := w.scopeIn(t, "records")
		from, err := s.name(move[0] + "x/1")
		must(t, err)
		fromDir, err := s.dir(move[0])
		must(t, err)
		to, err := s.dir(move[1])
		must(t, err)
		moved := to + strings.TrimPrefix(from, fromDir)
		putRaw(t, inner, moved, getRaw(t, inner, from))
		page, _, err := b.ListPage(w.a, blob.FirstPageToken, 100, nil)
		if !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("from %q to %q: %v", move[0], move[1], err)
		}
		for _, o := range page {
			t.Errorf("listed %q", o.Key)
		}
		must(t, inner.Delete(t.Context(), moved))
	}
}

// An object that was moved to the sealed name of another key does not open, and is listed there no otherwise than a
// damaged one.
func TestSealedNameOfAnotherKey(t *testing.T) {
	w := sealedWorld(t)
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "a", []byte("content"), nil))
	putRaw(t, inner, w.nameOf(t, alice, "b"), getRaw(t, inner, w.nameOf(t, alice, "a")))
	_, err := b.ReadAll(w.a, "b")
	wantIs(t, err, storage.ErrIsolation)
}

// "a" and "a/b" are two objects, on files too: what is sealed tells a directory from an object.
func TestObjectBesideDirectory(t *testing.T) {
	w := sealedWorld(t)
	b := w.wrap(t, fileBucket(t, t.TempDir()), "records")
	want := []string{"a", "a/", "a/b", "a/b/", "x.attrs"}
	for _, key := range want {
		must(t, b.WriteAll(w.a, key, []byte("content"), nil))
	}
	if got := listing(t, b, w.a, 100, blob.ListOptions{}); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for _, key := range want {
		if got, err := b.ReadAll(w.a, key); err != nil || string(got) != "content" {
			t.Errorf("%q: %q, %v", key, got, err)
		}
	}
}
