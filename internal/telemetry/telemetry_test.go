package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// What is switched off allocates nothing.
func TestOffAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	var (
		gate  *Gate
		plans *Plans
		ring  *Keyring
		log   *Log
		trail *Trail
	)
	allocs := testing.AllocsPerRun(100, func() {
		ctx, access := gate.Statement(ctx)
		access.Planned("SELECT", "patients", "SELECT $1")
		ctx, span := gate.Admission(ctx)
		span.End("error")
		access.Admitted("id", "tenant")
		access.End(access.Context(ctx), Outcome{Class: "error"})
		ctx, access = gate.Other(ctx, "blob.read")
		access.End(ctx, Outcome{})
		ctx, access = gate.Command(ctx, "COMMIT")
		access.End(ctx, Outcome{})
		for _, part := range []func(context.Context) (context.Context, Span){gate.Plan, gate.Send, ring.Open} {
			_, span = part(ctx)
			span.End("")
		}
		_, span = gate.Batch(ctx, 3)
		span.End("")
		plans.Hit()
		plans.Miss()
		plans.Evicted()
		plans.Barriers(3)
		ring.Used(true, time.Second)
		ring.Miss()
		ring.Stale()
		ring.Seals(4)
		ctx = ring.Caused(ctx, ring.Cause(ctx))
		log.Committed(1, time.Second, "")
		_, waiting := trail.Wait(ctx)
		waiting.End(ctx, "", false)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	for _, c := range []*Config{nil, {}, {TenantIDs: true}} {
		g, err := NewGate(c, Store{})
		if g != nil || err != nil {
			t.Errorf("%+v switches something on: %v, %v", c, g, err)
		}
	}
	if g, err := NewGate(&Config{Logger: slog.New(slog.DiscardHandler)}, Store{}); g == nil || err != nil {
		t.Errorf("a logger alone switches nothing on: %v, %v", g, err)
	}
}

func TestPeakForgets(t *testing.T) {
	var p peak
	at := time.Unix(1000, 0)
	want := func(after, v time.Duration) {
		t.Helper()
		if got := p.value(at.Add(after)); got != v {
			t.Errorf("after %v: %v, want %v", after, got, v)
		}
	}
	want(0, 0)
	p.note(int64(3 * time.Second))
	p.note(int64(2 * time.Second))
	want(time.Second, 3*time.Second)
	want(61*time.Second, 3*time.Second) // of the minute before
	p.note(int64(time.Second))
	want(62*time.Second, 3*time.Second)
	want(122*time.Second, time.Second)
	want(190*time.Second, 0)
}

func TestClassesAreFew(t *testing.T) {
	var c classes
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range 3 * maxClasses {
				name := fmt.Sprint("class ", i)
				if got := c.of(name); got != name && got != otherClass {
					t.Errorf("%q became %q", name, got)
				}
			}
		})
	}
	wait.Wait()
	distinct := map[string]bool{}
	for i := range 3 * maxClasses {
		distinct[c.of(fmt.Sprint("class ", i))] = true
	}
	if len(distinct) > maxClasses+1 {
		t.Errorf("%d classes", len(distinct))
	}
	if long := c.of(string(make([]byte, maxClassLength+1))); long != otherClass {
		t.Error("a long class is kept")
	}
}

func TestAnOutageIsToldOnce(t *testing.T) {
	var o outage
	at := time.Unix(1000, 0)
	for i, c := range []struct {
		away bool
		at   time.Duration
		want bool
	}{
		{false, 0, false}, {true, 0, true}, {true, time.Second, false}, {false, 2 * time.Second, true}, {false, 3 * time.Second, false},
		{true, 4 * time.Second, false}, {false, 5 * time.Second, false}, {true, 12 * time.Second, true},
	} {
		if got := o.is(c.away, at.Add(c.at)); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}
