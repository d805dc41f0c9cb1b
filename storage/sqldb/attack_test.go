package sqldb_test

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// The tests in this file are of defects that were found by attack: each failed before its defence was built.

// TestSavepointOutsideTransaction: SQLite would begin a transaction with it, which the pool hands to the next tenant, and in
// which writes are acknowledged that nobody commits.
func TestSavepointOutsideTransaction(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(1)
		for _, statement := range []string{`SAVEPOINT s`, `RELEASE SAVEPOINT s`, `ROLLBACK TO SAVEPOINT s`} {
			if _, err := e.db.ExecContext(as(tenantA), statement); err == nil {
				t.Errorf("%s was accepted outside a transaction", statement)
			}
			if _, err := e.tryRows(as(tenantA), statement); err == nil {
				t.Errorf("%s was accepted as a query outside a transaction", statement)
			}
		}
		e.exec(t, tenantB, `INSERT INTO visits (id, patient_id, note) VALUES (78, 1, 'acknowledged')`)
		e.db.Close()
		var n int
		if err := e.raw.QueryRow(`SELECT count(*) FROM visits WHERE id = 78`).Scan(&n); e.dialect == dialect.SQLite && (err != nil || n != 1) {
			t.Errorf("an acknowledged write is gone: %d, %v", n, err)
		}
	})
}

// TestRowsAffectedIsTheStatementsOwn: SQLite keeps the number of the last statement that wrote, which was another tenant's.
func TestRowsAffectedIsTheStatementsOwn(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(1)
		e.exec(t, tenantB, `UPDATE visits SET patient_id = patient_id`)
		e.log.take()
		n := e.exec(t, tenantA, `SELECT id FROM visits WHERE id < 0`)
		if n != 0 {
			t.Errorf("A's empty SELECT by Exec reports %d rows: B's", n)
		}
		ev := e.log.take()
		if ev[1].Rows != 0 {
			t.Errorf("audit says %d rows", ev[1].Rows)
		}
	})
}

// TestWritesByQueryAreCounted: what a write changed is in the trail, also when the caller reads none or one of its rows.
func TestWritesByQueryAreCounted(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.log.take()
		rows, err := e.db.QueryContext(as(tenantA), `DELETE FROM visits`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
		}
		rows.Close()
		ev := e.log.take()
		if len(ev) != 2 || ev[1].Rows != 3 {
			t.Errorf("DELETE by Query of 3 rows recorded as %+v rows", ev[1].Rows)
		}
		var id int
		if err := e.db.QueryRowContext(as(tenantA), `UPDATE patients SET ward = 'x' RETURNING id`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		ev = e.log.take()
		if len(ev) != 2 || ev[1].Rows != 3 {
			t.Errorf("UPDATE RETURNING of 3 rows, QueryRow: recorded as %+v rows", ev[1].Rows)
		}
	})
}

// TestWritesByQueryRunOnce: SQLite runs a statement again when it is asked for a row beyond the last.
func TestWritesByQueryRunOnce(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		if got := e.rows(t, tenantA, `UPDATE visits SET id = id + 10 WHERE id = 1 OR id > 10 RETURNING id`); len(got) != 1 || got[0][0] != int64(11) {
			t.Errorf("returned %v", got)
		}
		if got := e.rows(t, tenantA, `INSERT INTO visits (id, patient_id) VALUES (50, 1) RETURNING id`); len(got) != 1 {
			t.Errorf("returned %v", got)
		}
		if got := e.rows(t, tenantA, `SELECT id FROM visits ORDER BY id`); fmt.Sprint(got) != "[[2] [3] [11] [50]]" {
			t.Errorf("read %v", got)
		}
	})
}

// TestInterruptedTransactionStaysEnded: SQLite rolls a whole transaction back when one of its writes is interrupted. What
// follows must not become permanent statement by statement.
func TestInterruptedTransactionStaysEnded(t *testing.T) {
	e := newEnv(t, dialect.SQLite, nil)
	fill(t, e)
	for i := 10; i < 200; i++ {
		e.exec(t, tenantA, `INSERT INTO patients (id, ward) VALUES ($1, 'w')`, i)
	}
	tx, err := e.db.BeginTx(as(tenantA), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'first' WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(as(tenantA))
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		e.log.await(func(ev *audit.Event) bool { return strings.Contains(ev.Statement, "JOIN patients c") })
		cancel()
	}()
	if _, err = tx.ExecContext(ctx, `UPDATE patients SET ward = 'slow' WHERE (SELECT count(*) FROM patients a JOIN patients b ON a.id <> b.id JOIN patients c ON c.id <> a.id WHERE a.ward <> patients.ward OR true) > 0`); err == nil {
		t.Fatal("the slow statement was not interrupted")
	}
	<-cancelled
	if _, err = tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'third' WHERE id = 3`); err == nil {
		t.Error("a statement ran after the transaction had failed")
	}
	if err := tx.Commit(); err == nil {
		t.Error("a failed transaction was committed")
	}
	if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE ward IN ('first', 'third')`); len(got) != 0 {
		t.Errorf("writes of a failed transaction stand: %v", got)
	}
}

