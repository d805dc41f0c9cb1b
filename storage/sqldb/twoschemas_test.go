package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestTwoHandlesOfOneDatabase: a value belongs to its table, however the handle that opens it calls that. One of a table of the same
// name in another schema does not open, and has another index value; and two handles that name one table in two ways read each other's.
func TestTwoHandlesOfOneDatabase(t *testing.T) {
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	mustExec(t, openBare(t, super), `CREATE SCHEMA billing; GRANT USAGE ON SCHEMA billing TO PUBLIC; DO $$ BEGIN EXECUTE format('ALTER SCHEMA billing OWNER TO %I', current_database() || '_owner'); END $$`)
	table := sqldb.Table{Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}}
	billing := &sqldb.Options{Schema: "billing"}
	for _, o := range []*sqldb.Options{nil, billing} {
		schema := "public"
		if o != nil {
			schema = o.Schema
		}
		mustExec(t, raw, `CREATE TABLE `+schema+`.patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id)); GRANT SELECT, INSERT, UPDATE, DELETE ON `+schema+`.patients TO PUBLIC`)
		ddl, err := sqldb.Schema{"patients": table}.DDL(dialect.PostgreSQL, o)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, raw, ddl)
	}
	ring, log := newRing(t, tenantA), &recorder{}
	open := func(s sqldb.Schema, o *sqldb.Options) *sql.DB {
		t.Helper()
		db, err := sqldb.Open(context.Background(), dsn, s, storage.Guard{Keys: ring, Audit: log}, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	one, two := open(sqldb.Schema{"patients": table}, nil), open(sqldb.Schema{"patients": table}, billing)
	both, turned := open(sqldb.Schema{"patients": table, "billing.patients": table}, nil), open(sqldb.Schema{"patients": table, "public.patients": table}, billing)
	for _, db := range []*sql.DB{one, two} {
		if _, err := db.ExecContext(as(tenantA), `INSERT INTO patients (id, name) VALUES (1, 'Ada')`); err != nil {
			t.Fatal(err)
		}
	}
	for query, db := range map[string]*sql.DB{
		`SELECT name FROM patients WHERE name = 'Ada'`:         both,
		`SELECT name FROM billing.patients WHERE name = 'Ada'`: both,
		`SELECT name FROM patients WHERE name = 'Ada' `:        turned,
		`SELECT name FROM public.patients WHERE name = 'Ada'`:  turned,
	} {
		var name string
		if err := db.QueryRowContext(as(tenantA), query).Scan(&name); err != nil || name != "Ada" {
			t.Errorf("%s: %q, %v", query, name, err)
		}
	}
	super2 := openBare(t, super)
	var same bool
	if err := super2.QueryRow(`SELECT a.name_index = b.name_index FROM public.patients a, billing.patients b WHERE b.id = 1`).Scan(&same); err != nil || same {
		t.Errorf("the same index value in two tables: %v, %v", same, err)
	}
	// A pool binds alike, and so does COPY.
	pool, err := sqldb.OpenPool(t.Context(), dsn, sqldb.Schema{"patients": table}, storage.Guard{Keys: ring, Audit: log}, &sqldb.PoolOptions{Options: *billing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.CopyFrom(as(tenantA), pgx.Identifier{"patients"}, []string{"id", "name"}, pgx.CopyFromRows([][]any{{2, "Bee"}})); err != nil {
		t.Error(err)
	}
	var bee string
	if err := both.QueryRowContext(as(tenantA), `SELECT name FROM billing.patients WHERE name = 'Bee'`).Scan(&bee); err != nil || bee != "Bee" {
		t.Errorf("what a pool copied: %q, %v", bee, err)
	}
	if err := pool.QueryRow(as(tenantA), `SELECT name FROM patients WHERE name = 'Ada'`).Scan(&bee); err != nil || bee != "Ada" {
		t.Errorf("a pool reads %q, %v", bee, err)
	}
	if _, err := sqldb.Reseal(as(tenantA), two, nil); err != nil {
		t.Error(err)
	}
	mustExec(t, super2, `DELETE FROM billing.patients WHERE id = 2; UPDATE billing.patients SET name = (SELECT name FROM public.patients)`)
	var name string
	if err := two.QueryRowContext(as(tenantA), `SELECT name FROM patients`).Scan(&name); !errors.Is(err, storage.ErrIsolation) {
		t.Errorf("a value of another table: %q, %v", name, err)
	}
}

// TestMigrationInAnotherSchema: what it seals belongs to the table there.
func TestMigrationInAnotherSchema(t *testing.T) {
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	mustExec(t, openBare(t, super), `CREATE SCHEMA billing; GRANT USAGE ON SCHEMA billing TO PUBLIC; DO $$ BEGIN EXECUTE format('ALTER SCHEMA billing OWNER TO %I', current_database() || '_owner'); END $$`)
	mustExec(t, raw, `CREATE TABLE billing.things (id bigint PRIMARY KEY, tenant_id text COLLATE "C" NOT NULL, name text); INSERT INTO billing.things VALUES (1, 'clinic', 'kept'); GRANT SELECT ON billing.things TO PUBLIC`)
	table := sqldb.Table{Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}}
	ring, log := newRing(t, tenantA), &recorder{}
	guard := storage.Guard{Keys: ring, Audit: log}
	m := sqldb.Migration{DSN: ownerURL(dsn), Schema: sqldb.Schema{"things": table}, Options: &sqldb.Options{Schema: "billing"}, Guard: guard, Actor: "operator", Purpose: "moving in"}
	if _, err := sqldb.Migrate(t.Context(), m, sqldb.MigrateSwitch); err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), dsn, sqldb.Schema{"billing.things": table}, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name string
	if err := db.QueryRowContext(as(tenantA), `SELECT name FROM billing.things WHERE name = 'kept'`).Scan(&name); err != nil || name != "kept" {
		t.Errorf("%q, %v", name, err)
	}
	if report, err := sqldb.RollbackMigration(t.Context(), m); err != nil || report.Unsealed != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if err := raw.QueryRow(`SELECT name FROM billing.things`).Scan(&name); err != nil || name != "kept" {
		t.Errorf("%q, %v", name, err)
	}
}
