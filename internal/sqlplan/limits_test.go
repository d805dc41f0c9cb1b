package sqlplan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// doubled is WITH of a query of n columns, c, that comes of queries which each select all columns of two others.
func doubled(times int) (with string, n int) {
	var b strings.Builder
	b.WriteString("WITH c0 (d0, d1, d2, d3) AS (SELECT id, ward, cost, patient_id FROM visits)")
	n = 4
	for i := range times {
		n *= 2
		fmt.Fprintf(&b, ", c%d (d0", i+1)
		for k := 1; k < n; k++ {
			fmt.Fprintf(&b, ", d%d", k)
		}
		fmt.Fprintf(&b, ") AS (SELECT x.*, y.* FROM c%[1]d x, c%[1]d y)", i)
	}
	return b.String() + fmt.Sprintf(", c AS (SELECT * FROM c%d) ", times), n
}

// TestColumnsAreLimited: what a statement's * and whole rows are written out as is bounded, however few words say it.
func TestColumnsAreLimited(t *testing.T) {
	wide, n := doubled(8)
	if n != 1024 {
		t.Fatal(n)
	}
	wider, _ := doubled(9)
	repeat := func(s string, times int) string {
		return wide + "SELECT 1 FROM countries WHERE true" + strings.Repeat(s, times)
	}
	nested := "WITH c0 AS (SELECT 1 AS a, 2 AS b)"
	for i := range 14 { // 32,768 columns, and each more would double them
		nested += fmt.Sprintf(", c%d AS (SELECT x.*, y.* FROM c%d x, c%d y)", i+1, i, i)
	}
	var from strings.Builder
	for i := range 120 {
		fmt.Fprintf(&from, ", c AS x%d", i)
	}
	for name, c := range map[string]struct {
		sql  string
		only Dialect // both if 0
		fits bool
	}{
		"queries that double":     {only: PostgreSQL, sql: nested + " SELECT 1 FROM c14"},
		"queries that doubled":    {sql: wider + "SELECT 1 FROM c"},
		"the same, once":          {sql: wide + "SELECT * FROM c", fits: true},
		"* in subqueries":         {sql: repeat(" AND EXISTS (SELECT * FROM c)", 60)},
		"a few":                   {sql: repeat(" AND EXISTS (SELECT * FROM c)", 3), fits: true},
		"relations":               {sql: wide + "SELECT 1 FROM countries" + from.String()},
		"whole rows":              {only: PostgreSQL, sql: wide + "SELECT 1 FROM c WHERE true" + strings.Repeat(" AND to_jsonb(c) IS NOT NULL", 120)},
		"whole rows, counted":     {only: PostgreSQL, sql: wide + "SELECT " + strings.Repeat("count(c), ", 120) + "1 FROM c"},
		"a few, counted":          {only: PostgreSQL, sql: wide + "SELECT count(c), count(c.*) FROM c", fits: true},
		"whole rows in RETURNING": {only: PostgreSQL, sql: wide + "DELETE FROM visits USING c WHERE visits.id = c.d0 RETURNING " + strings.Repeat("row_to_json(c), ", 120) + "1"},
	} {
		for _, d := range []Dialect{PostgreSQL, SQLite} {
			if c.only != 0 && c.only != d {
				continue
			}
			_, err := New(c.sql, testCatalog(d))
			var refused *RefusedError
			if limited := errors.As(err, &refused) && refused.Reason == "statement over the limit of columns"; limited == c.fits || c.fits && err != nil {
				t.Errorf("%s, dialect %v: %.300v", name, d, err)
			}
		}
	}
}
