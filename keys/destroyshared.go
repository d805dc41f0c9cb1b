package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// DestroySharedOptions are the optional settings of [Keyring.DestroySharedKEK].
type DestroySharedOptions struct {
	// Reason is as in [Keyring.Suspend], and stands in the events of the tenants that are rewrapped.
	Reason string
	// Progress is called after each page of tenants.
	Progress func(DestroySharedProgress)
}

// DestroySharedProgress is how far [Keyring.DestroySharedKEK] has come.
type DestroySharedProgress struct {
	// Proving tells that no tenant is to be rewrapped any more, and that each is tried with the older versions disabled.
	Proving bool
	Tenants int64 // that were looked at
	Last    tenant.ID
}

// DestroyedShared is what [Keyring.DestroySharedKEK] did.
type DestroyedShared struct {
	Key       SharedKey // as it is now
	Tenants   int64     // that were proved to open without what was destroyed
	Rewrapped int64     // of them, this time
}

// provingUndone bounds how long it takes to enable versions again after a proof that failed.
const provingUndone = 10 * time.Second

// destroyingTime bounds how long it takes to destroy versions once it is known that no other run has enabled them. One that enables them
// waits for twice as long until it disables them again.
const destroyingTime = 5 * time.Second

// DestroySharedKEK destroys the versions up to through of a KEK that the tenants share, once nothing needs them: what of the key
// store is in backups from before, tenants that were shredded since among it, opens no more ([Shredded].Shared names the
// versions). It is an operator's act, about all tenants of the store, and needs rights of the KEK provider's that serving does not.
//
// Where through is the newest version it adds one, by a rotation. Then every tenant that may need an older one is rewrapped, by
// batches. Then the versions up to through are disabled, which can be taken back, and after a time that whoever has wrapped a
// keyset has for storing it (four times [Options.Timeout]) every tenant is unwrapped by the keyring's own KEK provider. Where one
// does not open, be it damaged or its provider away, or was wrapped by one of the versions after all, the versions are enabled
// again, but for those that an operator had disabled before, and the error names the tenant. Only then are they destroyed. Tenants are served all the while. Of two runs at the same time
// one fails, or both do, and nothing is lost.
//
// It can be interrupted at any time and run again with the same through, and must be after an error: what is rewrapped is
// not rewrapped again, and no further version is made, but where a record needs one that an interrupted run has disabled. Where the
// versions are destroyed already it has no effect.
//
// The key must be that of this store alone: what another store's tenants need it cannot see. Where
// what is wrapped may be another key's it is refused. A store without any record, in which
// no tenant would object, is refused, and a copy of the store that is older than the store is not told from it.
//
// Two events without a tenant are recorded. What a tenant of which the wrapped keys are in memory, or the KEK provider in
// backups, still opens is another matter, as for [Keyring.Shred].
func (r *Keyring) DestroySharedKEK(ctx context.Context, kek SharedKEK, through int, opts *DestroySharedOptions) (*DestroyedShared, error) {
	d := &destroyShared{Keyring: r, kek: kek, through: through}
	if opts != nil {
		d.opts = *opts
	}
	if err := d.check(ctx); err != nil || d.done.Key.Oldest > through {
		return &d.done, err
	}
	outcome, err := d.intend(ctx)
	if err != nil {
		return nil, err
	}
	if err := outcome(d.run(ctx)); err != nil {
		return nil, err
	}
	return &d.done, nil
}

// destroyShared is a destruction under way.
type destroyShared struct {
	*Keyring
	kek     SharedKEK
	through int
	opts    DestroySharedOptions
	done    DestroyedShared
	proved  int // the newest version when the proof began
}

// check refuses what cannot be, and reads the key.
func (d *destroyShared) check(ctx context.Context) (err error) {
	switch {
	case d.book.closed.Load():
		return ErrClosed
	case d.kek == nil:
		return errors.New("keys: the shared KEK is nil")
	}
	if err := checkReason(d.opts.Reason); err != nil {
		return err
	}
	if d.done.Key, err = d.kek.SharedKey(ctx); err != nil {
		return fmt.Errorf("keys: read the shared KEK: %w", err)
	}
	if d.through < 1 || d.through > d.done.Key.Newest {
		return fmt.Errorf("keys: the shared KEK %s has no version %d to destroy; its newest is %d", d.done.Key.Name, d.through, d.done.Key.Newest)
	}
	ids, err := d.listPage(ctx, tenant.ID{})
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%w: the store has no record at all, so that nothing would object; is it the one whose tenants the shared KEK is for?", ErrNotFound)
	}
	return err
}

