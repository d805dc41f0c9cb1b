package sqlplan

import (
	"database/sql"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

func openPostgres(t testing.TB, server *testenv.PostgresServer, schema string) *sql.DB {
	t.Helper()
	// A statement that does not end, such as a recursive one that loops, fails.
	url := server.NewDatabase(t).OwnerURL
	db, err := sql.Open("pgx", url+map[bool]string{true: "&", false: "?"}[strings.Contains(url, "?")]+"statement_timeout=5000&jit=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(schema); err != nil {
		t.Fatal(err)
	}
	return db
}

// Row-level security is off here: the plan alone keeps the tenants apart.
const postgresShared = `
CREATE TABLE patients (id bigint NOT NULL, tenant_id text NOT NULL, name bytea, ssn bytea, ssn_index bytea, note text, age bigint, created timestamptz,
	PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, ssn_index), UNIQUE (tenant_id, note));
CREATE TABLE visits (id bigint NOT NULL, tenant_id text NOT NULL, patient_id bigint, ward text, cost bigint DEFAULT 7,
	double_cost bigint GENERATED ALWAYS AS (cost * 2) STORED, report bytea, report_index bytea, PRIMARY KEY (tenant_id, id));
CREATE TABLE "Odd Table" ("Key" bigint NOT NULL, "Tenant.Id" text NOT NULL, "we""ird" text, "größe" text, PRIMARY KEY ("Tenant.Id", "Key"));
CREATE TABLE countries (code text PRIMARY KEY, title text);`

const postgresPlain = `
CREATE TABLE patients (id bigint NOT NULL, tenant_id text NOT NULL DEFAULT 'TENANT', name text, ssn text, note text, age bigint, created timestamptz,
	PRIMARY KEY (id), UNIQUE (ssn), UNIQUE (note));
CREATE TABLE visits (id bigint NOT NULL, tenant_id text NOT NULL DEFAULT 'TENANT', patient_id bigint, ward text, cost bigint DEFAULT 7,
	double_cost bigint GENERATED ALWAYS AS (cost * 2) STORED, report text, PRIMARY KEY (id));
CREATE TABLE "Odd Table" ("Key" bigint NOT NULL, "Tenant.Id" text NOT NULL DEFAULT 'TENANT', "we""ird" text, "größe" text, PRIMARY KEY ("Key"));
CREATE TABLE countries (code text PRIMARY KEY, title text);`

func postgresServer(t testing.TB) *testenv.PostgresServer { return testenv.Postgres(t) }

func postgresEngine(t testing.TB) engine {
	server := testenv.Postgres(t)
	e := engine{dialect: PostgreSQL, shared: openPostgres(t, server, postgresShared), plain: map[string]*sql.DB{}, major: server.Major}
	for _, tenant := range interferenceTenants {
		e.plain[tenant] = openPostgres(t, server, strings.ReplaceAll(postgresPlain, "TENANT", tenant))
	}
	return e
}

func TestNonInterferencePostgreSQL(t *testing.T) { checkInterference(t, postgresEngine(t), 6) }

func TestNonInterferenceNoticesALeakPostgreSQL(t *testing.T) {
	checkBroken(t, postgresEngine(t), ` WHERE v.tenant_id = $1`)
}

func TestIsolationPostgreSQL(t *testing.T) {
	server := testenv.Postgres(t)
	checkIsolation(t, isolated{PostgreSQL, openPostgres(t, server, postgresShared), openPostgres(t, server, postgresShared)}, 2000)
}
