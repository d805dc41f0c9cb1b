package blobs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// victim is the key of the object that no trick of the other tenant may reach.
const victim = "records/1"

// hostileKeys are keys by which alice would reach bob's object if anything on the way resolved, decoded, folded or
// cut them.
func hostileKeys() []string {
	target := bob.Segment() + "/" + victim
	keys := []string{
		victim,
		"../" + bob.Segment(), // the directory itself
		target,
		"/" + target,
		"//" + target,
		"../" + target,
		"./../" + target,
		"x/../../" + target,
		"..//" + target,
		"/../" + target,
		"../../../../../../" + target,
		"..\\" + target,
		"..\\..\\" + strings.ReplaceAll(target, "/", "\\"),
		"%2e%2e/" + target,
		"..%2f" + target,
		"%2e%2e%2f" + strings.ReplaceAll(target, "/", "%2f"),
		"..;/" + target,
		".~/../" + target,
		".!./" + target,
		"..__0x2f__" + target,
		"__0x2e____0x2e__/" + target,
		"\x00/../" + target,
		"x\x00/../../" + target,
		"\r\n" + target,
		"?prefix=" + target,
		"#" + target,
		"．．/" + target,             // fullwidth full stops
		"․․/" + target,             // one dot leaders
		"‥/" + target,              // two dot leader
		"..∕" + target,             // division slash
		"..／" + target,             // fullwidth solidus
		"\u202e/.." + target,       // right-to-left override
		"..\u200b/" + target,       // zero width space
		"..\u0338/" + target,       // combining solidus overlay
		"\ufeff../" + target,       // byte order mark
		strings.ToUpper(target),    // folded by some file systems
		strings.ToLower(victim),    //
		"..",                       //
		".",                        //
		"../",                      //
		"/",                        //
		"x/..",                     //
		"x/../..",                  //
		"../" + bob.String() + "/", //
	}
	// Among files a name is a file or a directory: what is a directory of another key comes before it.
	slices.SortFunc(keys, func(a, b string) int { return len(a) - len(b) })
	return keys
}

// Every operation of alice, with every hostile key, leaves bob's object as it is and shows nothing of it, on a store
// that resolves paths and on one that does not.
func TestHostileKeys(t *testing.T) { eachNaming(t, testHostileKeys) }

func testHostileKeys(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			w := newWorld(t)
			inner := store.open(t)
			b := w.wrap(t, inner, "records")
			secret := []byte("bob's diagnosis")
			must(t, b.WriteAll(w.b, victim, secret, &blob.WriterOptions{ContentType: "x/bob", Metadata: map[string]string{"of": "bob"}}))
			name := w.nameOf(t, bob, victim)
			before := getRaw(t, inner, name)
			for _, key := range hostileKeys() {
				attack(t, w, b, key)
				for _, stored := range rawNames(t, inner) {
					if stored != name && !strings.HasPrefix(stored, alice.Segment()+"/") {
						t.Fatalf("key %q made %q outside of the tenant's prefix", key, stored)
					}
				}
				if after := getRaw(t, inner, name); string(after.body) != string(before.body) || after.meta[attributesName] != before.meta[attributesName] {
					t.Fatalf("key %q changed the other tenant's object", key)
				}
			}
			got, err := b.ReadAll(w.b, victim)
			must(t, err)
			if string(got) != string(secret) {
				t.Error("bob's object changed")
			}
		})
	}
}

// attack uses key in every operation as alice. What it writes it reads back under exactly that key, so that a key
// that is refused everywhere would not pass for isolation.
func attack(t *testing.T, w *world, b *blob.Bucket, key string) {
	t.Helper()
	absent := func(what string, err error) {
		t.Helper()
		if gcerrors.Code(err) != gcerrors.NotFound {
			t.Errorf("%s %q: got %v, want NotFound", what, key, err)
		}
	}
	_, err := b.ReadAll(w.a, key)
	absent("read", err)
	_, err = b.NewRangeReader(w.a, key, 3, 4, nil)
	absent("read a range of", err)
	_, err = b.Attributes(w.a, key)
	absent("attributes of", err)
	absent("delete", b.Delete(w.a, key))
	absent("copy from", b.Copy(w.a, "copy", key, nil))
	for _, prefix := range []string{key, key + "/", strings.TrimSuffix(key, victim)} {
		it := b.List(&blob.ListOptions{Prefix: prefix})
		if o, err := it.Next(w.a); err != io.EOF {
			t.Errorf("list %q: got %v, %v, want nothing", prefix, o, err)
		}
	}
	must(t, b.WriteAll(w.a, "mine", []byte("alice's"), nil))
	defer func() { must(t, b.Delete(w.a, "mine")) }()
	if strings.HasSuffix(key, "/") && !w.sealNames {
		// A file cannot have such a name; gocloud's own driver escapes it.
		return
	}
	must(t, b.WriteAll(w.a, key, []byte("alice's"), nil))
	got, err := b.ReadAll(w.a, key)
	if err != nil || string(got) != "alice's" {
		t.Errorf("%q does not hold what was written under it: %v", key, err)
	}
	if keys := list(t, w, b, ""); !slices.Contains(keys, key) || len(keys) != 2 {
		t.Errorf("with %q the tenant has the keys %q", key, keys)
	}
	must(t, b.Copy(w.a, key, "mine", nil))
	must(t, b.Delete(w.a, key))
}