// intend records that it is about to happen, and returns what records the outcome.
func (d *destroyShared) intend(ctx context.Context) (outcome func(error) error, err error) {
	correlation, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("%w: no randomness for a correlation id: %w", audit.ErrUnavailable, err)
	}
	event := func(phase audit.Phase) *audit.Event {
		e := d.event(ctx, audit.CodeKeyDestroy, tenant.ID{}, nil)
		e.Phase, e.Status, e.Correlation = phase, audit.Success, correlation.String()
		e.Reason = fmt.Sprintf("versions up to %d of the KEK that tenants share", d.through)
		return e
	}
	return func(err error) error {
		e := event(audit.Outcome)
		if err != nil {
			e.Status, e.Reason = audit.Failure, e.Reason+": "+class(err)
		} else {
			e.Rows = d.done.Tenants
		}
		if rerr := d.record(context.WithoutCancel(ctx), e); rerr != nil {
			return errors.Join(err, fmt.Errorf("keys: the outcome could not be recorded: %w", rerr))
		}
		return err
	}, d.record(ctx, event(audit.Intent))
}

func (d *destroyShared) run(ctx context.Context) error {
	enabled := max(d.done.Key.Enabled, d.done.Key.Oldest) // what an operator has disabled stays so
	if d.done.Key.Newest == d.through {
		if err := d.kek.RotateSharedKey(ctx); err != nil {
			return fmt.Errorf("keys: rotate the shared KEK: %w", err)
		}
	}
	if err := d.rewrapAll(ctx, &enabled); err != nil {
		return fmt.Errorf("keys: nothing was destroyed: %w", err)
	}
	if err := d.prove(ctx, max(enabled, d.through+1)); err != nil {
		err = fmt.Errorf("keys: nothing was destroyed: %w", err)
		if enabled > d.through {
			return err // they were disabled before
		}
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), provingUndone)
		defer cancel()
		if uerr := d.kek.DisableVersions(undo, enabled); uerr != nil {
			return errors.Join(err, fmt.Errorf("keys: the versions up to %d of the shared KEK are disabled, and could not be enabled again; repeat the call: %w", d.through, uerr))
		}
		return err
	}
	if err := d.destroy(ctx); errors.Is(err, ErrConflict) {
		return fmt.Errorf("keys: nothing was destroyed: %w; repeat the call", err)
	} else if err != nil {
		return fmt.Errorf("keys: nothing needs the versions up to %d of the shared KEK any more, and they are disabled, not destroyed; repeat the call: %w", d.through, err)
	}
	key, err := d.kek.SharedKey(ctx)
	if err == nil && key.Oldest <= d.through {
		err = fmt.Errorf("version %d of %s is still there after it was destroyed", key.Oldest, key.Name)
	}
	if err != nil {
		return fmt.Errorf("keys: read the shared KEK: %w", err)
	}
	d.done.Key = key
	return nil
}

// rewrapAll rewraps every tenant that may need one of the versions. An earlier run may have ended with them disabled, and a record
// that needs one is stored since: then they are enabled, also where that run was to destroy fewer. They are not where nobody needs
// them, for another run may have proved so and be about to destroy them: whoever stores a record too late for its proof has to find
// that it does not open.
func (d *destroyShared) rewrapAll(ctx context.Context, enabled *int) error {
	err := d.pages(ctx, false, d.rewrapPage)
	if !errors.Is(err, ErrIntegrity) || !d.done.Key.Proving || *enabled > d.through+1 {
		return err
	}
	*enabled = d.done.Key.Oldest
	if err := d.enable(ctx, *enabled); err != nil {
		return fmt.Errorf("enable the versions of the shared KEK: %w", err)
	}
	if err := d.wait(ctx, 2*destroyingTime); err != nil { // until who does not know of it is refused, because they are enabled
		return err
	}
	return d.pages(ctx, false, d.rewrapPage)
}

// enable enables versions that were disabled. What is stored from now on by one of them opens, and another run may have proved before
// that nobody needs them: by a version more it is told that it has proved nothing.
func (d *destroyShared) enable(ctx context.Context, oldest int) error {
	if err := d.kek.RotateSharedKey(ctx); err != nil {
		return err
	}
	return d.kek.DisableVersions(ctx, oldest)
}

// destroy destroys the versions, of which it was proved that nobody needs them, unless somebody may have enabled them since.
func (d *destroyShared) destroy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, destroyingTime)
	defer cancel()
	key, err := d.kek.SharedKey(ctx)
	if err == nil && key.Newest != d.proved {
		err = fmt.Errorf("%w: the shared KEK has got the version %d meanwhile, perhaps by another run, which had them enabled for a time", ErrConflict, key.Newest)
	}
	if err != nil {
		return err
	}
	return d.kek.DestroyVersions(ctx, d.through+1)
}

