// Package observed reports what goes into an audit trail as telemetry, whoever keeps it.
package observed

import (
	"context"
	"errors"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/recording"
	"github.com/strongroom-go/strongroom/internal/telemetry"
)

// Recorder returns a recorder that records what rec does, with the same guarantees, and reports it. Where c switches everything
// off it is rec itself.
func Recorder(rec audit.Recorder, c *audit.Telemetry) (audit.Recorder, error) {
	t, err := telemetry.NewTrail((*telemetry.Config)(c))
	if t == nil || rec == nil || err != nil {
		return rec, err
	}
	o := recorder{rec, t}
	if q, ok := rec.(audit.Queuer); ok {
		return queuer{o, q}, nil
	}
	return o, nil
}

type recorder struct {
	audit.Recorder
	trail *telemetry.Trail
}

// CallsByRecording implements [recording.Own].
func (recorder) CallsByRecording() {}

// Record implements [audit.Recorder].
func (r recorder) Record(ctx context.Context, e *audit.Event) error {
	ctx, waiting := r.trail.Wait(ctx)
	err := recording.Record(ctx, r.Recorder, e)
	end(ctx, waiting, err)
	r.report(ctx, e)
	return err
}

// report reports what an event tells of, whether it could be recorded or not.
func (r recorder) report(ctx context.Context, e *audit.Event) {
	about := func() telemetry.Event {
		return telemetry.Event{Code: string(e.Code), Store: e.Store, Reason: e.Reason, Correlation: e.Correlation, Tenant: e.Tenant.String()}
	}
	switch {
	case e.Status == audit.Denied:
		r.trail.Denied(ctx, about())
	case e.Code == audit.CodeIsolation:
		alert := about()
		alert.Columns = e.Columns // of a statement; an object's key is in the details, which are nobody's here
		r.trail.Alert(ctx, alert)
	case e.Phase == audit.Outcome && strings.HasPrefix(string(e.Code), "key."):
		r.trail.Operation(ctx, about())
	}
}

type queuer struct {
	recorder
	queuer audit.Queuer
}

// Queue implements [audit.Queuer].
func (q queuer) Queue(ctx context.Context, e *audit.Event) (audit.Pending, error) {
	p, err := recording.Queue(ctx, q.queuer, e)
	if err != nil {
		var waiting telemetry.Waiting
		ctx, waiting = q.trail.Wait(ctx)
		end(ctx, waiting, err)
	}
	q.report(ctx, e)
	if err != nil {
		return nil, err
	}
	return pending{p, q.trail}, nil
}

type pending struct {
	audit.Pending
	trail *telemetry.Trail
}

// Wait implements [audit.Pending].
func (p pending) Wait(ctx context.Context) error {
	ctx, waiting := p.trail.Wait(ctx)
	err := recording.Wait(ctx, p.Pending)
	end(ctx, waiting, err)
	return err
}

func end(ctx context.Context, w telemetry.Waiting, err error) {
	switch {
	case err == nil:
		w.End(ctx, "", false)
	case errors.Is(err, audit.ErrUnavailable):
		w.End(ctx, "audit trail unavailable", true)
	case errors.Is(err, context.Canceled):
		w.End(ctx, "cancelled", false)
	case errors.Is(err, context.DeadlineExceeded):
		w.End(ctx, "deadline exceeded", false)
	default:
		w.End(ctx, "error", true)
	}
}
