package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
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
	k, err := w.ring.Tenant(t.Context(), alice)
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
		files++
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

// listing is all pages of a listing, as "key" or, for a directory, "key >".
func listing(t testing.TB, b *blob.Bucket, ctx contextT, size int, opts blob.ListOptions) (got []string) {
	t.Helper()
	for token := blob.FirstPageToken; len(token) > 0; {
		page, next, err := b.ListPage(ctx, token, size, &opts)
		must(t, err)
		for _, o := range page {
			if o.IsDir {
				o.Key += " >"
			} else if o.Size != 7 {
				t.Errorf("%q has the size %d", o.Key, o.Size)
			}
			got = append(got, o.Key)
		}
		token = next
	}
	return got
}

// Listings with every kind of prefix, delimiter and page size are those of gocloud's own bucket in memory with the same
// keys in the clear, order included.
func TestSealedListingsAreThoseOfPlainBuckets(t *testing.T) {
	w := sealedWorld(t)
	b, _ := w.mem(t, "records")
	oracle := memory()
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "b", "a-b", "a.b", "ab", "", "z", "Z", "ä", "..", "~", "\x01", "a b"}
	for range 150 {
		var key []string
		for range 1 + rng.IntN(4) {
			key = append(key, parts[rng.IntN(len(parts))])
		}
		if k := strings.Join(key, "/"); k != "" {
			must(t, b.WriteAll(w.a, k, []byte("content"), nil))
			must(t, oracle.WriteAll(t.Context(), k, []byte("content"), nil))
		}
	}
	must(t, b.WriteAll(w.b, "a/a", []byte("content"), nil))
	prefixes := []string{"", "/", "//", "a", "a/", "a/a", "a/a/", "a-", "a/b", "b//", "absent", "absent/", "ä", "..", "../", "a/../"}
	for _, delimiter := range []string{"", "/", "a", "-b", "//", ".", "b/"} {
		for _, prefix := range prefixes {
			want := listing(t, oracle, t.Context(), 1000, blob.ListOptions{Prefix: prefix, Delimiter: delimiter})
			for _, size := range []int{1, 2, 7, 1000, 20_000} {
				got := listing(t, b, w.a, size, blob.ListOptions{Prefix: prefix, Delimiter: delimiter})
				if !slices.Equal(got, want) {
					t.Errorf("prefix %q, delimiter %q, pages of %d:\n%q\nwant\n%q", prefix, delimiter, size, got, want)
				}
			}
		}
	}
}

// listCounter counts the listings that the store is asked for.
type listCounter struct {
	bucketDriver
	asked []driver.ListOptions
	then  func() // called after each, if not nil
}

func (c *listCounter) ListPaged(ctx contextT, o *driver.ListOptions) (*driver.ListPage, error) {
	c.asked = append(c.asked, *o)
	if c.then != nil {
		defer c.then()
	}
	return c.bucketDriver.ListPaged(ctx, o)
}

