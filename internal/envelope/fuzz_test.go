package envelope_test

import (
	"bytes"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
)

func dataAEAD(t testing.TB, v *golden.Vectors) tink.AEAD {
	t.Helper()
	a, err := aead.New(handle(t, v, "data"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func indexSet(t testing.TB, v *golden.Vectors) *prf.Set {
	t.Helper()
	set, err := prf.NewPRFSet(handle(t, v, "index"))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// What is accepted is canonical: it encodes to the same bytes.

func FuzzParseRecord(f *testing.F) {
	v, _ := load(f)
	f.Add([]byte(v.Record))
	n, err := golden.LoadNames("../..")
	if err != nil {
		f.Fatal(err)
	}
	counted, err := envelope.ParseRecord(n.Record)
	if err != nil {
		f.Fatal(err)
	}
	counted.Add(7, 1024)
	f.Add(envelope.AppendRecord(nil, counted))
	f.Add([]byte(n.Record))
	for _, b := range v.Malformed["record"] {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := envelope.ParseRecord(b)
		if err == nil && !bytes.Equal(envelope.AppendRecord(nil, rec), b) {
			t.Fatalf("%x is read as %v", b, rec)
		}
	})
}

func FuzzParseRoot(f *testing.F) {
	v, _ := load(f)
	f.Add([]byte(v.Root))
	for _, b := range v.Malformed["root"] {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := envelope.ParseRoot(b)
		if err == nil && !bytes.Equal(envelope.AppendRoot(nil, root), b) {
			t.Fatalf("%x is read as %v", b, root)
		}
	})
}

func FuzzParseBlobHeader(f *testing.F) {
	v, _ := load(f)
	f.Add([]byte(v.Headers[0].Bytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := envelope.ParseBlobHeader(b)
		if err == nil && !bytes.Equal(envelope.AppendBlobHeader(nil, id), b) {
			t.Fatalf("%x is read as %d", b, id)
		}
	})
}
