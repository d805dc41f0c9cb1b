package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// Batches are cut off at whatever point, by their contexts and by the server: what is acknowledged stands, what failed does not, and the
// trail has one outcome of each statement, which says the same.
func TestPoolBatchesCutOff(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	super := openBare(t, e.super)
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				super.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database()`)
			}
		}
	})
	const workers, rounds = 4, 40
	var mu sync.Mutex
	results := map[tenant.ID]map[int]error{tenantA: {}, tenantB: {}}
	var group sync.WaitGroup
	for worker := range workers {
		id := []tenant.ID{tenantA, tenantB}[worker%2]
		group.Go(func() {
			for round := range rounds {
				first := 10_000 + 2*(worker*rounds+round)
				ctx, cancel := context.WithTimeout(as(id), time.Minute)
				if round%4 > 1 {
					cancel()
					ctx, cancel = context.WithTimeout(as(id), time.Duration(round)*500*time.Microsecond)
				}
				b := &pgx.Batch{}
				b.Queue(`INSERT INTO patients (id, name) VALUES ($1, $2)`, first, id.String())
				b.Queue(`SELECT name FROM patients WHERE id = $1`, first)
				b.Queue(`INSERT INTO patients (id, name) VALUES ($1, $2) RETURNING id`, first+1, id.String())
				var err error
				if round%2 == 0 {
					err = pool.SendBatch(ctx, b).Close()
				} else {
					err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, b).Close() })
				}
				cancel()
				mu.Lock()
				results[id][first] = err
				mu.Unlock()
			}
		})
	}
	group.Wait()
	close(stop)
	killer.Wait()
	stood, failed, unknown := 0, 0, 0
	for id, of := range results {
		for first, err := range of {
			n := len(e.rows(t, id, `SELECT id FROM patients WHERE id IN ($1, $2)`, first, first+1))
			switch {
			case err == nil && n == 2:
				stood++
			case errors.Is(err, sqldb.ErrOutcomeUnknown) && n != 1:
				unknown++
			case err != nil && n == 0:
				failed++
			default:
				t.Errorf("%d rows of a batch that ended with %v", n, err)
			}
		}
	}
	if stood == 0 || failed+unknown == 0 {
		t.Errorf("%d stood, %d failed, %d are unknown: nothing was tried", stood, failed, unknown)
	}
	intents, outcomes := 0, 0
	for _, ev := range e.log.take() {
		if ev.Code != audit.CodeExec {
			continue
		}
		switch ev.Phase {
		case audit.Intent:
			intents++
		case audit.Outcome:
			outcomes++
		}
	}
	if intents != outcomes || intents < 2*stood {
		t.Errorf("%d intents and %d outcomes", intents, outcomes)
	}
}

// Behind a transaction pooler batches find their tenant's rows, and leave no tenant in a session.
func TestPoolBehindTransactionPooler(t *testing.T) {
	database := testenv.Postgres(t).NewDatabase(t)
	url := database.PgBouncer(t)
	owner := openBare(t, database.OwnerURL)
	for _, ddl := range clinicTables[dialect.PostgreSQL] {
		mustExec(t, owner, ddl)
	}
	ddl, err := clinicSchema.DDL(dialect.PostgreSQL, nil)
	must(t, err)
	mustExec(t, owner, ddl)
	guard := storage.Guard{Keys: newRing(t, tenantA, tenantB), Audit: &recorder{}}
	pool, err := sqldb.OpenPool(t.Context(), url, clinicSchema, guard, &sqldb.PoolOptions{Options: sqldb.Options{TransactionPooler: true}})
	must(t, err)
	t.Cleanup(pool.Close)
	var group sync.WaitGroup
	for worker := range 4 {
		id := []tenant.ID{tenantA, tenantB}[worker%2]
		group.Go(func() {
			for round := range 10 {
				key, name := 100*worker+round, fmt.Sprintf("%s %d", id, worker)
				b := &pgx.Batch{}
				b.Queue(`INSERT INTO patients (id, name, ward) VALUES ($1, $2, $3)`, key, name, id.String())
				b.Queue(`SELECT count(*) FROM patients WHERE ward = $1`, id.String())
				if round == 5 {
					b.Queue(`INSERT INTO patients (id) VALUES ($1)`, key) // takes the setting back with the batch
				}
				results := pool.SendBatch(as(id), b)
				if round == 5 {
					if results.Close() == nil {
						t.Error("a duplicate was stored")
					}
					continue
				}
				_, err := results.Exec()
				var n int
				if serr := results.QueryRow().Scan(&n); err != nil || serr != nil || n == 0 {
					t.Errorf("%s: %d, %v, %v", id, n, err, serr)
				}
				results.Close()
				err = pgx.BeginFunc(as(id), pool, func(tx pgx.Tx) error {
					return tx.QueryRow(as(id), `SELECT count(*) FROM patients WHERE ward <> $1`, id.String()).Scan(&n)
				})
				if err != nil || n != 0 {
					t.Errorf("%s sees %d rows of others, %v", id, n, err)
				}
			}
			rows := make([][]any, 50)
			for i := range rows {
				rows[i] = []any{1000*(worker+1) + i, id.String()}
			}
			if n, err := pool.CopyFrom(as(id), pgx.Identifier{"patients"}, []string{"id", "ward"}, pgx.CopyFromRows(rows)); err != nil || n != 50 {
				t.Errorf("CopyFrom: %d, %v", n, err)
			}
		})
	}
	group.Wait()
	bare := openBare(t, url)
	for range 20 {
		var n int
		must(t, bare.QueryRow(`SELECT count(*) FROM patients`).Scan(&n))
		if n != 0 {
			t.Fatalf("a session was left with a tenant: %d rows", n)
		}
	}
}
