package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// A savepoint is rolled back whatever became of the context; one that cannot be leaves nothing to commit.
func TestPoolNestedRollback(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	before := fmt.Sprint(e.raws(t, tenantA))
	ended, cancel := context.WithCancel(as(tenantA))
	cancel()
	for what, end := range map[string]func(tx pgx.Tx) error{
		"with a context that has ended": func(tx pgx.Tx) error { return tx.Rollback(ended) },
		"with one without an access":    func(tx pgx.Tx) error { return tx.Rollback(context.Background()) },
	} {
		tx, err := pool.Begin(as(tenantA))
		must(t, err)
		nested, err := tx.Begin(as(tenantA))
		must(t, err)
		_, err = nested.Exec(as(tenantA), `DELETE FROM visits`)
		must(t, err)
		if err := end(nested); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		must(t, tx.Commit(as(tenantA)))
		if n := len(e.rows(t, tenantA, `SELECT id FROM visits`)); n != 3 {
			t.Fatalf("%s: what was rolled back stands", what)
		}
	}
	// An application's own savepoint of whatever name does not take its place.
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	nested, err := tx.Begin(as(tenantA))
	must(t, err)
	_, err = nested.Exec(as(tenantA), `UPDATE patients SET ward = 'changed'`)
	must(t, err)
	for i := range 3 {
		_, err = nested.Exec(as(tenantA), fmt.Sprintf(`SAVEPOINT sp_%d`, i))
		must(t, err)
	}
	must(t, nested.Rollback(as(tenantA)))
	must(t, tx.Commit(as(tenantA)))
	if fmt.Sprint(e.raws(t, tenantA)) != before {
		t.Error("what was rolled back stands")
	}
}

// However many ways out of a transaction are taken at once, one is: the connection is another tenant's after it.
func TestPoolTransactionEndsOnce(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	for round := range 20 {
		tx, err := pool.Begin(as(tenantA))
		must(t, err)
		_, err = tx.Exec(as(tenantA), `UPDATE patients SET ward = 'changed'`)
		must(t, err)
		nested, err := tx.Begin(as(tenantA))
		must(t, err)
		ways := map[string]func(context.Context) error{
			"commit": tx.Commit, "rollback": tx.Rollback, "rollback again": tx.Rollback, "nested": nested.Commit,
			"statement": func(ctx context.Context) error {
				_, err := tx.Exec(ctx, `DELETE FROM visits WHERE id = 99`)
				return err
			},
		}
		var group sync.WaitGroup
		var ended atomic.Int32
		for what, way := range ways {
			group.Go(func() {
				switch err := way(as(tenantA)); {
				case err == nil && (what == "commit" || strings.HasPrefix(what, "rollback")):
					ended.Add(1)
				case err != nil && !errors.Is(err, pgx.ErrTxClosed) && !strings.Contains(err.Error(), "one at a time"):
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		group.Go(func() {
			err := pgx.BeginFunc(as(tenantB), pool, func(tx pgx.Tx) error {
				for range 3 {
					if _, err := tx.Exec(as(tenantB), `UPDATE patients SET ward = $1`, fmt.Sprint(round)); err != nil {
						return err
					}
				}
				return errRollback
			})
			if !errors.Is(err, errRollback) {
				t.Errorf("the other tenant's transaction: %v", err)
			}
		})
		group.Wait()
		if n := ended.Load(); n != 1 {
			t.Errorf("%d of three ends took place", n)
		}
	}
	if got := fmt.Sprint(e.rows(t, tenantB, `SELECT ward FROM patients`)); got != "[[west] [west] [west]]" {
		t.Errorf("what the other tenant rolled back stands: %s", got)
	}
}

// A batch that is open when its transaction ends is closed with it.
func TestPoolTransactionClosesBatches(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	results := tx.SendBatch(as(tenantA), batchOf(`UPDATE patients SET ward = 'changed' RETURNING ward`, `SELECT id FROM patients`))
	open, err := results.Query()
	must(t, err)
	must(t, tx.Commit(as(tenantA)))
	if open.Next() {
		t.Error("a result is read after its transaction")
	}
	if _, err := results.Query(); err == nil {
		t.Error("a batch is read after its transaction")
	}
	outcomes := 0
	for _, ev := range e.log.take() {
		if ev.Phase == audit.Outcome && ev.Code != audit.CodeCommit {
			outcomes++
		}
	}
	if outcomes != 2 {
		t.Errorf("%d outcomes of 2 statements", outcomes)
	}
}
