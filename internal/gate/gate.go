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
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Gate guards one store. It is safe for concurrent use.
type Gate struct {
	ring *keys.Keyring
	log  audit.Recorder
	auth tenant.Authorizer // nil admits every valid access
}

// New returns a gate; ring and log are required, auth may be nil.
func New(ring *keys.Keyring, log audit.Recorder, auth tenant.Authorizer) (*Gate, error) {
	switch {
	case ring == nil:
		return nil, errors.New("strongroom: the guard has no keys; set Guard.Keys to an opened *keys.Keyring")
	case log == nil:
		return nil, errors.New("strongroom: the guard has no audit log; set Guard.Audit to an opened *audit.Log")
	}
	return &Gate{ring, log, auth}, nil
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
}

// Pass is an admitted operation. It holds the tenant's opened keys until the operation ends.
type Pass struct {
	gate        *Gate
	op          Op
	access      tenant.Access
	keys        *keys.Tenant
	correlation string
	queue       audit.Queuer  // set where the operation does not wait for its events, see Begin
	intent      audit.Pending // nil once it is recorded
}

// Enter admits op or refuses it, in this order: the access in ctx, the tenant's state, the authorizer, the tenant's
// keys, and the intent in the audit log. A refusal before the log is recorded as a denial, and stays a refusal
// whatever the log does. An intent that cannot be recorded refuses the operation with [audit.ErrUnavailable].
func (g *Gate) Enter(ctx context.Context, op *Op) (*Pass, error) {
	p, e, err := g.open(ctx, op)
	if err != nil {
		return nil, err
	}
	if err := g.log.Record(ctx, e); err != nil {
		return nil, unavailable(err)
	}
	return p, nil
}