func (d *destroyShared) wait(ctx context.Context, span time.Duration) error {
	select {
	case <-time.After(span):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prove disables the versions, and makes sure that every tenant opens without them.
func (d *destroyShared) prove(ctx context.Context, oldest int) error {
	if err := d.kek.DisableVersions(ctx, oldest); err != nil {
		return fmt.Errorf("disable the versions up to %d of the shared KEK: %w", d.through, err)
	}
	key, err := d.kek.SharedKey(ctx)
	if err != nil {
		return fmt.Errorf("read the shared KEK: %w", err)
	}
	d.proved = key.Newest
	if err := d.wait(ctx, d.Keyring.opts.storedWithin()); err != nil {
		return err
	}
	return d.pages(ctx, true, d.provePage)
}

// pages goes through all tenants of the store.
func (d *destroyShared) pages(ctx context.Context, proving bool, do func(context.Context, []tenant.ID) error) error {
	var after tenant.ID
	for n := int64(0); ; {
		ids, err := d.listPage(ctx, after)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return ctx.Err()
		}
		if err := do(ctx, ids); err != nil {
			return err
		}
		after = ids[len(ids)-1]
		if n += int64(len(ids)); d.opts.Progress != nil {
			d.opts.Progress(DestroySharedProgress{proving, n, after})
		}
	}
}

func (d *destroyShared) rewrapPage(ctx context.Context, ids []tenant.ID) error {
	needs := func(rec *envelope.Record) bool { return needsVersion(d.kek, rec.WrappedRoot, d.through) }
	for _, x := range d.rewrapTogether(ctx, ids, d.opts.Reason, needs) {
		switch {
		case errors.Is(x.err, ErrShredded), errors.Is(x.err, ErrNotProvisioned):
		case x.err != nil:
			return fmt.Errorf("tenant %s could not be rewrapped; %s: %w", x.id, d.advice(x.err), x.err)
		}
		if x.moved {
			d.done.Rewrapped++
		}
	}
	return nil
}

// advice is what to do about a tenant that could not be rewrapped. Nobody is to shred one whose provider is away, or whose record needs a
// version that can be enabled.
func (d *destroyShared) advice(err error) string {
	enabled := d.done.Key.Enabled
	switch {
	case errors.Is(err, ErrUnavailable):
		return "repeat the call"
	case enabled > 0 && errors.Is(err, ErrIntegrity):
		return fmt.Sprintf("the versions below %d are disabled, and its record may need one: repeat the destruction up to %d that was interrupted, or have who disabled them enable them, and repeat the call; if that is not it, restore its record", enabled, enabled-1)
	}
	return "restore its record, or shred it, and repeat the call"
}

// provePage unwraps the root keyset of every tenant that has one.
func (d *destroyShared) provePage(ctx context.Context, ids []tenant.ID) error {
	all := make([]*rewrapping, len(ids))
	for i, id := range ids {
		all[i] = &rewrapping{id: id}
	}
	each(all, func(x *rewrapping) {
		switch rec, err := d.stored(ctx, x.id); {
		case errors.Is(err, ErrNotFound):
			x.end(nil) // deleted meanwhile
		case err != nil:
			x.end(err)
		case rec.State == envelope.StateShredded:
			x.end(nil)
		default:
			x.rec = *rec
		}
	})
	// That it opens proves nothing where somebody else, a second run of this, has enabled the versions meanwhile.
	for _, x := range all {
		if !x.done && needsVersion(d.kek, x.rec.WrappedRoot, d.through) {
			return fmt.Errorf("%w: tenant %s was wrapped by one of the versions up to %d of the shared KEK after it was to be rewrapped, or by another key; repeat the call, with the key that the keyring's tenants share",
				ErrConflict, x.id, d.through)
		}
	}
	d.unwrapAll(ctx, all)
	for _, x := range all {
		if x.err != nil {
			return fmt.Errorf("tenant %s does not open without the versions up to %d of the shared KEK; restore its record, or shred it, and repeat the call: %w", x.id, d.through, x.err)
		}
		if x.rec.Tenant == x.id {
			d.done.Tenants++
		}
	}
	return nil
}

// unwrapAll unwraps those that are not done, together where that goes.
func (r *Keyring) unwrapAll(ctx context.Context, all []*rewrapping) {
	for _, of := range r.groupRewrapped(ctx, all) {
		r.askTogether(ctx, "unwrap", r.unwrapBatch, of, func(x *rewrapping, payload []byte) error {
			_, err := rootOf(&x.rec, Result{Bytes: payload})
			x.end(err)
			return err
		})
	}
	pending(all, func(x *rewrapping) {
		_, err := r.unwrapRoot(ctx, &x.rec)
		x.end(err)
	})
}
