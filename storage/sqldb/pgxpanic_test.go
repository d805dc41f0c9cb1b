package sqldb_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

type panics struct{}

func (panics) Value() (driver.Value, error) { panic("of the application's") }

// A panic of the application's code reaches the caller, and takes neither the process nor a connection with it.
func TestPoolPanics(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	caught := func(what string, f func()) {
		t.Helper()
		defer func() {
			t.Helper()
			if recover() == nil {
				t.Errorf("%s did not panic", what)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := pool.Ping(ctx); err != nil {
				panic(fmt.Sprintf("%s: the connection has not come back: %v", what, err)) // Close would wait for it
			}
		}()
		f()
	}
	const write = `UPDATE patients SET name = $1`
	caught("Exec", func() { pool.Exec(as(tenantA), write, panics{}) })
	caught("Query", func() { pool.Query(as(tenantA), `SELECT id FROM patients WHERE name = $1`, panics{}) })
	caught("a value of pgx's to encode", func() { pool.Exec(as(tenantA), `UPDATE patients SET ward = $1`, panics{}) })
	b := &pgx.Batch{}
	b.Queue(write, panics{})
	b.Queue(write, "x")
	caught("SendBatch", func() { pool.SendBatch(as(tenantA), b) })
	b = &pgx.Batch{}
	b.Queue(`UPDATE patients SET ward = $1`, panics{})
	caught("SendBatch of a value of pgx's to encode", func() { pool.SendBatch(as(tenantA), b) })
	caught("CopyFrom", func() {
		pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id"}, pgx.CopyFromSlice(1, func(int) ([]any, error) { panic("source") }))
	})
	b = &pgx.Batch{}
	b.Queue(write, "x")
	b.Queue(write, exits{})
	if err := pool.SendBatch(as(tenantA), b).Close(); err == nil || !strings.Contains(err.Error(), "statement 2 of the batch") {
		t.Errorf("a batch with a value that ends the goroutine: %v", err)
	}
	if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE name = 'x'`); len(got) > 0 {
		t.Errorf("a part of it stands: %v", got)
	}
	e.log.take()
	b = batchOf(`SELECT id FROM patients`, `UPDATE patients SET ward = 'written'`)
	b.QueuedQueries[0].QueryRow(func(pgx.Row) error { panic("callback") })
	results := pool.SendBatch(as(tenantA), b)
	caught("a callback", func() { results.Close() })
	outcomes := 0
	for _, ev := range e.log.take() {
		if ev.Phase == audit.Outcome {
			outcomes++
		}
	}
	if outcomes != 2 {
		t.Errorf("%d outcomes of 2 statements", outcomes)
	}
	must(t, pool.QueryRow(as(tenantB), `SELECT id FROM patients WHERE id = 1`).Scan(new(int)))
}
