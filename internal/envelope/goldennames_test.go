package envelope_test

import (
	"bytes"
	"encoding/base32"
	"slices"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
)

// TestGoldenNames reads the record of version 2 and every sealed name with Tink's own factories and FORMAT.md alone, as
// somebody in another language would.
func TestGoldenNames(t *testing.T) {
	v, id := load(t)
	n, err := golden.LoadNames("../..")
	if err != nil {
		t.Fatal(err)
	}
	h, err := n.Handle()
	if err != nil {
		t.Fatal(err)
	}
	d, err := daead.New(h)
	if err != nil {
		t.Fatal(err)
	}
	base32hex := base32.HexEncoding.WithPadding(base32.NoPadding)
	c := func(s string) string { return "\x00\x00" + string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	for _, x := range n.Names {
		rest, ok := strings.CutPrefix(x.Name, "t-_41cme-1/.sealed/")
		if !ok {
			t.Fatalf("%q is not in its place", x.Name)
		}
		key := ""
		for _, sealed := range strings.Split(rest, "/") {
			ciphertext, err := base32hex.DecodeString(strings.ToUpper(sealed))
			if err != nil {
				t.Fatal(err)
			}
			piece, err := d.DecryptDeterministically(ciphertext, []byte("\x01\x0b"+c("Acme-1")+c(x.Label)+c(key)))
			if err != nil {
				t.Fatalf("%q: %v", x.Key, err)
			}
			key += string(piece)
		}
		if key != x.Key {
			t.Errorf("%q is the name of %q", key, x.Key)
		}
	}
	for _, name := range n.Foreign {
		if _, ok := envelope.OpenName(d, id, "scans", "", name); ok || !envelope.IsSealedName(name) {
			t.Errorf("%q opens, or has not the form", name)
		}
	}
	for _, name := range n.Junk {
		if _, ok := envelope.OpenName(d, id, "scans", "", name); ok || envelope.IsSealedName(name) {
			t.Errorf("%q opens, or has the form", name)
		}
	}
	data, err := aead.New(handle(t, v, "data"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range n.Pages {
		plain, err := data.Decrypt(x.Sealed, []byte("\x01\x0c"+c("Acme-1")+c(x.Label)))
		if want := c(x.Prefix) + c(x.Delimiter) + string(x.Token); err != nil || string(plain) != want {
			t.Errorf("page token: %q, %v; want %q", plain, err, want)
		}
	}
}

func TestGoldenBoundRecord(t *testing.T) {
	v, id := load(t)
	n, err := golden.LoadNames("../..")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := envelope.ParseRecord(n.Record)
	if err != nil {
		t.Fatal(err)
	}
	if got := envelope.AppendRecord(nil, rec); !bytes.Equal(got, n.Record) || rec.Format != envelope.Bound || n.Record[3] != 2 {
		t.Error("the record does not encode to what it was read from, or is not of version 2")
	}
	root, err := aead.New(handle(t, v, "root"))
	if err != nil {
		t.Fatal(err)
	}
	purposes := []string{"audit", "blobs", "data", "index", "names", "pseudonym"}
	names, err := n.Handle()
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range rec.Keysets {
		if i >= len(purposes) || k.Purpose != purposes[i] {
			t.Fatalf("keyset %d is %q", i, k.Purpose)
		}
		ad := envelope.KeysetAD(nil, id, k.Purpose)
		for _, p := range purposes {
			ad = append(append(ad, 0, 0, 0, byte(len(p))), p...)
		}
		h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(k.Encrypted)), root, ad)
		if err != nil {
			t.Fatalf("%s: %v", k.Purpose, err)
		}
		want := names
		if k.Purpose != "names" {
			want = handle(t, v, k.Purpose)
		}
		if h.String() != want.String() {
			t.Errorf("%s is %s, want %s", k.Purpose, h, want)
		}
		if _, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(k.Encrypted)), root, envelope.KeysetAD(nil, id, k.Purpose)); err == nil {
			t.Errorf("%s opens by itself", k.Purpose)
		}
	}
	if len(rec.Keysets) != len(purposes) {
		t.Errorf("%d keysets", len(rec.Keysets))
	}
	for _, version := range []byte{0, 3, 255} {
		b := slices.Clone(n.Record)
		b[3] = version
		if _, err := envelope.ParseRecord(b); err == nil {
			t.Errorf("a record of version %d was read", version)
		}
	}
}
