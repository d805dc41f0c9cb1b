package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Access returns for whom the operation was admitted.
func (p *Pass) Access() tenant.Access { return p.access }

// Tenant returns the tenant the operation was admitted for.
func (p *Pass) Tenant() tenant.ID { return p.access.Tenant }

// Keys returns the tenant's opened keys.
func (p *Pass) Keys() *keys.Tenant { return p.keys }

// Result is how an admitted operation went. Rows and Bytes are -1 where they are not known.
type Result struct {
	Rows  int64
	Bytes int64
	Err   error
	// Unknown tells that Err came in the place of the store's answer: what was asked for may have taken place.
	Unknown bool
}

// describe writes how it went into an event.
func (r Result) describe(e *audit.Event) {
	e.Rows, e.Bytes = r.Rows, r.Bytes
	switch {
	case r.Unknown:
		e.Status, e.Reason = audit.Unknown, reason(r.Err)
	case r.Err != nil:
		e.Status, e.Reason = audit.Failure, reason(r.Err)
	}
}

// Wait returns nil once the intent is recorded. Where ctx ended first, it may be called again; after any other error the
// operation is not admitted.
func (p *Pass) Wait(ctx context.Context) error {
	if p.intent == nil {
		return nil
	}
	if err := p.intent.Wait(ctx); err != nil {
		return unavailable(err)
	}
	p.intent = nil
	return nil
}

// Leave records how the operation went. It does not end when ctx does: an access that happened is recorded although
// its caller has gone. Call it once. For a pass of [Gate.Begin] it does not wait until the outcome is recorded: a loss of
// power may lose it.
func (p *Pass) Leave(ctx context.Context, r Result) (err error) {
	e := p.event(audit.Outcome, audit.Success)
	r.describe(e)
	if ctx = context.WithoutCancel(ctx); p.queue != nil {
		_, err = p.queue.Queue(ctx, e)
	} else {
		err = p.gate.log.Record(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("the operation took place but its outcome could not be recorded: %w", unavailable(err))
	}
	return nil
}

// Alert records that a value did not open where it was found: an attempt to move data between tenants, tables or
// columns, or damage. What names the place (never the value), as table.column for SQL.
func (p *Pass) Alert(ctx context.Context, what string) error {
	e := p.event(audit.Single, audit.Failure)
	e.Reason = "a value did not open where it was found"
	if p.op.Action.Store == "blob" {
		e.Details = map[string]string{"key": what}
	} else {
		e.Columns, e.SealedColumns = []string{what}, []string{what}
	}
	return p.alert(ctx, e)
}

// AlertTenant records that a statement gave another tenant's id as its own, for a column.
func (p *Pass) AlertTenant(ctx context.Context, column string) error {
	e := p.event(audit.Single, audit.Failure)
	e.Reason = "a statement gave another id than its tenant's"
	e.Columns, e.SealedColumns = []string{column}, nil
	return p.alert(ctx, e)
}

func (p *Pass) alert(ctx context.Context, e *audit.Event) error {
	e.Code = audit.CodeIsolation
	e.Rows, e.Bytes = -1, -1
	if err := p.gate.log.Record(context.WithoutCancel(ctx), e); err != nil {
		return fmt.Errorf("the alert could not be recorded: %w", unavailable(err))
	}
	return nil
}

func (p *Pass) event(phase audit.Phase, status audit.Status) *audit.Event {
	e := &audit.Event{
		Code: p.op.Code, Phase: phase, Status: status, Correlation: p.correlation,
		Tenant: p.access.Tenant, Actor: p.access.Actor, Purpose: p.access.Purpose, Request: p.access.Request,
		KeyVersion: p.keys.DataKeyID(), Sealer: p.keys.Audit(),
	}
	p.op.describe(e)
	return e
}

// Reasoner is an error that knows the class it has in the audit trail: a few words, and never any data.
type Reasoner interface{ AuditReason() string }

// reason classifies an error for the trail. The error's own text stays out of it: drivers and authorizers put
// values into theirs.
func reason(err error) string {
	var r Reasoner
	switch {
	case errors.As(err, &r):
		return r.AuditReason()
	case errors.Is(err, tenant.ErrMissing):
		return "no tenant in the context"
	case errors.Is(err, tenant.ErrInvalidAccess):
		return "invalid access"
	case errors.Is(err, tenant.ErrDenied):
		return "unauthorized"
	case errors.Is(err, keys.ErrSuspended):
		return "suspended"
	case errors.Is(err, keys.ErrShredded):
		return "shredded"
	case errors.Is(err, keys.ErrNotShredded):
		return "not shredded"
	case errors.Is(err, keys.ErrNotProvisioned):
		return "not provisioned"
	case errors.Is(err, keys.ErrKeyDisabled):
		return "the key is disabled"
	case errors.Is(err, keys.ErrUnavailable):
		return "keys unavailable"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline exceeded"
	default:
		return "error"
	}
}
