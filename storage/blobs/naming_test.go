package blobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

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
	everythingAlerts(t, older, older.wrap(t, inner, "records"), inner)
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
