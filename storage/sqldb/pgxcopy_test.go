package sqldb_test

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// reusing is a source that returns the same memory for each row, as pgx admits it.
type reusing struct {
	rows, at int
	name     []byte
	ssn      string
	values   []any
}

func (r *reusing) Next() bool { r.at++; return r.at <= r.rows }
func (r *reusing) Err() error { return nil }
func (r *reusing) Values() ([]any, error) {
	if r.values == nil {
		r.values = make([]any, 4)
	}
	r.name = fmt.Appendf(r.name[:0], "Name %d", r.at)
	r.ssn = fmt.Sprintf("ssn %d", r.at)
	r.values[0], r.values[1], r.values[2], r.values[3] = 2000+r.at, r.name, &r.ssn, &r.name
	return r.values, nil
}

func TestPoolCopyFromReusedMemory(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	n, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id", "name", "ssn", "ward"}, &reusing{rows: 5})
	if err != nil || n != 5 {
		t.Fatalf("%d, %v", n, err)
	}
	if got := fmt.Sprint(e.rows(t, tenantA, `SELECT id, name, ssn, ward FROM patients WHERE id > 2000 ORDER BY id LIMIT 2`)); got != "[[2001 Name 1 ssn 1 Name 1] [2002 Name 2 ssn 2 Name 2]]" {
		t.Errorf("stored: %s", got)
	}
}

// In a transaction, too, rows are stored all or none: whoever goes on after a source failed commits nothing of it.
func TestPoolCopyFromInTransaction(t *testing.T) {
	e := newEnv(t, dialect.PostgreSQL, nil)
	fill(t, e)
	pool := newPool(t, e, e.guard, nil)
	before := fmt.Sprint(e.raws(t, tenantA))
	tx, err := pool.Begin(as(tenantA))
	must(t, err)
	n, err := tx.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id", "ward"}, pgx.CopyFromSlice(3000, func(i int) ([]any, error) {
		if i == 2999 {
			return nil, errDisk
		}
		return []any{3000 + i, "copied"}, nil
	}))
	if n != 0 || !errors.Is(err, errDisk) {
		t.Errorf("%d, %v", n, err)
	}
	tx.Commit(as(tenantA))
	if fmt.Sprint(e.raws(t, tenantA)) != before {
		t.Error("a part of the rows was stored")
	}
}

// What cannot be copied, or has its own copy, comes to the database as it was.
func TestPoolCopyFromReusedValues(t *testing.T) {
	pool := openWide(t, &sqldb.PoolOptions{})
	doc, list, number, at := map[string]any{}, []int{0}, big.NewInt(0), time.Time{}
	next := func(i int) ([]any, error) {
		doc["i"], list[0], at = i, i, time.Unix(int64(i), 0).UTC()
		number.SetInt64(int64(i))
		return []any{i, doc, list, pgtype.Numeric{Int: number, Valid: true}, &at, nil}, nil
	}
	const rows = 10
	n, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"wide"}, []string{"id", "plain", "doc", "amount", "at", "txt"}, pgx.CopyFromSlice(rows, next))
	if err != nil || n != rows {
		t.Fatalf("%d, %v", n, err)
	}
	read, err := pool.Query(as(tenantA), `SELECT id, plain, doc, amount, at FROM wide ORDER BY id`)
	must(t, err)
	for i := 0; read.Next(); i++ {
		var id, amount int
		var plain map[string]int
		var doc []int
		var at time.Time
		must(t, read.Scan(&id, &plain, &doc, &amount, &at))
		if id != i || plain["i"] != i || !slices.Equal(doc, []int{i}) || amount != i || at.Unix() != int64(i) {
			t.Errorf("row %d: %v %v %v %v", i, plain, doc, amount, at)
		}
	}
	must(t, read.Err())
}
