package keys_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// How tenant B's operator, or whoever can write to the key store, would get A's keys opened as B's: each way must be
// refused, and nobody's keys be handed out.

func refusedWith(t *testing.T, r *keys.Keyring, id tenant.ID, want error) {
	t.Helper()
	k, err := r.Tenant(t.Context(), id)
	if k != nil {
		t.Fatalf("the keys of %s were handed out for %s", k.ID(), id)
	}
	wantErr(t, err, want)
	if s, err := r.AuditSealer(t.Context(), id); s != nil || err == nil {
		t.Fatal("a sealer was handed out")
	}
}

func TestSwappedFilesAreRefused(t *testing.T) {
	l := newLocal(t)
	provision(t, openRing(t, l.kek, l.store, nil), idA, idB)
	a, b := filepath.Join(l.dir, "records", idA.Segment()), filepath.Join(l.dir, "records", idB.Segment())
	rename(t, a, a+".x")
	rename(t, b, a)
	rename(t, a+".x", b)
	r := openRing(t, l.kek, l.store, nil)
	refusedWith(t, r, idA, keys.ErrIntegrity)
	refusedWith(t, r, idB, keys.ErrIntegrity)
	if _, err := r.Status(t.Context(), idA); !errors.Is(err, keys.ErrIntegrity) {
		t.Fatalf("the status of another tenant's record: %v", err)
	}
	wantErr(t, r.Provision(t.Context(), idA), keys.ErrIntegrity)
	wantErr(t, r.Suspend(t.Context(), idA, ""), keys.ErrIntegrity)
	wantErr(t, r.Shred(t.Context(), idA, ""), keys.ErrIntegrity)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherTenantsRecordUnderOnesOwnNameIsRefused(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA, idB)
	var victim *envelope.Record
	edit := func(id tenant.ID, f func(*envelope.Record)) {
		t.Helper()
		if err := r.EditRecord(t.Context(), id, f); err != nil {
			t.Fatal(err)
		}
	}
	edit(idA, func(rec *envelope.Record) { v := *rec; victim = &v })

	// The whole record, relabelled: the KEK refuses the root.
	edit(idB, func(rec *envelope.Record) { *rec = *victim; rec.Tenant = idB })
	refusedWith(t, openRing(t, l.kek, l.store, nil), idB, keys.ErrIntegrity)
}

func TestARootWrappedByTheWrongKEKIsRefused(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA, idB)
	if err := r.ForgedRoot(t.Context(), idA, idB); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, openRing(t, l.kek, l.store, nil), idB, keys.ErrIntegrity)
}

func TestPurposesAreNotInterchangeable(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	err := r.EditRecord(t.Context(), idA, func(rec *envelope.Record) {
		i := slices.IndexFunc(rec.Keysets, func(k envelope.Keyset) bool { return k.Purpose == "audit" })
		j := slices.IndexFunc(rec.Keysets, func(k envelope.Keyset) bool { return k.Purpose == "data" })
		rec.Keysets[i].Encrypted, rec.Keysets[j].Encrypted = rec.Keysets[j].Encrypted, rec.Keysets[i].Encrypted
	})
	if err != nil {
		t.Fatal(err)
	}
	refusedWith(t, openRing(t, l.kek, l.store, nil), idA, keys.ErrIntegrity)
}

func TestAnotherKeyringsRecordIsRefused(t *testing.T) {
	l := newLocal(t)
	provision(t, openRing(t, l.kek, l.store, &keys.Options{Label: "staging"}), idA)
	production := openRing(t, l.kek, l.store, &keys.Options{Label: "production"})
	refusedWith(t, production, idA, keys.ErrIntegrity)
	// Relabelled in the store: the label inside the wrapped root still tells.
	if err := production.EditRecord(t.Context(), idA, func(rec *envelope.Record) { rec.Keyring = "production" }); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, openRing(t, l.kek, l.store, &keys.Options{Label: "production"}), idA, keys.ErrIntegrity)
	err := production.EditRecord(t.Context(), idA, func(rec *envelope.Record) { rec.Keyring = "staging"; rec.RootVersion = 2 })
	if err != nil {
		t.Fatal(err)
	}
	refusedWith(t, openRing(t, l.kek, l.store, &keys.Options{Label: "staging"}), idA, keys.ErrIntegrity)
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	l := newLocal(t)
	provision(t, openRing(t, l.kek, l.store, nil), idA)
	path := filepath.Join(l.dir, "records", idA.Segment())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if i%7 != 0 && i < len(whole)-1 {
			continue
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x11
		for _, b := range [][]byte{flipped, whole[:i]} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			r := openRing(t, l.kek, l.store, nil)
			k, err := tenantkeys.Open(t.Context(), r, idA)
			if len(b) == len(whole) && i >= 4 && i < 12 {
				continue // the store's version, which the next Put compares
			}
			if err == nil && k.ID() == idA && opensEverything(k) && len(b) == len(whole) {
				// The one part that nothing authenticates is Tink's public description of a keyset.
				continue
			}
			if k != nil || !errors.Is(err, keys.ErrIntegrity) && !errors.Is(err, keys.ErrShredded) && !errors.Is(err, keys.ErrSuspended) {
				t.Fatalf("byte %d of %d: %v, %v", i, len(whole), k, err)
			}
			r.Close()
		}
	}
}

