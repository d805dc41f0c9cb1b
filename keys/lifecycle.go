package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
// active; it may be called by several processes at once and again after a crash at any step. What a tenant lacks that
// was provisioned by an earlier version, it adds: so far the key of objects' names. Versions that know none do not
// open the tenant any more; other processes of this one see it within [Options.SuspendWithin]. The error wraps
// [ErrSuspended] or [ErrShredded] where that is the tenant's state, [ErrUnavailable], or [audit.ErrUnavailable].
func (r *Keyring) Provision(ctx context.Context, id tenant.ID) error {
	if err := r.usable(ctx, id); err != nil {
		return err
	}
	e, err := r.provisioned(ctx, id)
	switch {
	case err != nil || e != nil && e.keys.Load().names != nil:
		return err
	case e != nil:
		return r.complete(ctx, e)
	}
	t, err := r.intend(ctx, audit.CodeKeyProvision, id, nil, "")
	if err != nil {
		return err
	}
	return t.outcome(ctx, r.provision(ctx, id, t))
}

// provisioned returns the entry of an active record that opens, or nil where there is no record. It asks the store by
// itself: what somebody else asked before is no answer to whether the tenant is provisioned now.
func (r *Keyring) provisioned(ctx context.Context, id tenant.ID) (*entry, error) {
	r.book.forgive(id)
	var e *entry
	err := r.joined(id, func(t *inflight) error {
		a := r.ask(ctx, t, nil)
		for range conflicts {
			if a.verdict != late {
				break
			}
			a = r.ask(ctx, t, nil)
		}
		switch {
		case a.verdict == late:
			return fmt.Errorf("%w: tenant %s: the record changes faster than it can be read", ErrUnavailable, id)
		case a.err != nil:
			return a.err
		}
		var err error
		e, _, err = r.lookup(ctx, id, needKeys)
		return err
	})
	switch {
	case errors.Is(err, ErrNotProvisioned):
		return nil, nil
	case err != nil:
		return nil, err
	case e.keys.Load() == nil:
		return nil, e.refusal()
	}
	return e, nil
}

// joined does something during which late answers about the tenant are told apart from newer ones.
func (r *Keyring) joined(id tenant.ID, do func(*inflight) error) error {
	b := r.book
	b.mu.Lock()
	t := b.join(id)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.leave(t)
	}()
	return do(t)
}

// put stores a record, and enters what came of it: e, with what was opened of it.
func (r *Keyring) put(ctx context.Context, t *inflight, rec *envelope.Record, version int64, o opened, at time.Duration) (*entry, error) {
	b := r.book
	b.mu.Lock()
	q := b.ask()
	b.mu.Unlock()
	version, err := r.store.Put(ctx, t.id, envelope.AppendRecord(nil, rec), version)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case errors.Is(err, ErrConflict):
		b.changed(t)
		return nil, err
	case err != nil:
		// It may have been stored all the same.
		if t.e != nil && t.e.state == rec.State && t.e.material == b.digest(rec) {
			b.changed(t) // which is nothing to whoever has the keys
		} else {
			b.doubt(t)
		}
		return nil, fmt.Errorf("keys: store the record of tenant %s: %w", t.id, err)
	}
	e := b.entry(rec, version)
	if o.sealer != nil && !r.late(at) { // what is late is tried first
		e.tenant, e.taken = *o.keys, true
		e.publish(opened{o.sealer, &e.tenant}, at)
	}
	b.stored(t, q, e)
	return e, nil
}

func (r *Keyring) provision(ctx context.Context, id tenant.ID, t *trail) (err error) {
	defer func() {
		if err != nil {
			within, cancel := r.lookBack(ctx)
			defer cancel()
			err = r.leftBehind(within, id, err)
		}
	}()
	if err := r.kek.Create(ctx, id); err != nil {
		return fmt.Errorf("keys: create the KEK of tenant %s: %w", id, err)
	}
	within, cancel := context.WithTimeout(ctx, r.opts.storedWithin())
	defer cancel()
	begun := r.opts.clock()
	rec, err := r.newRecord(within, id)
	if err != nil {
		return r.notInTime(ctx, err)
	}
	// What cannot be opened again must never be stored: it would look provisioned.
	at := r.opts.clock()
	o, err := r.unwrap(within, new(Tenant), rec)
	if err != nil {
		return fmt.Errorf("keys: the new keys of tenant %s do not open; nothing was stored: %w", id, r.notInTime(ctx, err))
	}
	err = r.joined(id, func(f *inflight) error {
		e, err := r.put(within, f, rec, 0, o, at)
		if err == nil && r.late(begun) {
			err = r.provisionedLate(ctx, f, rec, e.version)
		}
		return err
	})
	if errors.Is(err, ErrConflict) {
		return r.lostRace(ctx, id)
	}
	if err == nil {
		t.sealer, t.keyVersion = o.sealer, o.keys.DataKeyID()
	}
	return r.notInTime(ctx, err)
}