// Begin admits op as Enter does, and does not wait for its intent to be recorded where the log can queue it: the caller
// may ask the store meanwhile, but must release nothing that the store says, and make nothing permanent, before
// [Pass.Wait] returns nil. Nor does [Pass.Leave] wait for the outcome then.
func (g *Gate) Begin(ctx context.Context, op *Op) (*Pass, error) {
	q, ok := g.log.(audit.Queuer)
	if !ok {
		return g.Enter(ctx, op)
	}
	p, e, err := g.open(ctx, op)
	if err != nil {
		return nil, err
	}
	p.queue = q
	if p.intent, err = q.Queue(ctx, e); err != nil {
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
	if err := g.admit(ctx, access, op); err != nil {
		return nil, nil, g.deny(ctx, access, op, err)
	}
	opened, err := g.ring.Tenant(ctx, access.Tenant)
	if err != nil {
		return nil, nil, g.deny(ctx, access, op, err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: no randomness for a correlation id: %w", audit.ErrUnavailable, err)
	}
	p := &Pass{gate: g, op: *op, access: access, keys: opened, correlation: id.String()}
	e := p.event(audit.Intent, audit.Success)
	e.Rows, e.Bytes = -1, -1
	return p, e, nil
}

// Check does what Enter does short of opening keys and recording an intent: it tells whether the access in ctx may
// begin something, such as a transaction, that touches no data yet. A refusal is recorded.
func (g *Gate) Check(ctx context.Context, op *Op) (tenant.Access, error) {
	access, err := tenant.FromContext(ctx)
	if err == nil {
		err = g.admit(ctx, access, nil)
	}
	if err != nil {
		return tenant.Access{}, g.deny(ctx, access, op, err)
	}
	return access, nil
}

// admit checks the tenant's state and, where there is an op, asks the authorizer.
func (g *Gate) admit(ctx context.Context, access tenant.Access, op *Op) error {
	status, err := g.ring.Status(ctx, access.Tenant)
	if err != nil {
		return err
	}
	switch status {
	case keys.StatusActive:
	case keys.StatusSuspended:
		return fmt.Errorf("%w: tenant %s", keys.ErrSuspended, access.Tenant)
	case keys.StatusShredded:
		return fmt.Errorf("%w: tenant %s", keys.ErrShredded, access.Tenant)
	default:
		return fmt.Errorf("strongroom: tenant %s has the unknown status %q; upgrade this process", access.Tenant, status)
	}
	if g.auth == nil || op == nil {
		return nil
	}
	verbs := []tenant.Verb{op.Action.Verb}
	if op.AlsoDeletes {
		verbs = append(verbs, tenant.Delete)
	}
	return g.authorized(ctx, access, op.Action, verbs...)
}

// authorized asks the authorizer about an action as each of some verbs.
func (g *Gate) authorized(ctx context.Context, access tenant.Access, action tenant.Action, verbs ...tenant.Verb) error {
	for _, verb := range verbs {
		action := action
		action.Verb = verb
		// The authorizer gets copies: a plan's slices are shared by every request that uses it.
		action.Tables, action.Columns = slices.Clone(action.Tables), slices.Clone(action.Columns)
		if err := g.auth.Authorize(ctx, access, action); err != nil {
			return fmt.Errorf("%w: %w", tenant.ErrDenied, err)
		}
	}
	return nil
}

// Refuse records that op was refused for a reason found outside the gate, such as a statement that the planner does
// not accept, and returns why, joined with the log's error where recording failed.
func (g *Gate) Refuse(ctx context.Context, op *Op, why error) error {
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return g.deny(ctx, tenant.Access{}, op, err)
	}
	return g.deny(ctx, access, op, why)
}

func (g *Gate) deny(ctx context.Context, access tenant.Access, op *Op, why error) error {
	// A caller that gives up does not make its denial unseen.
	ctx = context.WithoutCancel(ctx)
	e := &audit.Event{
		Code: op.Code, Phase: audit.Single, Status: audit.Denied,
		Tenant: access.Tenant, Actor: access.Actor, Purpose: access.Purpose, Request: access.Request,
		Rows: -1, Bytes: -1, Reason: reason(why),
	}
	op.describe(e)
	if !access.Tenant.IsZero() {
		if sealer, err := g.ring.AuditSealer(ctx, access.Tenant); err == nil {
			e.Sealer = sealer
		}
	}
	if err := g.log.Record(ctx, e); err != nil {
		return errors.Join(why, fmt.Errorf("the denial itself could not be recorded: %w", unavailable(err)))
	}
	return why
}

func (op *Op) describe(e *audit.Event) {
	e.Store, e.Name = op.Action.Store, op.Action.Name
	e.Tables, e.Columns, e.SealedColumns = op.Action.Tables, op.Action.Columns, op.SealedColumns
	e.Statement, e.Fingerprint = op.Statement, op.Fingerprint
	e.Transaction, e.Details = op.Transaction, op.Details
}

// unavailable makes sure that a recorder's failure carries the sentinel that callers look for.
func unavailable(err error) error {
	if errors.Is(err, audit.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", audit.ErrUnavailable, err)
}

// Note records a single event about something that touches no further data, such as the end of a transaction, and how
// it went. It returns an error only where the event could not be recorded.
func (g *Gate) Note(ctx context.Context, op *Op, r Result) error {
	ctx = context.WithoutCancel(ctx)
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return err
	}
	sealer, err := g.ring.AuditSealer(ctx, access.Tenant)
	if err != nil {
		sealer = nil // what took place is recorded without its details rather than not at all
	}
	if err := g.note(ctx, access, op, r, sealer); err != nil {
		return fmt.Errorf("the operation took place but could not be recorded: %w", err)
	}
	return nil
}

// Announce records a single event about something that is about to happen, and must not where Announce returns an error:
// where the event could not be recorded, or not with its details because the tenant's keys are away.
func (g *Gate) Announce(ctx context.Context, op *Op) error {
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return err
	}
	sealer, err := g.ring.AuditSealer(ctx, access.Tenant)
	if err != nil {
		return fmt.Errorf("the event's details cannot be sealed: %w", err)
	}
	return g.note(ctx, access, op, Result{Rows: -1, Bytes: -1}, sealer)
}

func (g *Gate) note(ctx context.Context, access tenant.Access, op *Op, r Result, sealer audit.Sealer) error {
	e := &audit.Event{
		Code: op.Code, Phase: audit.Single, Status: audit.Success,
		Tenant: access.Tenant, Actor: access.Actor, Purpose: access.Purpose, Request: access.Request,
		Sealer: sealer,
	}
	r.describe(e)
	op.describe(e)
	if err := g.log.Record(ctx, e); err != nil {
		return unavailable(err)
	}
	return nil
}
