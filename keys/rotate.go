package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxKeys bounds the keys of one purpose, so that a record stays within its size.
const maxKeys = 32

// Rotate makes a new key for one purpose of the tenant, which seals from then on; what older keys sealed opens as before.
// It takes a little longer than [Options.SuspendWithin]: the key is added first, for opening only, and seals once every
// process has it. It needs the same SuspendWithin in all of them; a process that serves past it ([ServeStale]) does
// not open what the new key seals until it has read the record again.
//
// Called by several processes at once it makes one key, and after a crash it goes on where the last one stopped; called
// again after it succeeded it makes another. A suspended tenant's keys can be rotated. Reason is as in
// [Keyring.Suspend]. Nothing is rotated that cannot be recorded.
//
// With [PurposeNames] an object is looked for under two keys from then on, which costs another request for each object that
// is not found under the newest: blobs.Reseal moves names, after which the older key is to be disabled, and before which
// Rotate makes no third one. Versions of this package that know one key of names refuse such a tenant as a whole: upgrade
// every process before.
//
// What is sealed stays under its key until it is sealed anew (sqldb.Reseal, blobs.Reseal); then the older key can be disabled and destroyed
// ([Keyring.DisableKey], [Keyring.DestroyKey]). With [PurposeIndex], rows are found under all keys of the index, at most 8, and
// package sqldb keeps unique keys on index columns across two of them; with [PurposePseudonym], an actor has another
// pseudonym in later audit events.
func (r *Keyring) Rotate(ctx context.Context, id tenant.ID, p Purpose, reason string) error {
	if err := p.known(); err != nil {
		return err
	}
	t, err := r.begin(ctx, audit.CodeKeyRotate, id, reason)
	if err != nil {
		return err
	}
	t.about = string(p)
	if err := t.intend(ctx); err != nil {
		return err
	}
	t.keyVersion, err = r.rotate(ctx, id, string(p), 0)
	return t.outcome(ctx, err)
}

// rotate returns the id of the key that seals now. If only is not 0 it does nothing unless that key seals.
func (r *Keyring) rotate(ctx context.Context, id tenant.ID, purpose string, only uint32) (uint32, error) {
	var staged uint32
	err := r.rekey(ctx, id, purpose, 0, func(m *keyset.Manager, h *keyset.Handle) (changed bool, err error) {
		if primary, err := h.Primary(); err != nil || only != 0 && primary.KeyID() != only {
			return false, err
		}
		staged, changed, err = stage(m, h, purpose)
		return changed, err
	})
	if err != nil || staged == 0 {
		return 0, err
	}
	if err := r.everywhere(ctx); err != nil {
		return 0, fmt.Errorf("keys: the new %s key of tenant %s does not seal yet; repeat the call: %w", purpose, id, err)
	}
	err = r.rekey(ctx, id, purpose, 0, func(m *keyset.Manager, h *keyset.Handle) (bool, error) { return promote(m, h, staged) })
	return staged, err
}

// everywhere returns once no process hands out what the store had when it was called. Every process that asks the store
// from then on has what it has now. Those that asked before hand out what they got for SuspendWithin at most; the rest is for
// clocks that do not run alike.
func (r *Keyring) everywhere(ctx context.Context) error {
	return r.pause(ctx, r.opts.SuspendWithin+r.opts.SuspendWithin/16)
}

// pause returns after a span.
func (r *Keyring) pause(ctx context.Context, span time.Duration) error {
	wait := time.NewTimer(span)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.base.Done():
		return ErrClosed
	}
}

// rekey edits one keyset of the tenant's record, under the root keyset there is. About is a key that is enabled by it, or 0.
func (r *Keyring) rekey(ctx context.Context, id tenant.ID, purpose string, about uint32, edit func(*keyset.Manager, *keyset.Handle) (changed bool, err error)) error {
	var before, now []byte
	err := r.swap(ctx, id, func(rec *envelope.Record) (bool, error) {
		before = keysetOf(rec, Purpose(purpose))
		changed, err := r.rekeyIn(ctx, rec, purpose, edit)
		now = keysetOf(rec, Purpose(purpose))
		return changed, err
	})
	if err == nil {
		r.stillDisabled(id, Purpose(purpose), before, now, about)
	}
	return err
}

// rekeyIn edits one keyset of a record that is to be stored.
func (r *Keyring) rekeyIn(ctx context.Context, rec *envelope.Record, purpose string, edit func(*keyset.Manager, *keyset.Handle) (changed bool, err error)) (bool, error) {
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return false, err
	}
	h, err := decryptKeyset(root, rec, purpose)
	if err != nil {
		return false, err
	}
	m := keyset.NewManagerFromHandle(h)
	if changed, err := edit(m, h); err != nil || !changed {
		return false, err
	}
	if h, err = m.Handle(); err != nil {
		return false, fmt.Errorf("keys: change the keyset %q of tenant %s: %w", purpose, rec.Tenant, err)
	}
	for i := range rec.Keysets {
		if k := &rec.Keysets[i]; k.Purpose == purpose {
			if k.Encrypted, err = encryptKeyset(root, rec, purpose, h); err != nil {
				return false, err
			}
		}
	}
	return true, opens(root, rec)
}

// opens reports why a changed record does not open: such a one must never be stored.
func opens(root tink.AEAD, rec *envelope.Record) error {
	sealer, err := openSealer(root, rec)
	if err == nil {
		err = new(Tenant).open(root, rec, sealer)
	}
	if err != nil {
		return fmt.Errorf("keys: the changed keys of tenant %s do not open; nothing was stored: %w", rec.Tenant, err)
	}
	return nil
}

// stage adds a key that opens and does not seal yet. The keys of a keyset are in the order in which they were made: if
// the last one is not the primary, a rotation is under way or was interrupted, and that is the key.
func stage(m *keyset.Manager, h *keyset.Handle, purpose string) (id uint32, changed bool, err error) {
	last, err := h.Entry(h.Len() - 1)
	if err != nil {
		return 0, false, err
	}
	if !last.IsPrimary() && last.KeyStatus() == keyset.Enabled {
		return last.KeyID(), false, nil
	}
	if purpose == purposeNames {
		if names, err := newNameKeys(h); err != nil || len(names) >= maxNameKeys {
			return 0, false, cmp.Or(err, errNamesLeft)
		}
	}
	if h.Len() >= maxKeys {
		return 0, false, fmt.Errorf("keys: there are %d %s keys already; no more can be made before Keyring.DestroyKey removed old ones", h.Len(), purpose)
	}
	params, err := parametersOf(purpose)
	if err != nil {
		return 0, false, err
	}
	id, err = m.AddNewKeyFromParameters(params)
	return id, true, err
}

var errNamesLeft = errors.New("keys: the key of names before the newest is still in use; move the names to the newest with blobs.Reseal and call Keyring.DisableKey, then rotate again")

// promote makes a staged key the one that seals, unless somebody did already, and went on from there.
func promote(m *keyset.Manager, h *keyset.Handle, id uint32) (bool, error) {
	sealing, staged := -1, -1
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return false, err
		}
		if e.IsPrimary() {
			sealing = i
		}
		if e.KeyID() == id {
			staged = i
		}
	}
	if staged < 0 {
		return false, errors.New("keys: the new key is gone; an older record was put back: repeat the call")
	}
	if staged <= sealing {
		return false, nil
	}
	return true, m.SetPrimary(id)
}
