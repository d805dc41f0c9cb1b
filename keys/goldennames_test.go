package keys_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

var updateNames = flag.Bool("update-names", false, "make the golden vectors of sealed names anew, with a new key: only when a format changes")

// TestGoldenNames opens the golden tenant by its record of version 2: all that was sealed before opens, and names are
// sealed as they were.
func TestGoldenNames(t *testing.T) {
	v, err := golden.Load("..")
	must(t, err)
	if *updateNames {
		makeGoldenNames(t, v)
	}
	n, err := golden.LoadNames("..")
	must(t, err)
	v.Record = n.Record
	k := openGolden(t, v)
	checkVectors(t, v, k)
	d, err := sealingNames(k)
	must(t, err)
	for _, x := range n.Names {
		if got := sealedKey(t, k, x.Label, x.Key); got != x.Name {
			t.Errorf("%q in %q is %q, want %q", x.Key, x.Label, got, x.Name)
		}
	}
	for _, name := range append(n.Foreign, n.Junk...) {
		if piece, ok := envelope.OpenName(d, k.ID(), "scans", "", name); ok {
			t.Errorf("%q opens as %q", name, piece)
		}
	}
}

// sealedKey is the name of an object as FORMAT.md describes it.
func sealedKey(t testing.TB, k tenantkeys.Keys, label, key string) string {
	t.Helper()
	d, err := sealingNames(k)
	must(t, err)
	name, parent := k.ID().Segment()+"/.sealed", ""
	for _, piece := range strings.SplitAfter(key, "/") {
		sealed, err := envelope.SealName(d, k.ID(), label, parent, piece)
		must(t, err)
		name, parent = name+"/"+sealed, parent+piece
	}
	return name
}

func makeGoldenNames(t *testing.T, v *golden.Vectors) {
	l := goldenLocal(t, v)
	id := tenant.MustParse(v.Tenant)
	r := openRing(t, l.kek, l.store, &keys.Options{Label: v.Keyring})
	provision(t, r, id)
	n := &golden.Names{Comment: "Test vectors for FORMAT.md. The keys here are in the clear and protect nothing."}
	rec, err := l.store.Get(t.Context(), id)
	must(t, err)
	n.Record = rec.Data
	n.Keyset, err = r.ClearKeyset(t.Context(), id, "names")
	must(t, err)
	k := open(t, r, id)
	for _, key := range []string{"a", "a/", "a/b", "a/b/", "a//b", "/", ".", "../a", "2024/ct.dcm", "ü", strings.Repeat("k", 300)} {
		for _, label := range []string{"scans", "archive"} {
			n.Names = append(n.Names, golden.SealedName{Label: label, Key: key, Name: sealedKey(t, k, label, key)})
		}
	}
	d, err := sealingNames(k)
	must(t, err)
	seal := func(label, parent, piece string) string {
		name, err := envelope.SealName(d, id, label, parent, piece)
		must(t, err)
		return name
	}
	own := seal("scans", "", "a")
	last := map[bool]string{true: "g", false: "0"}[own[len(own)-1] != 'g'] // the other of the two letters that a name of this length ends in
	n.Foreign = []string{seal("archive", "", "a"), seal("scans", "a/", "a"), seal("scans", "", "a/b"), "04000000000000000000000000000000000g", own[:len(own)-1] + last}
	n.Junk = []string{"", "a", own[:len(own)-3], strings.ToUpper(own), own + "\n", own[:len(own)-1] + "v", ".DS_Store"}
	for _, name := range n.Foreign {
		if !envelope.IsSealedName(name) {
			t.Errorf("%q has not the form", name)
		}
	}
	page := golden.BlobPage{Label: "scans", Prefix: "2024/", Delimiter: "/", Token: []byte("2024/ct.dcm")}
	plain := append([]byte("\x00\x00\x00\x052024/\x00\x00\x00\x01/"), page.Token...)
	page.Sealed, err = k.Data().Encrypt(plain, envelope.NamesPageAD(nil, id, page.Label))
	must(t, err)
	n.Pages = append(n.Pages, page)
	text, err := json.MarshalIndent(n, "", "\t")
	must(t, err)
	must(t, os.WriteFile(filepath.Join("..", golden.NamesFile), append(text, '\n'), 0o644))
}
