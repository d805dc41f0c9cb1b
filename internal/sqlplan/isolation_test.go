package sqlplan

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Isolation without an oracle: whatever a statement is, its plan gives the same rows, the same error and the same
// changes whether other tenants' rows are there or not. It is weaker than non-interference, and holds for statements
// that nobody wrote down.

// isolated is an engine's database with all tenants, and one like it with tenant a alone.
type isolated struct {
	dialect    Dialect
	all, alone *sql.DB
}

func checkIsolation(t *testing.T, e isolated, statements int) {
	g := newGrafter(t, *seed)
	begin := func(db *sql.DB) *sql.Tx {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	succeeded := 0
	for batch := 0; batch*50 < statements && !t.Failed(); batch++ {
		r := rand.New(rand.NewPCG(*seed, uint64(batch)))
		d := randomData(r)
		all, alone := begin(e.all), begin(e.alone)
		d.fill(t, all, e.dialect, false, interferenceTenants...)
		d.fill(t, alone, e.dialect, false, "a")
		savepoint(t, all)
		savepoint(t, alone)
		before := otherRows(t, all, e.dialect)
		for range 50 {
			statement := g.statement()
			plan, err := New(statement, testCatalog(e.dialect))
			if err != nil || plan.Verb == Savepoint || varies(plan.SQL) {
				continue
			}
			var args []any
			for range plan.NumInput {
				args = append(args, []any{r.IntN(4), fmt.Sprint("s", r.IntN(4)), fmt.Sprint("n", r.IntN(40))}[r.IntN(3)])
			}
			bound := bindPlan(plan, "a", args)
			got, gotErr := run(all, plan.SQL, bound, plan.Outputs, plan.ReturnsRows)
			want, wantErr := run(alone, plan.SQL, bound, plan.Outputs, plan.ReturnsRows)
			if gotErr != nil && wantErr != nil {
				// Which rows came before the one that failed is a matter of the order they are stored in.
				got.rows, want.rows = nil, nil
			}
			if errorCode(gotErr) != errorCode(wantErr) || !slices.Equal(got.rows, want.rows) || got.affected != want.affected {
				t.Errorf("%s\n%s\n%v\nwith the others: %v %v\nalone: %v %v", statement, plan.SQL, bound, got, gotErr, want, wantErr)
			}
			if gotErr == nil {
				succeeded++
				if plan.Verb != Read && !slices.Equal(before, otherRows(t, all, e.dialect)) {
					t.Errorf("%s changed other tenants' rows:\n%s", statement, plan.SQL)
				}
			}
			rollbackTo(t, all)
			rollbackTo(t, alone)
		}
		all.Rollback()
		alone.Rollback()
	}
	t.Logf("%d of %d statements succeeded", succeeded, statements)
	if succeeded < statements/20 {
		t.Errorf("only %d of %d statements succeeded: the test says little", succeeded, statements)
	}
}

func otherRows(t *testing.T, tx *sql.Tx, dialect Dialect) []string {
	t.Helper()
	var rows []string
	for _, tenant := range interferenceTenants[1:] {
		rows = append(rows, snapshot(t, tx, engine{dialect: dialect}, tenant, false)...)
	}
	return rows
}

// varies tells the plans that are not a function of the rows: of the clock, of chance, and of the order in which rows
// are met where none is asked for; and those that may not end.
func varies(sql string) bool {
	sql = strings.ToLower(sql)
	for _, word := range []string{"random", "now()", "current_", "localtime", "uuid", "limit", "offset 1", "over", "distinct on", "_agg", "skip locked", "recursive"} {
		if strings.Contains(sql, word) {
			return true
		}
	}
	return false
}
