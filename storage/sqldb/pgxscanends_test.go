package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// scanned is a destination of the application's that does something when it is scanned into.
type scanned struct {
	do  func() error
	got string
}

func (s *scanned) Scan(v any) error {
	s.got = fmt.Sprint(v)
	return s.do()
}

// TestPoolRowsEndedByADestination: a destination's method that closes the rows that are scanned, or ends their transaction, is told
// of by an error: their connection is another's then.
func TestPoolRowsEndedByADestination(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newNarrowPool(t, e, nil)
	for name, end := range map[string]func(pgx.Tx, pgx.Rows) error{
		"rolled back": func(tx pgx.Tx, _ pgx.Rows) error { return tx.Rollback(context.Background()) },
		"committed":   func(tx pgx.Tx, _ pgx.Rows) error { return tx.Commit(context.Background()) },
		"closed":      func(_ pgx.Tx, rows pgx.Rows) error { rows.Close(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := pool.Begin(as(tenantA))
			must(t, err)
			defer tx.Rollback(context.Background())
			rows, err := tx.Query(as(tenantA), `SELECT ward, name, id FROM patients ORDER BY id`)
			must(t, err)
			if !rows.Next() {
				t.Fatal(rows.Err())
			}
			first := &scanned{do: func() error { return end(tx, rows) }}
			var patient string
			var id int64
			if err := rows.Scan(first, &patient, &id); err == nil || first.got == "" || patient != "" || id != 0 {
				t.Errorf("%q, %q, %d: %v", first.got, patient, id, err)
			}
			if rows.Next() || rows.Err() != nil && !errors.Is(rows.Err(), pgx.ErrTxClosed) {
				t.Errorf("another row, or %v", rows.Err())
			}
		})
	}
}