func list(t *testing.T, w *world, b *blob.Bucket, prefix string) (keys []string) {
	t.Helper()
	for it := b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := it.Next(w.a)
		if err == io.EOF {
			return keys
		}
		must(t, err)
		keys = append(keys, o.Key)
	}
}

var stores = []struct {
	name string
	open func(t testing.TB) *blob.Bucket
}{
	{"memory", func(t testing.TB) *blob.Bucket { return memory() }},
	{"files", func(t testing.TB) *blob.Bucket {
		return fileBucket(t, t.TempDir())
	}},
}

func TestRefusedKeys(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	for _, key := range []string{
		"",
		strings.Repeat("k", MaxKeyLength),
		strings.Repeat("k", MaxKeyLength-len(alice.Segment())),
		strings.Repeat("/", 500),
		"bad utf-8 \xff",
		"\xc0\xae\xc0\xae/", // an overlong encoding of ".."
	} {
		_, err := b.Attributes(w.a, key)
		wantCode(t, err, gcerrors.InvalidArgument)
		_, err = b.NewReader(w.a, key, nil)
		wantCode(t, err, gcerrors.InvalidArgument)
		wantCode(t, b.WriteAll(w.a, key, nil, nil), gcerrors.InvalidArgument)
		wantCode(t, b.Delete(w.a, key), gcerrors.InvalidArgument)
		must(t, b.WriteAll(w.a, "src", nil, nil))
		wantCode(t, b.Copy(w.a, key, "src", nil), gcerrors.InvalidArgument)
		wantCode(t, b.Copy(w.a, "dst", key, nil), gcerrors.InvalidArgument)
	}
	longest := strings.Repeat("k", MaxKeyLength-len(alice.Segment())-1)
	must(t, b.WriteAll(w.a, longest, []byte("x"), nil))
	for _, name := range rawNames(t, inner) {
		if len(name) > MaxKeyLength {
			t.Errorf("a name of %d bytes reached the store", len(name))
		}
	}
}

// A foreign object and an absent one are the same to a caller, but for the key that gocloud repeats.
func TestForeignLooksAbsent(t *testing.T) { eachNaming(t, testForeignLooksAbsent) }

func testForeignLooksAbsent(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	must(t, b.WriteAll(w.b, victim, []byte("bob's"), nil))
	_, foreign := b.NewReader(w.a, victim, nil)
	_, absent := b.NewReader(w.a, "records/2", nil)
	wantCode(t, foreign, gcerrors.NotFound)
	// The store's error has the name that it was asked for, in front of the key that it may contain.
	if named(foreign, w.nameOf(t, alice, victim), victim) != named(absent, w.nameOf(t, alice, "records/2"), "records/2") {
		t.Errorf("they differ:\n%v\n%v", foreign, absent)
	}
	exists, err := b.Exists(w.a, victim)
	if exists || err != nil {
		t.Errorf("got %v, %v", exists, err)
	}
}

// named is an error without a name and a key.
func named(err error, name, key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(err.Error(), name, "N"), key, "K")
}

// A bucket has no unscoped use.
func TestNoTenant(t *testing.T) { eachNaming(t, testNoTenant) }

func testNoTenant(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("x"), nil))
	for _, ctx := range contextsWithoutAccess(t) {
		for name, err := range everyOperation(b, ctx, "k") {
			if !errors.Is(err, tenant.ErrMissing) && !errors.Is(err, tenant.ErrInvalidAccess) {
				t.Errorf("%s: got %v, want a refusal", name, err)
			}
			wantCode(t, err, gcerrors.PermissionDenied)
		}
	}
	if names := rawNames(t, inner); len(names) != 1 {
		t.Errorf("the store has %q", names)
	}
}

// The driver's own types are not handed out: with them a callback could change the key that was admitted, or use the
// store around the gate.
func TestNoWayAround(t *testing.T) { eachNaming(t, testNoWayAround) }

