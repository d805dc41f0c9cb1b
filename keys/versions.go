package keys

import (
	"context"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// KeyStatus is the state of one key of a purpose.
type KeyStatus string

// The states of a key.
const (
	KeyNext     KeyStatus = "next"     // made by a rotation that is under way: it opens, and seals once every process has it
	KeySeals    KeyStatus = "seals"    // the newest; it seals and opens
	KeyOpens    KeyStatus = "opens"    // older ones; for a blind index, rows are found under it
	KeyDisabled KeyStatus = "disabled" // neither seals nor opens; it can be enabled
)

// KeyVersion is one key of a purpose.
type KeyVersion struct {
	ID     uint32 // as in the values that it sealed, in errors and in the audit trail
	Status KeyStatus
}

// Versions returns the keys of one purpose of the tenant, in the order in which they were made, as the store has them now.
// Keys that were destroyed are not among them. It needs one call of the KEK provider's. The tenant may be suspended.
func (r *Keyring) Versions(ctx context.Context, id tenant.ID, p Purpose) ([]KeyVersion, error) {
	_, all, err := r.storedVersions(ctx, id, p)
	return all, err
}

// storedVersions returns the keyset as it is stored, too.
func (r *Keyring) storedVersions(ctx context.Context, id tenant.ID, p Purpose) (stored []byte, all []KeyVersion, err error) {
	if err := p.known(); err != nil {
		return nil, nil, err
	}
	if err := r.usable(ctx, id); err != nil {
		return nil, nil, err
	}
	rec, err := r.stored(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if s := (&entry{id: id, state: rec.State}); s.status() == StatusShredded {
		return nil, nil, s.refusal()
	}
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return nil, nil, err
	}
	h, err := decryptKeyset(root, rec, string(p))
	if err != nil {
		return nil, nil, err
	}
	all, err = versions(h)
	return keysetOf(rec, p), all, err
}

// keysetOf is the keyset of a purpose as a record has it.
func keysetOf(rec *envelope.Record, p Purpose) []byte {
	for _, k := range rec.Keysets {
		if k.Purpose == string(p) {
			return k.Encrypted
		}
	}
	return nil
}

// versions returns the keys of a keyset. They are in the order in which they were made.
func versions(h *keyset.Handle) ([]KeyVersion, error) {
	out := make([]KeyVersion, h.Len())
	older := KeyOpens
	for i := range out {
		e, err := h.Entry(i)
		if err != nil {
			return nil, err
		}
		out[i] = KeyVersion{e.KeyID(), older}
		switch {
		case e.IsPrimary():
			out[i].Status, older = KeySeals, KeyNext
		case e.KeyStatus() != keyset.Enabled:
			out[i].Status = KeyDisabled
		}
	}
	return out, nil
}

// beside returns the keys of a keyset other than the one that seals; nil for none.
func beside(h *keyset.Handle) ([]KeyVersion, error) {
	if h.Len() == 1 {
		return nil, nil
	}
	all, err := versions(h)
	return slices.DeleteFunc(all, func(k KeyVersion) bool { return k.Status == KeySeals }), err
}
