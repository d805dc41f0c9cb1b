package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
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
	waiting := func(n int) {
		t.Helper()
		for found := 0; found < n; time.Sleep(time.Millisecond) {
			if err := super.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
				OR NOT granted AND locktype = 'transactionid' AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`).Scan(&found); err != nil {
				t.Fatal(err)
			}
		}
	}
	resealed, updated := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := sqldb.Reseal(as(tenantA), e.db, nil)
		resealed <- err
	}()
	waiting(1)
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