func testNoWayAround(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	inner, err := fileblob.OpenBucket(dir, nil)
	must(t, err)
	b := w.wrap(t, inner, "records")
	handsOut := func(as func(any) bool) error {
		for _, target := range fileblobTypes() {
			if as(target) {
				return fmt.Errorf("got a %T", target)
			}
		}
		return nil
	}
	must(t, handsOut(b.As))
	must(t, b.WriteAll(w.a, "k", []byte("x"), &blob.WriterOptions{BeforeWrite: handsOut}))
	must(t, b.Copy(w.a, "k2", "k", &blob.CopyOptions{BeforeCopy: handsOut}))
	r, err := b.NewReader(w.a, "k", &blob.ReaderOptions{BeforeRead: handsOut})
	must(t, err)
	must(t, handsOut(r.As))
	must(t, r.Close())
	a, err := b.Attributes(w.a, "k")
	must(t, err)
	must(t, handsOut(a.As))
	o, err := b.List(&blob.ListOptions{BeforeList: handsOut}).Next(w.a)
	must(t, err)
	must(t, handsOut(o.As))
	must(t, b.DeleteWithOptions(w.a, "k2", &blob.DeleteOptions{BeforeDelete: handsOut}))
	_, err = b.SignedURL(w.a, "k", nil)
	wantCode(t, err, gcerrors.Unimplemented)
}

// A page token is worth nothing to another tenant, in another listing or in another bucket, and shows no name.
func TestPageTokens(t *testing.T) { eachNaming(t, testPageTokens) }

func testPageTokens(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	other := w.wrap(t, inner, "other")
	for i := range 5 {
		for _, ctx := range []int{0, 1} {
			must(t, b.WriteAll([]contextT{w.a, w.b}[ctx], fmt.Sprintf("visits/%d-name", i), nil, nil))
		}
	}
	options := &blob.ListOptions{Prefix: "visits/"}
	page, token, err := b.ListPage(w.a, blob.FirstPageToken, 2, options)
	must(t, err)
	if len(page) != 2 || len(token) == 0 || strings.Contains(string(token), "name") {
		t.Fatalf("got %d objects and the token %q", len(page), token)
	}
	steal := func(name string, b *blob.Bucket, ctx contextT, token []byte, options *blob.ListOptions) {
		t.Helper()
		got, next, err := b.ListPage(ctx, token, 2, options)
		if gcerrors.Code(err) != gcerrors.InvalidArgument || len(got) > 0 || len(next) > 0 {
			t.Errorf("%s: got %d objects, %v", name, len(got), err)
		}
	}
	steal("another tenant", b, w.b, token, options)
	steal("another bucket", other, w.a, token, options)
	steal("another prefix", b, w.a, token, &blob.ListOptions{Prefix: "visits/1"})
	steal("another delimiter", b, w.a, token, &blob.ListOptions{Prefix: "visits/", Delimiter: "/"})
	steal("the store's own token", b, w.a, []byte(bob.Segment()+"/visits/1-name"), options)
	for i := range token {
		flipped := slices.Clone(token)
		flipped[i] ^= 1
		steal(fmt.Sprintf("bit flipped in byte %d", i), b, w.a, flipped, options)
	}
	rest, token, err := b.ListPage(w.a, token, 10, options)
	if err != nil || len(rest) != 3 || len(token) != 0 {
		t.Errorf("the true owner got %d objects, %v", len(rest), err)
	}
}

// An iterator that one tenant began does not go on for another.
func TestIteratorOfAnother(t *testing.T) { eachNaming(t, testIteratorOfAnother) }

func testIteratorOfAnother(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	page := defaultPageSize
	if w.sealNames {
		page = maxSortedPage
	}
	for i := range page + 1 {
		must(t, b.WriteAll(w.a, fmt.Sprint(i), nil, &blob.WriterOptions{ContentType: "x/y"}))
	}
	it := b.List(nil)
	for range page {
		_, err := it.Next(w.a)
		must(t, err)
	}
	if _, err := it.Next(w.b); gcerrors.Code(err) != gcerrors.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

// A store that lists what it was not asked for is not believed.
func TestStoreListsForeignNames(t *testing.T) { eachNaming(t, testStoreListsForeignNames) }

func testStoreListsForeignNames(t *testing.T) {
	w := newWorld(t)
	inner := memory()
	must(t, w.wrap(t, inner, "records").WriteAll(w.b, victim, nil, nil))
	b := w.wrap(t, blob.NewBucket(&lyingLister{innerDriver(inner), bob.Segment() + "/"}), "records")
	o, err := b.List(nil).Next(w.a)
	if !errors.Is(err, storage.ErrIsolation) {
		t.Errorf("got %v, %v", o, err)
	}
	if alerts(w.log.take()) != 1 {
		t.Error("no alert")
	}
}

// What others left in the tenant's prefix is not an object, and does not stop a listing.
func TestJunkInPrefix(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "a", []byte("abc"), nil))
	for _, name := range []string{"/", "/.DS_Store", "/x/../y", "/x//y", "/junk"} {
		putRaw(t, inner, alice.Segment()+name, raw{body: []byte("junk")})
	}
	it := b.List(nil)
	var got []string
	for {
		o, err := it.Next(w.a)
		if err == io.EOF {
			break
		}
		must(t, err)
		got = append(got, fmt.Sprint(o.Key, " ", o.Size))
	}
	if !slices.Equal(got, []string{"a 3", "junk -1"}) {
		t.Errorf("got %q", got)
	}
	_, err := b.ReadAll(w.a, "junk")
	wantIs(t, err, storage.ErrIsolation)
}