// lostRace settles a provisioning that another process completed first: its keys are the tenant's.
func (r *Keyring) lostRace(ctx context.Context, id tenant.ID) error {
	e, err := r.provisioned(ctx, id)
	if err == nil && e == nil {
		err = fmt.Errorf("%w: tenant %s: the record appeared and disappeared while it was provisioned", ErrUnavailable, id)
	}
	return err
}

// Suspend takes access to the tenant's keys away: in this process at once, in others within
// [Options.SuspendWithin]. Reason goes into the audit trail, sealed; at most 1,024 bytes. It succeeds where the
// tenant is suspended already. If the suspension cannot be recorded it takes effect all the same, and the error
// wraps [audit.ErrUnavailable]: repeat the call to have it recorded.
//
// The state is in the tenant's record. One that is put back from a backup of the store has the state of then: suspend again whom the trail
// says was suspended since, before services are started. A process that knew the record of after refuses it ([ErrUnavailable]).
func (r *Keyring) Suspend(ctx context.Context, id tenant.ID, reason string) error {
	return r.change(ctx, audit.CodeKeySuspend, id, reason, func(rec *envelope.Record) (bool, error) {
		return setState(rec, envelope.StateSuspended), nil
	})
}

// Resume restores access to a suspended tenant's keys. Reason is as in [Keyring.Suspend]. It succeeds where the
// tenant is active already. Nothing is resumed that cannot be recorded.
func (r *Keyring) Resume(ctx context.Context, id tenant.ID, reason string) error {
	return r.change(ctx, audit.CodeKeyResume, id, reason, func(rec *envelope.Record) (bool, error) {
		return setState(rec, envelope.StateActive), nil
	})
}

// setState reports whether it changed the record.
func setState(rec *envelope.Record, s envelope.State) bool {
	before := rec.State
	rec.State = s
	return s != before
}

// change records the intent, changes the record, and records the outcome. Two events, because a single one before
// would claim what may not happen, and a single one after could be lost in a crash.
func (r *Keyring) change(ctx context.Context, code audit.Code, id tenant.ID, reason string, edit func(*envelope.Record) (bool, error)) error {
	if err := r.usable(ctx, id); err != nil {
		return err
	}
	if err := checkReason(reason); err != nil {
		return err
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

// swap edits the tenant's record and stores it unless somebody else changed it in between; then it begins again. Edit
// reports whether it changed anything.
func (r *Keyring) swap(ctx context.Context, id tenant.ID, edit func(*envelope.Record) (changed bool, err error)) error {
	return r.joined(id, func(t *inflight) error {
		for range conflicts {
			err := r.swapOnce(ctx, t, edit)
			if !errors.Is(err, ErrConflict) {
				return err
			}
		}
		return fmt.Errorf("%w: tenant %s: the record changed %d times in a row; retry", ErrConflict, id, conflicts)
	})
}

func (r *Keyring) swapOnce(ctx context.Context, t *inflight, edit func(*envelope.Record) (changed bool, err error)) error {
	a := r.ask(ctx, t, nil)
	switch {
	case a.verdict == late:
		return ErrConflict
	case a.err != nil:
		return a.err
	case a.rec.State == envelope.StateShredded:
		return (&entry{id: t.id, state: a.rec.State}).refusal()
	}
	rec := *a.rec // the entry keeps the one that was read
	rec.Keysets = slices.Clone(rec.Keysets)
	edited, err := edit(&rec)
	if err != nil || !edited {
		return err
	}
	_, err = r.put(ctx, t, &rec, a.version, opened{}, 0)
	return err
}

func (r *Keyring) usable(ctx context.Context, id tenant.ID) error {
	switch {
	case r.book.closed.Load():
		return ErrClosed
	case id.IsZero():
		return fmt.Errorf("keys: %w: it is the zero ID; obtain it from tenant.Parse", tenant.ErrInvalidID)
	}
	return ctx.Err()
}
