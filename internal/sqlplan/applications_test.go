package sqlplan

import (
	"context"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// A lock beside queries of WITH and functions is on the tenant's own rows of the tables, and on no other's, although it names none.
func TestLocksBesideWithLeaveForeignRows(t *testing.T) {
	db := openPostgres(t, testenv.Postgres(t), oracleSchema+`
		INSERT INTO patients (id, tenant_id) VALUES (1, 'a'), (2, 'a'), (1, 'b');
		INSERT INTO visits (id, tenant_id, patient_id) VALUES (1, 'a', 1), (1, 'b', 1);`)
	plan, err := New("WITH due AS (SELECT patient_id FROM visits) SELECT p.id FROM patients p JOIN due ON due.patient_id = p.id JOIN unnest(ARRAY[1, 2]) u ON u = p.id FOR UPDATE", testCatalog(PostgreSQL))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	got, err := run(tx, plan.SQL, bindPlan(plan, "a", nil), plan.Outputs, true)
	if err != nil || len(got.rows) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	for row, locked := range map[string]bool{
		"SELECT id FROM patients WHERE tenant_id = 'a' AND id = 1 FOR UPDATE NOWAIT": true,
		"SELECT id FROM patients WHERE tenant_id = 'a' AND id = 2 FOR UPDATE NOWAIT": false,
		"SELECT id FROM patients WHERE tenant_id = 'b' FOR UPDATE NOWAIT":            false,
		"SELECT id FROM visits FOR UPDATE NOWAIT":                                    false,
	} {
		if got := outcome(t, db, row, nil, true); strings.Contains(got, "55P03") != locked {
			t.Errorf("%s: %s", row, got)
		}
	}
}

// xmax tells whether a row of an INSERT is new, and is in no plan but compared with 0.
func TestOnlyWhetherARowIsNewIsTold(t *testing.T) {
	db := openPostgres(t, testenv.Postgres(t), oracleSchema+`
		CREATE UNIQUE INDEX ON patients (tenant_id, id); INSERT INTO patients (id, tenant_id) VALUES (1, 'a'), (2, 'b');`)
	for _, test := range []struct{ tenant, want string }{{"a", "false|true"}, {"b", "true|false"}} {
		plan, err := New("INSERT INTO patients (id) VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET age = 1 RETURNING xmax = 0, xmax::text::bigint > 0", testCatalog(PostgreSQL))
		if err != nil {
			t.Fatal(err)
		}
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		got, err := run(tx, strings.Replace(plan.SQL, "RETURNING ", "RETURNING patients.id, ", 1), bindPlan(plan, test.tenant, nil), nil, true)
		tx.Rollback()
		if err != nil || len(got.rows) != 2 {
			t.Fatalf("%v %v", got, err)
		}
		for i, isNew := range strings.Split(test.want, "|") {
			if fields := strings.Split(got.rows[i], "\t"); fields[1] != isNew || fields[2] == isNew {
				t.Errorf("%s: row %s: %q", test.tenant, fields[0], got.rows[i])
			}
		}
	}
	for _, text := range []string{
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax::text",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax::text::bigint + 0",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax::text::bigint > 1000",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax = 1000",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax <> $1",
		"INSERT INTO patients (id) VALUES (1) RETURNING CASE WHEN xmax = 0 THEN 1 ELSE xmax END",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax IN (0, 1)",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax BETWEEN 0 AND 5",
		"INSERT INTO patients (id) VALUES (1) RETURNING (xmax, id) = (0, 1)",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmax::text LIKE '1%'",
		"INSERT INTO patients (id) VALUES (1) RETURNING xmin = 0",
		"MERGE INTO patients p USING visits v ON p.id = v.id WHEN NOT MATCHED THEN INSERT (id) VALUES (1) RETURNING p.xmax = 0",
		"WITH i AS (INSERT INTO patients (id) VALUES (1) RETURNING id) SELECT p.xmax = 0 FROM patients p, i",
	} {
		if plan, err := New(text, testCatalog(PostgreSQL)); err == nil {
			t.Errorf("planned: %s", plan.SQL)
		}
	}
}

// What a refusal says to write instead is planned.
func TestAdviceIsPlanned(t *testing.T) {
	for refused, instead := range map[string]string{
		"SELECT id FROM patients WHERE to_jsonb(note) @? '$.a'":               "SELECT id FROM patients WHERE jsonb_path_exists(to_jsonb(note), '$.a', '{}', true)",
		"DELETE FROM visits WHERE ctid IN (SELECT ctid FROM visits LIMIT 10)": "DELETE FROM visits WHERE id IN (SELECT id FROM visits LIMIT 10)",
		"SELECT v FROM visits v":                                              "SELECT to_jsonb(x) FROM (SELECT id, ward FROM visits) x",
		"SELECT array_agg(c) FROM countries c":                                "SELECT json_agg(c), row_to_json(c) FROM countries c GROUP BY c.code, c.title",
		"TRUNCATE visits":                                                     "DELETE FROM visits",
		"UPDATE visits SET cost = 1 RETURNING xmax = 0":                       "INSERT INTO visits (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET cost = 1 RETURNING xmax = 0 AS inserted",
		"SELECT tableoid FROM visits UNION ALL SELECT tableoid FROM patients": "SELECT 'visits' FROM visits UNION ALL SELECT 'patients' FROM patients",
		"INSERT INTO visits (id) VALUES (unnest(ARRAY[1])), (2)":              "INSERT INTO visits (id) SELECT unnest(ARRAY[1, 2])",
		"SELECT id FROM visits JOIN (SELECT 1 AS i) x ON i = id FOR UPDATE":   "SELECT id FROM visits JOIN (SELECT 1 AS i) x ON i = id FOR UPDATE OF visits",
	} {
		if plan, err := New(refused, testCatalog(PostgreSQL)); err == nil {
			t.Errorf("planned: %s", plan.SQL)
		}
		if _, err := New(instead, testCatalog(PostgreSQL)); err != nil {
			t.Errorf("%s\ninstead: %s\n%v", refused, instead, err)
		}
	}
}

// A pattern is of parameters and literals, ends harmlessly, and has no more wildcards than what was bound.
func TestPatternsAreBounded(t *testing.T) {
	for _, pattern := range []string{
		"trim($1)", "concat('%', trim($1))", // which may leave an escape character at the end
		`replace($1, '%', '\%')`, `replace($1, 'a', '%%') || '%'`, `replace($1, 'a', '\%') || '%'`, `replace($1, '\', '\%') || '%'`,
		"replace($1, note, '') || '%'", "replace($1, '%', note) || '%'", "replace(note, '%', '') || '%'", "replace($1, $2, '') || '%'",
		`replace(replace(replace(replace(replace($1, '\', '\\'), '\', '\\'), '\', '\\'), '\', '\\'), '\', '\\') || '%'`,
		`COALESCE($1, 'n\')`, "COALESCE($1, note)", "COALESCE(note, '%') || '%'", "trim(note) || '%'", "btrim($1, note) || '%'",
		"concat('%', note)", "concat(note, '%')", `concat('%', 'n\')`, `concat('n\', $1)`, "own.concat('%', '%')", "concat(VARIADIC ARRAY['%'])",
	} {
		if plan, err := New("SELECT id FROM patients WHERE note LIKE "+pattern, testCatalog(PostgreSQL)); err == nil {
			t.Errorf("planned: %s", plan.SQL)
		}
	}
	plan, err := New("SELECT id FROM patients WHERE note LIKE COALESCE($1, concat('a', $2)) AND note LIKE '%' || trim(replace($3, '_', '')) || '%'", testCatalog(PostgreSQL))
	if err != nil {
		t.Fatal(err)
	}
	checked := map[int]string{1: "pattern", 2: "pattern", 3: "head"}
	for _, p := range plan.Params {
		if p.Source == FromCaller && (p.Pattern != (checked[p.Caller] == "pattern") || p.Head != (checked[p.Caller] == "head")) {
			t.Errorf("parameter %d: %+v", p.Caller, p)
		}
	}
}

// json(x), which PostgreSQL's grammar has a syntax of its own for, is a function of SQLite's, and nothing else of that syntax is.
func TestJSONOfSQLite(t *testing.T) {
	if _, err := New("SELECT json(note) FROM patients", testCatalog(SQLite)); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"SELECT json(note WITH UNIQUE KEYS) FROM patients", "SELECT json(note FORMAT JSON) FROM patients", "SELECT json(name) FROM patients"} {
		if plan, err := New(text, testCatalog(SQLite)); err == nil {
			t.Errorf("planned: %s", plan.SQL)
		}
	}
}
