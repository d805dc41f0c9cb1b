package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestEveryTypeInEveryPlace puts a sealed column of each logical type into each place of a statement that may hold one,
// for two tenants whose rows have the same ids and the same values.
func TestEveryTypeInEveryPlace(t *testing.T) {
	moment := func(day int) time.Time { return time.Date(2026, 11, day, 23, 59, 59, 123456789, time.UTC) }
	day := func(d int) time.Time { return time.Date(1912, 6, d, 0, 0, 0, 0, time.UTC) }
	values := map[string][3]any{ // as they are read back
		"text": {"æ", "", "\x00"}, "bytes": {[]byte{}, []byte{0}, []byte("b")}, "int": {int64(0), int64(math.MinInt64), int64(math.MaxInt64)},
		"float": {0.0, math.Inf(-1), 1e-300}, "bool": {true, false, true}, "time": {moment(1), moment(2), moment(3)}, "date": {day(1), day(2), day(3)},
		"numeric": {"0", "-12345678901234567890.5", "7"}, "json": {[]byte(`{}`), []byte(`[1, null]`), []byte(`"x"`)},
		"uuid": {"550e8400-e29b-41d4-a716-446655440000", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
	}
	for _, spoken := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(spoken), func(t *testing.T) {
			db, _ := typed(t, spoken)
			for column, v := range values {
				for _, id := range []tenant.ID{tenantB, tenantA} {
					places(t, db, spoken, id, column, v)
				}
				for _, id := range []tenant.ID{tenantA, tenantB} {
					if got := must2(query(db, id, `SELECT id FROM typed`)); len(got) != 4 {
						t.Errorf("%s: %s is left with %v", column, id, got)
					}
					if _, err := db.ExecContext(as(id), `DELETE FROM typed`); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func query(db *sql.DB, id tenant.ID, text string, args ...any) ([][]any, error) {
	rows, err := db.QueryContext(as(id), text, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows)
}

func must2(rows [][]any, err error) [][]any {
	if err != nil {
		return [][]any{{err}}
	}
	return rows
}

// places leaves rows 1 to 4: the last with NULL.
func places(t *testing.T, db *sql.DB, d dialect.Dialect, id tenant.ID, column string, v [3]any) {
	a, b, c := v[0], v[1], v[2]
	third := "(3)"
	if column == "bool" { // it has two values
		third = "(1) (3)"
	}
	for _, p := range []struct {
		query string
		args  []any
		want  string // of ids, or the values in the rows' place
		rows  []any
		only  dialect.Dialect
	}{
		{query: `INSERT INTO typed (id, X) VALUES (1, $1), (2, $2) RETURNING X`, args: []any{a, b}, rows: []any{a, b}},
		{query: `INSERT INTO typed (id, X) VALUES (3, $1) ON CONFLICT (id) DO NOTHING RETURNING X`, args: []any{a}, rows: []any{a}},
		{query: `INSERT INTO typed (id, X) VALUES (3, $1) ON CONFLICT (id) DO UPDATE SET X = excluded.X RETURNING X`, args: []any{b}, rows: []any{b}},
		{query: `INSERT INTO typed (id, X) VALUES (3, $1) ON CONFLICT (id) DO UPDATE SET X = $2 RETURNING X`, args: []any{a, c}, rows: []any{c}},
		{query: `INSERT INTO typed (id, X) VALUES (4, $1) RETURNING X`, args: []any{a}, rows: []any{a}},
		{query: `UPDATE typed SET X = NULL WHERE id = 4 RETURNING X`, rows: []any{nil}},
		{query: `UPDATE typed SET X = $1 WHERE X IS NULL RETURNING X`, args: []any{c}, rows: []any{c}},
		{query: `UPDATE typed SET X = $1 WHERE id = 4 RETURNING X`, args: []any{nil}, rows: []any{nil}},
		{query: `SELECT X FROM typed ORDER BY id`, rows: []any{a, b, c, nil}},
		{query: `SELECT t.X AS y FROM (SELECT id, X FROM typed WHERE id > 1) t ORDER BY t.id`, rows: []any{b, c, nil}},
		{query: `WITH w AS (SELECT id, X FROM typed) SELECT w.X FROM w ORDER BY id LIMIT 2`, rows: []any{a, b}},
		{query: `SELECT r.X FROM typed l LEFT JOIN typed r ON r.id = l.id + 2 ORDER BY l.id`, rows: []any{c, nil, nil, nil}},
		{query: `SELECT l.X FROM typed l WHERE exists (SELECT 1 FROM typed r WHERE r.id = l.id + 1) ORDER BY l.id`, rows: []any{a, b, c}},
		{query: `SELECT X, id FROM typed GROUP BY id, X ORDER BY id`, rows: []any{a, b, c, nil}, only: dialect.PostgreSQL},
		{query: `SELECT x FROM typed, LATERAL (SELECT typed.X AS x) l ORDER BY id`, rows: []any{a, b, c, nil}, only: dialect.PostgreSQL},
		{query: `SELECT X FROM typed ORDER BY id FOR UPDATE`, rows: []any{a, b, c, nil}, only: dialect.PostgreSQL},
		{query: `SELECT id FROM typed WHERE X = $1 ORDER BY id`, args: []any{c}, want: third},
		{query: `SELECT id FROM typed WHERE $1 = X ORDER BY id`, args: []any{b}, want: "(2)"},
		{query: `SELECT id FROM typed WHERE X <> $1 ORDER BY id`, args: []any{b}, want: "(1) (3)"},
		{query: `SELECT id FROM typed WHERE X IN ($1, $2) AND id < 3 ORDER BY id`, args: []any{a, b}, want: "(1) (2)"},
		{query: `SELECT id FROM typed WHERE X NOT IN ($1) ORDER BY id`, args: []any{b}, want: "(1) (3)"},
		{query: `SELECT id FROM typed WHERE X IS NULL`, want: "(4)"},
		{query: `SELECT id FROM typed WHERE X IS NOT NULL ORDER BY id`, want: "(1) (2) (3)"},
		{query: `SELECT id FROM typed WHERE X IS DISTINCT FROM $1 ORDER BY id`, args: []any{b}, want: "(1) (3) (4)"},
		{query: `SELECT id FROM typed WHERE X IS NOT DISTINCT FROM $1`, args: []any{nil}, want: "(4)"},
		{query: `SELECT l.id FROM typed l JOIN typed r ON l.X = r.X WHERE r.id = 2`, want: "(2)"},
		{query: `SELECT count(*) FROM typed WHERE X = $1`, args: []any{b}, want: "(1)"},
		{query: `SELECT CASE WHEN X = $1 THEN 1 ELSE 0 END FROM typed WHERE id < 3 ORDER BY id`, args: []any{b}, want: "(0) (1)"},
		{query: `SELECT id FROM typed WHERE id = $1 AND X = $2 OR X = $2 AND id = $1`, args: []any{2, b}, want: "(2)"},
		{query: `UPDATE typed SET X = $1 WHERE X = $2 RETURNING id`, args: []any{b, b}, want: "(2)"},
		{query: `DELETE FROM typed WHERE X = $1 RETURNING X`, args: []any{b}, rows: []any{b}},
		{query: `INSERT INTO typed (id, X) VALUES (2, $1) RETURNING id`, args: []any{b}, want: "(2)"},
	} {
		if p.only != "" && p.only != d {
			continue
		}
		got, err := query(db, id, regexp.MustCompile(`\bX\b`).ReplaceAllString(p.query, `"`+column+`"`), p.args...)
		if err != nil {
			t.Errorf("%s, %s: %v", column, p.query, err)
			continue
		}
		if p.rows == nil {
			var ids []string
			for _, row := range got {
				ids = append(ids, fmt.Sprintf("(%v)", row[0]))
			}
			if s := strings.Join(ids, " "); s != p.want {
				t.Errorf("%s, %s: %s, want %s", column, p.query, s, p.want)
			}
			continue
		}
		first := make([]any, len(got))
		for i, row := range got {
			first[i] = row[0]
		}
		if !reflect.DeepEqual(first, p.rows) {
			t.Errorf("%s, %s: %#v, want %#v", column, p.query, first, p.rows)
		}
	}
}

// TestParametersInBothRoles: one parameter that is stored and compared plain here and sealed there.
func TestParametersInBothRoles(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.exec(t, tenantA, `INSERT INTO patients (id, ward, name, ssn) VALUES ($1, $2, $2, $2)`, 7, "Zoë")
		if got := e.rows(t, tenantA, `SELECT ward, name, ssn, $1 AS given FROM patients WHERE ward = $1 AND name = $1 AND ssn = $1`, "Zoë"); len(got) != 1 || fmt.Sprint(got[0]) != "[Zoë Zoë Zoë Zoë]" {
			t.Errorf("read %v", got)
		}
		if n := e.exec(t, tenantA, `UPDATE patients SET ward = $1, name = $1 WHERE ssn = $2 AND ward = $2`, "new", "Zoë"); n != 1 {
			t.Errorf("updated %d rows", n)
		}
		if got := e.rows(t, tenantA, `SELECT ward, name FROM patients WHERE id = 7`); fmt.Sprint(got) != "[[new new]]" {
			t.Errorf("read %v", got)
		}
	})
}

// TestOptionalConditions are conditions that a parameter switches off by being NULL, where nothing but a sealed column says
// what it is.
func TestOptionalConditions(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		all := len(e.rows(t, tenantA, `SELECT id FROM patients`))
		e.exec(t, tenantA, `INSERT INTO patients (id, ward, name, ssn) VALUES ($1, $2, $2, $2)`, 7, "Zoë")
		for _, condition := range []string{`$1 IS NULL OR ssn = $1`, `ssn = $1 OR $1 IS NULL`, `$1 IS NULL OR ssn IN ($1, $1)`, `NOT ($1 IS NOT NULL AND ssn <> $1)`,
			`$1 IS NULL OR ssn = $1 AND ward = $1`, `CASE WHEN $1 IS NULL THEN true ELSE ssn = $1 END`} {
			if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE `+condition, "Zoë"); fmt.Sprint(got) != "[[7]]" {
				t.Errorf("%s: read %v", condition, got)
			}
			if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE `+condition, nil); len(got) != all+1 {
				t.Errorf("%s: of NULL read %v", condition, got)
			}
			if got := e.rows(t, tenantB, `SELECT id FROM patients WHERE `+condition, "Zoë"); len(got) != 0 {
				t.Errorf("%s: another tenant read %v", condition, got)
			}
		}
	})
}

