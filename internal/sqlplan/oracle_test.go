package sqlplan

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// Errors as an oracle: a statement that fails when it meets a certain value must not fail because of a foreign row.
// PostgreSQL is free to evaluate a condition before the tenant predicate, and does when both cost the same.

const oracleSchema = `
CREATE TABLE patients (id bigint NOT NULL, tenant_id text NOT NULL, name bytea, ssn bytea, ssn_index bytea, note text, age bigint, created timestamptz);
CREATE TABLE visits (id bigint NOT NULL, tenant_id text NOT NULL, patient_id bigint, ward text, cost bigint, double_cost bigint, report bytea, report_index bytea);
INSERT INTO patients (id, tenant_id, note, age) SELECT i, 'attacker', 'true', 1 FROM generate_series(1, 20) AS i;
INSERT INTO visits (id, tenant_id, patient_id, cost) SELECT i, 'attacker', i, 1 FROM generate_series(1, 20) AS i;`

const oracleVictim = `
INSERT INTO patients (id, tenant_id, note, age) SELECT i, 'victim', 'secret(', 10 FROM generate_series(1, 5000) AS i;
INSERT INTO visits (id, tenant_id, patient_id, cost, ward) SELECT i, 'victim', i % 3, 10, 'true' FROM generate_series(1, 5000) AS i;
CREATE INDEX ON patients (note); CREATE INDEX ON patients (age); CREATE INDEX ON visits (cost);
ANALYZE;`

// oracleAttacks fail on the victim's rows and on none of the attacker's.
var oracleAttacks = []string{
	"SELECT id FROM patients WHERE 100 / (age - 10) > 0",
	"SELECT id FROM patients WHERE note::boolean OR note = 'true'",
	"SELECT id FROM patients WHERE note <> 'secret(' OR note::int = 1",
	"SELECT id FROM patients WHERE CASE WHEN note = 'secret(' THEN 1 / (id - id) ELSE 1 END = 1",
	"SELECT id FROM patients WHERE note >= 'secret' AND note < 'secreu' AND 1 / (id - id) = 1",
	"SELECT id FROM patients WHERE note = 'true' OR repeat(note, 2000000000) = ''",
	"SELECT id FROM patients WHERE note = 'true' OR to_tsquery(note) IS NULL",
	"SELECT id FROM patients WHERE age + 9223372036854775800 > 0",
	"SELECT age FROM patients GROUP BY age HAVING 100 / (age - 10) <> 0",
	"SELECT x.n FROM (SELECT 100 / (age - 10) AS n FROM patients) x WHERE x.n <> 0",
	"WITH x AS (SELECT 100 / (age - 10) AS n FROM patients) SELECT n FROM x WHERE n <> 0",
	"SELECT p.id FROM patients p JOIN visits v ON v.patient_id = p.id AND 100 / (v.cost - 10) <> 0",
	"SELECT p.id FROM patients p WHERE p.id IN (SELECT 100 / (v.cost - 10) FROM visits v)",
	"SELECT p.id FROM patients p WHERE (SELECT v.id FROM visits v WHERE v.patient_id = p.id) > 0",
	"SELECT p.id, (SELECT v.id FROM visits v WHERE v.patient_id = p.id) FROM patients p",
	"SELECT 100 / (age - 10) FROM patients WHERE age < 50",
	"SELECT id FROM patients ORDER BY 100 / (age - 10)",
	"SELECT p.id, v.n FROM patients p LEFT JOIN (SELECT patient_id, 100 / (cost - 10) AS n FROM visits) v ON v.patient_id = p.id WHERE v.n <> 0",
	// Conversions that nobody asked for, and functions that are total for one number of arguments alone.
	"SELECT id FROM patients WHERE (CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END) = '1'::float8",
	"SELECT id FROM patients WHERE (CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END) BETWEEN '1'::float8 AND '2'::float8",
	"SELECT id FROM patients WHERE (CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END) IN ('1'::float8, '2'::float8)",
	"SELECT id FROM patients WHERE (CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END) = ANY (ARRAY['1'::float8])",
	"SELECT id FROM patients WHERE (CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END) IN (SELECT '1'::float8)",
	"SELECT id FROM patients WHERE COALESCE(CASE note WHEN 'secret(' THEN 1e400 ELSE 1 END, '1'::float8) IS NOT NULL",
	"SELECT id FROM patients WHERE NULLIF(CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END, '1'::float8) IS NULL",
	"SELECT x.n FROM (SELECT CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END AS n FROM patients) x WHERE x.n <> '1'::float8",
	"SELECT x.n FROM (SELECT CASE WHEN note LIKE 's%' THEN 1e400 ELSE 1 END AS n FROM patients UNION ALL SELECT '1'::float8) x WHERE x.n IS NOT NULL",
	"SELECT id FROM patients WHERE ARRAY[CASE note WHEN 'secret(' THEN ARRAY[1] ELSE ARRAY[1, 2] END, ARRAY[1, 2]] IS NOT NULL",
	"SELECT id FROM patients WHERE note = 'true' OR note::text[] IS NOT NULL",
	"SELECT id FROM patients WHERE length(note::bytea, CASE note WHEN 'true' THEN 'UTF8' ELSE 'nonsense' END) IS NOT NULL",
	"SELECT id FROM patients WHERE (CASE WHEN note LIKE 's%' THEN '{\"a\": \"\\u0000\"}'::json ELSE '{\"a\": \"b\"}'::json END) ->> 'a' = 'b'",
	"SELECT p.id FROM patients p JOIN visits v ON v.patient_id = p.id AND (CASE WHEN v.ward = 'true' THEN 1e400 ELSE 1 END) = '1'::float8",
	"UPDATE patients SET age = 2 WHERE 100 / (age - 10) > 0",
	"UPDATE patients SET age = 3 WHERE note::boolean OR note = 'true'",
	"UPDATE patients SET age = 2 FROM visits v WHERE v.patient_id = patients.id AND 100 / (v.cost - 10) <> 0",
	"DELETE FROM patients WHERE 100 / (age - 10) < 0",
	"DELETE FROM patients USING visits v WHERE v.patient_id = patients.id AND 100 / (v.cost - 10) < 0",
}

