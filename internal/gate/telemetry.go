package gate

import (
	"context"
	"errors"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/observed"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/tenant"
)

// Observe has the accesses to a store reported. It is called before the gate is used, if at all.
func (g *Gate) Observe(c *audit.Telemetry, store telemetry.Store) (err error) {
	if g.telemetry, err = telemetry.NewGate((*telemetry.Config)(c), store); err == nil {
		g.log, err = observed.Recorder(g.log, c)
	}
	return err
}

// Telemetry is what a store reports its accesses to; nil where it is off.
func (g *Gate) Telemetry() *telemetry.Gate { return g.telemetry }

// entering is an operation on its way through the gate. The zero value reports nothing.
type entering struct {
	access *telemetry.Access
	span   telemetry.Span
	own    bool // the access is begun here, and ended here where it is refused
}

func (g *Gate) entering(ctx context.Context, op *Op) (context.Context, entering) {
	if g.telemetry == nil {
		return ctx, entering{}
	}
	e := entering{access: op.Access}
	if e.own = e.access == nil; e.own {
		ctx, e.access = g.telemetry.Other(ctx, string(op.Code))
	}
	ctx, e.span = g.telemetry.Admission(ctx)
	return ctx, e
}

func (e entering) end(ctx context.Context, p *Pass, err error) {
	if e.access == nil {
		return
	}
	if err == nil && p == nil { // something panics
		err = errors.New("the gate did not return")
	}
	e.span.End(Class(err))
	if err == nil {
		p.reported = e.access
		e.access.Admitted(p.correlation, p.access.Tenant.String())
	} else if e.own {
		e.access.End(ctx, telemetry.Outcome{Class: Class(err), Rows: -1, Bytes: -1})
	}
}

// Context returns ctx with the operation's span, for what is done once it was admitted.
func (p *Pass) Context(ctx context.Context) context.Context { return p.reported.Context(ctx) }

// left reports how the operation went.
func (p *Pass) left(ctx context.Context, r Result) {
	if p.reported == nil {
		return
	}
	o := telemetry.Outcome{Class: Class(r.Err), Rows: r.Rows, Bytes: r.Bytes, Unknown: r.Unknown}
	var coded interface{ SQLState() string } // a *pgconn.PgError
	if errors.As(r.Err, &coded) && isState(coded.SQLState()) {
		o.Code = coded.SQLState()
	}
	p.reported.End(ctx, o)
}

// isState tells an SQLSTATE from what an application's error of that method could say.
func isState(s string) bool {
	return len(s) == 5 && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') })
}

// Class is the class of an error in telemetry, empty for none: that which it has in the trail, but for what only an application
// could have said there.
func Class(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, tenant.ErrDenied):
		return "unauthorized"
	case errors.Is(err, audit.ErrUnavailable):
		return "audit trail unavailable"
	}
	return classOf(err)
}
