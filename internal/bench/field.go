package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"sync"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// The alternative binds values to the same place by the same bytes, which it has at hand.
const rawGCM = "raw AES-256-GCM, random nonce, same associated data"

func fieldRows() []Row {
	rows := []Row{}
	for _, size := range []int{16, 256} {
		rows = append(rows,
			Row{fmt.Sprintf("field.seal.%d", size), rawGCM, func() (*Pair, error) { return sealField(size) }},
			Row{fmt.Sprintf("field.open.%d", size), rawGCM, func() (*Pair, error) { return openField(size) }})
	}
	return append(rows,
		Row{"field.open.10k", "raw ciphers in a sync.Map, 10,000 tenants", openAnyTenant},
		Row{"index.eq", "HMAC-SHA256", blindIndex})
}

// hot returns one opened tenant.
func hot() (*keys.Tenant, func(), error) {
	f, err := newFixture(1)
	if err != nil {
		return nil, nil, err
	}
	ring, err := f.ring(f.kek, nil)
	if err != nil {
		return nil, nil, err
	}
	t, err := ring.Tenant(context.Background(), f.ids[0])
	return t, f.cleanup, err
}

func newGCM() (cipher.AEAD, error) {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// rawSeal is what a careful application does by hand: a random nonce in front, and the place as associated data.
func rawSeal(gcm cipher.AEAD, plaintext, ad []byte) []byte {
	out := make([]byte, gcm.NonceSize(), gcm.NonceSize()+len(plaintext)+gcm.Overhead())
	rand.Read(out)
	return gcm.Seal(out, out, plaintext, ad)
}

func rawOpen(gcm cipher.AEAD, ciphertext, ad []byte) ([]byte, error) {
	n := gcm.NonceSize()
	return gcm.Open(nil, ciphertext[:n], ciphertext[n:], ad)
}

func sealField(size int) (*Pair, error) {
	t, cleanup, err := hot()
	if err != nil {
		return nil, err
	}
	gcm, err := newGCM()
	if err != nil {
		return nil, err
	}
	text := strings.Repeat("v", size)
	var value any = text
	ours := func(n int) error {
		for range n {
			if _, err := envelope.SealField(t.Data(), t.ID(), "patients", "name", envelope.Text, value); err != nil {
				return err
			}
		}
		return nil
	}
	plaintext, ad := []byte(text), envelope.FieldAD(nil, t.ID(), "patients", "name")
	peer := func(n int) error {
		for range n {
			rawSeal(gcm, plaintext, ad)
		}
		return nil
	}
	return &Pair{Ours: ours, Peer: peer, Cleanup: cleanup}, nil
}

func openField(size int) (*Pair, error) {
	t, cleanup, err := hot()
	if err != nil {
		return nil, err
	}
	gcm, err := newGCM()
	if err != nil {
		return nil, err
	}
	text := strings.Repeat("v", size)
	sealed, err := envelope.SealField(t.Data(), t.ID(), "patients", "name", envelope.Text, text)
	if err != nil {
		return nil, err
	}
	place := envelope.PlaceOf(t.ID(), "patients", "name", envelope.Text)
	ours := func(n int) error {
		for range n {
			if _, err := place.Open(t.Data(), sealed); err != nil {
				return err
			}
		}
		return nil
	}
	ad := envelope.FieldAD(nil, t.ID(), "patients", "name")
	raw := rawSeal(gcm, []byte(text), ad)
	peer := func(n int) error {
		for range n {
			if _, err := rawOpen(gcm, raw, ad); err != nil {
				return err
			}
		}
		return nil
	}
	return &Pair{Ours: ours, Peer: peer, Cleanup: cleanup}, nil
}

// openAnyTenant opens a field of one of 10,000 tenants, chosen at random each time, looking its keys up in the cache.
func openAnyTenant() (*Pair, error) {
	const tenants = 10_000
	f, err := newFixture(tenants)
	if err != nil {
		return nil, err
	}
	kek, err := f.shared()
	if err != nil {
		return nil, err
	}
	ring, err := f.ring(kek, nil)
	if err != nil {
		return nil, err
	}
	sealed, raw := make([][]byte, tenants), make([][]byte, tenants)
	var ciphers sync.Map
	ctx := context.Background()
	for i, id := range f.ids {
		t, err := ring.Tenant(ctx, id)
		if err != nil {
			return nil, err
		}
		if sealed[i], err = envelope.SealField(t.Data(), id, "patients", "name", envelope.Text, "sixteen bytes ok"); err != nil {
			return nil, err
		}
		gcm, err := newGCM()
		if err != nil {
			return nil, err
		}
		ciphers.Store(id, gcm)
		raw[i] = rawSeal(gcm, []byte("sixteen bytes ok"), envelope.FieldAD(nil, id, "patients", "name"))
	}
	ours := func(n int) error {
		for range n {
			i := mrand.IntN(tenants)
			t, err := ring.Tenant(ctx, f.ids[i])
			if err != nil {
				return err
			}
			if _, err := envelope.OpenField(t.Data(), f.ids[i], "patients", "name", envelope.Text, sealed[i]); err != nil {
				return err
			}
		}
		return nil
	}
	ad := make([]byte, 0, 64)
	peer := func(n int) error {
		for range n {
			i := mrand.IntN(tenants)
			v, ok := ciphers.Load(f.ids[i])
			if !ok {
				return tenant.ErrMissing
			}
			if _, err := rawOpen(v.(cipher.AEAD), raw[i], envelope.FieldAD(ad[:0], f.ids[i], "patients", "name")); err != nil {
				return err
			}
		}
		return nil
	}
	return &Pair{Ours: ours, Peer: peer, Cleanup: f.cleanup}, nil
}

func blindIndex() (*Pair, error) {
	t, cleanup, err := hot()
	if err != nil {
		return nil, err
	}
	value, err := envelope.AppendValue(nil, envelope.Text, "123-45-6789")
	if err != nil {
		return nil, err
	}
	set, id := t.Index(), t.Index().PrimaryID
	ours := func(n int) error {
		for range n {
			if _, err := envelope.BlindIndex(set, id, t.ID(), "patients", "ssn", value); err != nil {
				return err
			}
		}
		return nil
	}
	key := make([]byte, 32)
	rand.Read(key)
	// The same input, so that the two differ in the function alone.
	input := envelope.IndexInput(nil, t.ID(), "patients", "ssn", value)
	peer := func(n int) error {
		for range n {
			m := hmac.New(sha256.New, key)
			m.Write(input)
			m.Sum(nil)
		}
		return nil
	}
	return &Pair{Ours: ours, Peer: peer, Cleanup: cleanup}, nil
}
