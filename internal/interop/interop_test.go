package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/streamingaead"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tink1 does an operation with Tink for Go 1.7.0.
type tink1 string

type request struct {
	Keyset    []byte
	Primitive string
	Open      bool
	Input, AD []byte
}

func (program tink1) do(t testing.TB, r request) []byte {
	t.Helper()
	in, err := json.Marshal(r)
	must(t, err)
	var failed strings.Builder
	cmd := exec.CommandContext(t.Context(), string(program))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &failed
	answer, err := cmd.Output()
	if err != nil {
		t.Fatalf("Tink 1.7.0: %v: %s", err, failed.String())
	}
	var out []byte
	must(t, json.Unmarshal(answer, &out))
	return out
}

// primitive does the same with the version that the library uses.
func primitive(h *keyset.Handle, kind string) (seal, open func(input, ad []byte) ([]byte, error), err error) {
	switch kind {
	case "aead":
		p, err := aead.New(h)
		if err != nil {
			return nil, nil, err
		}
		return p.Encrypt, p.Decrypt, nil
	case "daead":
		p, err := daead.New(h)
		if err != nil {
			return nil, nil, err
		}
		return p.EncryptDeterministically, p.DecryptDeterministically, nil
	case "prf":
		p, err := prf.NewPRFSet(h)
		if err != nil {
			return nil, nil, err
		}
		return func(input, _ []byte) ([]byte, error) { return p.ComputePrimaryPRF(input, 16) }, nil, nil
	}
	p, err := streamingaead.New(h)
	if err != nil {
		return nil, nil, err
	}
	seal = func(input, ad []byte) ([]byte, error) {
		var out bytes.Buffer
		w, err := p.NewEncryptingWriter(&out, ad)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(input); err != nil {
			return nil, err
		}
		err = w.Close()
		return out.Bytes(), err
	}
	open = func(input, ad []byte) ([]byte, error) {
		r, err := p.NewDecryptingReader(bytes.NewReader(input), ad)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	return seal, open, nil
}

// TestTink1 seals with each version of Tink under a tenant's exported keysets, before and after a rotation, and opens with the
// other.
func TestTink1(t *testing.T) {
	dir := t.TempDir()
	program := tink1(filepath.Join(dir, "tink1"))
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", string(program), "./tink1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	trail, err := audit.OpenLog(filepath.Join(dir, "audit"), nil)
	must(t, err)
	defer trail.Close()
	kek, err := localkek.Open(filepath.Join(dir, "kek"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{Audit: trail, SuspendWithin: 2 * time.Second})
	must(t, err)
	defer ring.Close()
	id := tenant.MustParse("acme")
	must(t, ring.Provision(t.Context(), id))

	input, ad := bytes.Repeat([]byte("a patient's note; "), 10_000), []byte("place")
	for round := range 2 {
		for purpose, kind := range map[keys.Purpose]string{keys.PurposeData: "aead", keys.PurposeAudit: "aead", keys.PurposeIndex: "prf", keys.PurposePseudonym: "prf",
			keys.PurposeBlobs: "streamingaead", "names": "daead"} {
			if round == 1 && purpose != "names" {
				must(t, ring.Rotate(t.Context(), id, purpose, ""))
			}
			h, err := ring.DangerousExport(t.Context(), id, purpose, "a test")
			must(t, err)
			var clear bytes.Buffer
			must(t, insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&clear)))
			seal, open, err := primitive(h, kind)
			must(t, err)
			ours, err := seal(input, ad)
			must(t, err)
			theirs := program.do(t, request{clear.Bytes(), kind, false, input, ad})
			if open == nil || kind == "daead" {
				if !bytes.Equal(ours, theirs) {
					t.Errorf("round %d, %s: %x by one, %x by the other", round, purpose, ours, theirs)
				}
				if open == nil {
					continue
				}
			}
			if got := program.do(t, request{clear.Bytes(), kind, true, ours, ad}); !bytes.Equal(got, input) {
				t.Errorf("round %d, %s: Tink 1.7.0 opens %d bytes that are not what was sealed", round, purpose, len(got))
			}
			if got, err := open(theirs, ad); err != nil || !bytes.Equal(got, input) {
				t.Errorf("round %d, %s: Tink 2 opens %d bytes that are not what was sealed: %v", round, purpose, len(got), err)
			}
		}
	}

	// What the library itself seals is such a ciphertext.
	h, err := ring.DangerousExport(t.Context(), id, keys.PurposeData, "a test")
	must(t, err)
	var clear bytes.Buffer
	must(t, insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&clear)))
	open, err := ring.Tenant(t.Context(), id)
	must(t, err)
	sealed, err := open.Data().Encrypt(input, ad)
	must(t, err)
	if got := program.do(t, request{clear.Bytes(), "aead", true, sealed, ad}); !bytes.Equal(got, input) {
		t.Error("Tink 1.7.0 does not open what a tenant's keys sealed")
	}
	theirs := program.do(t, request{clear.Bytes(), "aead", false, input, ad})
	if got, err := open.Data().Decrypt(theirs, ad); err != nil || !bytes.Equal(got, input) {
		t.Errorf("a tenant's keys do not open what Tink 1.7.0 sealed: %v", err)
	}
}
