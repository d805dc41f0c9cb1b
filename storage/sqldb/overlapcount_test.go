package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// How many rows a write of a transaction found is an answer of the database too: of which of a tenant's rows a condition holds.
func TestCountsWaitForTheirIntent(t *testing.T) {
	overlapping(t, func(t *testing.T, e *env, q *queueing) {
		for _, query := range []string{
			`UPDATE patients SET ward = ward WHERE name = 'Ada'`,
			`DELETE FROM visits WHERE patient_id = 1`,
			`INSERT INTO visits (id, patient_id) SELECT 900 + id, id FROM patients WHERE name = 'Ada'`,
		} {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := tx.ExecContext(as(tenantA), query)
			if err != nil {
				t.Fatal(err)
			}
			type count struct {
				n   int64
				err error
			}
			answer := make(chan count, 1)
			go func() {
				n, err := res.RowsAffected()
				answer <- count{n, err}
			}()
			select {
			case got := <-answer:
				t.Fatalf("%s: %d rows, released before the intent is in the trail: %v", query, got.n, got.err)
			case <-q.waits:
			}
			q.release <- audit.ErrUnavailable
			if got := <-answer; got.n != 0 || !errors.Is(got.err, audit.ErrUnavailable) {
				t.Errorf("%s: %d rows, %v", query, got.n, got.err)
			}
			if err := tx.Commit(); !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("%s: COMMIT: %v", query, err)
			}
		}
		close(q.release)
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		res, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = ward WHERE id = 1`)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n, err := res.RowsAffected(); n != 1 || err != nil {
				t.Errorf("%d rows, %v", n, err)
			}
		}
	})
}

// How a statement goes tells whether the one before it failed, whose answer was withheld because its caller gave up.
func TestWithheldAnswersStayWithheld(t *testing.T) {
	overlapping(t, func(t *testing.T, e *env, q *queueing) {
		for _, next := range []string{`SAVEPOINT a`, `INSERT INTO visits (id, patient_id) VALUES (900, 1)`} {
			tx, err := e.db.BeginTx(as(tenantA), nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(as(tenantA))
			answer := make(chan error, 1)
			go func() {
				_, err := tx.ExecContext(ctx, `SELECT 1 / (id - 1) FROM patients`)
				answer <- err
			}()
			<-q.waits
			cancel()
			if err := <-answer; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			go func() {
				_, err := tx.ExecContext(as(tenantA), next)
				answer <- err
			}()
			select {
			case err := <-answer:
				t.Fatalf("%s: answered before the intent of the statement before it is in the trail: %v", next, err)
			case <-q.waits:
			}
			q.release <- audit.ErrUnavailable
			if err := <-answer; !errors.Is(err, audit.ErrUnavailable) || strings.Contains(err.Error(), "abort") {
				t.Errorf("%s: %v", next, err)
			}
			if err := tx.Commit(); !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("%s: COMMIT: %v", next, err)
			}
		}
	})
}

// A number that is drawn from a sequence is gone, whatever becomes of the statement, and what a declared function does may be
// permanent: both are called when the intent is in the trail.
func TestEffectsWaitBeforeTheyAreSent(t *testing.T) {
	raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
	mustExec(t, raw, `CREATE TABLE notes (tenant_id text COLLATE "C" NOT NULL, id bigserial, PRIMARY KEY (tenant_id, id));
		CREATE FUNCTION effect() RETURNS integer LANGUAGE sql AS 'SELECT 1';
		GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO PUBLIC`)
	schema := sqldb.Schema{"notes": {}}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	q := newQueueing()
	db, err := sqldb.Open(context.Background(), dsn, schema, storage.Guard{Keys: newRing(t, tenantA), Audit: q}, &sqldb.Options{Functions: []string{"effect"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(as(tenantA), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, on := range []interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}{db, tx} {
		for _, query := range []string{`SELECT nextval('notes_id_seq')`, `SELECT effect()`, `SELECT id FROM notes, effect() AS n WHERE n = 2`} {
			answer := make(chan error, 1)
			go func() {
				_, err := on.ExecContext(as(tenantA), query)
				answer <- err
			}()
			select {
			case <-q.waits:
				t.Errorf("%T: %s: sent before its intent is in the trail", on, query)
				q.release <- nil
				<-answer
			case err := <-answer: // it was recorded, which nobody waits for here
				if err != nil {
					t.Error(err)
				}
			}
		}
	}
}