// opensEverything reports whether the keys of each purpose work.
func opensEverything(k tenantkeys.Keys) bool {
	_, err := k.Data().Encrypt(nil, nil)
	_, err2 := k.Audit().Pseudonym("x")
	_, err3 := k.Index().ComputePrimaryPRF([]byte("x"), 16)
	_, err4 := k.Blobs().NewEncryptingWriter(io.Discard, nil)
	names, err5 := sealingNames(k)
	if err5 == nil {
		_, err5 = names.EncryptDeterministically([]byte("x"), nil)
	}
	return errors.Join(err, err2, err3, err4, err5) == nil
}

// TestNoErrorShowsASecret provokes every failure there is with known secrets around, and looks for them.
func TestNoErrorShowsASecret(t *testing.T) {
	dir := t.TempDir()
	const passphrase = "c4n4ry-h0rs3-4711"
	path := filepath.Join(dir, "kek")
	kek, err := localkek.Open(path, &localkek.Options{Passphrase: passphrase, WorkFactor: 10})
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(dir, "records"), nil)
	if err != nil {
		t.Fatal(err)
	}
	secrets := &captured{KEK: kek}
	r := openRing(t, secrets, store, nil)
	provision(t, r, idA, idB)
	var errs []error
	add := func(err error) {
		if err == nil {
			t.Error("a call that should fail did not")
		}
		errs = append(errs, err)
	}
	_, err = localkek.Open(path, nil)
	add(err)
	_, err = localkek.Open(path, &localkek.Options{Passphrase: passphrase + "x"})
	add(err)
	for _, edit := range []func(*envelope.Record){
		func(rec *envelope.Record) { rec.WrappedRoot = rec.WrappedRoot[:20] },
		func(rec *envelope.Record) { rec.WrappedRoot = bytes.Repeat(rec.WrappedRoot, 2) },
		func(rec *envelope.Record) { rec.Keysets[0].Encrypted[3] ^= 1 },
		func(rec *envelope.Record) { rec.Keysets = rec.Keysets[1:] },
		func(rec *envelope.Record) { rec.Keyring = "other" },
	} {
		if err := r.EditRecord(t.Context(), idA, edit); err != nil {
			t.Fatal(err)
		}
		_, err := openRing(t, secrets, store, nil).Tenant(t.Context(), idA)
		add(err)
	}
	// A root payload that is not one: the plaintext is in the keyring's hands when it fails.
	secrets.garble = true
	_, err = openRing(t, secrets, store, nil).Tenant(t.Context(), idB)
	add(err)
	for _, err := range errs {
		text := err.Error()
		for _, secret := range append(secrets.plaintexts, []byte(passphrase)) {
			for n := 0; n+8 <= len(secret); n += 4 {
				if strings.Contains(text, string(secret[n:n+8])) {
					t.Fatalf("an error shows a secret: %q", text)
				}
			}
		}
	}
}

// captured keeps what is wrapped, and garbles what is unwrapped on demand.
type captured struct {
	keys.KEK
	plaintexts [][]byte
	garble     bool
}

func (c *captured) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	c.plaintexts = append(c.plaintexts, bytes.Clone(plaintext[len(plaintext)-100:]))
	return c.KEK.Wrap(ctx, id, plaintext)
}

func (c *captured) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	plaintext, err := c.KEK.Unwrap(ctx, id, wrapped)
	if c.garble && err == nil {
		plaintext[len(plaintext)-40] ^= 0xff // inside the Tink keyset
		plaintext = plaintext[:len(plaintext)-3]
	}
	return plaintext, err
}
