package gate_test

import (
	"context"
	"errors"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
)

// queueing is a trail that takes events at once; what each becomes is decided by whoever waits.
type queueing struct {
	*recorder
	wait error
}

type queued struct{ q *queueing }

func (q *queueing) Queue(ctx context.Context, e *audit.Event) (audit.Pending, error) {
	return queued{q}, q.Record(ctx, e)
}

func (q queued) Wait(ctx context.Context) error { return errors.Join(ctx.Err(), q.q.wait) }

func TestBeginAdmitsAndWaitSaysWhen(t *testing.T) {
	q := &queueing{recorder: &recorder{}}
	g, err := gate.New(newRing(t), q, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.wait = errors.New("disk gone")
	pass, err := g.Begin(request(alpha), &op)
	if err != nil || len(q.events) != 1 || q.events[0].Phase != audit.Intent {
		t.Fatalf("%v, %v", q.events, err)
	}
	if err := pass.Wait(request(alpha)); !errors.Is(err, audit.ErrUnavailable) || !errors.Is(err, q.wait) {
		t.Errorf("Wait: %v", err)
	}
	given, cancel := context.WithCancel(request(alpha))
	cancel()
	q.wait = nil
	if err := pass.Wait(given); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	if err := pass.Leave(given, gate.Result{Rows: 1, Bytes: -1}); err != nil {
		t.Errorf("Leave: %v", err)
	}
	for range 2 {
		if err := pass.Wait(request(alpha)); err != nil {
			t.Errorf("Wait: %v", err)
		}
	}
	// What cannot be queued is not admitted, and a refusal is recorded before it is told.
	q.fail = errors.New("full")
	if pass, err := g.Begin(request(alpha), &op); pass != nil || !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Begin: %v, %v", pass, err)
	}
	q.fail, q.events = nil, nil
	if _, err := g.Begin(request(unknown), &op); err == nil || len(q.events) != 1 || q.events[0].Status != audit.Denied {
		t.Errorf("a stranger: %v, %v", q.events, err)
	}
}

// A trail that cannot queue is waited for.
func TestBeginWithoutAQueue(t *testing.T) {
	g, _, rec := newGate(t, nil)
	pass, err := g.Begin(request(alpha), &op)
	if err != nil || len(rec.events) != 1 {
		t.Fatal(rec.events, err)
	}
	if err := errors.Join(pass.Wait(request(alpha)), pass.Leave(request(alpha), gate.Result{})); err != nil || len(rec.events) != 2 {
		t.Error(rec.events, err)
	}
	rec.fail = errors.New("disk gone")
	if pass, err := g.Begin(request(alpha), &op); pass != nil || !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("%v, %v", pass, err)
	}
}
