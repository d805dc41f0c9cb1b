package sqldb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// TestPoolBatchEndedByItsFunction: a function that was queued with a statement of a batch may end the transaction, or close the batch. Then
// closing it returns, and each statement has one outcome.
func TestPoolBatchEndedByItsFunction(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	ends := map[string]func(pgx.Tx, pgx.BatchResults) error{
		"rolled back": func(tx pgx.Tx, _ pgx.BatchResults) error { return tx.Rollback(context.Background()) },
		"committed":   func(tx pgx.Tx, _ pgx.BatchResults) error { return tx.Commit(context.Background()) },
		"closed":      func(_ pgx.Tx, results pgx.BatchResults) error { return results.Close() },
	}
	// With rows that are open meanwhile, and without.
	queued := map[string]func(*pgx.QueuedQuery, func() error){
		"a query": func(q *pgx.QueuedQuery, end func() error) { q.Query(func(pgx.Rows) error { return end() }) },
		"an exec": func(q *pgx.QueuedQuery, end func() error) { q.Exec(func(pgconn.CommandTag) error { return end() }) },
	}
	test := func(name string, end func(pgx.Tx, pgx.BatchResults) error, queue func(*pgx.QueuedQuery, func() error)) {
		t.Run(name, func(t *testing.T) {
			e.log.take()
			tx, err := pool.Begin(as(tenantA))
			must(t, err)
			defer tx.Rollback(context.Background())
			var results pgx.BatchResults
			batch := &pgx.Batch{}
			queue(batch.Queue(`SELECT id FROM patients`), func() error { return end(tx, results) })
			batch.Queue(`SELECT name FROM patients`)
			batch.Queue(`SELECT ward FROM patients`)
			results = tx.SendBatch(as(tenantA), batch)
			closed := make(chan error, 1)
			go func() { closed <- results.Close() }()
			select {
			case err := <-closed:
				if err != nil && !errors.Is(err, pgx.ErrTxClosed) {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("Close does not return")
			}
			outcomes := 0
			for _, ev := range e.log.take() {
				if ev.Code == audit.CodeQuery && ev.Phase == audit.Outcome {
					outcomes++
				}
			}
			if outcomes != 3 {
				t.Errorf("%d outcomes of 3 statements", outcomes)
			}
		})
	}
	for name, end := range ends {
		for how, queue := range queued {
			test(name+" by "+how, end, queue)
		}
	}
}
