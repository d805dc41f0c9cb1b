package sqldb_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// TestPoolRowsEndWithTheirTransaction: rows that nobody closed have an outcome in the trail all the same, and who goes on reading them
// is told that they are not all.
func TestPoolRowsEndWithTheirTransaction(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	ends := map[string]func(pgx.Tx) error{
		"COMMIT":   func(tx pgx.Tx) error { return tx.Commit(context.Background()) },
		"ROLLBACK": func(tx pgx.Tx) error { return tx.Rollback(context.Background()) },
	}
	// In each way to leave rows open, and how many of them were shown.
	ways := map[string]struct {
		open  func(*testing.T, pgx.Tx) pgx.Rows
		shown int64
	}{
		"rows of which one was read": {func(t *testing.T, tx pgx.Tx) pgx.Rows {
			rows, err := tx.Query(as(tenantA), `SELECT id, name FROM patients`)
			must(t, err)
			if !rows.Next() {
				t.Fatal(rows.Err())
			}
			return rows
		}, 1},
		"a write's rows": {func(t *testing.T, tx pgx.Tx) pgx.Rows {
			rows, err := tx.Query(as(tenantA), `UPDATE patients SET ward = 'open' RETURNING id`)
			must(t, err)
			return rows
		}, 3},
		"rows behind a savepoint": {func(t *testing.T, tx pgx.Tx) pgx.Rows {
			nested, err := tx.Begin(as(tenantA))
			must(t, err)
			rows, err := nested.Query(as(tenantA), `SELECT id, name FROM patients`)
			must(t, err)
			return rows
		}, 0},
		"a row that nobody scanned": {func(t *testing.T, tx pgx.Tx) pgx.Rows {
			tx.QueryRow(as(tenantA), `SELECT id FROM patients WHERE id = 1`)
			return nil
		}, 0},
		"rows of a batch": {func(t *testing.T, tx pgx.Tx) pgx.Rows {
			rows, err := tx.SendBatch(as(tenantA), batchOf(`SELECT id FROM patients`)).Query()
			must(t, err)
			if !rows.Next() {
				t.Fatal(rows.Err())
			}
			return rows
		}, 1},
	}
	for end, over := range ends {
		for way, w := range ways {
			t.Run(way+" at "+end, func(t *testing.T) {
				e.log.take()
				tx, err := pool.Begin(as(tenantA))
				must(t, err)
				rows := w.open(t, tx)
				if err := over(tx); err != nil {
					t.Error(err)
				}
				if n := pool.Stat().AcquiredConns(); n != 0 {
					t.Fatalf("%d connections are in use", n)
				}
				if rows != nil {
					if rows.Next() || !errors.Is(rows.Err(), pgx.ErrTxClosed) {
						t.Errorf("rows that were not read to their end say %v", rows.Err())
					}
					rows.Close()
				}
				left, last := map[string]int{}, audit.Event{}
				for _, ev := range e.log.take() {
					switch ev.Phase {
					case audit.Intent:
						left[ev.Correlation]++
					case audit.Outcome:
						left[ev.Correlation]--
						last = ev
					}
				}
				for id, n := range left {
					if n != 0 {
						t.Errorf("%d intents of %s have no outcome", n, id)
					}
				}
				if last.Status != audit.Success || last.Rows != w.shown {
					t.Errorf("the outcome is %v of %d rows; want %d", last.Status, last.Rows, w.shown)
				}
				must(t, pool.QueryRow(as(tenantB), `SELECT id FROM patients WHERE id = 1`).Scan(new(int)))
			})
		}
	}
}

// TestPoolRowsOutliveNoTransaction: a goroutine that reads while another ends the transaction never reads from a connection that is
// somebody else's by then.
func TestPoolRowsOutliveNoTransaction(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	for range 50 {
		tx, err := pool.Begin(as(tenantA))
		must(t, err)
		rows, err := tx.Query(as(tenantA), `SELECT p.id FROM patients p, patients q, patients r, patients s, patients u`)
		must(t, err)
		read := make(chan error, 1)
		go func() {
			n := 0
			for rows.Next() {
				n++
			}
			if err := rows.Err(); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
				read <- err
			}
			close(read)
		}()
		must(t, tx.Rollback(context.Background()))
		var id int
		must(t, pool.QueryRow(as(tenantB), `SELECT id FROM patients WHERE id = 1`).Scan(&id))
		must(t, <-read)
	}
}
