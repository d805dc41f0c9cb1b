package sqlplan

import (
	"database/sql"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// openLite opens an empty in-memory database with a schema.
func openLite(t testing.TB, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(schema); err != nil {
		t.Fatal(err)
	}
	return db
}

const liteShared = `
CREATE TABLE patients (id INTEGER NOT NULL, tenant_id TEXT NOT NULL, name BLOB, ssn BLOB, ssn_index BLOB, note TEXT, age INTEGER, created TEXT,
	PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, ssn_index), UNIQUE (tenant_id, note));
CREATE TABLE visits (id INTEGER NOT NULL, tenant_id TEXT NOT NULL, patient_id INTEGER, ward TEXT, cost INTEGER DEFAULT 7,
	double_cost INTEGER GENERATED ALWAYS AS (cost * 2), report BLOB, report_index BLOB, PRIMARY KEY (tenant_id, id));
CREATE TABLE "Odd Table" ("Key" INTEGER NOT NULL, "Tenant.Id" TEXT NOT NULL, "we""ird" TEXT, "größe" TEXT, PRIMARY KEY ("Tenant.Id", "Key"));
CREATE TABLE countries (code TEXT PRIMARY KEY, title TEXT);
-- What the plan must not be taken in by.
CREATE TEMP TABLE patients (id INTEGER, tenant_id TEXT, name BLOB, ssn BLOB, ssn_index BLOB, note TEXT, age INTEGER, created TEXT);
INSERT INTO temp.patients VALUES (1, 'a', 'temporary', '', '', '', 0, '');`

const litePlain = `
CREATE TABLE patients (id INTEGER NOT NULL, tenant_id TEXT NOT NULL DEFAULT 'TENANT', name TEXT, ssn TEXT, note TEXT, age INTEGER, created TEXT,
	PRIMARY KEY (id), UNIQUE (ssn), UNIQUE (note));
CREATE TABLE visits (id INTEGER NOT NULL, tenant_id TEXT NOT NULL DEFAULT 'TENANT', patient_id INTEGER, ward TEXT, cost INTEGER DEFAULT 7,
	double_cost INTEGER GENERATED ALWAYS AS (cost * 2), report TEXT, PRIMARY KEY (id));
CREATE TABLE "Odd Table" ("Key" INTEGER NOT NULL, "Tenant.Id" TEXT NOT NULL DEFAULT 'TENANT', "we""ird" TEXT, "größe" TEXT, PRIMARY KEY ("Key"));
CREATE TABLE countries (code TEXT PRIMARY KEY, title TEXT);`

func liteEngine(t testing.TB) engine {
	e := engine{dialect: SQLite, shared: openLite(t, liteShared), plain: map[string]*sql.DB{}}
	for _, tenant := range interferenceTenants {
		e.plain[tenant] = openLite(t, strings.ReplaceAll(litePlain, "TENANT", tenant))
	}
	return e
}

func TestNonInterferenceSQLite(t *testing.T) { checkInterference(t, liteEngine(t), 4) }

func TestNonInterferenceNoticesALeakSQLite(t *testing.T) {
	checkBroken(t, liteEngine(t), ` WHERE v.tenant_id = ?1 COLLATE "binary"`)
}

func TestIsolationSQLite(t *testing.T) {
	checkIsolation(t, isolated{SQLite, openLite(t, liteShared), openLite(t, liteShared)}, 2000)
}
