package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

func batchOf(queries ...string) *pgx.Batch {
	b := &pgx.Batch{}
	for _, q := range queries {
		b.Queue(q)
	}
	return b
}

func TestPoolTransactions(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	wards := func() string { return fmt.Sprint(e.rows(t, tenantA, `SELECT ward FROM patients ORDER BY id`)) }
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	_, err = tx.Exec(as(tenantA), `UPDATE patients SET ward = 'one' WHERE id = 1`)
	must(t, err)
	nested, err := tx.Begin(as(tenantA))
	must(t, err)
	_, err = nested.Exec(as(tenantA), `UPDATE patients SET ward = 'two' WHERE id = 2`)
	must(t, err)
	must(t, nested.Rollback(as(tenantA)))
	kept, err := tx.Begin(as(tenantA))
	must(t, err)
	_, err = kept.Exec(as(tenantA), `UPDATE patients SET ward = 'three' WHERE id = 3`)
	must(t, err)
	must(t, kept.Commit(as(tenantA)))
	if err := kept.Commit(as(tenantA)); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("a savepoint that was released twice: %v", err)
	}
	for what, err := range map[string]error{
		"statement": func() error { _, err := tx.Exec(as(tenantB), `SELECT id FROM patients`); return err }(),
		"batch":     tx.SendBatch(as(tenantB), batchOf(`SELECT id FROM patients`)).Close(),
		"savepoint": func() error { _, err := tx.Begin(as(tenantB)); return err }(),
		"COMMIT":    tx.Commit(as(tenantB)),
		"ROLLBACK":  tx.Rollback(as(tenantB)),
	} {
		if !errors.Is(err, sqldb.ErrTxTenant) {
			t.Errorf("another tenant's %s: %v", what, err)
		}
	}
	if tx.Conn() != nil {
		t.Error("a transaction hands out its connection")
	}
	// The context that ends it needs no access.
	must(t, tx.Commit(context.Background()))
	if err := tx.Rollback(context.Background()); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("after COMMIT: %v", err)
	}
	if _, err := tx.Exec(as(tenantA), `DELETE FROM patients`); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("a statement after COMMIT: %v", err)
	}
	if got := wards(); got != "[[one] [west] [three]]" {
		t.Errorf("stored: %s", got)
	}
	if !e.log.has(func(ev *audit.Event) bool { return ev.Code == audit.CodeCommit && ev.Status == audit.Success }) {
		t.Error("COMMIT is not in the trail")
	}
	// One that failed is not committed, and says so as pgx does.
	tx, err = pool.Begin(as(tenantA))
	must(t, err)
	if _, err := tx.Exec(as(tenantA), `INSERT INTO patients (id) VALUES (1)`); err == nil {
		t.Error("a duplicate was stored")
	}
	if err := tx.Commit(as(tenantA)); !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Errorf("COMMIT of a failed transaction: %v", err)
	}
	// Whoever loses access before COMMIT does not commit.
	tx, err = pool.Begin(as(tenantA))
	must(t, err)
	_, err = tx.Exec(as(tenantA), `DELETE FROM visits`)
	must(t, err)
	must(t, e.ring.Suspend(t.Context(), tenantA, "test"))
	if err := tx.Commit(as(tenantA)); !errors.Is(err, keys.ErrSuspended) {
		t.Errorf("COMMIT of a suspended tenant: %v", err)
	}
	must(t, e.ring.Resume(t.Context(), tenantA, "test"))
	if n := len(e.rows(t, tenantA, `SELECT id FROM visits`)); n != 3 {
		t.Errorf("%d visits are left", n)
	}
	// COMMIT ends with its own context, and not with the one that began the transaction.
	ctx, cancel := context.WithCancel(as(tenantA))
	tx, err = pool.Begin(ctx)
	must(t, err)
	cancel()
	_, err = tx.Exec(as(tenantA), `UPDATE patients SET ward = 'late' WHERE id = 1`)
	must(t, err)
	must(t, tx.Commit(as(tenantA)))
	tx, err = pool.BeginTx(as(tenantA), pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.Serializable})
	must(t, err)
	if _, err := tx.Exec(as(tenantA), `DELETE FROM visits`); err == nil {
		t.Error("a write in a transaction that reads only")
	}
	must(t, tx.Rollback(as(tenantA)))
	for _, opts := range []pgx.TxOptions{{BeginQuery: "SET ROLE postgres"}, {CommitQuery: "COMMIT; SET ROLE postgres"}, {IsoLevel: "serializable; SET ROLE postgres"}, {AccessMode: "read write; x"}, {DeferrableMode: pgx.Deferrable}} {
		if tx, err := pool.BeginTx(as(tenantA), opts); err == nil || tx != nil {
			t.Errorf("%+v was taken", opts)
		}
	}
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are in use at the end", n)
	}
}

