package sqldb_test

import (
	"context"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestServersThatWereRestarted: sessions that a server ended while they rested in the pool are nobody's error, and make no write one of
// which nobody knows whether it took place. A transaction has not begun in one that ended a moment ago, and begins in another.
func TestServersThatWereRestarted(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	super := openBare(t, e.super)
	restarted := func() {
		mustExec(t, super, `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() AND usename <> 'postgres'`)
	}
	pool := newPool(t, e, e.guard, nil)
	write := func(id tenant.ID) error {
		_, err := e.db.ExecContext(as(id), `UPDATE patients SET ward = 'west' WHERE id = 1`)
		return err
	}
	transaction := func(id tenant.ID) error {
		tx, err := e.db.BeginTx(as(id), nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(as(id), `UPDATE patients SET ward = 'west' WHERE id = 1`); err != nil {
			return err
		}
		return tx.Commit()
	}
	native := func(id tenant.ID) error {
		tx, err := pool.Begin(as(id))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(as(id), `UPDATE patients SET ward = 'west' WHERE id = 1`); err != nil {
			return err
		}
		return tx.Commit(context.Background())
	}
	for _, c := range []struct {
		what string
		rest time.Duration
		do   func(tenant.ID) error
	}{
		{"a read", 1100 * time.Millisecond, func(id tenant.ID) error {
			_, err := e.tryRows(as(id), `SELECT id FROM patients`)
			return err
		}},
		{"a write", 1100 * time.Millisecond, write},
		{"a write of a pool", 1100 * time.Millisecond, func(id tenant.ID) error {
			_, err := pool.Exec(as(id), `UPDATE patients SET ward = 'west' WHERE id = 1`)
			return err
		}},
		{"a transaction at once", 0, transaction},
		{"a transaction of a pool at once", 0, native},
	} {
		for _, next := range []tenant.ID{tenantA, tenantB} {
			if err := c.do(tenantA); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			restarted()
			time.Sleep(c.rest)
			if err := c.do(next); err != nil {
				t.Errorf("%s by %s, when the server was restarted: %v", c.what, next, err)
			}
		}
	}
}
