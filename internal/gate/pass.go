package gate

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/recording"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Access returns for whom the operation was admitted.
func (p *Pass) Access() tenant.Access { return p.access }

// Tenant returns the tenant the operation was admitted for.
func (p *Pass) Tenant() tenant.ID { return p.access.Tenant }

// Keys returns the tenant's opened keys.
func (p *Pass) Keys() tenantkeys.Keys { return p.keys }

// Current opens the tenant's keys as they are by now, for an operation that was admitted long ago. It fails where they are away,
// as those of a tenant that was suspended meanwhile.
func (p *Pass) Current(ctx context.Context) (tenantkeys.Keys, error) {
	return tenantkeys.Open(ctx, p.gate.ring, p.access.Tenant)
}

// Wait returns nil once the intent is recorded. Where ctx ended first, it may be called again; after any other error the
// operation is not admitted.
func (p *Pass) Wait(ctx context.Context) error {
	if p.intent == nil {
		return nil
	}
	if err := recording.Wait(ctx, p.intent); err != nil {
		return unavailable(err)
	}
	p.intent = nil
	return nil
}

// Leave records how the operation went. It does not end when ctx does: an access that happened is recorded although
// its caller has gone. Call it once. For a pass of [Gate.Begin] it does not wait until the outcome is recorded: a loss of
// power may lose it.
func (p *Pass) Leave(ctx context.Context, r Result) (err error) {
	defer p.left(ctx, r)
	e := p.event(audit.Outcome)
	r.describe(e)
	if ctx = context.WithoutCancel(ctx); p.queue != nil {
		if _, err = recording.Queue(ctx, p.queue, e); err != nil {
			err = unavailable(err)
		}
	} else {
		err = p.gate.record(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("the operation took place but its outcome could not be recorded: %w", err)
	}
	return nil
}

// Alert records that a value did not open where it was found: an attempt to move data between tenants, tables or
// columns, or damage. What names the place (never the value), as table.column for SQL.
func (p *Pass) Alert(ctx context.Context, what string) error {
	e := p.event(audit.Single)
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
	e := p.event(audit.Single)
	e.Reason = "a statement gave another id than its tenant's"
	e.Columns, e.SealedColumns = []string{column}, nil
	return p.alert(ctx, e)
}

func (p *Pass) alert(ctx context.Context, e *audit.Event) error {
	e.Code, e.Status = audit.CodeIsolation, audit.Failure
	if err := p.gate.record(context.WithoutCancel(ctx), e); err != nil {
		return fmt.Errorf("the alert could not be recorded: %w", err)
	}
	return nil
}
