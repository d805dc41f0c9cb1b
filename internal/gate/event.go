package gate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/reason"
	"github.com/strongroom-go/strongroom/internal/recording"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

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
		e.Status, e.Reason = audit.Unknown, classOf(r.Err)
	case r.Err != nil:
		e.Status, e.Reason = audit.Failure, classOf(r.Err)
	}
}

// event makes an event about op: every event of a gate comes from here. It says that op succeeded and touched nothing, which
// is for the caller to correct.
func (op *Op) event(phase audit.Phase, access tenant.Access, sealer audit.Sealer) *audit.Event {
	return &audit.Event{
		Code: op.Code, Phase: phase, Status: audit.Success,
		Tenant: access.Tenant, Actor: access.Actor, Purpose: access.Purpose, Request: access.Request, Sealer: sealer,
		Store: op.Action.Store, Name: op.Action.Name,
		Tables: op.Action.Tables, Columns: op.Action.Columns, SealedColumns: op.SealedColumns,
		Statement: op.Statement, Fingerprint: op.Fingerprint,
		Transaction: op.Transaction, Details: op.Details,
		Rows: -1, Bytes: -1,
	}
}

// event makes an event of the operation that was admitted.
func (p *Pass) event(phase audit.Phase) *audit.Event {
	e := p.op.event(phase, p.access, p.keys.Audit())
	e.Correlation, e.KeyVersion = p.correlation, p.keys.DataKeyID()
	return e
}

// event makes an event of the offboarding that was admitted.
func (d *Departure) event(phase audit.Phase) *audit.Event {
	e := d.op.event(phase, d.access, d.sealer)
	e.Correlation = d.correlation
	return e
}

// record returns nil once the event is in the trail.
func (g *Gate) record(ctx context.Context, e *audit.Event) error {
	if err := recording.Record(ctx, g.log, e); err != nil {
		return unavailable(err)
	}
	return nil
}

// noted is a sealer that notes why it failed: a recorder takes an event that is no intent without its details then.
type noted struct {
	audit.Sealer
	err atomic.Pointer[error]
}

func (n *noted) Pseudonym(actor string) (string, error) {
	p, err := n.Sealer.Pseudonym(actor)
	if err != nil {
		n.err.Store(&err)
	}
	return p, err
}

func (n *noted) SealDetails(details []byte, uid string) ([]byte, error) {
	sealed, err := n.Sealer.SealDetails(details, uid)
	if err != nil {
		n.err.Store(&err)
	}
	return sealed, err
}

// unavailable makes sure that a recorder's failure carries the sentinel that callers look for.
func unavailable(err error) error {
	if errors.Is(err, audit.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", audit.ErrUnavailable, err)
}

// Reasoner is an error that knows the class it has in the audit trail. All are this module's.
type Reasoner interface{ AuditReason() reason.Text }

// classOf classifies an error for the trail. The error's own text stays out of it: drivers and authorizers put
// values into theirs.
func classOf(err error) string {
	var r Reasoner
	switch {
	case errors.As(err, &r) && r.AuditReason() != "":
		return string(r.AuditReason())
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
