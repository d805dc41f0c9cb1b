package sqlplan

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// A query in a condition that reads nothing of its row is run when the first row asks for it, which may be a foreign one. Each of
// these fails when it is run, on the attacker's own rows.
func TestLazyQueriesRevealNoForeignRow(t *testing.T) {
	server := testenv.Postgres(t)
	const more = `CREATE TABLE countries (code text PRIMARY KEY, title text); INSERT INTO countries VALUES ('a', 'b'), ('c', 'd');
		INSERT INTO visits (id, tenant_id, patient_id) VALUES (9007199254740992, 'attacker', 1), (9007199254740993, 'attacker', 1);`
	alone, together := openPostgres(t, server, oracleSchema+more), openPostgres(t, server, oracleSchema+more)
	if _, err := together.Exec(oracleVictim); err != nil {
		t.Fatal(err)
	}
	held, err := together.Begin()
	if err == nil {
		_, err = held.Exec("SELECT FROM visits WHERE id = 1 AND tenant_id = 'attacker' FOR UPDATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer held.Rollback()
	for _, attack := range []struct {
		sql  string
		args []any
	}{
		// More rows than one, in spite of a whole key.
		{"SELECT id FROM patients WHERE note LIKE 'secret%' AND age > (SELECT unnest(ARRAY[1, 2]) FROM visits WHERE id = 1)", nil},
		{"SELECT id FROM patients WHERE note LIKE 'secret%' AND age > (SELECT generate_series(1, 2) FROM visits WHERE id = 1)", nil},
		{"SELECT id FROM patients WHERE note LIKE 'secret%' AND $1::float8 > 0 AND age > (SELECT v.patient_id FROM visits v WHERE v.id = $1)", []any{"9007199254740992"}},
		{"SELECT id FROM patients WHERE note LIKE 'secret%' AND $1::float4 > 0 AND age > (SELECT v.patient_id FROM visits v WHERE v.id = $1)", []any{"9007199254740992"}},
		{"SELECT x.f FROM (SELECT '9007199254740992'::float8 AS f OFFSET 0) x WHERE EXISTS (SELECT FROM patients p WHERE p.note LIKE 'secret%' AND p.age > (SELECT v.patient_id FROM visits v WHERE v.id = x.f))", nil},
		// An aggregate of the query around is none here.
		{"SELECT p.age FROM patients p GROUP BY p.age HAVING EXISTS (SELECT 1 FROM visits v WHERE v.ward LIKE 'tru%' AND v.cost > (SELECT max(p.id) FROM countries c))", nil},
		{"SELECT p.age FROM patients p GROUP BY p.age HAVING EXISTS (SELECT 1 FROM visits v WHERE v.ward LIKE 'tru%' AND v.cost > (SELECT count(p.id) FROM countries c))", nil},
		{"SELECT (SELECT 1 FROM visits v WHERE v.ward LIKE 'tru%' AND v.cost > (SELECT max(p.id) FROM countries c) LIMIT 1) FROM patients p", nil},
		// A row that is locked by another transaction.
		{"SELECT id FROM patients WHERE note LIKE 'secret%' AND age > (SELECT v.id FROM visits v WHERE v.id = 1 FOR UPDATE NOWAIT LIMIT 1)", nil},
		{"SELECT id FROM patients WHERE note LIKE 'secret%' AND (age > 5) = EXISTS (SELECT FROM visits v WHERE v.id = 1 FOR UPDATE NOWAIT)", nil},
		{"SELECT id FROM patients WHERE note LIKE 'secret%' AND age > (SELECT x.id FROM (SELECT id FROM visits v WHERE v.id = 1 FOR UPDATE NOWAIT) x LIMIT 1)", nil},
	} {
		plan, err := New(attack.sql, testCatalog(PostgreSQL))
		if err != nil {
			continue // refused
		}
		args := bindPlan(plan, "attacker", attack.args)
		want, got := outcome(t, alone, plan.SQL, args, true), outcome(t, together, plan.SQL, args, true)
		if got != want {
			t.Errorf("%s\nwithout the victim: %.200s\nwith the victim: %.200s", plan.SQL, want, got)
		}
	}
}

// HAVING with an aggregate of the query around is a condition on rows.
func TestAggregatesAreOfTheirQuery(t *testing.T) {
	for text, planned := range map[string]bool{
		"SELECT (SELECT v.cost FROM visits v GROUP BY v.cost HAVING nullif(100 / v.cost, max(p.id)) IS NULL LIMIT 1) FROM patients p": false,
		"SELECT p.id FROM patients p GROUP BY p.id HAVING (SELECT count(p.age) FROM visits v) > 1":                                    false,
		"SELECT p.id FROM patients p GROUP BY p.id HAVING (SELECT max(v.cost + p.id) FROM visits v) > 1":                              true,
		"SELECT p.id FROM patients p WHERE (SELECT count(*) + p.id FROM visits v) > 1":                                                true,
		"SELECT p.id FROM patients p WHERE (SELECT abs(count(*) + p.id) FROM visits v) > 1":                                           true,
		"SELECT p.id FROM patients p WHERE (SELECT max(1) FROM visits v) > 1":                                                         true,
		"SELECT p.id, sum(p.age) OVER (PARTITION BY p.note) FROM patients p":                                                          true,
	} {
		for _, d := range []Dialect{PostgreSQL, SQLite} {
			if _, err := New(text, testCatalog(d)); (err == nil) != planned {
				t.Errorf("%v: %s: %v", d, text, err)
			}
		}
	}
}

const liteOracle = `
CREATE TABLE patients (id INTEGER NOT NULL, tenant_id TEXT NOT NULL, name BLOB, ssn BLOB, ssn_index BLOB, note TEXT, age INTEGER, created TEXT);
CREATE TABLE visits (id INTEGER NOT NULL, tenant_id TEXT NOT NULL, patient_id INTEGER, ward TEXT, cost INTEGER, double_cost INTEGER, report BLOB, report_index BLOB);
CREATE INDEX wards ON visits (ward); CREATE TABLE countries (code TEXT PRIMARY KEY, title TEXT); INSERT INTO countries VALUES ('a', 'b');
INSERT INTO patients (id, tenant_id, note, age) VALUES (1, 'attacker', 'true', 1), (2, 'attacker', 'false', 1);
INSERT INTO visits (id, tenant_id, patient_id, cost) VALUES (1, 'attacker', 1, 1), (2, 'attacker', 2, 1);`

// SQLite evaluates conditions that read nothing of a joined table for each row that an index of it finds, whoever's, if they stand
// in its ON, or are volatile.
func TestConditionsOnOtherRowsRevealNoForeignRowSQLite(t *testing.T) {
	alone, together := openLite(t, liteOracle), openLite(t, liteOracle)
	if _, err := together.Exec(`INSERT INTO visits (id, tenant_id, patient_id, cost, ward) VALUES (1, 'victim', 1, 10, 'secret')`); err != nil {
		t.Fatal(err)
	}
	const fails = "abs(-9223372036854775807 - p.age) > 0"
	for _, attack := range []string{
		"SELECT p.id FROM patients p LEFT JOIN visits v ON v.ward = 'secret' AND " + fails,
		"SELECT p.id FROM patients p LEFT JOIN countries c ON c.code = 'x' LEFT JOIN visits v ON v.ward = 'secret' AND " + fails,
		"SELECT p.id FROM patients p JOIN visits v ON v.ward = 'secret' AND " + fails + " WHERE p.age > 100",
		"SELECT p.id FROM visits v RIGHT JOIN patients p ON v.ward = 'secret' AND " + fails,
		"SELECT p.id FROM visits v FULL JOIN patients p ON v.ward = 'secret' AND " + fails,
		"SELECT p.id FROM patients p WHERE EXISTS (SELECT 1 FROM countries c LEFT JOIN visits v ON v.ward = 'secret' AND " + fails + ")",
		"SELECT p.id, (SELECT count(*) FROM visits v WHERE v.ward = 'secret' AND abs(-9223372036854775807 - p.age + (random() & 0)) > 0) FROM patients p",
		"SELECT p.id, (SELECT count(*) FROM visits v WHERE v.ward = 'secret' AND random() < abs(-9223372036854775807 - p.age)) FROM patients p",
		"UPDATE patients AS p SET age = 1 WHERE EXISTS (SELECT 1 FROM visits v WHERE v.ward = 'secret' AND random() < abs(-9223372036854775807 - p.age))",
	} {
		plan, err := New(attack, testCatalog(SQLite))
		if err != nil {
			t.Errorf("%s: %v", attack, err)
			continue
		}
		args := bindPlan(plan, "attacker", nil)
		want, got := outcome(t, alone, plan.SQL, args, plan.ReturnsRows), outcome(t, together, plan.SQL, args, plan.ReturnsRows)
		if got != want {
			t.Errorf("%s\nwithout the victim: %.200s\nwith the victim: %.200s", plan.SQL, want, got)
		}
	}
}

// A query that reads the prelude stays out of it.
func TestPreludeDoesNotReadItself(t *testing.T) {
	db := openPostgres(t, testenv.Postgres(t), oracleSchema)
	for _, text := range []string{
		"SELECT id FROM patients WHERE EXISTS (SELECT FROM visits v WHERE v.cost > $1::bigint - 1)",
		"SELECT id FROM patients WHERE EXISTS (SELECT FROM visits v WHERE v.cost > $1::bigint - 1 AND v.cost / 2 = 0)",
		"SELECT id FROM patients WHERE (age = 1) = EXISTS (SELECT FROM visits v WHERE v.cost > $1::bigint - 1)",
		"DELETE FROM patients WHERE NOT EXISTS (SELECT FROM visits v WHERE v.cost > $1::bigint - 1 AND v.cost / 2 = 0)",
	} {
		plan, err := New(text, testCatalog(PostgreSQL))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := outcome(t, db, plan.SQL, bindPlan(plan, "attacker", []any{1}), plan.ReturnsRows); strings.Contains(got, "ERROR") {
			t.Errorf("%s: %s", plan.SQL, got)
		}
	}
}

// A declared function in SQL that returns rows is pulled up like a subquery.
func TestDeclaredFunctionsInFromRevealNoForeignRow(t *testing.T) {
	server := testenv.Postgres(t)
	const function = `CREATE FUNCTION own_function(a bigint) RETURNS SETOF bigint LANGUAGE sql IMMUTABLE AS `
	for body, attacks := range map[string][]string{
		`'SELECT a'`: {
			"SELECT f.x FROM patients p, own_function(p.age) AS f (x) WHERE (100 / f.x) IS NOT NULL",
			"SELECT f.x FROM patients p JOIN LATERAL own_function(p.age) AS f (x) ON (100 / f.x) IS NOT NULL",
			"SELECT p.id FROM patients p, LATERAL (SELECT f.x FROM own_function(p.age) AS f (x) WHERE (100 / f.x) IS NOT NULL) y",
		},
		`'SELECT a WHERE (100 / a) IS NOT NULL'`: {
			"SELECT f.x FROM patients p, own_function(p.age) AS f (x)",
			"SELECT p.id FROM patients p WHERE EXISTS (SELECT FROM own_function(p.age))",
			"SELECT f.x FROM (SELECT id, age AS n FROM patients) p, own_function(p.n) AS f (x)",
		},
	} {
		alone, together := openPostgres(t, server, oracleSchema+function+body), openPostgres(t, server, oracleSchema+function+body)
		if _, err := together.Exec(`INSERT INTO patients (id, tenant_id, note, age) VALUES (1, 'victim', 'secret', 0)`); err != nil {
			t.Fatal(err)
		}
		for _, attack := range attacks {
			plan, err := New(attack, testCatalog(PostgreSQL))
			if err != nil {
				t.Errorf("%s: %v", attack, err)
				continue
			}
			args := bindPlan(plan, "attacker", nil)
			want, got := outcome(t, alone, plan.SQL, args, true), outcome(t, together, plan.SQL, args, true)
			if got != want {
				t.Errorf("%s\nwithout the victim: %.200s\nwith the victim: %.200s", plan.SQL, want, got)
			}
		}
	}
}

// How long a query takes that is run when the first row asks for it would tell that one did. Whether it is run must not depend on
// a foreign row.
func TestLazyQueriesRevealNoForeignRowByTheirTime(t *testing.T) {
	server := testenv.Postgres(t)
	alone, together := openPostgres(t, server, oracleSchema), openPostgres(t, server, oracleSchema)
	if _, err := together.Exec(`INSERT INTO patients (id, tenant_id, note, age) VALUES (1, 'victim', 'secret', 0)`); err != nil {
		t.Fatal(err)
	}
	for _, attack := range []string{
		"SELECT id FROM patients WHERE note LIKE 'secret%' AND age > (SELECT count(*) FROM visits a, visits b)",
		"SELECT id FROM patients WHERE note LIKE 'secret%' AND age = ANY (ARRAY(SELECT b.id FROM visits a, visits b))",
		"SELECT id FROM patients WHERE note LIKE 'secret%' AND (age > 5) = EXISTS (SELECT FROM visits a, visits b WHERE a.id + 0 = -1 OR b.id = -1)",
		"SELECT id FROM patients WHERE note LIKE 'secret%' AND (age > 5) = EXISTS (SELECT FROM visits a, visits b WHERE a.id = -1 OR b.id = -1)",
		"SELECT id FROM patients WHERE note LIKE 'secret%' AND random() IN (SELECT 1.5::float8 FROM visits a, visits b)",
		"SELECT p.id FROM patients p WHERE EXISTS (SELECT FROM patients q WHERE q.note LIKE 'secret%' AND q.age > (SELECT count(*) FROM visits a, visits b WHERE a.id > p.id))",
		"WITH h AS MATERIALIZED (SELECT count(*) AS n FROM visits a, visits b) SELECT id FROM patients WHERE note LIKE 'secret%' AND age > (SELECT n FROM h)",
		"UPDATE patients SET age = 1 WHERE note LIKE 'secret%' AND age > (SELECT count(*) FROM visits a, visits b)",
	} {
		plan, err := New(attack, testCatalog(PostgreSQL))
		if err != nil {
			t.Errorf("%s: %v", attack, err)
			continue
		}
		args, explain := bindPlan(plan, "attacker", nil), "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) "+plan.SQL
		want, got := outcome(t, alone, explain, args, true), outcome(t, together, explain, args, true)
		if strings.Count(got, "never executed") != strings.Count(want, "never executed") {
			t.Errorf("%s\nwithout the victim: %s\nwith the victim: %s", plan.SQL, want, got)
		}
	}
}
