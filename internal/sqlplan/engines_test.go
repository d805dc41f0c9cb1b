package sqlplan

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// What SQLite would read otherwise than PostgreSQL is written so that both return the same rows in the same order, or both fail.
func TestEnginesAgree(t *testing.T) {
	// Of integers, as PostgreSQL's positions in a text are.
	const patients = `CREATE TABLE patients (id integer NOT NULL, tenant_id text NOT NULL, name bytea, ssn bytea, ssn_index bytea, note text, age integer, created timestamptz);
		INSERT INTO patients (tenant_id, id, note, age) VALUES ('a', 1, 'größer', 2), ('a', 2, NULL, NULL), ('a', 3, '', -1), ('a', 4, 'abc', 0), ('a', 5, 'abcdef', NULL),
			('b', 6, 'other', NULL), ('b', 7, NULL, 3)`
	const visits = `CREATE TABLE visits (id integer NOT NULL, tenant_id text NOT NULL, patient_id integer, ward text, cost integer, double_cost integer, report bytea, report_index bytea);
		INSERT INTO visits (tenant_id, id, patient_id) VALUES ('a', 1, 1), ('a', 2, 4), ('b', 1, 2), ('b', 2, 3)`
	databases := map[Dialect]*sql.DB{PostgreSQL: openPostgres(t, postgresServer(t), patients+";"+visits), SQLite: openLite(t, patients+";"+visits)}
	statements := []struct {
		sql  string
		args []any
	}{
		{"SELECT id, age FROM patients ORDER BY age, id", nil},
		{"SELECT id, age FROM patients ORDER BY age DESC, id DESC LIMIT 2", nil},
		{"SELECT id, age AS a FROM patients ORDER BY a NULLS FIRST, 1", nil},
		{"SELECT id, age FROM patients ORDER BY 2 DESC NULLS LAST, 1", nil},
		{"SELECT id FROM patients ORDER BY age + 1, id", nil},
		{"SELECT age FROM patients UNION SELECT age - 1 FROM patients ORDER BY 1", nil},
		{"SELECT age FROM patients UNION ALL SELECT age - 1 FROM patients ORDER BY 1 DESC LIMIT 3", nil},
		{"SELECT DISTINCT age FROM patients ORDER BY age", nil},
		{"SELECT age, count(*) FROM patients GROUP BY age ORDER BY age DESC", nil},
		{"SELECT v.id, p.id FROM patients p LEFT JOIN visits v ON v.patient_id = p.id ORDER BY v.id, p.id", nil},
		{"SELECT v.id, p.id FROM visits v RIGHT JOIN patients p ON v.patient_id = p.id ORDER BY v.id DESC, 2", nil},
		{"SELECT x.v, x.p FROM (SELECT v.id AS v, p.id AS p FROM patients p LEFT JOIN visits v ON v.patient_id = p.id) x ORDER BY x.v, x.p", nil},
		{"WITH x AS (SELECT v.id AS v, p.id AS p FROM visits v FULL JOIN patients p ON v.patient_id = p.id) SELECT v, p FROM x ORDER BY v, p", nil},
		{"SELECT id, rank() OVER (ORDER BY age DESC) FROM patients ORDER BY id", nil},
		{"SELECT id, sum(id) OVER (ORDER BY age, id) FROM patients ORDER BY id", nil},
		{"SELECT id, row_number() OVER w FROM patients WINDOW w AS (PARTITION BY age > 0 ORDER BY age, id) ORDER BY id", nil},
		{"SELECT string_agg(coalesce(note, '-'), ',' ORDER BY age, id) FROM patients", nil},
		{"SELECT id FROM patients WHERE id IN (SELECT id FROM patients ORDER BY age, id LIMIT 4) ORDER BY id", nil},
		{"WITH RECURSIVE r AS (SELECT id AS i, 0 AS d FROM patients UNION ALL SELECT p.age, r.d + 1 FROM r JOIN patients p ON p.id = r.i WHERE r.d < 1) SELECT i, d FROM r ORDER BY i, d", nil},
		{"SELECT id, substr(note, age, id) FROM patients ORDER BY id", nil}, // every start and length
		{"SELECT id, substr(note, age - 2, id) FROM patients ORDER BY id", nil},
		{"SELECT id, substr(note, age, $1) FROM patients ORDER BY id", []any{3}},
		{"SELECT id, substr(note, $1, $2) FROM patients ORDER BY id", []any{-2, 5}},
		{"SELECT id, substr(note, $1, id - 2) FROM patients WHERE id > 2 ORDER BY id", []any{2}},
		{"SELECT id, substr(note, $1, id - 4) FROM patients ORDER BY id", []any{2}}, // fails
		{"SELECT id, substr(note, 2, id - 4) FROM patients ORDER BY id", []any{}},   // fails
		{"SELECT id, substr(note, $1) FROM patients ORDER BY id", []any{-3}},
		{"SELECT id, substr(note, 0) FROM patients ORDER BY id", nil},
		{"SELECT id, substr(note, -1, 4) FROM patients ORDER BY id", nil},
		{"SELECT id, substr(note, -9, 4) FROM patients ORDER BY id", nil},
		{"SELECT id, substring(note FROM 2 FOR 3) FROM patients ORDER BY id", nil},
		{"SELECT id, substring(note FROM age FOR 3) FROM patients ORDER BY id", nil},
		{"SELECT id, substring(note FOR 2) FROM patients ORDER BY id", nil},
		{"SELECT id, substring(note, age) FROM patients ORDER BY id", nil},
		{"SELECT id, substr(note, 1, NULL) FROM patients ORDER BY id", nil},
		{"SELECT id, substr(note, 2147483647, 2147483647), substr(note, -2147483647, 2147483647) FROM patients ORDER BY id", nil},
	}
	for _, st := range statements {
		got := map[Dialect]string{}
		for dialect, db := range databases {
			plan, err := New(st.sql, testCatalog(dialect))
			if err != nil {
				t.Errorf("%s: %v", st.sql, err)
				continue
			}
			got[dialect] = rowsInOrder(t, db, plan, st.args)
		}
		if got[PostgreSQL] != got[SQLite] {
			t.Errorf("%s\nPostgreSQL: %s\nSQLite: %s", st.sql, got[PostgreSQL], got[SQLite])
		}
	}
}

