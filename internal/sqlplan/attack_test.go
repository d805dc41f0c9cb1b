package sqlplan

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// The names of a WITH that stands in front of the VALUES of an INSERT end with the VALUES: in RETURNING and ON CONFLICT
// the name that the plan gives them would mean a table, whose rows are everybody's.
func TestNamesOfWithBeforeValuesEndThere(t *testing.T) {
	for _, text := range []string{
		"INSERT INTO ledger (id) WITH x AS (SELECT 1 AS one) VALUES (1) RETURNING (SELECT count(*) FROM x)",
		"INSERT INTO patients (id) WITH x AS (SELECT 1 AS one) VALUES (1) ON CONFLICT (id) DO UPDATE SET age = (SELECT count(*) FROM x)",
	} {
		if plan, err := New(text, testCatalog(PostgreSQL)); err == nil {
			t.Errorf("planned: %s", plan.SQL)
		}
	}
}

func TestNamesOfWithBeforeValuesReadNoTable(t *testing.T) {
	db := openPostgres(t, testenv.Postgres(t), oracleSchema+`
		CREATE TABLE strongroom_cte_x (tenant_id text NOT NULL, secret text); INSERT INTO strongroom_cte_x VALUES ('victim', 'secret of the victim');`)
	plan, err := New("INSERT INTO patients (id) WITH x AS (SELECT 'own' AS secret) VALUES (1) RETURNING (SELECT max(secret) FROM x)", testCatalog(PostgreSQL))
	if err != nil {
		return // refused
	}
	if got := outcome(t, db, plan.SQL, bindPlan(plan, "attacker", nil), true); strings.Contains(got, "victim") {
		t.Errorf("read the victim's row: %s\n%s", got, plan.SQL)
	}
}

// A literal under a cast to a domain is checked against the domain's constraint each time it is evaluated.
func TestConstraintOfADomainRevealsNoForeignRow(t *testing.T) {
	server := testenv.Postgres(t)
	const domain = "CREATE DOMAIN own_mood AS boolean CHECK (VALUE);"
	alone, together := openPostgres(t, server, oracleSchema+domain), openPostgres(t, server, oracleSchema+domain)
	if _, err := together.Exec(oracleVictim); err != nil {
		t.Fatal(err)
	}
	plan, err := New("SELECT id FROM visits WHERE ward IS NULL OR 'f'::own_mood", testCatalog(PostgreSQL))
	if err != nil {
		t.Fatal(err)
	}
	args := bindPlan(plan, "attacker", nil)
	want, got := outcome(t, alone, plan.SQL, args, true), outcome(t, together, plan.SQL, args, true)
	if got != want {
		t.Errorf("%s\nwithout the victim: %.200s\nwith the victim: %.200s", plan.SQL, want, got)
	}
}

// PostgreSQL tries jsonb's @? and @@ on the column's statistics while it plans, and a path that compares times with a zone
// and without fails for the values that hold such a time.
func TestPathOperatorsRevealNoForeignRow(t *testing.T) {
	server := testenv.Postgres(t)
	const schema = `CREATE TABLE documents (id bigint NOT NULL, tenant_id text NOT NULL, body jsonb);
		INSERT INTO documents SELECT i, 'attacker', '{"a": "x"}' FROM generate_series(1, 20) AS i;`
	alone, together := openPostgres(t, server, schema), openPostgres(t, server, schema)
	if _, err := together.Exec(`INSERT INTO documents SELECT i, 'victim', '{"a": "2020-01-01"}' FROM generate_series(1, 5000) AS i; ANALYZE;`); err != nil {
		t.Fatal(err)
	}
	cat := &Catalog{Dialect: PostgreSQL, IndexVersions: 1, Tables: map[string]*Table{"documents": {Schema: "public", Name: "documents", TenantColumn: "tenant_id",
		Columns:    []Column{{Name: "id", Type: "bigint", NotNull: true}, {Name: "tenant_id", Type: "text", NotNull: true}, {Name: "body", Type: "jsonb"}},
		PrimaryKey: []string{"tenant_id", "id"}}}}
	for _, attack := range []string{
		`SELECT id FROM documents WHERE body @? '$.a ? (@.datetime() < "2020-01-01T00:00:00+00".datetime())'`,
		`SELECT id FROM documents WHERE body @@ '$.a.datetime() < "2020-01-01T00:00:00+00".datetime()'`,
		`SELECT id FROM documents WHERE body @? ANY (ARRAY['$.a ? (@.datetime() < "2020-01-01T00:00:00+00".datetime())'::jsonpath])`,
		`SELECT id FROM documents WHERE body @@ ANY (ARRAY['$.a.datetime() < "2020-01-01T00:00:00+00".datetime()'::jsonpath])`,
		`SELECT id FROM documents WHERE body @? '$.a ? (@.timestamp_tz() < "x")'`,
		`SELECT id FROM documents WHERE body @? '$.a.timestamp_tz()'`,
		`SELECT id FROM documents WHERE body @? ANY (SELECT '$.a ? (@.datetime() < "2020-01-01T00:00:00+00".datetime())'::jsonpath)`,
	} {
		plan, err := New(attack, cat)
		if err != nil {
			continue // refused
		}
		args := bindPlan(plan, "attacker", nil)
		want, got := outcome(t, alone, plan.SQL, args, true), outcome(t, together, plan.SQL, args, true)
		if got != want {
			t.Errorf("%s\nwithout the victim: %.200s\nwith the victim: %.200s", plan.SQL, want, got)
		}
	}
}
