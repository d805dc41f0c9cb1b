package sqldb_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestTransactionsBeginInOneRoundTrip: a connection whose last statement was another tenant's begins a transaction in one round trip as
// well, and is whose it is said to be however transactions end.
func TestTransactionsBeginInOneRoundTrip(t *testing.T) {
	e, r := behindRelay(t)
	dsn := r.DSN(t, e.dsn)
	for _, pooler := range []bool{false, true} {
		t.Run(fmt.Sprintf("pooler %t", pooler), func(t *testing.T) {
			db, err := sqldb.Open(context.Background(), dsn, clinicSchema, e.guard, &sqldb.Options{TransactionPooler: pooler})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			whole := func(id tenant.ID, commit bool) {
				t.Helper()
				tx, err := db.BeginTx(as(id), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback()
				var name string
				if err := tx.QueryRowContext(as(id), `SELECT name FROM patients WHERE id = 1`).Scan(&name); err != nil || name != "Þóra 1 of "+id.String() {
					t.Fatalf("%s reads %q: %v", id, name, err)
				}
				end := tx.Rollback
				if commit {
					end = tx.Commit
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
			}
			whole(tenantA, true) // connects and prepares
			for _, commit := range []bool{true, false} {
				for _, id := range []tenant.ID{tenantB, tenantA, tenantA, tenantB} {
					before := r.RoundTrips()
					whole(id, commit)
					if got := r.RoundTrips() - before; got != 3 {
						t.Errorf("a transaction of one statement takes %d round trips; want 3: BEGIN, SELECT and COMMIT or ROLLBACK", got)
					}
					var name string
					if err := db.QueryRowContext(as(id), `SELECT name FROM patients WHERE id = 2`).Scan(&name); err != nil || name != "Þóra 2 of "+id.String() {
						t.Errorf("behind it %s reads %q: %v", id, name, err)
					}
				}
			}
		})
	}
}
