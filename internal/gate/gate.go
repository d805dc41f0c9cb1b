// Package gate is the one door: every access to tenant data, SQL or blob, enters through [Gate.Enter] and leaves
// through [Pass.Leave], and nothing else in the module opens a tenant's keys for data or records an access.
package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/recording"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Gate guards one store. It is safe for concurrent use.
type Gate struct {
	ring *keys.Keyring
	log  audit.Recorder
	auth tenant.Authorizer // nil admits every valid access

	telemetry *telemetry.Gate // nil where it is off
}

// New returns a gate; ring and log are required, auth may be nil.
func New(ring *keys.Keyring, log audit.Recorder, auth tenant.Authorizer) (*Gate, error) {
	switch {
	case ring == nil:
		return nil, errors.New("strongroom: the guard has no keys; set Guard.Keys to an opened *keys.Keyring")
	case log == nil:
		return nil, errors.New("strongroom: the guard has no audit log; set Guard.Audit to an opened *audit.Log")
	}
	return &Gate{ring: ring, log: log, auth: auth}, nil
}

// Op is one operation that asks to enter.
type Op struct {
	Code   audit.Code
	Action tenant.Action
	// AlsoDeletes asks the authorizer about the same action as a [tenant.Delete] too; both must be admitted.
	AlsoDeletes bool
	// SealedColumns, Statement and Fingerprint describe a SQL statement for the trail; Statement has no literals.
	SealedColumns []string
	Statement     string
	Fingerprint   string
	// Transaction is one id for all statements of a SQL transaction; empty outside one.
	Transaction string
	// Details go into the trail sealed under the tenant's key.
	Details map[string]string
	// Access is reported, where telemetry is on and it was begun before the gate; nil has the gate begin one.
	Access *telemetry.Access
}

// Pass is an admitted operation. It holds the tenant's opened keys until the operation ends.
type Pass struct {
	gate        *Gate
	op          Op
	access      tenant.Access
	keys        tenantkeys.Keys
	correlation string
	queue       audit.Queuer  // set where the operation does not wait for its events, see Begin
	intent      audit.Pending // nil once it is recorded
	reported    *telemetry.Access
}

// Enter admits op or refuses it, in this order: the access in ctx, the tenant's state and the authorizer, where there is one,
// the tenant's keys, and with them its state by then, and the intent in the audit log. A refusal before the log is recorded as a denial, which needs the tenant's
// keys as well, and stays a refusal whatever the log does. An intent that cannot be recorded refuses the operation with [audit.ErrUnavailable].
func (g *Gate) Enter(ctx context.Context, op *Op) (pass *Pass, err error) {
	ctx, entering := g.entering(ctx, op)
	defer func() { entering.end(ctx, pass, err) }()
	p, e, err := g.open(ctx, op)
	if err != nil {
		return nil, err
	}
	if err := g.record(ctx, e); err != nil {
		return nil, err
	}
	return p, nil
}

// Begin admits op as Enter does, and does not wait for its intent to be recorded where the log can queue it: the caller
// may ask the store meanwhile, but must release nothing that the store says, and make nothing permanent, before
// [Pass.Wait] returns nil. Nor does [Pass.Leave] wait for the outcome then.
func (g *Gate) Begin(ctx context.Context, op *Op) (pass *Pass, err error) {
	q, ok := g.log.(audit.Queuer)
	if !ok {
		return g.Enter(ctx, op)
	}
	ctx, entering := g.entering(ctx, op)
	defer func() { entering.end(ctx, pass, err) }()
	p, e, err := g.open(ctx, op)
	if err != nil {
		return nil, err
	}
	p.queue = q
	if p.intent, err = recording.Queue(ctx, q, e); err != nil {
		return nil, unavailable(err)
	}
	return p, nil
}

// open does what Enter does short of recording the intent, which it returns.
func (g *Gate) open(ctx context.Context, op *Op) (*Pass, *audit.Event, error) {
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return nil, nil, g.deny(ctx, access, op, err)
	}
	if g.auth != nil {
		if err := g.active(ctx, access.Tenant); err != nil {
			return nil, nil, g.deny(ctx, access, op, err)
		}
		if err := g.authorized(ctx, access, op); err != nil {
			return nil, nil, g.deny(ctx, access, op, err)
		}
	}
	// After the authorizer, who may take long: meanwhile the tenant may have been suspended.
	opened, err := tenantkeys.Open(ctx, g.ring, access.Tenant)
	if err != nil {
		return nil, nil, g.deny(ctx, access, op, err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: no randomness for a correlation id: %w", audit.ErrUnavailable, err)
	}
	p := &Pass{gate: g, op: *op, access: access, keys: opened, correlation: id.String()}
	return p, p.event(audit.Intent), nil
}

