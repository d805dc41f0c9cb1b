package envelope_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/streamingaead"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/tenant"
)

func load(t testing.TB) (*golden.Vectors, tenant.ID) {
	t.Helper()
	v, err := golden.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	return v, tenant.MustParse(v.Tenant)
}

func logical(t testing.TB, name string) envelope.Logical {
	t.Helper()
	for _, l := range logicals {
		if l.String() == name {
			return l
		}
	}
	t.Fatalf("no logical type %q", name)
	return 0
}

func handle(t testing.TB, v *golden.Vectors, purpose string) *keyset.Handle {
	t.Helper()
	h, err := v.Keyset(purpose)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGoldenAssociatedData(t *testing.T) {
	v, id := load(t)
	functions := map[string]func(args []string) []byte{
		"FieldAD":        func(a []string) []byte { return envelope.FieldAD(nil, id, a[0], a[1]) },
		"IndexInput":     func(a []string) []byte { return envelope.IndexInput(nil, id, a[0], a[1], []byte(a[2])) },
		"BlobAD":         func(a []string) []byte { return envelope.BlobAD(nil, id, a[0], a[1]) },
		"BlobAttrsAD":    func(a []string) []byte { return envelope.BlobAttrsAD(nil, id, a[0], a[1]) },
		"BlobPageAD":     func(a []string) []byte { return envelope.BlobPageAD(nil, id, a[0]) },
		"KeysetAD":       func(a []string) []byte { return envelope.KeysetAD(nil, id, a[0]) },
		"AuditAD":        func(a []string) []byte { return envelope.AuditAD(nil, id, a[0]) },
		"PseudonymInput": func(a []string) []byte { return envelope.PseudonymInput(nil, id, a[0]) },
	}
	for _, x := range v.AD {
		f, ok := functions[x.Function]
		if !ok {
			t.Fatalf("no function %s", x.Function)
		}
		if got := f(x.Args); !bytes.Equal(got, x.Bytes) {
			t.Errorf("%s(%q): %x, want %x", x.Function, x.Args, got, x.Bytes)
		}
		delete(functions, x.Function)
	}
	for name := range functions {
		t.Errorf("%s has no vector", name)
	}
}

// TestGoldenByHand writes one associated data as FORMAT.md says, byte for byte.
func TestGoldenByHand(t *testing.T) {
	want := "\x01\x01" + "\x00\x00\x00\x06Acme-1" + "\x00\x00\x00\x08patients" + "\x00\x00\x00\x04name"
	if got := envelope.FieldAD(nil, tenant.MustParse("Acme-1"), "patients", "name"); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestGoldenValues(t *testing.T) {
	v, _ := load(t)
	seen := map[string]bool{}
	for _, x := range v.Values {
		seen[x.Logical] = true
		value, err := golden.Parse(x.Logical, x.Text)
		if err != nil {
			t.Fatal(err)
		}
		l := logical(t, x.Logical)
		if got, err := envelope.AppendValue(nil, l, value); err != nil || !bytes.Equal(got, x.Bytes) {
			t.Errorf("%s %q: %x, %v; want %x", x.Logical, x.Text, got, err, x.Bytes)
		}
		back, err := envelope.ParseValue(l, bytes.Clone(x.Bytes))
		if err != nil {
			t.Errorf("%s %q: %v", x.Logical, x.Text, err)
		}
		if again, err := envelope.AppendValue(nil, l, back); err != nil || !bytes.Equal(again, x.Bytes) {
			t.Errorf("%s %q does not come back: %x, %v", x.Logical, x.Text, again, err)
		}
	}
	if len(seen) != len(logicals) {
		t.Errorf("vectors of %d of %d logical types", len(seen), len(logicals))
	}
	for _, b := range v.Malformed["value"] {
		if value, err := envelope.ParseValue(envelope.Logical(b[0]), b); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%x was read as %v, %v", b, value, err)
		}
	}
}

// TestGoldenFields opens with Tink's own factories, as somebody with nothing but Tink and FORMAT.md would.
func TestGoldenFields(t *testing.T) {
	v, id := load(t)
	a, err := aead.New(handle(t, v, "data"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := prf.NewPRFSet(handle(t, v, "index"))
	if err != nil {
		t.Fatal(err)
	}
	keyIDs := map[uint32]bool{}
	for _, f := range v.Fields {
		keyIDs[f.KeyID] = true
		if f.Sealed[0] != 1 || binary.BigEndian.Uint32(f.Sealed[1:]) != f.KeyID {
			t.Errorf("%s: output prefix %x, want key %d", f.Column, f.Sealed[:5], f.KeyID)
		}
		want, err := golden.Parse(f.Logical, f.Text)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := envelope.AppendValue(nil, logical(t, f.Logical), want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.Decrypt(f.Sealed, envelope.FieldAD(nil, id, f.Table, f.Column)); err != nil || !bytes.Equal(got, encoded) {
			t.Errorf("%s: %x, %v; want %x", f.Column, got, err, encoded)
		}
		if len(f.Sealed) != len(encoded)-1+envelope.FieldOverhead {
			t.Errorf("%s: %d bytes for an encoded value of %d", f.Column, len(f.Sealed), len(encoded))
		}
		for _, other := range logicals {
			if other == logical(t, f.Logical) {
				continue
			}
			if _, err := envelope.OpenField(a, id, f.Table, f.Column, other, f.Sealed); !errors.Is(err, envelope.ErrMalformed) {
				t.Errorf("a sealed %s was opened as %s: %v", f.Logical, other, err)
			}
		}
	}
	if len(keyIDs) < 2 {
		t.Error("all fields are sealed under one key")
	}
	for _, x := range v.Indexes {
		value, err := golden.Parse(x.Logical, x.Text)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := envelope.AppendValue(nil, logical(t, x.Logical), value)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := set.PRFs[x.KeyID].ComputePRF(envelope.IndexInput(nil, id, x.Table, x.Column, encoded), 16); err != nil || !bytes.Equal(got, x.Bytes) {
			t.Errorf("index of %s: %x, %v; want %x", x.Column, got, err, x.Bytes)
		}
	}
}

func TestGoldenObjects(t *testing.T) {
	v, id := load(t)
	for _, h := range v.Headers {
		if got := envelope.AppendBlobHeader(nil, h.KeyID); !bytes.Equal(got, h.Bytes) {
			t.Errorf("header of %d: %x, want %x", h.KeyID, got, h.Bytes)
		}
		if got, err := envelope.ParseBlobHeader(h.Bytes); err != nil || got != h.KeyID {
			t.Errorf("header %x: %d, %v", h.Bytes, got, err)
		}
	}
	for _, b := range v.Malformed["header"] {
		// A changed key id is no malformed header: there is no such key.
		if got, err := envelope.ParseBlobHeader(b); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%x was read as %d, %v", b, got, err)
		}
	}
	s, err := streamingaead.New(handle(t, v, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range v.Objects {
		stored, err := os.ReadFile(filepath.Join("testdata", o.File))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(stored); hex.EncodeToString(sum[:]) != o.SHA256 {
			t.Fatalf("%s was changed", o.File)
		}
		r, err := s.NewDecryptingReader(bytes.NewReader(stored[envelope.BlobHeaderSize:]), envelope.BlobAD(nil, id, o.Label, o.Key))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, o.Content()) {
			t.Errorf("%s: %d bytes, %v", o.File, len(got), err)
		}
	}
}

func TestGoldenRecord(t *testing.T) {
	v, id := load(t)
	rec, err := envelope.ParseRecord(v.Record)
	if err != nil {
		t.Fatal(err)
	}
	if got := envelope.AppendRecord(nil, rec); !bytes.Equal(got, v.Record) {
		t.Error("the record does not encode to what it was read from")
	}
	root, err := envelope.ParseRoot(v.Root)
	if err != nil {
		t.Fatal(err)
	}
	if got := envelope.AppendRoot(nil, root); !bytes.Equal(got, v.Root) {
		t.Error("the root payload does not encode to what it was read from")
	}
	if root.Tenant != id || rec.Tenant != id || root.Keyring != v.Keyring || rec.Keyring != v.Keyring || root.Version != rec.RootVersion {
		t.Errorf("%v and %v", root, rec)
	}
	a, err := aead.New(handle(t, v, "root"))
	if err != nil {
		t.Fatal(err)
	}
	var purposes []string
	for _, k := range rec.Keysets {
		purposes = append(purposes, k.Purpose)
		h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(k.Encrypted)), a, envelope.KeysetAD(nil, id, k.Purpose))
		if err != nil {
			t.Errorf("%s: %v", k.Purpose, err)
		} else if got, want := h.String(), handle(t, v, k.Purpose).String(); got != want {
			t.Errorf("%s is %s, want %s", k.Purpose, got, want)
		}
	}
	if want := []string{"audit", "blobs", "data", "index", "pseudonym"}; !slices.Equal(purposes, want) {
		t.Errorf("purposes %q, want %q", purposes, want)
	}
	for _, b := range v.Malformed["record"] {
		if _, err := envelope.ParseRecord(b); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%x was read as a record: %v", b, err)
		}
	}
	for _, b := range v.Malformed["root"] {
		if _, err := envelope.ParseRoot(b); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%x was read as a root payload: %v", b, err)
		}
	}
}

func TestALoaderThatFindsNothingFails(t *testing.T) {
	if _, err := golden.Load(t.TempDir()); err == nil {
		t.Error("no file, and no error")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, filepath.FromSlash(golden.File))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := golden.Load(dir); err == nil {
		t.Error("no vectors, and no error")
	}
}
