package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestResealWaitsOnceInAll: of three transactions that each write an index value which Reseal makes too, two end before half a second is
// over, so that Reseal goes on to the next, and the third waits for a row that Reseal has locked. However long each wait is, the sum must
// not last until PostgreSQL looks for a deadlock, whose victim is the application's transaction.
func TestResealWaitsOnceInAll(t *testing.T) {
	e := newEnvOn(t, dialect.PostgreSQL, nil, newRingIn(t, t.TempDir(), quick(), tenantA, tenantB, tenantC))
	e.admit(t, tenantA, 0, 3)
	old := e.raws(t, tenantA)
	e.rotate(t, tenantA, keys.PurposeIndex)
	if _, err := sqldb.Reseal(as(tenantA), e.db, nil); err != nil {
		t.Fatal(err)
	}
	moved := e.raws(t, tenantA)
	for _, row := range old { // as before, so that Reseal makes what it has made
		e.rawExec(t, fmt.Sprintf(`UPDATE patients SET ssn_index = %s WHERE tenant_id = 'clinic' AND id = %d`, literal(e.dialect, row[4].([]byte)), row[0]))
	}
	e.rawExec(t, `CREATE UNIQUE INDEX once ON patients (tenant_id, ssn_index)`)

	super := openPool(t, e.super)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	holding := make([]*sql.Tx, 3)
	for i := range holding {
		tx, err := super.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		holding[i] = tx
		if _, err := tx.ExecContext(ctx, `INSERT INTO patients (tenant_id, id, ssn_index) VALUES ('clinic', $1, $2)`, 900+i, moved[i][4]); err != nil {
			t.Fatal(err)
		}
	}
	resealed, updated := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := sqldb.Reseal(as(tenantA), e.db, nil)
		resealed <- err
	}()
	untilWaiting(ctx, t, super)
	go func() { // a row that Reseal has locked, or will
		_, err := holding[2].ExecContext(ctx, `UPDATE patients SET ward = 'B' WHERE tenant_id = 'clinic' AND id = 0`)
		updated <- err
	}()
	for _, tx := range holding[:2] {
		time.Sleep(400 * time.Millisecond)
		tx.Rollback()
	}
	if err := <-updated; err != nil {
		t.Error("the application's transaction failed:", err)
	}
	holding[2].Rollback()
	if err := <-resealed; err != nil {
		t.Error(err)
	}
	for i, row := range e.raws(t, tenantA) {
		if string(row[4].([]byte)) != string(moved[i][4].([]byte)) {
			t.Errorf("row %d has its old index value", i)
		}
	}
}

// untilWaiting waits until somebody in the database waits for another's lock.
func untilWaiting(ctx context.Context, t *testing.T, super *sql.DB) {
	t.Helper()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		if err := super.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResealWaitsInTriggers: what a declared trigger waits for counts too.
func TestResealWaitsInTriggers(t *testing.T) {
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	mustExec(t, raw, `CREATE TABLE notes (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, note bytea, PRIMARY KEY (tenant_id, id));
		CREATE TABLE changes (tenant_id text COLLATE "C" NOT NULL, note bigint NOT NULL, n bigint NOT NULL, PRIMARY KEY (tenant_id, note));
		CREATE FUNCTION counting() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE public.changes SET n = n + 1 WHERE tenant_id = NEW.tenant_id AND note = NEW.id; RETURN NULL; END';
		CREATE TRIGGER counted AFTER UPDATE OF note ON notes FOR EACH ROW EXECUTE FUNCTION counting()`)
	schema := sqldb.Schema{"notes": {Sealed: sqldb.Columns{"note": sqldb.Text()}, Triggers: map[string]sqldb.Trigger{"counted": {Writes: []string{"changes"}}}}, "changes": {}}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	ring := newRingIn(t, t.TempDir(), quick(), tenantA)
	db, err := sqldb.Open(t.Context(), dsn, schema, storage.Guard{Keys: ring, Audit: &recorder{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for i := range 2 {
		for _, query := range []string{`INSERT INTO notes (id, note) VALUES ($1, 'seen')`, `INSERT INTO changes (note, n) VALUES ($1, 0)`} {
			if _, err := db.ExecContext(as(tenantA), query, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := ring.Rotate(t.Context(), tenantA, keys.PurposeData, ""); err != nil {
		t.Fatal(err)
	}

	all := openPool(t, super)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	holding := make([]*sql.Tx, 2)
	for i := range holding {
		if holding[i], err = all.BeginTx(ctx, nil); err != nil {
			t.Fatal(err)
		}
		defer holding[i].Rollback()
		if _, err := holding[i].ExecContext(ctx, `UPDATE changes SET n = 0 WHERE note = $1`, i); err != nil {
			t.Fatal(err)
		}
	}
	resealed, updated := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := sqldb.Reseal(as(tenantA), db, nil)
		resealed <- err
	}()
	untilWaiting(ctx, t, all)
	go func() {
		_, err := holding[1].ExecContext(ctx, `UPDATE notes SET id = id WHERE id = 0`)
		updated <- err
	}()
	time.Sleep(700 * time.Millisecond)
	holding[0].Rollback()
	if err := <-updated; err != nil {
		t.Error("the application's transaction failed:", err)
	}
	holding[1].Rollback()
	if err := <-resealed; err != nil {
		t.Error(err)
	}
}
