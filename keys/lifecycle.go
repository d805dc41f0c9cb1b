package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxReasonLength bounds the free text that goes, sealed, into the audit trail, in bytes.
const maxReasonLength = 1024

// conflicts is how often a change is tried again because another process changed the record in between.
const conflicts = 16

// recordWait is how long a suspension waits for its intent to be recorded before it happens without.
const recordWait = 2 * time.Second

// Provision makes the tenant's keys. It succeeds without effect, and without an audit event, where they exist and are
// active; it may be called by several processes at once and again after a crash at any step. The error wraps
// [ErrSuspended] or [ErrShredded] where that is the tenant's state, [ErrUnavailable], or [audit.ErrUnavailable].
func (r *Keyring) Provision(ctx context.Context, id tenant.ID) error {
	if err := r.usable(ctx, id); err != nil {
		return err
	}
	switch done, err := r.provisioned(ctx, id); {
	case err != nil || done:
		return err
	}
	t, err := r.intend(ctx, audit.CodeKeyProvision, id, nil, "")
	if err != nil {
		return err
	}
	return t.outcome(ctx, r.provision(ctx, id, t))
}

// provisioned reports whether an active record exists that opens.
func (r *Keyring) provisioned(ctx context.Context, id tenant.ID) (bool, error) {
	r.misses.Remove(id)
	e, err := r.fly(ctx, id, needKeys)
	switch {
	case errors.Is(err, ErrNotProvisioned):
		return false, nil
	case err != nil:
		return false, err
	case e.keys == nil:
		return false, e.refusal()
	}
	return true, nil
}

func (r *Keyring) forget(id tenant.ID) {
	r.misses.Remove(id)
	r.cache.remove(id)
}

func (r *Keyring) provision(ctx context.Context, id tenant.ID, t *trail) error {
	if err := r.kek.Create(ctx, id); err != nil {
		return fmt.Errorf("keys: create the KEK of tenant %s: %w", id, err)
	}
	rec, err := r.newRecord(ctx, id)
	if err != nil {
		return err
	}
	// What cannot be opened again must never be stored: it would look provisioned.
	e := &entry{id: id, state: rec.State}
	if err := r.unwrapInto(ctx, e, rec, needKeys); err != nil {
		return fmt.Errorf("keys: the new keys of tenant %s do not open; nothing was stored: %w", id, err)
	}
	began := r.opts.clock()
	e.version, err = r.store.Put(ctx, id, envelope.AppendRecord(nil, rec), 0)
	if errors.Is(err, ErrConflict) {
		return r.lostRace(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("keys: store the record of tenant %s: %w", id, err)
	}
	t.sealer, t.keyVersion = e.sealer, e.keys.DataKeyID()
	e.confirm(began, &r.opts)
	r.remember(e)
	return nil
}

// lostRace settles a provisioning that another process completed first: its keys are the tenant's.
func (r *Keyring) lostRace(ctx context.Context, id tenant.ID) error {
	done, err := r.provisioned(ctx, id)
	if errors.Is(err, ErrShredded) {
		// The other process also shredded the tenant, and our Create may have come after its Destroy.
		return errors.Join(err, r.kek.Destroy(ctx, id))
	}
	if err == nil && !done {
		err = fmt.Errorf("%w: tenant %s: the record appeared and disappeared while it was provisioned", ErrUnavailable, id)
	}
	return err
}

// Suspend takes access to the tenant's keys away: in this process at once, in others within
// [Options.SuspendWithin]. Reason goes into the audit trail, sealed; at most 1,024 bytes. It succeeds where the
// tenant is suspended already. If the suspension cannot be recorded it takes effect all the same, and the error
// wraps [audit.ErrUnavailable]: repeat the call to have it recorded.
func (r *Keyring) Suspend(ctx context.Context, id tenant.ID, reason string) error {
	return r.change(ctx, audit.CodeKeySuspend, id, reason, func(rec *envelope.Record) error {
		rec.State = envelope.StateSuspended
		return nil
	})
}

// Resume restores access to a suspended tenant's keys. Reason is as in [Keyring.Suspend]. It succeeds where the
// tenant is active already. Nothing is resumed that cannot be recorded.
func (r *Keyring) Resume(ctx context.Context, id tenant.ID, reason string) error {
	return r.change(ctx, audit.CodeKeyResume, id, reason, func(rec *envelope.Record) error {
		rec.State = envelope.StateActive
		return nil
	})
}

// change records the intent, changes the record, and records the outcome. Two events, because a single one before
// would claim what may not happen, and a single one after could be lost in a crash.
func (r *Keyring) change(ctx context.Context, code audit.Code, id tenant.ID, reason string, edit func(*envelope.Record) error) error {
	if err := r.usable(ctx, id); err != nil {
		return err
	}
	if len(reason) > maxReasonLength {
		return fmt.Errorf("keys: the reason has %d bytes, over the limit of %d", len(reason), maxReasonLength)
	}
	ictx := ctx
	if code == audit.CodeKeySuspend {
		// A log that hangs must not keep access open.
		var cancel context.CancelFunc
		ictx, cancel = context.WithTimeout(ctx, recordWait)
		defer cancel()
	}
	t, unrecorded := r.intend(ictx, code, id, r.quickSealer(ctx, id), reason)
	if unrecorded != nil && code != audit.CodeKeySuspend {
		return unrecorded
	}
	err := r.swap(ctx, id, edit)
	if unrecorded != nil {
		if err == nil {
			err = fmt.Errorf("%w: tenant %s is suspended, but that could not be recorded; repeat the call: %w", audit.ErrUnavailable, id, unrecorded)
		}
		return err
	}
	return t.outcome(ctx, err)
}

// swap edits the tenant's record and stores it unless somebody else changed it in between; then it begins again.
func (r *Keyring) swap(ctx context.Context, id tenant.ID, edit func(*envelope.Record) error) error {
	for range conflicts {
		stored, err := r.store.Get(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: tenant %s; call Keyring.Provision", ErrNotProvisioned, id)
		}
		if err != nil {
			return fmt.Errorf("keys: read the record of tenant %s: %w", id, err)
		}
		rec, err := r.parse(id, stored.Data)
		if err != nil {
			return err
		}
		if rec.State == envelope.StateShredded {
			r.forget(id)
			return (&entry{id: id, state: rec.State}).refusal()
		}
		before := rec.State
		if err := edit(rec); err != nil {
			return err
		}
		version := stored.Version
		if rec.State != before {
			version, err = r.store.Put(ctx, id, envelope.AppendRecord(nil, rec), stored.Version)
		}
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			r.forget(id) // it may have been stored all the same
			return fmt.Errorf("keys: store the record of tenant %s: %w", id, err)
		}
		return r.changed(id, rec, version)
	}
	return fmt.Errorf("%w: tenant %s: the record changed %d times in a row; retry", ErrConflict, id, conflicts)
}

