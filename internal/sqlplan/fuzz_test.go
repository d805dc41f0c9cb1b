package sqlplan

import (
	"errors"
	"strings"
	"testing"
)

// FuzzNew feeds the planner any text. It never panics; what it refuses, it refuses with a reason; what it plans for
// PostgreSQL passes the independent checker, and SQLite can read what it plans for SQLite.
func FuzzNew(f *testing.F) {
	for _, file := range []string{"testdata/plans.txt", "testdata/refused.txt"} {
		_, statements, _ := golden(f, file)
		for _, sql := range statements {
			f.Add(sql)
		}
	}
	cat, lite := testCatalog(PostgreSQL), testCatalog(SQLite)
	db := openLite(f, liteShared)
	f.Fuzz(func(t *testing.T, sql string) {
		plan, err := New(sql, cat)
		checkRefusal(t, sql, err)
		if err == nil {
			for _, problem := range checkPlan(plan, cat) {
				t.Errorf("%s\n%s\n%s", sql, plan.SQL, problem)
			}
		}
		plan, err = New(sql, lite)
		checkRefusal(t, sql, err)
		if err != nil || plan.Verb == Savepoint {
			return
		}
		stmt, err := db.Prepare(plan.SQL)
		if err != nil {
			if strings.Contains(err.Error(), "syntax error") || strings.Contains(err.Error(), "no such column") || strings.Contains(err.Error(), "no such table") {
				t.Errorf("%s\n%s\n%v", sql, plan.SQL, err)
			}
			return
		}
		stmt.Close()
	})
}

func checkRefusal(t *testing.T, sql string, err error) {
	var refused *RefusedError
	if err != nil && (!errors.As(err, &refused) || refused.Reason == "" || refused.Hint == "" || refused.Position > len(sql)) {
		t.Errorf("%q: not a refusal with a reason: %v", sql, err)
	}
}

// The test of the checker: it finds what a broken planner would let through.
func TestCheckerFindsLeaks(t *testing.T) {
	cat := testCatalog(PostgreSQL)
	for sql, breaks := range map[string][][2]string{
		"SELECT p.id FROM patients p JOIN visits v ON v.patient_id = p.id": {
			{" WHERE v.tenant_id = $1", ""}, {"v.tenant_id = $1", "v.tenant_id = $2"}, {"v.tenant_id = $1", "v.tenant_id <> $1"},
			{"v.tenant_id = $1", "v.tenant_id = $1 OR true"}, {"v.tenant_id = $1", "v.ward = $1"}, {"public.visits", "visits"},
			{"public.visits", "other.visits"}, {"v.tenant_id = $1", "p.tenant_id = $1"}, {"SELECT p.id FROM", "SELECT current_user FROM"},
		},
		"DELETE FROM patients WHERE id = $1 OR note = 'x'":               {{"patients.tenant_id = $1 AND ", ""}, {" AND ", " OR "}},
		"UPDATE patients SET age = 1 WHERE id = $1":                      {{"patients.tenant_id = $1 AND ", ""}, {"age = 1", "tenant_id = 'b'"}},
		"INSERT INTO visits (id) VALUES ($1), ($2)":                      {{"($3, $2)", "($3, $1)"}, {", tenant_id", ", cost"}},
		"INSERT INTO visits (id) SELECT id FROM patients":                {{"patients.id, $1", "patients.id, patients.id"}},
		"INSERT INTO visits (id) VALUES (1) ON CONFLICT (id) DO NOTHING": {{"(id, tenant_id) DO", "(id) DO"}},
		"SELECT lower(note) FROM patients":                               {{"pg_catalog.lower", "lower"}, {"pg_catalog.lower", "pg_catalog.pg_sleep"}},
		"WITH c AS (SELECT 1 AS a) SELECT c.a FROM c":                    {{"FROM cte_c", "FROM patients"}},
	} {
		plan, err := New(sql, cat)
		if err != nil {
			t.Fatal(err)
		}
		if problems := checkPlan(plan, cat); len(problems) > 0 {
			t.Errorf("%s: %v", sql, problems)
		}
		for _, b := range breaks {
			broken := *plan
			broken.SQL = strings.Replace(plan.SQL, b[0], b[1], 1)
			if broken.SQL == plan.SQL {
				t.Errorf("%q is not in %s", b[0], plan.SQL)
			} else if len(checkPlan(&broken, cat)) == 0 {
				t.Errorf("nobody noticed: %s", broken.SQL)
			}
		}
	}
}
