package alltenants_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// Workers that empty all tenants' outboxes at once deliver each message once, as its tenant's, also where a server ends their connections.
func TestOutboxWorkers(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	ids := tenants(5)
	ring := newRing(t, ids...)
	schema := sqldb.Schema{"outbox": {Sealed: sqldb.Columns{"message": sqldb.Text()}}}
	owner, err := sql.Open("pgx", database.OwnerURL)
	must(t, err)
	defer owner.Close()
	_, err = owner.Exec(`CREATE TABLE outbox (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, message bytea, PRIMARY KEY (tenant_id, id))`)
	must(t, err)
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	must(t, err)
	_, err = owner.Exec(ddl)
	must(t, err)
	db, err := sqldb.Open(t.Context(), database.AppURL, schema, storage.Guard{Keys: ring, Audit: &trail{}}, nil)
	must(t, err)
	defer db.Close()
	const each = 30
	for _, id := range ids {
		ctx := tenant.NewContext(t.Context(), tenant.Access{Tenant: id, Actor: "fill", Purpose: "test"})
		for i := range each {
			_, err := db.ExecContext(ctx, `INSERT INTO outbox (id, message) VALUES ($1, $2)`, i, fmt.Sprintf("%s/%d", id, i))
			must(t, err)
		}
	}
	var mu sync.Mutex
	delivered := map[string]int{}
	work := func(ctx context.Context, id tenant.ID) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		rows, err := tx.QueryContext(ctx, `SELECT id, message FROM outbox ORDER BY id LIMIT 7 FOR UPDATE SKIP LOCKED`)
		if err != nil {
			return err
		}
		var taken []int64
		var messages []string
		for rows.Next() {
			var n int64
			var message string
			if err := rows.Scan(&n, &message); err != nil {
				return err
			}
			taken, messages = append(taken, n), append(messages, message)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM outbox WHERE id = ANY ($1)`, taken); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, m := range messages {
			delivered[m]++
			if m[:len(id.String())] != id.String() {
				t.Errorf("%q for %s", m, id)
			}
		}
		return nil
	}
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for left := 1; left > 0; {
				if _, err := job(ring).ForEach(t.Context(), work); err != nil {
					t.Error(err)
				}
				left = 0
				for row, err := range job(ring).Query(t.Context(), db, `SELECT count(*) FROM outbox`) {
					if err != nil {
						t.Error(err)
						continue
					}
					n := 0
					if err := row.Scan(&n); err != nil {
						t.Error(err)
					}
					left += n
				}
			}
		})
	}
	workers.Wait()
	for _, id := range ids {
		for i := range each {
			if m := fmt.Sprintf("%s/%d", id, i); delivered[m] != 1 {
				t.Errorf("%s was delivered %d times", m, delivered[m])
			}
		}
	}
	// The pool's connections were ended meanwhile: a run takes others.
	super, err := sql.Open("pgx", database.SuperURL)
	must(t, err)
	defer super.Close()
	_, err = super.Exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	must(t, err)
	n := 0
	for row, err := range job(ring).Query(t.Context(), db, `SELECT count(*) FROM outbox`) {
		must(t, err)
		must(t, row.Scan(new(int)))
		n++
	}
	if n != len(ids) {
		t.Errorf("%d tenants", n)
	}
}