// changed puts the record that was just stored in place of what the cache has.
func (r *Keyring) changed(id tenant.ID, rec *envelope.Record, version int64) error {
	e := &entry{id: id, version: version, state: rec.State, record: rec}
	if cur, ok := r.cache.peek(id); ok && rec.State != envelope.StateShredded {
		e.sealer = cur.sealer
	}
	e.confirm(r.opts.clock(), &r.opts)
	r.remember(e)
	return nil
}

// Shred destroys the tenant's keys for good: what they sealed can never be read again. The record becomes a tombstone
// first, which takes effect everywhere within [Options.SuspendWithin], and then the KEK is destroyed, without which
// copies of the record in backups are worthless. It is safe to repeat, and must be repeated after an error. Nothing
// is shredded that cannot be recorded. Reason is as in [Keyring.Suspend], but what is sealed with it is lost too.
func (r *Keyring) Shred(ctx context.Context, id tenant.ID, reason string) error {
	if err := r.usable(ctx, id); err != nil {
		return err
	}
	t, err := r.intend(ctx, audit.CodeKeyShred, id, r.quickSealer(ctx, id), reason)
	if err != nil {
		return err
	}
	return t.outcome(ctx, r.shred(ctx, id))
}

func (r *Keyring) shred(ctx context.Context, id tenant.ID) error {
	err := r.swap(ctx, id, func(rec *envelope.Record) error {
		rec.State, rec.RootVersion, rec.WrappedRoot, rec.Keysets = envelope.StateShredded, 0, nil, nil
		return nil
	})
	if err != nil && !errors.Is(err, ErrShredded) {
		return err
	}
	if err := r.kek.Destroy(ctx, id); err != nil {
		return fmt.Errorf("keys: tenant %s can no longer be opened, but its KEK still exists; repeat the call: %w", id, err)
	}
	return nil
}

func (r *Keyring) usable(ctx context.Context, id tenant.ID) error {
	switch {
	case r.closed.Load():
		return ErrClosed
	case id.IsZero():
		return fmt.Errorf("keys: %w: it is the zero ID; obtain it from tenant.Parse", tenant.ErrInvalidID)
	}
	return ctx.Err()
}
