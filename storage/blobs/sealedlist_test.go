package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/storage"
)

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
	k, err := tenantkeys.Open(t.Context(), w.ring, alice)
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
		s := &firstKeys{n: n, after: after}
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
