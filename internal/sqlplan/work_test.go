package sqlplan

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// each returns a text that is made of n parts.
func each(n int, part func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(part(i))
	}
	return b.String()
}

// TestPlanningIsInProportion: what planning takes is in proportion to the words of a statement and of its plan. Memory stands for
// time here, which no test can judge: of these each took memory by the product of two numbers that the statement is free to choose.
func TestPlanningIsInProportion(t *testing.T) {
	const limit = 160 << 20
	alike := "WITH c0 AS (SELECT 1 AS a)" // 1024 columns of one name
	for i := range 10 {
		alike += fmt.Sprintf(", c%d AS (SELECT x.*, y.* FROM c%d x, c%d y)", i+1, i, i)
	}
	relations := func(n int) string {
		return "SELECT 1 FROM visits" + each(n, func(i int) string { return fmt.Sprintf(", visits a%d", i) }) + " WHERE true"
	}
	for name, c := range map[string]struct {
		sql  string
		only Dialect // both if 0
	}{
		"columns of one name":                {only: PostgreSQL, sql: alike + "SELECT 1 FROM c10" + each(60, func(i int) string { return fmt.Sprintf(", c10 x%d", i) })},
		"arrays side by side":                {only: PostgreSQL, sql: "SELECT 1 FROM unnest($1::int[]" + strings.Repeat(", $1", 5000) + ") u"},
		"an output that is there many times": {sql: "SELECT note" + strings.Repeat(", note", 1650) + " FROM patients ORDER BY note" + strings.Repeat(", note", 1650)},
		"columns that are assigned together": {sql: "UPDATE visits SET (cost" + strings.Repeat(", ward", 700) + ") = (1" + strings.Repeat(", ''", 700) + ")"},
		"conditions for each row":            {sql: relations(300) + strings.Repeat(" AND 1 / random() > 0", 300)},
		"conditions that may fail":           {sql: relations(900) + strings.Repeat(" AND abs(1) > 0", 500)},
	} {
		for _, d := range []Dialect{PostgreSQL, SQLite} {
			if c.only != 0 && c.only != d {
				continue
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := New(c.sql, testCatalog(d))
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > limit {
				t.Errorf("%s, dialect %v: %d bytes of SQL take %d MiB to plan; error %.200v", name, d, len(c.sql), took>>20, err)
			}
		}
	}
}

// asked is a context that ends when it has been asked a number of times.
type asked struct {
	context.Context
	left int
}

func (a *asked) Err() error {
	if a.left--; a.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestInterruptedAmongExpressions: a statement of one relation and many expressions is not planned to its end for somebody who has left.
func TestInterruptedAmongExpressions(t *testing.T) {
	ctx := &asked{context.Background(), 4}
	_, err := NewContext(ctx, "SELECT 1 FROM visits WHERE ward = ''"+strings.Repeat(" OR ward = ''", 10_000), testCatalog(PostgreSQL))
	if err != context.Canceled {
		t.Fatalf("planned, with the error %v", err)
	}
}

// TestLookupsInManyColumns: a scope that is searched often finds by its index what it found without.
func TestLookupsInManyColumns(t *testing.T) {
	for _, d := range []Dialect{PostgreSQL, SQLite} {
		p := newPlanner(t.Context(), testCatalog(d))
		r := &relation{name: "r", columns: []column{{name: "a"}, {name: "B"}, {name: "ä"}, {name: "twice"}, {name: "twice"}, {name: "b"}}}
		find := func(s *scope, name string) (found string) {
			defer func() {
				if r := recover(); r != nil {
					found = r.(refusal).err.Reason
				}
			}()
			if v := p.local(s, name, -1); v != nil {
				return v.name
			}
			return "none"
		}
		often := &scope{fragment: show(r)}
		for range searched {
			find(often, "a")
		}
		for _, name := range []string{"a", "A", "b", "B", "ä", "Ä", "twice", "TWICE", "no", ""} {
			if fresh, got := find(&scope{fragment: show(r)}, name), find(often, name); got != fresh {
				t.Errorf("dialect %v: %q is %s by the index, and %s without", d, name, got, fresh)
			}
		}
		if often.named == nil {
			t.Error("there is no index")
		}
	}
}
