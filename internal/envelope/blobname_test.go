package envelope_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

func newNames(t testing.TB) tink.DeterministicAEAD {
	t.Helper()
	h, err := keyset.NewHandle(daead.AESSIVKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	d, err := daead.New(h)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A sealed piece opens in its place and in no other, whatever is joined or cut.
func TestNamesOpenInTheirPlaceOnly(t *testing.T) {
	d := newNames(t)
	type place struct{ tenant, label, parent string }
	places := []place{{"a", "b", ""}, {"a", "b", "c/"}, {"a", "bc/", ""}, {"ab", "", "c/"}, {"a", "", "bc/"}, {"a", "b", "c//"}, {"a", "b", "/"}, {"A", "b", "c/"}}
	for _, in := range places {
		for _, piece := range []string{"", "/", "x", "x/", "ü", strings.Repeat("k", 300)} {
			name, err := envelope.SealName(d, tenant.MustParse(in.tenant), in.label, in.parent, piece)
			if err != nil || len(name) != envelope.SealedNameLength(len(piece)) {
				t.Fatalf("%q: %d bytes, %v", piece, len(name), err)
			}
			for _, at := range places {
				got, ok := envelope.OpenName(d, tenant.MustParse(at.tenant), at.label, at.parent, name)
				if ok != (in == at) || ok && got != piece {
					t.Errorf("%q of %+v at %+v: %q, %v", piece, in, at, got, ok)
				}
			}
		}
	}
}

// A name has one text: nothing that a lenient decoder reads as the same opens.
func TestNamesHaveOneText(t *testing.T) {
	d, id := newNames(t), tenant.MustParse("a")
	for n := range 8 { // every number of stray bits
		name, err := envelope.SealName(d, id, "b", "", strings.Repeat("x", n))
		if err != nil {
			t.Fatal(err)
		}
		others := []string{name + "\n", name + "\r", "\n" + name, name[:5] + "\n" + name[5:], name + "=", name + "00000000", strings.ToUpper(name), name[:len(name)-1]}
		const alphabet = "0123456789abcdefghijklmnopqrstuv"
		for _, c := range alphabet {
			others = append(others, name[:len(name)-1]+string(c))
		}
		for _, other := range others {
			if piece, ok := envelope.OpenName(d, id, "b", "", other); ok != (other == name) {
				t.Errorf("%q, for %q, opens as %q", other, name, piece)
			}
		}
		if !envelope.IsSealedName(name) || envelope.IsSealedName(name+"\n") || envelope.IsSealedName(strings.ToUpper(name)) {
			t.Error("the form of a name is not what is encoded")
		}
	}
	// What two segments seal as one piece is of no key.
	name, err := envelope.SealName(d, id, "b", "", "x/y")
	if err != nil {
		t.Fatal(err)
	}
	if piece, ok := envelope.OpenName(d, id, "b", "", name); ok {
		t.Errorf("opens as %q", piece)
	}
}

func FuzzOpenName(f *testing.F) {
	d, id := newNames(f), tenant.MustParse("a")
	for _, piece := range []string{"", "/", "x", "x/", "ü", "..", strings.Repeat("k", 200)} {
		name, err := envelope.SealName(d, id, "b", "c/", piece)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, "c/")
		f.Add(name, "")
		f.Add(piece, "c/")
	}
	f.Fuzz(func(t *testing.T, name, parent string) {
		piece, ok := envelope.OpenName(d, id, "b", parent, name)
		if !ok {
			// Then it is a piece, and comes back as one, unless it has several segments.
			sealed, err := envelope.SealName(d, id, "b", parent, name)
			if err != nil {
				t.Fatal(err)
			}
			i := strings.IndexByte(name, '/')
			if got, ok := envelope.OpenName(d, id, "b", parent, sealed); ok != (i < 0 || i == len(name)-1) || ok && got != name {
				t.Fatalf("%q comes back as %q, %v", name, got, ok)
			}
			return
		}
		if again, err := envelope.SealName(d, id, "b", parent, piece); err != nil || again != name {
			t.Fatalf("%q opens as %q, which seals as %q, %v", name, piece, again, err)
		}
	})
}

// The associated data of names and of their page tokens, byte for byte.
func TestNameADByHand(t *testing.T) {
	id := tenant.MustParse("Acme-1")
	for want, got := range map[string][]byte{
		"\x01\x0b\x00\x00\x00\x06Acme-1\x00\x00\x00\x05scans\x00\x00\x00\x05a/b//": envelope.BlobNameAD(nil, id, "scans", "a/b//"),
		"\x01\x0c\x00\x00\x00\x06Acme-1\x00\x00\x00\x05scans":                      envelope.NamesPageAD(nil, id, "scans"),
		"\x01\x05\x00\x00\x00\x06Acme-1\x00\x00\x00\x04data\x00\x00\x00\x04data\x00\x00\x00\x05names": (&envelope.Record{Format: envelope.Bound, Tenant: id,
			Keysets: []envelope.Keyset{{Purpose: "data"}, {Purpose: "names"}}}).KeysetAD(nil, "data"),
		"\x01\x05\x00\x00\x00\x06Acme-1\x00\x00\x00\x04data": (&envelope.Record{Format: envelope.Separate, Tenant: id,
			Keysets: []envelope.Keyset{{Purpose: "data"}, {Purpose: "names"}}}).KeysetAD(nil, "data"),
	} {
		if string(got) != want {
			t.Errorf("%q, want %q", got, fmt.Sprint(want))
		}
	}
}
