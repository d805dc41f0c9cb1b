package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Departure is an admitted offboarding: the deletion of all that a tenant has in one store. It opens no keys, since there
// are none any more: its events have no details, and the actor in them is a pseudonym under the log's own key.
type Departure struct {
	gate        *Gate
	op          Op
	access      tenant.Access
	sealer      audit.Sealer // of a tenant that is suspended only
	correlation string
	suspended   bool // is enough
	dryRun      bool
	began       time.Time
}

// Terms are what an offboarding is admitted on.
type Terms struct {
	Tenant    tenant.ID // must be the one in the context
	Suspended bool      // a suspended tenant is admitted too
	DryRun    bool      // nothing is deleted, and so a tenant in any state is admitted
}

// Depart admits an offboarding or refuses it, in this order: the access in ctx, the tenant's state as the store has it now,
// the authorizer, and the intent in the audit log. Refusals are recorded as those of [Gate.Enter].
func (g *Gate) Depart(ctx context.Context, op *Op, terms Terms) (*Departure, error) {
	access, err := tenant.FromContext(ctx)
	if err == nil && access.Tenant != terms.Tenant {
		err = fmt.Errorf("%w: the access in the context is for another tenant than the one to offboard, %q", tenant.ErrInvalidAccess, terms.Tenant)
	}
	if err != nil {
		return nil, g.deny(ctx, access, op, err)
	}
	d := &Departure{gate: g, op: *op, access: access, suspended: terms.Suspended, dryRun: terms.DryRun, began: time.Now()}
	if err := d.Still(ctx); err != nil {
		return nil, g.deny(ctx, access, op, err)
	}
	if err := g.authorized(ctx, access, op); err != nil {
		return nil, g.deny(ctx, access, op, err)
	}
	sealer, err := g.ring.AuditSealer(ctx, access.Tenant)
	switch {
	case err == nil:
		d.sealer = sealer
	case !errors.Is(err, keys.ErrShredded):
		return nil, g.deny(ctx, access, op, err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("%w: no randomness for a correlation id: %w", audit.ErrUnavailable, err)
	}
	d.correlation = id.String()
	return d, g.record(ctx, d.event(audit.Intent))
}

// Still returns why the tenant may not be offboarded, or not any more. It asks the store each time: a tenant may have been
// resumed, or its record put back.
func (d *Departure) Still(ctx context.Context) error {
	id := d.access.Tenant
	status, err := d.gate.ring.StatusNow(ctx, id)
	switch {
	case errors.Is(err, keys.ErrNotFound):
		return fmt.Errorf("%w: tenant %s; whether it may be offboarded is not known", keys.ErrNotProvisioned, id)
	case err != nil:
		return err
	case status == keys.StatusShredded, d.dryRun, status == keys.StatusSuspended && d.suspended:
		return nil
	case status == keys.StatusSuspended:
		return fmt.Errorf("%w: tenant %s is suspended; shred it first, or set Suspended to delete what could still be read", keys.ErrNotShredded, id)
	}
	return fmt.Errorf("%w: tenant %s is %s; shred it first, with Keyring.Shred", keys.ErrNotShredded, id, status)
}

// Settle waits until no process can have keys of the tenant that it got before the offboarding began, as far as a keyring's
// bound says, and as long again for what was under way then: what is written until then has to be deleted as well.
func (d *Departure) Settle(ctx context.Context) error {
	wait := time.NewTimer(time.Until(d.began.Add(2 * d.gate.ring.SuspendWithin())))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Access returns for whom the offboarding was admitted.
func (d *Departure) Access() tenant.Access { return d.access }

// Correlation is what the events of the offboarding have in common.
func (d *Departure) Correlation() string { return d.correlation }

// RecordDeleted records what was deleted, of one of the tables, or with nil of the bucket.
func (d *Departure) RecordDeleted(ctx context.Context, tables []string, r Result) error {
	e := d.event(audit.Single)
	r.describe(e)
	if tables != nil {
		e.Tables = slices.Clone(tables)
	}
	if err := d.gate.record(context.WithoutCancel(ctx), e); err != nil {
		return fmt.Errorf("what was deleted could not be recorded: %w", err)
	}
	return nil
}

// Leave records how the offboarding went. Call it once.
func (d *Departure) Leave(ctx context.Context, r Result) error {
	e := d.event(audit.Outcome)
	r.describe(e)
	if err := d.gate.record(context.WithoutCancel(ctx), e); err != nil {
		return fmt.Errorf("the offboarding took place but its outcome could not be recorded: %w", err)
	}
	return nil
}
