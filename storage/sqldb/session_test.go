package sqldb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestNothingOfASessionCanBeSet: what one tenant could leave in a session for the next, or read of what the one before left.
func TestNothingOfASessionCanBeSet(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	mustExec(t, e.raw, `CREATE SEQUENCE numbers`)
	e.db.SetMaxOpenConns(1)
	tx, err := e.db.BeginTx(as(tenantA), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`PREPARE p AS SELECT id FROM patients`, `EXECUTE p`, `DEALLOCATE ALL`,
		`DECLARE c CURSOR WITH HOLD FOR SELECT id FROM patients`, `FETCH ALL FROM c`, `CLOSE ALL`,
		`LISTEN patients`, `NOTIFY patients, 'x'`, `UNLISTEN *`,
		`SET search_path = pg_temp`, `SET LOCAL row_security = off`, `SET SESSION AUTHORIZATION postgres`, `SET ROLE postgres`, `RESET ROLE`,
		`SET TRANSACTION ISOLATION LEVEL SERIALIZABLE`, `SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY`, `SET CONSTRAINTS ALL DEFERRED`,
		`SET plan_cache_mode = force_generic_plan`, `SHOW strongroom.tenant`, `RESET strongroom.tenant`, `DISCARD TEMP`,
		`CREATE TEMP TABLE patients (id int)`, `CREATE TEMP TABLE t AS SELECT id FROM patients`, `SELECT id INTO TEMP t FROM patients`,
		`CREATE TEMP VIEW v AS SELECT id FROM patients`, `LOCK TABLE patients`, `PREPARE TRANSACTION 'x'`, `COMMIT PREPARED 'x'`,
		`START TRANSACTION`, `END`, `ABORT`, `COMMIT AND CHAIN`, `ROLLBACK AND CHAIN`,
		`DO 'BEGIN PERFORM set_config(''strongroom.tenant'', ''Clinic'', false); END'`, `CALL p()`, `LOAD 'auto_explain'`,
		`COPY patients FROM STDIN`, `COPY patients TO STDOUT`, `COPY (SELECT id FROM patients) TO STDOUT`, `COPY patients TO PROGRAM 'cat'`,
		`EXPLAIN ANALYZE SELECT id FROM patients`, `VACUUM`, `ANALYZE patients`, `TRUNCATE visits`, `REFRESH MATERIALIZED VIEW v`,
		`SELECT pg_advisory_lock(1)`, `SELECT pg_try_advisory_lock(1)`, `SELECT pg_advisory_unlock_all()`,
		`SELECT set_config('strongroom.tenant', 'Clinic', true)`, `SELECT current_setting('strongroom.tenant')`,
		`SELECT pg_catalog.set_config('strongroom.tenant', 'Clinic', false) FROM patients`, `SELECT setseed(0.5)`,
		`SELECT nextval('numbers')`, `SELECT currval('numbers')`, `SELECT lastval()`, `SELECT setval('numbers', 1)`,
		`SELECT pg_notify('a', 'b')`, `SELECT pg_export_snapshot()`, `SELECT pg_backend_pid()`, `SELECT pg_terminate_backend(1)`, `SELECT pg_sleep(1)`,
		`SELECT pg_advisory_unlock_all()`, `SELECT query_to_xml('SELECT 1', true, true, '')`, `SELECT lo_create(0)`, `SELECT pg_read_file('x')`,
		`SELECT * FROM pg_cursors`, `SELECT * FROM pg_prepared_statements`, `SELECT * FROM pg_temp.patients`, `SELECT relname FROM pg_class`,
		`SELECT id FROM patients WHERE ward = current_user`, `SELECT session_user`, `SELECT current_schema`, `SELECT current_database()`,
	} {
		got, err := txRows(tx, as(tenantA), statement)
		var refused *sqldb.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v, %v", statement, got, err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Errorf("refusals reached the server: %v", err)
	}
}

func txRows(tx *sql.Tx, ctx context.Context, query string, args ...any) ([][]any, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows)
}