// rowsInOrder is what a plan returns, or that it fails.
func rowsInOrder(t *testing.T, db *sql.DB, plan *Plan, args []any) string {
	t.Helper()
	rows, err := db.Query(plan.SQL, bindPlan(plan, "a", args)...)
	if err != nil {
		return "fails"
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for rows.Next() {
		values, pointers := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			fmt.Fprint(&out, asText(v), " ")
		}
		out.WriteString("| ")
	}
	if rows.Err() != nil {
		return "fails"
	}
	return out.String()
}

// SQLite's indexes serve ORDER BY still: of columns that are NOT NULL, and of the first one that may be NULL.
func TestSQLiteOrdersByIndex(t *testing.T) {
	db := openLite(t, liteShared+`
		CREATE INDEX main.by_age ON patients (tenant_id, age); CREATE INDEX by_ward ON visits (tenant_id, ward, cost);`)
	for statement, sorts := range map[string]bool{
		"SELECT id FROM patients ORDER BY id LIMIT 3":            false,
		"SELECT id FROM patients ORDER BY id DESC LIMIT 3":       false,
		"SELECT age FROM patients ORDER BY age LIMIT 3":          false,
		"SELECT age FROM patients ORDER BY age DESC LIMIT 3":     false,
		"SELECT ward FROM visits ORDER BY ward, cost LIMIT 3":    true, // the rows of one ward
		"SELECT cost FROM visits WHERE ward = 'w' ORDER BY cost": false,
	} {
		plan, err := New(statement, testCatalog(SQLite))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := db.Query("EXPLAIN QUERY PLAN "+plan.SQL, bindPlan(plan, "a", nil)...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var steps []string
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
		if got := strings.Contains(strings.Join(steps, "\n"), "TEMP B-TREE"); got != sorts {
			t.Errorf("%s\n%s\n%q", statement, plan.SQL, steps)
		}
	}
}
