package keys

import (
	"context"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"

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
	if err := p.known(); err != nil {
		return nil, err
	}
	if err := r.usable(ctx, id); err != nil {
		return nil, err
	}
	rec, err := r.stored(ctx, id)
	if err != nil {
		return nil, err
	}
	if s := (&entry{id: id, state: rec.State}); s.status() == StatusShredded {
		return nil, s.refusal()
	}
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return nil, err
	}
	h, err := decryptKeyset(root, rec, string(p))
	if err != nil {
		return nil, err
	}
	return versions(h)
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