// TestFailedTransactionGoesBackToASavepoint, as ORMs do it.
func TestFailedTransactionGoesBackToASavepoint(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		step := func(want bool, statement string) {
			t.Helper()
			if _, err := tx.ExecContext(as(tenantA), statement); (err == nil) != want {
				t.Errorf("%s: %v", statement, err)
			}
		}
		step(true, `UPDATE patients SET ward = 'kept' WHERE id = 1`)
		step(true, `SAVEPOINT s`)
		step(false, `INSERT INTO patients (id) VALUES (1)`)
		step(false, `UPDATE patients SET ward = 'no' WHERE id = 2`)
		step(true, `ROLLBACK TO SAVEPOINT s`)
		step(true, `UPDATE patients SET ward = 'kept' WHERE id = 3`)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE ward = 'kept'`); len(got) != 2 {
			t.Errorf("kept %v", got)
		}
	})
}

type rewriter struct{ sql string }

func (r rewriter) RewriteQuery(ctx context.Context, c *pgx.Conn, sql string, args []any) (string, []any, error) {
	return r.sql, nil, nil
}

// disguised passes for a value with database/sql, which asks for the methods of a decimal and not for a type.
type disguised struct{ rewriter }

func (disguised) Decompose([]byte) (form byte, negative bool, coefficient []byte, exponent int32) {
	return 0, false, nil, 0
}

// TestRawTakesNoOptions: who calls the connection of (*sql.Conn).Raw passes by database/sql's conversion of arguments.
func TestRawTakesNoOptions(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	c, err := e.db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const steal = `SELECT set_config('strongroom.tenant', 'Clinic', false) AS name`
	err = c.Raw(func(raw any) error {
		for _, arg := range []any{
			rewriter{steal}, &rewriter{steal}, disguised{rewriter{steal}}, pgx.NamedArgs{"a": 1}, pgx.QueryResultFormatsByOID{25: 1},
			[]any{rewriter{steal}}, struct{}{}, json.Number("1"), pgx.QueryExecModeSimpleProtocol, pgx.QueryResultFormats{1},
		} {
			args := []driver.NamedValue{{Ordinal: 1, Value: arg}}
			rows, err := raw.(driver.QueryerContext).QueryContext(as(tenantA), `SELECT $1 AS name FROM countries`, args)
			if err == nil {
				got := make([]driver.Value, 1)
				if err := rows.Next(got); err == nil && got[0] == "Clinic" {
					t.Errorf("%T replaced the statement", arg)
				}
				rows.Close()
			}
			st, err := raw.(driver.ConnPrepareContext).PrepareContext(as(tenantA), `UPDATE patients SET ward = $1 WHERE id = 1`)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.(driver.StmtExecContext).ExecContext(as(tenantA), []driver.NamedValue{{Ordinal: 1, Value: rewriter{steal}}}); err == nil {
				t.Error("a statement's argument was taken for an option")
			}
		}
		// A transaction that is begun here and not ended goes with the connection.
		_, err := raw.(driver.ConnBeginTx).BeginTx(as(tenantA), driver.TxOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	e.db.SetMaxOpenConns(1)
	for _, id := range []tenant.ID{tenantB, tenantA} {
		if got := e.rows(t, id, `SELECT name FROM patients WHERE id = 1`); len(got) != 1 || got[0][0] != "Þóra 1 of "+id.String() {
			t.Errorf("afterwards %s reads %v", id, got)
		}
	}
}

// TestArgumentsAreNoOptions: pgx takes some types of arguments for options, one of which replaces the statement.
func TestArgumentsAreNoOptions(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	for _, arg := range []any{
		rewriter{`SELECT set_config('strongroom.tenant', 'Clinic', false)`}, disguised{rewriter{`SELECT 'x'`}}, &disguised{rewriter{`SELECT 'x'`}},
		&rewriter{`SELECT 'x'`}, pgx.NamedArgs{"a": 1}, pgx.StrictNamedArgs{"a": 1},
		pgx.QueryResultFormatsByOID{25: 1},
	} {
		if got, err := e.tryRows(as(tenantA), `SELECT $1::text AS name`, arg); err == nil || !strings.Contains(err.Error(), "cannot be converted") {
			t.Errorf("%T: %v, %v", arg, got, err)
		}
	}
	// A slice type of pgx's is an array like any other.
	if got, err := e.tryRows(as(tenantA), `SELECT id FROM patients WHERE id = ANY ($1) ORDER BY id`, pgx.QueryResultFormats{1, 3}); err != nil || len(got) != 2 {
		t.Errorf("as an array: %v, %v", got, err)
	}
	if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE ward = ANY ($1)`, []string{"west", "east"}); len(got) != 3 {
		t.Errorf("an array of texts finds %v", got)
	}
}