func TestPoolBatch(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO patients (id, name) VALUES ($1, $2)`, 10, "Ten")
	b.Queue(`SELECT name FROM patients WHERE id = $1`, 10)
	var named string
	b.Queue(`UPDATE patients SET name = $1 WHERE id = 10 RETURNING name`, "Eleven").QueryRow(func(row pgx.Row) error { return row.Scan(&named) })
	b.Queue(`DELETE FROM patients WHERE id = 99`)
	results := pool.SendBatch(as(tenantA), b)
	if tag, err := results.Exec(); err != nil || tag.String() != "INSERT 0 1" {
		t.Errorf("%s, %v", tag, err)
	}
	var name string
	if err := results.QueryRow().Scan(&name); err != nil || name != "Ten" {
		t.Errorf("%q, %v", name, err)
	}
	must(t, results.Close())
	must(t, results.Close())
	if named != "Eleven" {
		t.Errorf("a queued function was not called: %q", named)
	}
	if _, err := results.Exec(); err == nil {
		t.Error("a result after Close")
	}
	intents, outcomes := 0, 0
	for _, ev := range e.log.take() {
		switch ev.Phase {
		case audit.Intent:
			intents++
		case audit.Outcome:
			outcomes++
		}
	}
	if intents != 4 || outcomes != 4 {
		t.Errorf("%d intents and %d outcomes of 4 statements", intents, outcomes)
	}
	// By itself it is one transaction; and nothing of it is sent where a statement is refused or cannot be recorded.
	before := fmt.Sprint(e.raws(t, tenantA))
	unchanged := func(what string, err error, want error) {
		t.Helper()
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		if errors.Is(err, sqldb.ErrOutcomeUnknown) {
			t.Errorf("%s: it is known that nothing stands: %v", what, err)
		}
		if fmt.Sprint(e.raws(t, tenantA)) != before {
			t.Fatalf("%s changed something", what)
		}
		for _, ev := range e.log.take() {
			if ev.Phase == audit.Outcome && ev.Status != audit.Failure {
				t.Errorf("%s: recorded as %v", what, ev.Status)
			}
		}
	}
	const write = `UPDATE patients SET ward = 'changed' WHERE id = 1`
	unchanged("a duplicate", pool.SendBatch(as(tenantA), batchOf(write, `INSERT INTO patients (id) VALUES (1)`, write)).Close(), nil)
	unchanged("a refusal", pool.SendBatch(as(tenantA), batchOf(write, `SELECT * FROM secrets`)).Close(), nil)
	e.log.failing(func(ev *audit.Event) bool {
		return ev.Phase == audit.Intent && len(ev.Tables) == 1 && ev.Tables[0] == "visits"
	})
	unchanged("an intent that is not recorded", pool.SendBatch(as(tenantA), batchOf(write, `DELETE FROM visits`, write)).Close(), audit.ErrUnavailable)
	e.log.failing(nil)
	ctx, cancel := context.WithCancel(as(tenantA))
	cancel()
	unchanged("a context that has ended", pool.SendBatch(ctx, batchOf(write)).Close(), context.Canceled)
	// In a transaction it is a part of it.
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	must(t, tx.SendBatch(as(tenantA), batchOf(write, `DELETE FROM visits`)).Close())
	must(t, tx.Rollback(as(tenantA)))
	if fmt.Sprint(e.raws(t, tenantA)) != before {
		t.Error("a batch was not rolled back with its transaction")
	}
	must(t, pool.SendBatch(as(tenantA), &pgx.Batch{}).Close())
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are in use at the end", n)
	}
}

// While an index key is rotated, a value that is there once under an older key is not stored again by a batch.
func TestPoolBatchDuringRotation(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	must(t, e.ring.Rotate(t.Context(), tenantA, keys.PurposeIndex, "test"))
	before := fmt.Sprint(e.raws(t, tenantA))
	twice := batchOf(`UPDATE patients SET ward = 'x' WHERE id = 1`, `INSERT INTO patients (id, ssn) VALUES (70, 'ssn-2')`)
	if err := pool.SendBatch(as(tenantA), twice).Close(); !errors.Is(err, sqldb.ErrDuplicate) || errors.Is(err, sqldb.ErrOutcomeUnknown) {
		t.Errorf("%v", err)
	}
	if fmt.Sprint(e.raws(t, tenantA)) != before {
		t.Error("a part of it stands")
	}
	results := pool.SendBatch(as(tenantA), batchOf(`INSERT INTO patients (id, ssn) VALUES (70, 'new') RETURNING ssn`, `SELECT count(*) FROM patients WHERE ssn = 'ssn-2'`))
	var ssn string
	var n int
	must(t, results.QueryRow().Scan(&ssn))
	must(t, results.QueryRow().Scan(&n))
	must(t, results.Close())
	if ssn != "new" || n != 1 {
		t.Errorf("%q, %d", ssn, n)
	}
}

func TestPoolCopyFrom(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	columns := []string{"id", "name", "ssn", "ward"}
	const rows = 1337
	row := func(i int) ([]any, error) {
		return []any{1000 + i, fmt.Sprintf("Copied %d", i), fmt.Sprintf("copied-%d", i), "east"}, nil
	}
	n, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, columns, pgx.CopyFromSlice(rows, row))
	if err != nil || n != rows {
		t.Fatalf("%d, %v", n, err)
	}
	if got := fmt.Sprint(e.rows(t, tenantA, `SELECT id, name FROM patients WHERE ssn = 'copied-1336'`)); got != "[[2336 Copied 1336]]" {
		t.Errorf("stored: %s", got)
	}
	if got := fmt.Sprint(e.rows(t, tenantB, `SELECT count(*) FROM patients WHERE ward = 'east'`)); got != "[[0]]" {
		t.Errorf("the other tenant has %s", got)
	}
	var plain int
	must(t, e.raw.QueryRow(`SELECT count(*) FROM patients WHERE position('Copied'::bytea IN name) > 0`).Scan(&plain))
	if plain != 0 {
		t.Errorf("%d names are in the clear", plain)
	}
	before := fmt.Sprint(e.raws(t, tenantA))
	for what, c := range map[string]struct {
		columns []string
		source  pgx.CopyFromSource
		table   pgx.Identifier
		want    error
	}{
		"a duplicate at the end": {columns, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
			v, err := row(i + rows)
			if i == rows-1 {
				v[0] = 1
			}
			return v, err
		}), pgx.Identifier{"patients"}, nil},
		"a source that fails": {columns, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
			if i == rows-1 {
				return nil, errDisk
			}
			return row(i + rows)
		}), pgx.Identifier{"patients"}, errDisk},
		"another tenant's id": {[]string{"tenant_id", "id"}, pgx.CopyFromRows([][]any{{"clinic", 7000}, {"Clinic", 7001}}), pgx.Identifier{"patients"}, storage.ErrIsolation},
		"an undeclared table": {[]string{"id"}, pgx.CopyFromRows([][]any{{7}}), pgx.Identifier{"secrets"}, nil},
		"an index column":     {[]string{"id", "ssn_index"}, pgx.CopyFromRows([][]any{{7, []byte("x")}}), pgx.Identifier{"patients"}, nil},
		"too few values":      {columns, pgx.CopyFromRows([][]any{{7}}), pgx.Identifier{"patients"}, nil},
		"no columns":          {nil, pgx.CopyFromRows([][]any{{7}}), pgx.Identifier{"patients"}, nil},
	} {
		if n, err := pool.CopyFrom(as(tenantA), c.table, c.columns, c.source); err == nil || n != 0 || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v", what, n, err)
		}
		if fmt.Sprint(e.raws(t, tenantA)) != before {
			t.Fatalf("%s: rows were stored", what)
		}
	}
}
