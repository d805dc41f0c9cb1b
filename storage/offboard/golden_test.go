package offboard

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	tinksignature "github.com/tink-crypto/tink-go/v2/signature"
	tinked25519 "github.com/tink-crypto/tink-go/v2/signature/ed25519"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/tenant"
)

// golden is testdata/certificate.json.
type golden struct {
	Seed      []byte          `json:"seed"`   // of the Ed25519 key (RFC 8032)
	Public    []byte          `json:"public"` // its public key
	Payload   string          `json:"payload"`
	Envelope  json.RawMessage `json:"envelope"`
	Signature []byte          `json:"signature"`
}

func loadGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "certificate.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// keysetOf is a Tink keyset with the key of a seed.
func keysetOf(t *testing.T, seed []byte) *keyset.Handle {
	t.Helper()
	params, err := tinked25519.NewParameters(tinked25519.VariantNoPrefix)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tinked25519.NewPrivateKey(secretdata.NewBytesFromData(seed, insecuresecretdataaccess.Token{}), 0, params)
	if err != nil {
		t.Fatal(err)
	}
	m := keyset.NewManager()
	id, err := m.AddKey(key)
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := m.Handle()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func signerOf(t *testing.T, h *keyset.Handle) (tink.Signer, tink.Verifier) {
	t.Helper()
	s, err := tinksignature.NewSigner(h)
	if err != nil {
		t.Fatal(err)
	}
	public, err := h.Public()
	if err != nil {
		t.Fatal(err)
	}
	v, err := tinksignature.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// sample is the certificate of the golden file.
func sample() *Certificate {
	at := func(s string) time.Time { w, _ := time.Parse(time.RFC3339Nano, s); return w }
	pieces := int64(2)
	return &Certificate{
		Tenant: tenant.MustParse("clinic.7"),
		Keys: Keys{Keyring: "main", ShreddedAt: at("2026-11-29T05:00:00.123Z"), TriedInVain: true,
			Destroyed: []Key{{"audit", 1}, {"data", 4294967295}, {"data", 77}}},
		Databases: []Database{{Engine: "postgresql", Name: "app", Tables: []Table{{"billing.invoices", 0}, {"patients", 1_000_000}}, Events: "01a225c1-1c5a-74fc-9de6-09cd6320bbc3"}},
		Buckets: []ClearedBucket{{Label: "s3://records", Objects: 12, Bytes: 3456, Leftovers: &pieces, Events: "01a225c1-1fee-76fd-8d89-f601d4052b58"},
			{Label: "<files & more>", Events: "01a225c1-2384-7813-afaa-bb39411f72eb"}},
		Began: at("2026-11-29T04:59:58Z"), Finished: at("2026-11-29T05:00:09.5Z"),
		Actor: "log:0123456789abcdefghijklmnop", Purpose: "offboarding", Request: "r-1", Reason: "contract 4711 ended", Log: "audit.example.com/node-7",
	}
}

// The golden certificate is made anew byte by byte, is verified, and is verified by nothing but the standard library and what
// the specification of DSSE says.
func TestGolden(t *testing.T) {
	if os.Getenv("STRONGROOM_WRITE_GOLDEN") != "" {
		writeGolden(t)
	}
	g := loadGolden(t)
	signer, verifier := signerOf(t, keysetOf(t, g.Seed))
	made, err := sample().Sign(signer, "offboarding-2026")
	if err != nil || !bytes.Equal(bytes.TrimSpace(made), compact(t, g.Envelope)) {
		t.Errorf("signed anew: %s, %v", made, err)
	}
	c, err := Verify(g.Envelope, verifier)
	if err != nil || !reflect.DeepEqual(c, sample()) {
		t.Errorf("verified: %+v, %v", c, err)
	}

	var e struct {
		Payload, PayloadType string
		Signatures           []struct{ KeyID, Sig string }
	}
	if err := json.Unmarshal(g.Envelope, &e); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil || string(payload) != g.Payload {
		t.Errorf("payload %s, %v", payload, err)
	}
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	signed := fmt.Sprintf("DSSEv1 46 application/vnd.strongroom.offboarding.v1+json %d %s", len(g.Payload), g.Payload)
	if err != nil || !bytes.Equal(sig, g.Signature) || !ed25519.Verify(g.Public, []byte(signed), sig) {
		t.Errorf("the signature does not verify as RFC 8032 has it, %v", err)
	}
	if !bytes.Equal(ed25519.NewKeyFromSeed(g.Seed).Public().(ed25519.PublicKey), g.Public) {
		t.Error("the public key is another one's")
	}
}

func compact(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeGolden(t *testing.T) {
	t.Helper()
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	signer, _ := signerOf(t, keysetOf(t, seed))
	made, err := sample().Sign(signer, "offboarding-2026")
	if err != nil {
		t.Fatal(err)
	}
	var e envelope
	if err := json.Unmarshal(made, &e); err != nil {
		t.Fatal(err)
	}
	payload, _ := base64.StdEncoding.DecodeString(e.Payload)
	sig, _ := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	data, err := json.MarshalIndent(golden{seed, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey), string(payload), made, sig}, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join("testdata", "certificate.json"), append(data, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is changed, or signed by another key, or as something else, is not verified.
func TestCertificatesThatAreRefused(t *testing.T) {
	g := loadGolden(t)
	signer, verifier := signerOf(t, keysetOf(t, g.Seed))
	h, err := NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	otherSigner, otherVerifier := signerOf(t, h)
	refused := func(name string, data []byte, v tink.Verifier) {
		t.Helper()
		if c, err := Verify(data, v); c != nil || !errors.Is(err, ErrNotVerified) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	refused("another key", g.Envelope, otherVerifier)
	var e envelope
	if err := json.Unmarshal(g.Envelope, &e); err != nil {
		t.Fatal(err)
	}
	for i := range g.Payload {
		changed := []byte(g.Payload)
		changed[i] ^= 1
		e.Payload = base64.StdEncoding.EncodeToString(changed)
		data, _ := json.Marshal(e)
		refused(fmt.Sprintf("byte %d", i), data, verifier)
	}
	for name, payload := range map[string]string{
		"unknown":       strings.Replace(g.Payload, `"tenant"`, `"more":1,"tenant"`, 1),
		"nothing":       `{}`,
		"null":          `null`,
		"two":           g.Payload + g.Payload,
		"no tenant":     strings.Replace(g.Payload, `"clinic.7"`, `""`, 1),
		"no time":       strings.Replace(g.Payload, `"finished":"2026-11-29T05:00:09.5Z",`, ``, 1),
		"another shape": `[]`,
	} {
		data, err := seal(PayloadType, []byte(payload), signer, "")
		if err != nil {
			t.Fatal(err)
		}
		refused(name, data, verifier)
	}
	data, err := seal("application/json", []byte(g.Payload), signer, "")
	if err != nil {
		t.Fatal(err)
	}
	refused("another type", data, verifier)
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	e.PayloadType = PayloadType
	data, _ = json.Marshal(e)
	refused("signed as another type", data, verifier)
	if _, err := Verify(g.Envelope, nil); err == nil {
		t.Error("no key")
	}
	made, err := sample().Sign(otherSigner, "")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Verify(made, otherVerifier); err != nil || !reflect.DeepEqual(c, sample()) {
		t.Errorf("a new keyset's: %+v, %v", c, err)
	}
}
