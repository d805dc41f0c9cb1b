package sqldb_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// duringRun is a context that ends once SQLite's driver has begun to watch it, which it does when it runs a statement.
type duringRun struct {
	context.Context
	armed  func() bool
	seen   atomic.Int32
	cancel context.CancelFunc
}

func (c *duringRun) Done() <-chan struct{} {
	if c.armed() && c.seen.Add(1) == 3 {
		c.cancel()
	}
	return c.Context.Done()
}

// TestCancelledWhileSQLiteWaits: the driver says of a write that was cut off what it says of one that stands.
func TestCancelledWhileSQLiteWaits(t *testing.T) {
	e := newEnv(t, dialect.SQLite, nil)
	fill(t, e)
	e.db.SetMaxOpenConns(1)
	for _, q := range []string{`INSERT INTO patients (id, ward) VALUES ($1, 'w')`, `INSERT INTO patients (id, ward) VALUES ($1, 'w') RETURNING id`} {
		e.exec(t, tenantA, q, len(q)) // compiled from now on
		lock, err := e.raw.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lock.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
			t.Fatal(err)
		}
		e.log.take()
		inner, cancel := context.WithCancel(as(tenantA))
		intent := func() bool { return e.log.has(func(ev *audit.Event) bool { return ev.Phase == audit.Intent }) }
		ctx := &duringRun{Context: inner, cancel: cancel, armed: intent}
		_, err = e.db.ExecContext(ctx, q, 7000+len(q))
		if !errors.Is(err, sqldb.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the caller is told: %v", q, err)
		}
		events := e.log.take()
		if last := events[len(events)-1]; last.Status != audit.Unknown || last.Reason != "cancelled" {
			t.Errorf("%s: the trail says %v, %q", q, last.Status, last.Reason)
		}
		cancel()
		if _, err := lock.ExecContext(t.Context(), `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
		lock.Close()
	}
}

// TestAWriteWhoseRowsDoNotOpenStands: the caller gets no row of it, and yet it took place.
func TestAWriteWhoseRowsDoNotOpenStands(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		raw := e.raw
		if e.dialect == dialect.PostgreSQL {
			raw = openBare(t, e.super)
		}
		mustExec(t, raw, `UPDATE patients SET name = (SELECT name FROM patients WHERE tenant_id = 'Clinic' AND id = 1) WHERE tenant_id = 'clinic' AND id = 1`)
		const update = `UPDATE patients SET ward = 'stands' WHERE id = 1 RETURNING name`
		e.log.take()
		_, err := e.tryRows(as(tenantA), update)
		if !errors.Is(err, storage.ErrIsolation) || !errors.Is(err, sqldb.ErrOutcomeUnknown) {
			t.Errorf("the caller is told: %v", err)
		}
		events := e.log.take()
		if last := events[len(events)-1]; last.Status != audit.Unknown || last.Code != audit.CodeExec {
			t.Errorf("the trail says %s %v, %q", last.Code, last.Status, last.Reason)
		}
		if got := e.rows(t, tenantA, `SELECT ward FROM patients WHERE id = 1`); got[0][0] != "stands" {
			t.Errorf("the row reads %v: the test proves nothing", got)
		}
		// In a transaction it is called a failure, so it must not become permanent.
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := tx.QueryContext(as(tenantA), `UPDATE patients SET ward = 'tx' WHERE id = 1 RETURNING name`)
		if err == nil {
			_, err = collect(rows)
		}
		if !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("in a transaction: %v", err)
		}
		if err := tx.Commit(); err == nil {
			t.Error("it was committed")
		}
		if got := e.rows(t, tenantA, `SELECT ward FROM patients WHERE id = 1`); got[0][0] != "stands" {
			t.Errorf("the row reads %v", got)
		}
	})
}