// TestUniqueBlindIndex: a unique constraint compares what searches compare, within a tenant.
func TestUniqueBlindIndex(t *testing.T) {
	schema := sqldb.Schema{"people": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index").FoldCase().TrimSpace().Compatible()}}}
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) {
			raw, dsn, _ := newRaw(t, d)
			blob := map[dialect.Dialect]string{dialect.SQLite: "BLOB", dialect.PostgreSQL: "bytea"}[d]
			mustExec(t, raw, withChecks(d, schema, fmt.Sprintf(`CREATE TABLE people (tenant_id text NOT NULL, id bigint NOT NULL, name %[1]s, name_index %[1]s, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name_index))`, blob)))
			if d == dialect.PostgreSQL {
				ddl, err := schema.DDL(d, nil)
				if err != nil {
					t.Fatal(err)
				}
				mustExec(t, raw, ddl)
			}
			e := &env{log: &recorder{}, ring: newRing(t, tenantA, tenantB)}
			e.guard.Keys, e.guard.Audit = e.ring, e.log
			db, err := sqldb.Open(context.Background(), dsn, schema, e.guard, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			e.db = db
			for _, id := range []tenant.ID{tenantA, tenantB} {
				e.exec(t, id, `INSERT INTO people (id, name) VALUES (1, $1)`, "Straße")
				e.exec(t, id, `INSERT INTO people (id, name) VALUES (2, $1), (3, $2)`, nil, nil) // NULLs are distinct
			}
			for _, alike := range []string{"Straße", " STRASSE\t", "strasse", "Ｓｔｒａße", "ſtraße"} {
				if got := e.rows(t, tenantA, `SELECT id, name FROM people WHERE name = $1`, alike); len(got) != 1 || got[0][1] != "Straße" {
					t.Errorf("%q finds %v", alike, got)
				}
				_, err := db.ExecContext(as(tenantA), `INSERT INTO people (id, name) VALUES (9, $1)`, alike)
				if err == nil || !strings.Contains(strings.ToLower(err.Error()), "unique") || strings.Contains(err.Error(), alike) {
					t.Errorf("a second %q: %v", alike, err)
				}
				got := e.rows(t, tenantA, `INSERT INTO people (id, name) VALUES (9, $1) ON CONFLICT (name) DO UPDATE SET id = people.id RETURNING id, name`, alike)
				if len(got) != 1 || got[0][0] != int64(1) || got[0][1] != "Straße" {
					t.Errorf("an upsert of %q gives %v", alike, got)
				}
			}
			for _, other := range []string{"Strase", "Stra ße", "Straßé", ""} {
				if got := e.rows(t, tenantA, `SELECT id FROM people WHERE name = $1`, other); len(got) != 0 {
					t.Errorf("%q finds %v", other, got)
				}
			}
		})
	}
}