// The store lists a directory by itself: what is beside and below it is not read.
func TestSealedListingAsksForTheDirectory(t *testing.T) {
	w := sealedWorld(t)
	inner := &listCounter{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	for _, key := range []string{"a/x/1", "a/x/2", "a/y/3", "a/z", "b/1"} {
		must(t, b.WriteAll(w.a, key, []byte("content"), nil))
	}
	inner.asked = nil
	if got := listing(t, b, w.a, 100, blob.ListOptions{Prefix: "a/", Delimiter: "/"}); !slices.Equal(got, []string{"a/x/ >", "a/y/ >", "a/z"}) {
		t.Errorf("got %q", got)
	}
	dir, err := w.scopeIn(t, "records").dir("a/")
	must(t, err)
	if len(inner.asked) != 1 || inner.asked[0].Prefix != dir || inner.asked[0].Delimiter != "/" {
		t.Errorf("the store was asked for %+v", inner.asked)
	}
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

// A tenant whose objects have plain names is refused where names are sealed, and the other way round, by every
// operation that would do anything, and nothing is written.
func TestNamingsDoNotMix(t *testing.T) {
	for _, sealedFirst := range []bool{false, true} {
		w := newWorld(t)
		inner := memory()
		open := func(sealNames bool) *blob.Bucket {
			w.sealNames = sealNames
			return w.wrap(t, inner, "records")
		}
		first := open(sealedFirst)
		must(t, first.WriteAll(w.a, "dir/k", []byte("content"), nil))
		before := rawNames(t, inner)
		for name, err := range everyOperation(open(!sealedFirst), w.a, "dir/k") {
			wantCode(t, err, gcerrors.FailedPrecondition)
			if err == nil || !strings.Contains(err.Error(), "Options.SealNames") || strings.Contains(err.Error(), "isolation") {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := open(!sealedFirst).Exists(w.a, "dir/k")
		wantCode(t, err, gcerrors.FailedPrecondition)
		if after := rawNames(t, inner); !slices.Equal(before, after) {
			t.Errorf("the store had %q, and has %q", before, after)
		}
		// Another tenant is another matter.
		must(t, open(!sealedFirst).WriteAll(w.b, "k", []byte("content"), nil))
		got, err := first.ReadAll(w.a, "dir/k")
		if err != nil || string(got) != "content" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// Two processes that begin with an empty bucket, and differ: the listing of plain names sees the others at once.
func TestSealedNamesThatComeLater(t *testing.T) {
	w := newWorld(t)
	inner := memory()
	plain := w.wrap(t, inner, "records")
	must(t, plain.WriteAll(w.a, "k", []byte("content"), nil)) // alice is checked
	name, err := w.scopeIn(t, "records").name("x")
	must(t, err)
	putRaw(t, inner, alice.Segment()+"/"+sealedMark+"/.DS_Store", raw{body: []byte("junk")})
	for _, delimiter := range []string{"", "/"} {
		if got := listing(t, plain, w.a, 100, blob.ListOptions{Delimiter: delimiter}); !slices.Equal(got, []string{"k"}) {
			t.Errorf("got %q", got)
		}
	}
	putRaw(t, inner, name, raw{body: []byte("content")})
	for _, delimiter := range []string{"", "/"} {
		_, _, err := plain.ListPage(w.a, blob.FirstPageToken, 100, &blob.ListOptions{Delimiter: delimiter})
		wantCode(t, err, gcerrors.FailedPrecondition)
	}
}

// A tenant that an earlier version provisioned is refused until it is provisioned once more; and one whose key record
// was exchanged for that earlier one, and was provisioned again, does not see an empty bucket.
func TestSealedNamesOfAnEarlierTenant(t *testing.T) {
	w, v := goldenWorld(t)
	w.sealNames = true
	b, inner := w.mem(t, "records")
	for name, err := range everyOperation(b, w.a, "k") {
		if !errors.Is(err, keys.ErrNotProvisioned) || gcerrors.Code(err) != gcerrors.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names := rawNames(t, inner); len(names) > 0 {
		t.Errorf("the store has %q", names)
	}
	must(t, w.ring.Provision(t.Context(), tenant.MustParse(v.Tenant)))
	must(t, b.WriteAll(w.a, "k", []byte("content"), nil))
	must(t, b.WriteAll(w.a, "dir/k", []byte("content"), nil))
	if got, err := b.ReadAll(w.a, "k"); err != nil || string(got) != "content" {
		t.Errorf("got %q, %v", got, err)
	}

	older, _ := goldenWorld(t) // the same tenant with the record of before
	older.sealNames = true
	must(t, older.ring.Provision(t.Context(), tenant.MustParse(v.Tenant)))
	before := rawNames(t, inner)
	errs := everyOperation(older.wrap(t, inner, "records"), older.a, "k")
	for name, err := range errs {
		if !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := alerts(older.log.take()); n != len(errs) {
		t.Errorf("%d alerts of %d operations", n, len(errs))
	}
	if after := rawNames(t, inner); !slices.Equal(before, after) {
		t.Errorf("the store had %q, and has %q", before, after)
	}
}

// A page token of one naming is none of the other.
func TestPageTokensOfTheOtherNaming(t *testing.T) {
	w := newWorld(t)
	token := func(sealNames bool) (*blob.Bucket, []byte) {
		w.sealNames = sealNames
		b, _ := w.mem(t, "records")
		for i := range 3 {
			must(t, b.WriteAll(w.a, fmt.Sprint(i), []byte("content"), nil))
		}
		_, token, err := b.ListPage(w.a, blob.FirstPageToken, 1, nil)
		must(t, err)
		return b, token
	}
	plain, plainToken := token(false)
	sealed, sealedToken := token(true)
	for _, x := range []struct {
		b     *blob.Bucket
		token []byte
	}{{plain, sealedToken}, {sealed, plainToken}} {
		_, _, err := x.b.ListPage(w.a, x.token, 1, nil)
		wantCode(t, err, gcerrors.InvalidArgument)
	}
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

// A store that lists other directories than it was asked for is not believed.
func TestStoreListsOtherSealedNames(t *testing.T) {
	w := sealedWorld(t)
	inner := memory()
	good := w.wrap(t, inner, "records")
	must(t, good.WriteAll(w.a, "a/1", []byte("content"), nil))
	must(t, good.WriteAll(w.a, "b/1", []byte("content"), nil))
	dir, err := w.scopeIn(t, "records").dir("b/")
	must(t, err)
	b := w.wrap(t, blob.NewBucket(&lyingLister{innerDriver(inner), dir}), "records")
	k, err := w.ring.Tenant(t.Context(), alice)
	must(t, err)
	naming, err := guarded(b).naming(k)
	must(t, err)
	guarded(b).checked.Add(alice, naming)
	it := b.List(&blob.ListOptions{Prefix: "a/"})
	if o, err := it.Next(w.a); err == io.EOF || !errors.Is(err, storage.ErrIsolation) {
		t.Errorf("got %v, %v", o, err)
	}
}

// A listing that reads many pages of the store ends with its context.
func TestSealedListingIsCancelled(t *testing.T) {
	w := sealedWorld(t)
	inner := &listCounter{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	for i := range defaultPageSize + 1 {
		must(t, b.WriteAll(w.a, fmt.Sprint(i), nil, &blob.WriterOptions{ContentType: "x/y"}))
	}
	ctx, cancel := context.WithCancel(w.a)
	inner.asked, inner.then = nil, cancel
	page, _, err := b.ListPage(ctx, blob.FirstPageToken, 1, nil)
	if !errors.Is(err, context.Canceled) || len(page) > 0 || len(inner.asked) != 1 {
		t.Errorf("%d objects after %d pages, %v", len(page), len(inner.asked), err)
	}
}

func FuzzSmallest(f *testing.F) {
	f.Add("b,a,c,a,d", 2, "a")
	f.Add("", 1, "")
	f.Add("c,c,c,b,b,b,a,a,a", 1, "")
	f.Add("9,8,7,6,5,4,3,2,1", 3, "2")
	f.Fuzz(func(t *testing.T, all string, n int, after string) {
		if n < 1 || n > 100 {
			return
		}
		keys := strings.Split(all, ",")
		s := &smallest{n: n, after: after}
		for _, key := range keys {
			if s.wants(key) {
				s.add(&driver.ListObject{Key: key})
			}
			if len(s.objects) > 2*n {
				t.Fatalf("%d objects are held for %d", len(s.objects), n)
			}
		}
		var got, want []string
		for _, o := range s.trim() {
			got = append(got, o.Key)
		}
		for _, key := range keys {
			if key > after {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if !slices.Equal(got, want[:min(n, len(want))]) {
			t.Fatalf("got %q of %q", got, want)
		}
	})
}

// The way from plain names to sealed ones, over another prefix of the same store: import, and delete the source.
func TestImportSealsNames(t *testing.T) {
	w := newWorld(t)
	store := memory()
	plain := w.wrap(t, store, "records")
	want := []string{"a/../odd", "c4nary/1", "c4nary/2", "top"}
	for _, key := range want {
		must(t, plain.WriteAll(w.a, key, []byte("content"), &blob.WriterOptions{ContentType: "text/x-note"}))
	}
	must(t, plain.WriteAll(w.b, "c4nary/bobs", []byte("content"), nil))
	w.sealNames = true
	sealed := w.wrap(t, blob.PrefixedBucket(blob.NewBucket(innerDriver(store)), "sealed/"), "records")
	report, err := Import(w.a, sealed, plain, &ImportOptions{DeleteSource: true})
	must(t, err)
	if report.Actions[ImportNew] != int64(len(want)) || report.Deleted != int64(len(want)) {
		t.Errorf("imported %v, deleted %d", report.Actions, report.Deleted)
	}
	if got := listing(t, sealed, w.a, 100, blob.ListOptions{}); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	a, err := sealed.Attributes(w.a, "c4nary/1")
	if err != nil || a.ContentType != "text/x-note" {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, name := range rawNames(t, store) {
		if strings.Contains(name, "c4nary") && name != bob.Segment()+"/c4nary/bobs" {
			t.Errorf("the store has %q", name)
		}
	}
}

// Somebody who can write to the key store puts the record of an earlier version back while the process runs, and the
// tenant is provisioned once more, as the refusal says: then the objects under the names key of before are not absent,
// and nothing is written beside them.
func TestOlderRecordUnderARunningBucket(t *testing.T) {
	v, err := golden.Load(moduleRoot)
	must(t, err)
	id, dir := tenant.MustParse(v.Tenant), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "kek"), v.LocalKEK, 0o600))
	kek, err := localkek.Open(filepath.Join(dir, "kek"), &localkek.Options{MustExist: true})
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "records"), nil)
	must(t, err)
	_, err = store.Put(t.Context(), id, v.Record, 0)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{Label: v.Keyring})
	must(t, err)
	t.Cleanup(func() { _ = ring.Close() })
	must(t, ring.Provision(t.Context(), id))
	w := &world{ring: ring, log: new(recorder), a: accessOf(t.Context(), id), sealNames: true}
	w.guard = storage.Guard{Keys: ring, Audit: w.log}
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("content"), nil))

	stored, err := store.Get(t.Context(), id)
	must(t, err)
	_, err = store.Put(t.Context(), id, v.Record, stored.Version)
	must(t, err)
	must(t, ring.Provision(t.Context(), id))
	before := rawNames(t, inner)
	w.log.take()
	errs := everyOperation(b, w.a, "k")
	for name, err := range errs {
		if !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := alerts(w.log.take()); n != len(errs) {
		t.Errorf("%d alerts of %d operations", n, len(errs))
	}
	if after := rawNames(t, inner); !slices.Equal(before, after) {
		t.Errorf("the store had %q, and has %q", before, after)
	}
}

// What somebody plants below the segment of sealed names makes a plain listing no dearer than one question more.
func TestPlantedBelowTheSealedSegment(t *testing.T) {
	w := newWorld(t)
	inner := &listCounter{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	must(t, b.WriteAll(w.a, "k", []byte("content"), nil))
	for i := range 500 {
		putRaw(t, inner.b, fmt.Sprintf("%s/%s/junk%d", alice.Segment(), sealedMark, i), raw{body: []byte("junk")})
	}
	inner.asked = nil
	if got := listing(t, b, w.a, 1000, blob.ListOptions{}); !slices.Equal(got, []string{"k"}) {
		t.Errorf("got %q", got)
	}
	if n := len(inner.asked); n > 10 {
		t.Errorf("one page took %d listings of the store", n)
	}
}