// TestSessionsAreLeftAsTheyWere does all kinds of work for one tenant, and then looks from inside the same server sessions,
// without the guard's help, for what it left.
func TestSessionsAreLeftAsTheyWere(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	mustExec(t, e.raw, `CREATE FUNCTION left_behind() RETURNS text LANGUAGE sql STABLE AS $$
		SELECT concat_ws(' ', current_setting('transaction_isolation'), current_setting('transaction_read_only'), current_setting('default_transaction_isolation'),
			current_setting('default_transaction_read_only'), current_setting('search_path'), current_setting('role'), current_setting('row_security'),
			current_setting('session_replication_role'), (SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_listening_channels()),
			(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' OR locktype = 'relation' AND relation = 'patients'::regclass AND mode <> 'AccessShareLock'),
			(SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), (SELECT count(*) FROM pg_prepared_xacts)) $$`)
	db, err := sqldb.Open(context.Background(), e.dsn, clinicSchema, e.guard, &sqldb.Options{Functions: []string{"left_behind"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	e.db = db
	look := func(id tenant.ID) string { return e.rows(t, id, `SELECT left_behind() FROM countries`)[0][0].(string) }
	before := look(tenantB)
	if !strings.HasPrefix(before, "read committed off read committed off") || !strings.HasSuffix(before, " none on origin 1 0 0 0 0") {
		t.Fatalf("a fresh session: %s", before)
	}
	for _, opts := range []*sql.TxOptions{nil, {Isolation: sql.LevelSerializable, ReadOnly: true}, {Isolation: sql.LevelRepeatableRead}, {ReadOnly: true}} {
		for _, end := range []string{"commit", "rollback", "failed", "cancelled"} {
			ctx, cancel := context.WithCancel(as(tenantA))
			tx, err := db.BeginTx(ctx, opts)
			if err != nil {
				t.Fatal(err)
			}
			if opts != nil && opts.ReadOnly {
				if _, err := tx.ExecContext(ctx, `UPDATE patients SET ward = 'x'`); err == nil {
					t.Error("a read-only transaction wrote")
				}
			} else if _, err := tx.ExecContext(ctx, `SAVEPOINT s`); err != nil {
				t.Error(err)
			} else if _, err := txRows(tx, ctx, `SELECT id FROM patients FOR UPDATE`); err != nil {
				t.Error(err)
			} else if _, err := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT s`); err != nil {
				t.Error(err)
			}
			switch end {
			case "commit":
				tx.Commit() // of a failed transaction too
			case "failed":
				tx.ExecContext(ctx, `SELECT 1 / (id - id) FROM patients`)
				tx.Commit()
			case "cancelled":
				cancel()
				tx.Rollback()
			default:
				tx.Rollback()
			}
			cancel()
			if after := look(tenantB); after != before {
				t.Errorf("after %v, %s:\n%s\nbefore:\n%s", opts, end, after, before)
			}
			if got := e.rows(t, tenantB, `SELECT name FROM patients WHERE id = 1`); len(got) != 1 || got[0][0] != "Þóra 1 of Clinic" {
				t.Errorf("after %v, %s: %v", opts, end, got)
			}
		}
	}
	if _, err := db.BeginTx(as(tenantA), &sql.TxOptions{Isolation: sql.LevelLinearizable}); err == nil {
		t.Error("PostgreSQL has no such isolation level")
	}
}

// TestGenericPlansAskForTheTenantAnew: from the sixth time on PostgreSQL runs a prepared statement by a plan that it keeps.
func TestGenericPlansAskForTheTenantAnew(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	e.db.SetMaxOpenConns(1)
	st, err := e.db.PrepareContext(context.Background(), `SELECT name, ward FROM patients WHERE id = $1`)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for i := range 40 {
		id := []tenant.ID{tenantA, tenantA, tenantB, tenantC}[i/3%4]
		rows, err := st.QueryContext(as(id), 1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := collect(rows)
		if err != nil || id == tenantC && len(got) != 0 || id != tenantC && (len(got) != 1 || got[0][0] != "Þóra 1 of "+id.String()) {
			t.Errorf("round %d, %s: %v, %v", i, id, got, err)
		}
	}
}

// TestCommitThatWasNotSent: a transaction whose COMMIT did not leave is over all the same. Who holds the connection would
// else go on inside it, as another tenant, and what is acknowledged to them would be lost.
func TestCommitThatWasNotSent(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	for range 3 {
		c, err := e.db.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(as(tenantA))
		if err := commitTooLate(ctx, cancel, c); !errors.Is(err, context.Canceled) || errors.Is(err, sqldb.ErrOutcomeUnknown) {
			t.Errorf("the commit: %v", err)
		}
		_, err = c.ExecContext(as(tenantB), `UPDATE patients SET ward = 'acknowledged' WHERE id = 2`)
		c.Close()
		got := e.rows(t, tenantB, `SELECT id FROM patients WHERE ward = 'acknowledged'`)
		if err != nil && !errors.Is(err, driver.ErrBadConn) || (err == nil) != (len(got) == 1) {
			t.Errorf("the next write on the connection: %v, and then %v", err, got)
		}
	}
}

// commitTooLate begins, writes and commits on the connection that Raw hands out: database/sql itself looks at the context
// just before, and only a race would get past that.
func commitTooLate(ctx context.Context, cancel func(), c *sql.Conn) error {
	return c.Raw(func(raw any) error {
		tx, err := raw.(driver.ConnBeginTx).BeginTx(ctx, driver.TxOptions{})
		if err != nil {
			return err
		}
		// A read leaves no event at commit, and so no question whether the tenant still may.
		if _, err := raw.(driver.ExecerContext).ExecContext(ctx, `SELECT id FROM patients FOR UPDATE`, nil); err != nil {
			return err
		}
		cancel()
		return tx.Commit()
	})
}
