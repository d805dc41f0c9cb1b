package envelope_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/tenant"
)

func loadBlobs(t testing.TB) *golden.Blobs {
	t.Helper()
	v, err := golden.LoadBlobs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGoldenBlobs opens what is stored with objects by Tink and FORMAT.md alone.
func TestGoldenBlobs(t *testing.T) {
	keysets, id := load(t)
	v := loadBlobs(t)
	data, err := aead.New(handle(t, keysets, "data"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range v.Attributes {
		sealed, err := base64.RawURLEncoding.DecodeString(x.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := data.Decrypt(sealed, envelope.BlobAttrsAD(nil, id, x.Label, x.Key))
		if err != nil || string(plain) != x.JSON {
			t.Errorf("attributes of %s: %s, %v", x.File, plain, err)
		}
		var a struct{ Headers []byte }
		if err := json.Unmarshal(plain, &a); err != nil || len(a.Headers) != 48 {
			t.Errorf("attributes of %s: %d bytes of headers, %v", x.File, len(a.Headers), err)
		}
	}
	for _, x := range v.Pages {
		plain, err := data.Decrypt(x.Sealed, envelope.BlobPageAD(nil, id, x.Label))
		want := "\x00\x00\x00\x052024/\x00\x00\x00\x01/" + string(x.Token)
		if err != nil || string(plain) != want {
			t.Errorf("page token: %q, %v; want %q", plain, err, want)
		}
	}
	if got := envelope.BlobGrantAD(nil, "scans"); !bytes.Equal(got, v.GrantAD) || string(got) != "\x01\x0a\x00\x00\x00\x05scans" {
		t.Errorf("associated data of grants: %x", got)
	}
	h, err := v.Signer()
	if err != nil {
		t.Fatal(err)
	}
	grants, err := aead.New(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range v.Grants {
		sealed, err := base64.RawURLEncoding.DecodeString(x.Token)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := grants.Decrypt(sealed, v.GrantAD)
		if err != nil || !bytes.Equal(plain, x.Plain) {
			t.Errorf("grant: %x, %v; want %x", plain, err, x.Plain)
		}
		want := envelope.Grant{ID: [16]byte(x.ID), Issued: x.Issued, Expires: x.Expires, MaxBytes: x.MaxBytes, Method: envelope.GrantMethod(x.Method),
			CreateOnly: x.CreateOnly, FixedType: x.FixedType, Tenant: tenant.MustParse(x.Tenant), Actor: x.Actor, Purpose: x.Purpose, Request: x.Request,
			Key: x.Key, ContentType: x.ContentType}
		if got, err := envelope.ParseGrant(x.Plain); err != nil || *got != want {
			t.Errorf("grant: %+v, %v; want %+v", got, err, want)
		}
		if got := envelope.AppendGrant(nil, &want); !bytes.Equal(got, x.Plain) {
			t.Errorf("grant: %x, want %x", got, x.Plain)
		}
	}
	for _, b := range v.Malformed {
		if g, err := envelope.ParseGrant(b); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%x was read as %+v, %v", b, g, err)
		}
	}
}

// The associated data of a grant is no other's, whatever label it has: their kinds differ.
func TestGrantADIsNoOther(t *testing.T) {
	for _, label := range []string{"", "a", "scans", string(envelope.BlobPageAD(nil, tenant.MustParse("a"), "x")[2:])} {
		ad := envelope.BlobGrantAD(nil, label)
		for _, other := range [][]byte{
			envelope.BlobPageAD(nil, tenant.MustParse("a"), label), envelope.BlobAD(nil, tenant.MustParse("a"), label, ""),
			envelope.BlobAttrsAD(nil, tenant.MustParse("a"), label, ""), envelope.KeysetAD(nil, tenant.MustParse("a"), label),
			envelope.BlobGrantAD(nil, label+"x"),
		} {
			if bytes.Equal(ad, other) {
				t.Errorf("%q encodes like %x", label, other)
			}
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	v := loadBlobs(f)
	for _, x := range v.Grants {
		f.Add([]byte(x.Plain))
	}
	for _, b := range v.Malformed {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := envelope.ParseGrant(b)
		if err == nil && !bytes.Equal(envelope.AppendGrant(nil, g), b) {
			t.Fatalf("%x is read as %+v", b, g)
		}
	})
}
