package gate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// telling is an authorizer's error that would say in the trail, in the clear, whose record it was.
type telling struct{}

func (telling) Error() string       { return "Ada Lovelace is not on this ward" }
func (telling) AuditReason() string { return "Ada Lovelace" }

func TestAnAuthorizerDoesNotWriteIntoTheTrail(t *testing.T) {
	g, _, rec := newGate(t, tenant.AuthorizerFunc(func(context.Context, tenant.Access, tenant.Action) error { return telling{} }))
	_, err := g.Enter(request(alpha), &op)
	if !errors.Is(err, tenant.ErrDenied) || !errors.As(err, new(telling)) {
		t.Errorf("the caller hears %v", err)
	}
	if len(rec.events) != 1 || rec.events[0].Reason != "unauthorized" {
		t.Errorf("the trail has %+v", rec.events)
	}
}

// TestASuspensionWhileTheAuthorizerIsAsked: who asks a directory may take long, and what was looked up before is not what counts.
func TestASuspensionWhileTheAuthorizerIsAsked(t *testing.T) {
	var suspend func(context.Context)
	g, ring, rec := newGate(t, tenant.AuthorizerFunc(func(ctx context.Context, _ tenant.Access, _ tenant.Action) error {
		suspend(ctx)
		return nil
	}))
	suspend = func(ctx context.Context) {
		if err := ring.Suspend(ctx, alpha, "contract over"); err != nil {
			t.Error(err)
		}
	}
	for name, enter := range map[string]func(context.Context, *gate.Op) (*gate.Pass, error){"Enter": g.Enter, "Begin": g.Begin} {
		if err := ring.Resume(t.Context(), alpha, "again"); err != nil {
			t.Fatal(err)
		}
		rec.events = nil
		if pass, err := enter(request(alpha), &op); pass != nil || !errors.Is(err, keys.ErrSuspended) {
			t.Errorf("%s: %v, %v", name, pass, err)
		}
		if len(rec.events) != 1 || rec.events[0].Status != audit.Denied || rec.events[0].Reason != "suspended" {
			t.Errorf("%s: the trail has %+v", name, rec.events)
		}
	}
}

// TestAnAuthorizerThatDoesNotReturnDenies: who asked is in the trail. A panic, and the end of the authorizer's goroutine, is told to the
// caller as an error, without what a panic says.
func TestAnAuthorizerThatDoesNotReturnDenies(t *testing.T) {
	for _, ends := range []bool{false, true} {
		for _, observed := range []bool{false, true} {
			g, _, rec := newGate(t, tenant.AuthorizerFunc(func(context.Context, tenant.Access, tenant.Action) error {
				if ends {
					runtime.Goexit()
				}
				panic("the directory's")
			}))
			if observed {
				if err := g.Observe(&audit.Telemetry{Logger: slog.New(slog.DiscardHandler)}, telemetry.Store{Namespace: "app"}); err != nil {
					t.Fatal(err)
				}
			}
			deletes := op
			deletes.AlsoDeletes = true
			for name, enter := range map[string]func() (*gate.Pass, error){
				"Enter": func() (*gate.Pass, error) { return g.Enter(request(alpha), &deletes) },
				"Begin": func() (*gate.Pass, error) { return g.Begin(request(alpha), &op) },
			} {
				rec.events = nil
				ended := make(chan error, 1)
				go func() {
					var err error
					defer func() { ended <- err }()
					_, err = enter()
				}()
				if err := <-ended; !errors.Is(err, tenant.ErrDenied) || strings.Contains(err.Error(), "the directory's") || !ends && !strings.Contains(err.Error(), "denied_test.go") {
					t.Errorf("%s: %v", name, err)
				}
				if len(rec.events) != 1 || rec.events[0].Status != audit.Denied || rec.events[0].Reason != "unauthorized" {
					t.Errorf("%s: the trail has %+v", name, rec.events)
				}
			}
		}
	}
}

// TestAnApplicationsErrorDoesNotWriteIntoTheTrail: hooks, sources of rows and encodings of values are the application's, and so are
// their errors, wrapped or not.
func TestAnApplicationsErrorDoesNotWriteIntoTheTrail(t *testing.T) {
	g, _, rec := newGate(t, nil)
	for _, err := range []error{telling{}, fmt.Errorf("the hook: %w", telling{}), &sqlplan.RefusedError{Reason: "Ada Lovelace"}} { // the last is exported
		pass, entered := g.Enter(request(alpha), &op)
		if entered != nil {
			t.Fatal(entered)
		}
		if err := errors.Join(pass.Leave(request(alpha), gate.Result{Rows: -1, Bytes: -1, Err: err}), g.RecordAfter(request(alpha), &op, gate.Result{Err: err})); err != nil {
			t.Fatal(err)
		}
		if refused := g.Refuse(request(alpha), &op, err); !errors.Is(refused, err) {
			t.Error(refused)
		}
		if class := gate.Class(err); class != "error" {
			t.Errorf("its class in telemetry is %q", class)
		}
	}
	for _, e := range rec.events {
		if e.Phase != audit.Intent && e.Reason != "error" {
			t.Errorf("the trail has %q", e.Reason)
		}
	}
}
