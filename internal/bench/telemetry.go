package main

import (
	"context"
	"os"
	"path/filepath"

	meternoop "go.opentelemetry.io/otel/metric/noop"
	tracernoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/tenant"
)

// telemetryRows set telemetry with providers that do nothing, which is all that the library itself does for it, beside none. That
// none costs nothing is not seen here, where both are of one build; internal/telemetry tests that it allocates nothing.
func telemetryRows() []Row {
	return []Row{
		{"telemetry.point", "switched off", observedPoint},
		{"telemetry.keys", "switched off", observedKeys},
	}
}

var noProviders = &audit.Telemetry{TracerProvider: tracernoop.NewTracerProvider(), MeterProvider: meternoop.NewMeterProvider()}

// observedStack is an embedded service whose events go nowhere.
func observedStack(t *audit.Telemetry) (s *stack.Stack, ctx context.Context, cleanup func(), err error) {
	dir, err := tempDir()
	if err != nil {
		return nil, nil, nil, err
	}
	remove := func() { os.RemoveAll(dir) }
	path := filepath.Join(dir, "app.db")
	s, err = stack.Open(context.Background(), stack.Config{
		Dir: filepath.Join(dir, "strongroom"), Audit: noRecorder{}, Telemetry: t,
		Databases: map[string]stack.Database{"app": {URL: "sqlite:" + path,
			Schema: sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text()}}},
			Tables: []string{"CREATE TABLE IF NOT EXISTS patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, PRIMARY KEY (tenant_id, id))"},
		}},
	})
	if err != nil {
		remove()
		return nil, nil, nil, err
	}
	id := tenant.MustParse("north")
	ctx = tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: "dr.adams", Purpose: "treatment"})
	if err = s.Keys.Provision(ctx, id); err == nil {
		_, err = s.DB["app"].ExecContext(ctx, "INSERT INTO patients (id, name) VALUES (1, $1)", "Ada")
	}
	if err != nil {
		s.Close()
		remove()
		return nil, nil, nil, err
	}
	return s, ctx, func() { s.Close(); remove() }, nil
}

func bothStacks(do func(context.Context, *stack.Stack) error) (*Pair, error) {
	on, ctx, closeOn, err := observedStack(noProviders)
	if err != nil {
		return nil, err
	}
	off, _, closeOff, err := observedStack(nil)
	if err != nil {
		closeOn()
		return nil, err
	}
	times := func(s *stack.Stack) func(int) error {
		return func(n int) error {
			for range n {
				if err := do(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return &Pair{Ours: times(on), Peer: times(off), Cleanup: func() { closeOn(); closeOff() }}, nil
}

func observedPoint() (*Pair, error) {
	return bothStacks(func(ctx context.Context, s *stack.Stack) error {
		var name string
		return s.DB["app"].QueryRowContext(ctx, "SELECT name FROM patients WHERE id = $1", 1).Scan(&name)
	})
}

func observedKeys() (*Pair, error) {
	return bothStacks(func(ctx context.Context, s *stack.Stack) error {
		_, err := s.Keys.Tenant(ctx, tenant.MustParse("north"))
		return err
	})
}
