package sqldb_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestAnAuthorizerThatPanicsKeepsNoConnection: database/sql does not take a connection back whose driver panics, or ends the goroutine, and
// requests for which an application's authorizer does would use up those of all tenants.
func TestAnAuthorizerThatPanicsKeepsNoConnection(t *testing.T) {
	t.Run("panics", func(t *testing.T) {
		authorizerKeepsNoConnection(t, "authorizerpanic_test.go", func() { panic("of the application's") })
	})
	t.Run("ends the goroutine", func(t *testing.T) { authorizerKeepsNoConnection(t, "Goexit", runtime.Goexit) })
}

func authorizerKeepsNoConnection(t *testing.T, said string, does func()) {
	e := newEnv(t, dialect.SQLite, nil)
	fill(t, e)
	guard := e.guard
	guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, a tenant.Access, _ tenant.Action) error {
		if a.Tenant == tenantA {
			does()
		}
		return nil
	})
	db, err := sqldb.Open(t.Context(), e.dsn, clinicSchema, guard, nil)
	must(t, err)
	db.SetMaxOpenConns(1)
	ask := func(what string, f func() error) {
		t.Helper()
		e.log.take()
		err := returns(f)
		if stats := db.Stats(); stats.InUse != 0 {
			t.Fatalf("%s: the connection has not come back", what) // and Close would wait for it
		}
		if !errors.Is(err, tenant.ErrDenied) || strings.Contains(err.Error(), "of the application's") || !strings.Contains(err.Error(), said) {
			t.Errorf("%s: %v; want a denial that says where, and nothing of what the panic says, which may be of anybody's data", what, err)
		}
		if events := e.log.take(); len(events) != 1 || events[0].Status != audit.Denied {
			t.Errorf("%s: the trail has %v", what, events)
		}
	}
	ask("a read", func() error {
		return db.QueryRowContext(as(tenantA), `SELECT id FROM patients WHERE id = 1`).Scan(new(int))
	})
	ask("a write", func() error { _, err := db.ExecContext(as(tenantA), `DELETE FROM patients`); return err })
	ask("a transaction", func() error {
		tx, err := db.BeginTx(as(tenantA), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		_, err = tx.ExecContext(as(tenantA), `DELETE FROM patients`)
		return err
	})
	must(t, db.QueryRowContext(as(tenantB), `SELECT id FROM patients WHERE id = 1`).Scan(new(int)))
	must(t, db.Close())
}
