package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestTransactionPooler runs 16 goroutines of two tenants over two server sessions, through a real PgBouncer in
// transaction mode, and then looks at what the sessions were left with.
func TestTransactionPooler(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	url := database.PgBouncer(t)
	owner := openBare(t, database.OwnerURL)
	for _, ddl := range clinicTables[dialect.PostgreSQL] {
		mustExec(t, owner, ddl)
	}
	ddl, err := clinicSchema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, owner, ddl)
	e := &env{dialect: dialect.PostgreSQL, log: &recorder{}, ring: newRing(t, tenantA, tenantB, tenantC)}
	e.guard = storage.Guard{Keys: e.ring, Audit: e.log}
	if e.db, err = sqldb.Open(context.Background(), url, clinicSchema, e.guard, &sqldb.Options{TransactionPooler: true}); err != nil {
		t.Fatal(err)
	}
	defer e.db.Close()
	fill(t, e)

	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 20 {
				id := []tenant.ID{tenantA, tenantB}[(g+i)%2]
				if err := visit(e, id, i); err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
			}
		})
	}
	wg.Wait()

	// Whoever comes through the pooler without the guard finds no tenant left behind in any session.
	bare := openBare(t, url)
	bare.SetMaxOpenConns(4)
	for range 20 {
		var n int
		if err := bare.QueryRowContext(context.Background(), `SELECT count(*) FROM patients`).Scan(&n); err != nil || n != 0 {
			t.Fatalf("a session was left with a tenant: %d rows, %v", n, err)
		}
	}
}

// visit reads as a statement by itself, in a transaction that commits, and in one that is rolled back half-way.
func visit(e *env, id tenant.ID, i int) error {
	ctx := as(id)
	check := func(q interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}) error {
		var name string
		if err := q.QueryRowContext(ctx, `SELECT name FROM patients WHERE ssn = $1`, "ssn-2").Scan(&name); err != nil {
			return err
		}
		if want := "Þóra 2 of " + id.String(); name != want {
			return fmt.Errorf("read %q", name)
		}
		return nil
	}
	if err := check(e.db); err != nil {
		return fmt.Errorf("a statement by itself: %w", err)
	}
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SAVEPOINT s`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, insertPatient, 1, "dup", "dup", nil, nil); err == nil {
		return fmt.Errorf("a duplicate key was accepted")
	}
	if _, err := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT s`); err != nil {
		return err
	}
	if err := check(tx); err != nil {
		return fmt.Errorf("in a transaction: %w", err)
	}
	if i%2 == 0 {
		return tx.Commit()
	}
	return nil
}