// Check tells whether the access in ctx may begin something, such as a transaction, that touches no data yet: whether it is
// valid and its tenant active. It needs no keys, asks no authorizer and records no intent; a refusal is recorded.
func (g *Gate) Check(ctx context.Context, op *Op) (tenant.Access, error) {
	access, err := tenant.FromContext(ctx)
	if err == nil {
		err = g.active(ctx, access.Tenant)
	}
	if err != nil {
		return tenant.Access{}, g.deny(ctx, access, op, err)
	}
	return access, nil
}

// active returns nil for a tenant that is.
func (g *Gate) active(ctx context.Context, id tenant.ID) error {
	status, err := g.ring.Status(ctx, id)
	switch {
	case err != nil:
		return err
	case status == keys.StatusActive:
		return nil
	case status == keys.StatusSuspended:
		return fmt.Errorf("%w: tenant %s", keys.ErrSuspended, id)
	case status == keys.StatusShredded:
		return fmt.Errorf("%w: tenant %s", keys.ErrShredded, id)
	}
	return fmt.Errorf("strongroom: tenant %s has the unknown status %q; upgrade this process", id, status)
}

// authorized asks the authorizer, where there is one, about op as each of its verbs.
func (g *Gate) authorized(ctx context.Context, access tenant.Access, op *Op) error {
	if g.auth == nil {
		return nil
	}
	if err := g.authorize(ctx, access, op, op.Action); err != nil || !op.AlsoDeletes {
		return err
	}
	deletion := op.Action
	deletion.Verb = tenant.Delete
	return g.authorize(ctx, access, op, deletion)
}

func (g *Gate) authorize(ctx context.Context, access tenant.Access, op *Op, action tenant.Action) error {
	// The authorizer gets copies: a plan's slices are shared by every request that uses it.
	action.Tables, action.Columns = slices.Clone(action.Tables), slices.Clone(action.Columns)
	// One that panics or ends its goroutine denies: it is called within calls of database/sql, which takes no connection back from a call
	// that does not return, so that the requests of one tenant could use up those of all.
	broke, err := apart.Call(func() error { return g.auth.Authorize(ctx, access, action) })
	if broke != "" {
		err = errors.New("the authorizer " + broke)
	}
	if err != nil {
		return &deniedError{err}
	}
	return nil
}

// Refuse records that op was refused for a reason found outside the gate, such as a statement that the planner does
// not accept, and returns why, joined with the log's error where recording failed.
func (g *Gate) Refuse(ctx context.Context, op *Op, why error) error {
	access, err := tenant.FromContext(ctx)
	if err != nil {
		why = err
	}
	return g.deny(ctx, access, op, why)
}

func (g *Gate) deny(ctx context.Context, access tenant.Access, op *Op, why error) error {
	// A caller that gives up does not make its denial unseen.
	ctx = context.WithoutCancel(ctx)
	e := op.event(audit.Single, access, nil)
	e.Status, e.Reason = audit.Denied, classOf(why)
	if !access.Tenant.IsZero() {
		if sealer, err := g.ring.AuditSealer(ctx, access.Tenant); err == nil {
			e.Sealer = sealer
		}
	}
	if err := g.record(ctx, e); err != nil {
		return errors.Join(why, fmt.Errorf("the denial itself could not be recorded: %w", err))
	}
	return why
}

// RecordBefore records something that is about to happen, and must not where RecordBefore returns an error: where the
// event could not be recorded, or not with its details because the tenant's keys are away, or used up.
func (g *Gate) RecordBefore(ctx context.Context, op *Op) error {
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return err
	}
	sealer, err := g.ring.AuditSealer(ctx, access.Tenant)
	if err != nil {
		return fmt.Errorf("the event's details cannot be sealed: %w", err)
	}
	sure := &noted{Sealer: sealer}
	if err := g.record(ctx, op.event(audit.Single, access, sure)); err != nil {
		return err
	}
	if err := sure.err.Load(); err != nil {
		return fmt.Errorf("the event's details could not be sealed, and it was recorded without them: %w", *err)
	}
	return nil
}

// RecordAfter records something that has happened and touches no further data, such as the end of a transaction, and
// how it went. It returns an error only where the event could not be recorded.
func (g *Gate) RecordAfter(ctx context.Context, op *Op, r Result) error {
	ctx = context.WithoutCancel(ctx)
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return err
	}
	sealer, err := g.ring.AuditSealer(ctx, access.Tenant)
	if err != nil {
		sealer = nil // what took place is recorded without its details rather than not at all
	}
	e := op.event(audit.Single, access, sealer)
	r.describe(e)
	if err := g.record(ctx, e); err != nil {
		return fmt.Errorf("the operation took place but could not be recorded: %w", err)
	}
	return nil
}
