package oteltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/tenant"
)

// failing is a KEK provider and a trail that can be away.
type failing struct {
	keys.KEK
	audit.Recorder
	kekAway, trailAway atomic.Bool
}

func (f *failing) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	if f.kekAway.Load() {
		return nil, fmt.Errorf("%w: no route to "+canary, keys.ErrUnavailable)
	}
	return f.KEK.Unwrap(ctx, id, wrapped)
}

func (f *failing) Record(ctx context.Context, e *audit.Event) error {
	if f.trailAway.Load() {
		return errors.New("disk gone: " + canary)
	}
	return f.Recorder.Record(ctx, e)
}

// What goes away is told once, and so is that it is back; why is in the errors that callers get, and not in telemetry.
func TestOutagesAreTold(t *testing.T) {
	f := &failing{}
	w := newWorld(t, dialect.SQLite, func(c *stack.Config, _ *audit.Telemetry) {
		kek, err := localkek.Open(t.TempDir()+"/kek.json", nil)
		must(t, err)
		log, err := audit.OpenLog(t.TempDir(), nil)
		must(t, err)
		t.Cleanup(func() { log.Close() })
		f.KEK, f.Recorder = kek, log
		c.KEK, c.Audit = f, f
	})
	for _, id := range []string{ours, theirs} {
		must(t, w.Keys.Provision(t.Context(), tenant.MustParse(id)))
	}
	query := func(id string) error {
		_, err := w.DB["clinic"].ExecContext(as(t.Context(), id), `DELETE FROM visits`)
		return err
	}
	must(t, query(ours))
	f.kekAway.Store(true)
	if err := query(theirs); !errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("without a KEK provider: %v", err)
	}
	f.kekAway.Store(false)
	for query(theirs) != nil { // a failure is remembered for a second
		if t.Context().Err() != nil {
			t.Fatal("it does not come back")
		}
	}
	f.trailAway.Store(true)
	for range 3 {
		if err := query(theirs); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("without a trail: %v", err)
		}
	}
	f.trailAway.Store(false)
	must(t, query(theirs))

	text := w.lines.String()
	for _, line := range []string{
		"the KEK provider does not answer", "the KEK provider answers again", "the audit trail does not record, and nothing is admitted", "the audit trail records again",
	} {
		if n := strings.Count(text, line); n != 1 {
			t.Errorf("%q is told %d times", line, n)
		}
	}
	if strings.Contains(w.exported(t), canary) {
		t.Error("why something is away is given away")
	}
	if n := sum(t, w.collect(t)[telemetry.KEKDuration], "error.type=keys unavailable"); n < 1 {
		t.Error("no call of the KEK provider failed")
	}
	for _, s := range w.spans.GetSpans() {
		if s.Name == "strongroom.gate" && attr(s, "error.type") == "audit trail unavailable" {
			return
		}
	}
	t.Error("no admission failed for the want of a trail")
}