func TestArgumentsStayOutOfErrors(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	const secret = "hunter2secret"
	for _, q := range []struct {
		sql string
		arg any
	}{
		{`SELECT id FROM patients WHERE id = $1`, secret},
		{`SELECT id FROM patients WHERE id = $1`, []string{secret}},
		{`SELECT id FROM patients WHERE id = ANY ($1)`, secret},
		{`SELECT id FROM patients WHERE id = ANY ($1)`, []string{secret}},
		{`SELECT id FROM patients WHERE ward = $1`, []string{secret}},
		{`SELECT id FROM patients WHERE ward = $1`, map[string]string{"a": secret}},
		{`SELECT id FROM patients WHERE $1::date = now()`, secret},
		{`SELECT id FROM patients WHERE $1::date = now()`, []string{secret}},
		{`SELECT id FROM patients WHERE $1::bool`, secret},
		{`SELECT id FROM patients WHERE $1::uuid IS NULL`, secret},
		{`SELECT id FROM patients WHERE $1::jsonb IS NULL`, secret},
		{`SELECT id FROM patients WHERE $1::numeric IS NULL`, secret},
		{`SELECT id FROM patients WHERE born IS NULL OR name = $1`, []string{secret}},
		{`UPDATE patients SET born = $1`, secret},
		{`UPDATE patients SET name = $1`, secret + "\xff"},
		{`UPDATE patients SET ward = $1`, secret + "\x00"},
		{`UPDATE patients SET ward = $1`, secret + "\xff"},
		{`SELECT id FROM patients WHERE $1::interval IS NULL`, secret},
		{`SELECT id FROM patients WHERE to_date(ward, $1) IS NULL`, secret},
		{`SELECT id FROM patients WHERE ward ~ $1`, "(" + secret},
		{`SELECT id FROM patients WHERE to_tsvector($1, ward) IS NULL`, secret},
		{`SELECT id FROM patients WHERE timezone($1, now()) IS NULL`, secret},
		{`SELECT encode('a'::bytea, $1) FROM patients`, secret},
		{`SELECT date_trunc($1, now()) FROM patients`, secret},
		{`SELECT to_number('1', $1), format($1) FROM patients`, "%" + secret},
		{`SELECT CASE WHEN id > 0 THEN $1 ELSE 'a' END::int FROM patients`, secret},
	} {
		_, err := e.tryRows(as(tenantA), q.sql, q.arg)
		if err != nil && strings.Contains(err.Error(), "unter2") {
			t.Errorf("%s: %v", q.sql, err)
		}
	}
}

// TestConnectionBeingReadFrom: pgx says that it is busy, which database/sql would take for a broken connection and wait for
// ever to close.
func TestConnectionBeingReadFrom(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	c, err := e.db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	open, err := c.QueryContext(as(tenantA), `SELECT name FROM patients ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.QueryContext(as(tenantB), `SELECT name FROM patients`); err == nil || !strings.Contains(err.Error(), "close its open Rows") {
		t.Errorf("a second query: %v", err)
	}
	if got, err := collect(open); err != nil || len(got) != 3 || got[0][0] != "Þóra 1 of clinic" {
		t.Errorf("the first goes on: %v, %v", got, err)
	}
	rows, err := c.QueryContext(as(tenantB), `SELECT name FROM patients ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(rows); err != nil || len(got) != 3 || got[0][0] != "Þóra 1 of Clinic" {
		t.Errorf("the next: %v, %v", got, err)
	}
}

// TestSuspendedBeforeCommit: who lost access since the transaction began does not make it permanent.
func TestSuspendedBeforeCommit(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(as(tenantA), `DELETE FROM visits`); err != nil {
			t.Fatal(err)
		}
		if err := e.ring.Suspend(context.Background(), tenantA, "left the company"); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); !errors.Is(err, keys.ErrSuspended) {
			t.Errorf("commit: %v", err)
		}
		if err := e.ring.Resume(context.Background(), tenantA, "a mistake"); err != nil {
			t.Fatal(err)
		}
		if got := e.rows(t, tenantA, `SELECT id FROM visits`); len(got) != 3 {
			t.Errorf("the suspended tenant's delete stands: %v", got)
		}
	})
}