func outcome(t *testing.T, db *sql.DB, query string, args []any, rows bool) string {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	got, err := run(tx, query, args, nil, rows)
	return fmt.Sprint(got, err)
}

func TestErrorsRevealNoForeignRow(t *testing.T) {
	server := testenv.Postgres(t)
	alone, together := openPostgres(t, server, oracleSchema), openPostgres(t, server, oracleSchema)
	if _, err := together.Exec(oracleVictim); err != nil {
		t.Fatal(err)
	}
	for _, attack := range oracleAttacks {
		plan, err := New(attack, testCatalog(PostgreSQL))
		if err != nil {
			t.Errorf("%s: %v", attack, err)
			continue
		}
		args := bindPlan(plan, "attacker", nil)
		want, got := outcome(t, alone, plan.SQL, args, plan.ReturnsRows), outcome(t, together, plan.SQL, args, plan.ReturnsRows)
		if strings.Contains(want, "ERROR") && !strings.Contains(attack, "ORDER BY") {
			t.Errorf("%s fails on the attacker's own rows: %s", attack, want)
		}
		if got != want {
			t.Errorf("%s\nwithout the victim: %.200s\nwith the victim: %.200s", attack, want, got)
		}
	}
}

// The test of the test, and what the defences are for: these statements are scoped as plans are, but for guards, and
// tell whether the victim has a value. The planner refuses or guards each of them.
func TestErrorsRevealForeignRowsWithoutTheGuard(t *testing.T) {
	server := testenv.Postgres(t)
	alone, together := openPostgres(t, server, oracleSchema), openPostgres(t, server, oracleSchema)
	if _, err := together.Exec(oracleVictim); err != nil {
		t.Fatal(err)
	}
	const scoped = "SELECT p.id FROM (SELECT * FROM patients WHERE tenant_id = 'attacker') p WHERE "
	const barrier = "SELECT p.id FROM (SELECT * FROM patients WHERE tenant_id = 'attacker' OFFSET 0) p WHERE "
	leaks := []string{
		scoped + `p.note LIKE '%secret\'`, // costs what the tenant predicate costs, and is evaluated first
		scoped + `'x' ~ p.note`,
		barrier + `p.note LIKE '%secret\'`, // while it is planned, against the column's statistics
	}
	for _, leak := range leaks {
		if outcome(t, alone, leak, nil, true) == outcome(t, together, leak, nil, true) {
			t.Errorf("no leak: %s %s", leak, outcome(t, together, "EXPLAIN "+leak, nil, true))
		}
	}
	for _, refused := range []string{
		`SELECT id FROM patients WHERE note LIKE 'secret\'`, `SELECT id FROM patients WHERE 'x' ~ note`, `SELECT id FROM patients WHERE 'x' LIKE note`,
		`SELECT id FROM patients WHERE note LIKE $1 ESCAPE '!'`, `SELECT id FROM patients WHERE note LIKE 'a!' ESCAPE '!'`,
		`SELECT id FROM patients WHERE note LIKE '\' || '\\'`,
	} {
		if _, err := New(refused, testCatalog(PostgreSQL)); err == nil {
			t.Errorf("planned: %s", refused)
		}
	}
	// Without the Pattern check on $1, a lone backslash at its end would take the first of the two away.
	tail, err := New(`SELECT id FROM patients WHERE note LIKE $1 || '\\'`, testCatalog(PostgreSQL))
	if err != nil || !tail.Params[1].Pattern {
		t.Errorf("the head of a LIKE pattern is bound unchecked: %v", err)
	}
	plan, err := New(`SELECT id FROM patients WHERE note LIKE $1 AND note LIKE '%' || lower($1)`, testCatalog(PostgreSQL))
	if err != nil || !slices.ContainsFunc(plan.Params, func(p Param) bool { return p.Pattern }) {
		t.Errorf("a LIKE pattern is bound unchecked: %v", err)
	}
}

func TestLoneEscape(t *testing.T) {
	for pattern, want := range map[string]bool{``: false, `a`: false, `\`: true, `a\`: true, `a\\`: false, `\\\`: true, `\%`: false, `%\_%`: false} {
		if LoneEscape(pattern) != want {
			t.Errorf("LoneEscape(%q) is not %v", pattern, want)
		}
	}
}
