package sqldb_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestWhatChangedUnderAPreparedStatement: PostgreSQL goes on to run a prepared statement on what has the names in it by then, and pgx goes on to
// say where its columns came from when it was prepared. Such a statement is described anew, and what changed is named.
func TestWhatChangedUnderAPreparedStatement(t *testing.T) {
	for what, c := range map[string]struct{ change, want string }{
		"a column in the place of another": {`ALTER TABLE patients RENAME COLUMN ward TO old; ALTER TABLE patients ADD COLUMN ward text DEFAULT 'planted'`,
			"should be patients.ward and is a column that table patients was given since"},
		"a table in the place of another": {`ALTER TABLE patients RENAME TO older; CREATE TABLE patients AS SELECT * FROM older; GRANT SELECT ON patients TO PUBLIC`,
			"of a table that was made"},
		"two sealed columns exchanged": {`ALTER TABLE patients RENAME COLUMN name TO x; ALTER TABLE patients RENAME COLUMN born TO name; ALTER TABLE patients RENAME COLUMN x TO born`,
			"should be patients.name and is patients.born"},
	} {
		t.Run(what, func(t *testing.T) {
			e := newEnv(t, dialect.PostgreSQL, nil)
			fill(t, e)
			e.db.SetMaxOpenConns(1)
			pool := newNarrowPool(t, e, nil)
			const query = `SELECT name, ward FROM patients WHERE id = 1`
			ways := map[string]func() error{
				"database/sql": func() error { _, err := e.tryRows(as(tenantA), query); return err },
				"a pool":       func() error { return pool.QueryRow(as(tenantA), query).Scan(new(string), new(string)) },
				"a batch": func() error {
					results := pool.SendBatch(as(tenantA), batchOf(query, query))
					defer results.Close()
					return results.QueryRow().Scan(new(string), new(string))
				},
				"a transaction": func() error {
					return pgx.BeginFunc(as(tenantA), pool, func(tx pgx.Tx) error { return tx.QueryRow(as(tenantA), query).Scan(new(string), new(string)) })
				},
			}
			overdue := func() {
				conn, err := e.db.Conn(t.Context())
				must(t, err)
				must(t, conn.Raw(sqldb.Overdue))
				must(t, conn.Close())
				must(t, pool.Overdue(t.Context()))
			}
			for range 2 { // prepared, and from then on run as prepared
				for name, way := range ways {
					if err := way(); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
			}
			overdue()
			for name, way := range ways {
				if err := way(); err != nil {
					t.Errorf("%s, described anew: %v", name, err)
				}
			}
			e.log.take()
			mustExec(t, e.raw, c.change)
			for name, way := range ways {
				overdue()
				if err := way(); !errors.Is(err, sqldb.ErrSchemaChanged) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if e.log.has(func(ev *audit.Event) bool { return ev.Code == audit.CodeIsolation }) {
				t.Error("an alert for what is none")
			}
		})
	}
}

// TestAContextThatEndsBeforeStatementsAreDescribedAnew: nothing was sent, and the write is known not to stand.
func TestAContextThatEndsBeforeStatementsAreDescribedAnew(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	const write = `UPDATE patients SET ward = 'written' WHERE id = 1`
	must(t, pool.Overdue(t.Context()))
	server := openBare(t, e.super) // ends the connection in the pool
	mustExec(t, server, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strongroom' AND datname = current_database()`)
	if _, err := pool.Exec(as(tenantA), write); err != nil {
		t.Errorf("a connection that was gone by then: %v", err)
	}
	must(t, pool.Overdue(t.Context()))
	ctx, cancel := context.WithCancel(as(tenantA))
	guard := e.guard
	guard.Audit = cancelling{e.log, cancel}
	other, err := sqldb.OpenPool(t.Context(), e.dsn, clinicSchema, guard, nil)
	must(t, err)
	defer other.Close()
	must(t, other.Overdue(t.Context()))
	if _, err := other.Exec(ctx, write); !errors.Is(err, context.Canceled) || errors.Is(err, sqldb.ErrOutcomeUnknown) {
		t.Errorf("a context that ends at the intent: %v", err)
	}
}

// cancelling is a recorder at whose first event a context ends.
type cancelling struct {
	audit.Recorder
	cancel func()
}

func (c cancelling) Record(ctx context.Context, e *audit.Event) error {
	defer c.cancel()
	return c.Recorder.Record(ctx, e)
}
