package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/apart"
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

// changingTime bounds how long a change of the key takes once it is known that the key is this run's, where [Options.Timeout] does not
// bound it by less.
const changingTime = 5 * time.Second

// changedWithin is that bound. It is at most half of storedWithin, for which a run waits anyway.
func (o *Options) changedWithin() time.Duration {
	return max(min(changingTime, o.storedWithin()/2), changingTime/10)
}

// DestroySharedKEK destroys the versions up to through of a KEK that the tenants share, once nothing needs them: what of the key
// store is in backups from before, tenants that were shredded since among it, opens no more ([Shredded].Shared names the
// versions). It is an operator's act, about all tenants of the store, and needs rights of the KEK provider's that serving does not.
//
// It adds a version, by a rotation, by which it is told from other runs. Then every tenant that may need one up to through is
// rewrapped, by batches. Then the versions up to through are disabled, which can be taken back, and after a time that whoever has wrapped a
// keyset has for storing it (four times [Options.Timeout]) every tenant is unwrapped by the keyring's own KEK provider. Where one
// does not open, be it damaged or its provider away, or was wrapped by one of the versions after all, the versions are enabled
// again, but for those that an operator had disabled before, and the error names the tenant. Only then are they destroyed. Tenants
// are served all the while. Of several runs at the same time all but one fail, or all do, and nothing is lost; and one fails during
// which somebody else rotates the key.
//
// It can be interrupted at any time and run again with the same through, and must be after an error: what is rewrapped is
// not rewrapped again. Versions that an interrupted run has disabled are enabled as far as a record needs one; which of them an operator
// had disabled before that run nobody knows any more. Where the versions are destroyed already it has no effect.
//
// The key must be that of this store alone: what another store's tenants need it cannot see. Where
// what is wrapped may be another key's it is refused. A store without any record, in which
// no tenant would object, is refused, and a copy of the store that is older than the store is not told from it.
//
// Two events without a tenant are recorded. What a tenant of which the wrapped keys are in memory, or the KEK provider in
// backups, still opens is another matter, as for [Keyring.Shred].
func (r *Keyring) DestroySharedKEK(ctx context.Context, kek SharedKEK, through int, opts *DestroySharedOptions) (*DestroyedShared, error) {
	d := &destroyShared{Keyring: r, through: through}
	if kek != nil {
		d.kek = guardedShared{kek}
	}
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

// destroyShared is a destruction under way. That several at once lose no tenant rests on these rules:
//
//   - A run begins by making a version, of which it makes sure that it is its own. As long as that is the newest one the key is the
//     run's, and it looks before each change, which it makes within [Options.changedWithin] or not at all.
//   - It enables versions only twice as long after it has made its own. By then no earlier run changes anything any more.
//   - It waits for as long between disabling versions and looking at the records, and makes sure then that they are disabled. By then
//     no earlier run enables them any more; and a later one has made a version.
//
// So whatever is stored behind the back of a run that destroys versions never finds them enabled in between.
type destroyShared struct {
	*Keyring
	kek     SharedKEK
	through int
	opts    DestroySharedOptions
	done    DestroyedShared
	version int       // its own, 0 for none
	since   time.Time // when it was made, or a little later
	level   int       // the oldest version that opens, as this run has left it
	needs   int       // the oldest version that a record was seen to need, among those that do not open; 0 for none
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
	if err := d.own(ctx); err != nil {
		return fmt.Errorf("keys: nothing was destroyed: %w", err)
	}
	if d.done.Key.Oldest > d.through {
		return nil // by another run
	}
	err := d.rewrapAll(ctx)
	if err == nil {
		err = d.prove(ctx)
	}
	if err != nil {
		return d.undo(ctx, fmt.Errorf("keys: nothing was destroyed: %w", err))
	}
	if err := d.destroy(ctx); errors.Is(err, ErrConflict) {
		return fmt.Errorf("keys: nothing was destroyed: %w", err)
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

// own makes a version, which is this run's: there is one more than before, and another run that has made one as well since the key was
// read would have made it two.
func (d *destroyShared) own(ctx context.Context) error {
	before := d.done.Key.Newest
	if err := d.kek.RotateSharedKey(ctx); err != nil {
		return fmt.Errorf("rotate the shared KEK: %w", err)
	}
	d.since = time.Now()
	key, err := d.kek.SharedKey(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read the shared KEK: %w", err)
	case key.Newest <= before:
		return fmt.Errorf("%w: the shared KEK was rotated, and is said to have the version %d for its newest as before; is it a copy that lags? Repeat the call", ErrUnavailable, key.Newest)
	case key.Newest != before+1:
		return anotherRun(key)
	}
	d.done.Key, d.version = key, key.Newest
	d.level = max(key.Enabled, key.Oldest)
	return nil
}

func anotherRun(key SharedKey) error {
	return fmt.Errorf("%w: the shared KEK has got the version %d meanwhile, perhaps by another run, which may have had versions enabled for a time; repeat the call", ErrConflict, key.Newest)
}

// owned reads the key, and makes sure that it is this run's.
func (d *destroyShared) owned(ctx context.Context) (SharedKey, error) {
	key, err := d.kek.SharedKey(ctx)
	if err == nil && key.Newest != d.version {
		err = anotherRun(key)
	}
	return key, err
}

// disabled is owned of a key of which the versions that are to be destroyed are disabled.
func (d *destroyShared) disabled(ctx context.Context) error {
	key, err := d.owned(ctx)
	if err == nil && max(key.Enabled, key.Oldest) <= d.through {
		err = fmt.Errorf("%w: somebody else has enabled versions of the shared KEK; repeat the call", ErrConflict)
	}
	return err
}

// disable disables the versions below oldest. More that are disabled stay so.
func (d *destroyShared) disable(ctx context.Context, oldest int) error {
	ctx, cancel := context.WithTimeout(ctx, d.Keyring.opts.changedWithin())
	defer cancel()
	key, err := d.owned(ctx)
	if err != nil {
		return err
	}
	d.level = max(oldest, key.Enabled) // whether it is said to succeed or not
	return d.kek.DisableVersions(ctx, d.level)
}

// enable enables the versions from oldest on.
func (d *destroyShared) enable(ctx context.Context, oldest int) error {
	within := d.Keyring.opts.changedWithin()
	if err := d.wait(ctx, time.Until(d.since.Add(2*within))); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	key, err := d.owned(ctx)
	if err != nil {
		return err
	}
	d.level = max(oldest, key.Oldest) // an earlier run may have destroyed some
	if d.level == max(key.Enabled, key.Oldest) {
		return nil
	}
	return d.kek.DisableVersions(ctx, d.level)
}

// undo enables again what this run has disabled, and returns why it does. What an operator has disabled stays so. What an interrupted run
// had is enabled where somebody needs it, or where this run has disabled more: nobody would know any more that it was not an operator.
func (d *destroyShared) undo(ctx context.Context, cause error) error {
	key := d.done.Key
	to := max(key.Enabled, key.Oldest)
	if key.Proving && (d.level != to || d.needs > 0) {
		to = key.Oldest
	}
	if d.level == to {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), provingUndone+2*d.Keyring.opts.changedWithin())
	defer cancel()
	if err := d.enable(ctx, to); err != nil {
		return errors.Join(cause, fmt.Errorf("keys: the versions up to %d of the shared KEK are disabled, and could not be enabled again; repeat the call: %w", d.through, err))
	}
	return cause
}

// rewrapAll rewraps every tenant that may need one of the versions. An earlier run may have ended with them disabled, and a record
// that needs one is stored since: then they are enabled from that one on, also where that run was to destroy fewer.
func (d *destroyShared) rewrapAll(ctx context.Context) error {
	for {
		d.needs = 0
		err := d.pages(ctx, false, d.rewrapPage)
		needs, level := d.needs, d.level
		d.needs = 0
		if !errors.Is(err, ErrIntegrity) || !d.done.Key.Proving || d.done.Key.Enabled > d.through+1 || needs == 0 || needs >= level {
			return err
		}
		if eerr := d.enable(ctx, needs); eerr != nil {
			return fmt.Errorf("enable the versions of the shared KEK: %w", eerr)
		}
		if d.level == level {
			return err // an earlier run has destroyed what it needs
		}
	}
}

// destroy destroys the versions, of which it was proved that nobody needs them, unless somebody may have enabled them since.
func (d *destroyShared) destroy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.Keyring.opts.changedWithin())
	defer cancel()
	if err := d.disabled(ctx); err != nil {
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
func (d *destroyShared) prove(ctx context.Context) error {
	if err := d.disable(ctx, max(d.done.Key.Enabled, d.through+1)); err != nil {
		return fmt.Errorf("disable the versions up to %d of the shared KEK: %w", d.through, err)
	}
	if err := d.wait(ctx, max(d.Keyring.opts.storedWithin(), 2*d.Keyring.opts.changedWithin())); err != nil {
		return err
	}
	if err := d.disabled(ctx); err != nil {
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
		if n += int64(len(ids)); d.opts.Progress == nil {
			continue
		}
		broke, _ := apart.Call(func() error { // or versions would stay disabled
			d.opts.Progress(DestroySharedProgress{proving, n, after})
			return nil
		})
		if broke != "" {
			return fmt.Errorf("DestroySharedOptions.Progress %s", broke)
		}
	}
}

func (d *destroyShared) rewrapPage(ctx context.Context, ids []tenant.ID) error {
	needs := func(rec *envelope.Record) bool { return needsVersion(d.kek, rec.WrappedRoot, d.through) }
	for _, x := range d.rewrapTogether(ctx, ids, d.opts.Reason, needs) {
		switch {
		case errors.Is(x.err, ErrShredded), errors.Is(x.err, ErrNotProvisioned):
		case x.err != nil:
			if errors.Is(x.err, ErrIntegrity) {
				d.needed(x.rec.WrappedRoot)
			}
			return fmt.Errorf("tenant %s could not be rewrapped; %s: %w", x.id, d.advice(x.err), x.err)
		}
		if x.moved {
			d.done.Rewrapped++
		}
	}
	return nil
}

// needed notes which version a record needs. Where the provider cannot tell that may be any.
func (d *destroyShared) needed(wrapped []byte) {
	v := d.done.Key.Oldest
	for v < d.through && !needsVersion(d.kek, wrapped, v) {
		v++
	}
	if d.needs == 0 || v < d.needs {
		d.needs = v
	}
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
			d.needed(x.rec.WrappedRoot)
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
