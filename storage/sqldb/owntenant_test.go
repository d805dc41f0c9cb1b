package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// hospitals has the tenants' own table, one with a tenant column of its own name, and one with the default's.
var hospitals = sqldb.Schema{"tenants": {TenantColumn: "id"}, "wards": {TenantColumn: "clinic"}, "notes": {}}

// hospitalTables are made with the type of a tenant column and that of a number.
const hospitalTables = `
	CREATE TABLE tenants (id %[1]s NOT NULL PRIMARY KEY, name text);
	CREATE TABLE wards (clinic %[1]s NOT NULL REFERENCES tenants (id) ON DELETE CASCADE, id integer NOT NULL, tenant_id text, PRIMARY KEY (clinic, id));
	CREATE TABLE notes (tenant_id %[1]s NOT NULL REFERENCES tenants (id) ON DELETE CASCADE, id integer NOT NULL, ward integer, PRIMARY KEY (tenant_id, id),
		FOREIGN KEY (tenant_id, ward) REFERENCES wards (clinic, id) ON DELETE CASCADE)`

// onHospitals runs a test on every engine and type, with row-level security and without. A and B are two tenants.
func onHospitals(t *testing.T, test func(t *testing.T, e *env, a, b tenant.ID)) {
	type variant struct {
		dialect    dialect.Dialect
		typ        string
		withoutRLS bool
		a, b       string
	}
	const uuidA, uuidB = "6f1c0a52-9a8f-4c0e-9e53-1b3a52f1a001", "6f1c0a52-9a8f-4c0e-9e53-1b3a52f1a002"
	variants := []variant{{dialect.SQLite, "text", false, "clinic", "Clinic"}}
	for _, withoutRLS := range []bool{false, true} {
		variants = append(variants, variant{dialect.PostgreSQL, "text", withoutRLS, "clinic", "Clinic"},
			variant{dialect.PostgreSQL, "uuid", withoutRLS, uuidA, uuidB}, variant{dialect.PostgreSQL, "bigint", withoutRLS, "17", "18"})
	}
	for _, v := range variants {
		t.Run(fmt.Sprintf("%s/%s/withoutRLS=%v", v.dialect, v.typ, v.withoutRLS), func(t *testing.T) {
			e := &env{dialect: v.dialect, log: &recorder{}}
			e.raw, e.dsn, e.super = newRaw(t, v.dialect)
			mustExec(t, e.raw, fmt.Sprintf(hospitalTables, v.typ))
			opts := &sqldb.Options{TenantType: v.typ, InsecureWithoutRLS: v.withoutRLS}
			if v.dialect == dialect.PostgreSQL && !v.withoutRLS {
				ddl, err := hospitals.DDL(v.dialect, opts)
				if err != nil {
					t.Fatal(err)
				}
				mustExec(t, e.raw, ddl)
			}
			a, b := tenant.MustParse(v.a), tenant.MustParse(v.b)
			e.guard = storage.Guard{Keys: newRing(t, a, b), Audit: e.log}
			db, err := sqldb.Open(context.Background(), e.dsn, hospitals, e.guard, opts)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			e.db = db
			test(t, e, a, b)
		})
	}
}

// TestTheTenantsOwnTable: of the table whose key is the tenant each tenant has its one row, whatever a statement names.
func TestTheTenantsOwnTable(t *testing.T) {
	onHospitals(t, func(t *testing.T, e *env, a, b tenant.ID) {
		e.exec(t, a, `INSERT INTO tenants (id, name) VALUES ($1, 'A')`, a.String())
		e.exec(t, b, `INSERT INTO tenants (name) VALUES ('B')`)
		e.exec(t, a, `INSERT INTO wards (clinic, id, tenant_id) VALUES ($1, 1, 'a text of its own')`, a.String())
		e.exec(t, a, `INSERT INTO notes (id, ward) VALUES (1, 1)`)

		foreign := a.String()
		for _, query := range []string{
			`INSERT INTO tenants (id, name) VALUES ($1, 'stolen')`,
			`INSERT INTO tenants (id, name) VALUES ($1, 'stolen') ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
			`INSERT INTO tenants (id, name) VALUES ($1, 'stolen') ON CONFLICT DO NOTHING`,
			`INSERT INTO tenants (id, name) SELECT $1, 'stolen'`,
			`INSERT INTO wards (clinic, id) VALUES ($1, 9)`,
			`INSERT INTO notes (tenant_id, id, ward) VALUES ($1, 9, 1)`,
		} {
			if _, err := e.db.ExecContext(as(b), query, foreign); !errors.Is(err, storage.ErrIsolation) {
				t.Errorf("%s: %v", query, err)
			}
		}
		for _, query := range []string{
			`UPDATE tenants SET id = $1`,
			`INSERT INTO tenants (name) VALUES ('x') ON CONFLICT (id) DO UPDATE SET id = $1`,
			`UPDATE wards SET clinic = $1`,
			`INSERT INTO wards (clinic, id) SELECT name, 9 FROM tenants WHERE id = $1`,
		} {
			var refused *sqldb.RefusedError
			if _, err := e.db.ExecContext(as(b), query, foreign); !errors.As(err, &refused) {
				t.Errorf("%s: %v", query, err)
			}
		}
		for _, query := range []string{
			`UPDATE tenants SET name = 'stolen' WHERE id = $1`, `DELETE FROM tenants WHERE id = $1`, `DELETE FROM wards WHERE clinic = $1`,
		} {
			if n := e.exec(t, b, query, foreign); n != 0 {
				t.Errorf("%s: %d rows", query, n)
			}
		}
		// The ward is A's alone, and wards are numbered for each.
		if _, err := e.db.ExecContext(as(b), `INSERT INTO notes (id, ward) VALUES (1, 1)`); err == nil {
			t.Error("a row refers to another tenant's")
		}
		if got := e.rows(t, b, `SELECT name, (SELECT count(*) FROM wards), (SELECT count(*) FROM notes), (SELECT name FROM tenants) FROM tenants`); fmt.Sprint(got) != "[[B 0 0 B]]" {
			t.Errorf("B reads %v", got)
		}

		upserts := []string{`INSERT INTO tenants (id, name) VALUES ($1, 'B2') ON CONFLICT (id) DO UPDATE SET name = excluded.name`}
		if e.dialect == dialect.PostgreSQL {
			upserts = append(upserts, `INSERT INTO tenants (id, name) VALUES ($1, 'B2') ON CONFLICT ON CONSTRAINT tenants_pkey DO UPDATE SET id = excluded.id, name = excluded.name`)
		}
		for _, query := range upserts {
			if n := e.exec(t, b, query, b.String()); n != 1 {
				t.Errorf("%s: %d rows", query, n)
			}
		}
		if n := e.exec(t, b, `UPDATE tenants SET name = name WHERE id = $1`, b.String()); n != 1 {
			t.Errorf("%d rows of its own", n)
		}
		if got := e.rows(t, b, `SELECT t.id, t.name, count(w.id) FROM tenants t LEFT JOIN wards w ON w.clinic = t.id GROUP BY t.id`); len(got) != 1 || fmt.Sprint(got[0][1:]) != "[B2 0]" {
			t.Errorf("B reads %v", got)
		}

		if e.dialect == dialect.PostgreSQL { // which knows no one name for a ward
			if _, err := e.tryRows(as(b), `SELECT t.name, count(*) FROM tenants t JOIN wards w ON w.clinic = t.id GROUP BY w.id`); err == nil {
				t.Error("a column that is not grouped by")
			}
		}

		// What goes with a tenant's row are its own rows, and the trail says which tables.
		e.exec(t, b, `INSERT INTO wards (id) VALUES (1)`)
		e.exec(t, b, `INSERT INTO notes (id, ward) VALUES (1, 1)`)
		e.log.take()
		e.exec(t, b, `DELETE FROM tenants`)
		if !slices.ContainsFunc(e.log.take(), func(ev audit.Event) bool { return slices.Equal(ev.Tables, []string{"notes", "tenants", "wards"}) }) {
			t.Error("the trail does not say what went with the tenant's row")
		}
		for table, column := range map[string]string{"tenants": "id", "wards": "clinic", "notes": "tenant_id"} {
			var all, own int
			query := fmt.Sprintf(`SELECT count(*), sum(CASE WHEN %s = $1 THEN 1 ELSE 0 END) FROM %s`, column, table)
			if err := ownerOf(t, e).QueryRow(query, foreign).Scan(&all, &own); err != nil || all != 1 || own != 1 {
				t.Errorf("%s has %d rows, %d of them A's, %v", table, all, own, err)
			}
		}
		if got := e.rows(t, a, `SELECT name FROM tenants`); fmt.Sprint(got) != "[[A]]" {
			t.Errorf("A reads %v", got)
		}
	})
}

// ownerOf is a handle that reads all rows.
func ownerOf(t *testing.T, e *env) *sql.DB {
	t.Helper()
	if e.dialect == dialect.SQLite {
		return e.raw
	}
	return openBare(t, e.super)
}

// A row of a table with a column that the database computes could be moved to another tenant by what it is computed from, and
// a foreign key that ties anything but tenant to tenant tells of other tenants' rows.
func TestOwnTenantColumnsAreChecked(t *testing.T) {
	schema := sqldb.Schema{"tenants": {TenantColumn: "id"}, "made": {TenantColumn: "owner"}, "crossed": {TenantColumn: "clinic"}, "referring": {}, "loose": {TenantColumn: "org"}}
	for d, text := range map[dialect.Dialect]string{dialect.SQLite: "TEXT", dialect.PostgreSQL: "text"} {
		t.Run(string(d), func(t *testing.T) {
			raw, dsn, _ := newRaw(t, d)
			mustExec(t, raw, strings.ReplaceAll(`
				CREATE TABLE tenants (id TEXT NOT NULL PRIMARY KEY, email TEXT, UNIQUE (email));
				CREATE TABLE made (whose TEXT NOT NULL, owner TEXT GENERATED ALWAYS AS (lower(whose)) STORED NOT NULL, id integer NOT NULL, UNIQUE (owner, id));
				CREATE TABLE crossed (clinic TEXT NOT NULL, tenant_id TEXT NOT NULL, id integer NOT NULL, PRIMARY KEY (clinic, id), UNIQUE (tenant_id, clinic));
				CREATE TABLE referring (tenant_id TEXT NOT NULL, id integer NOT NULL, other TEXT, PRIMARY KEY (tenant_id, id),
					CONSTRAINT sent FOREIGN KEY (other) REFERENCES tenants (id),
					CONSTRAINT named FOREIGN KEY (tenant_id, other) REFERENCES crossed (tenant_id, clinic),
					CONSTRAINT nulls FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE SET NULL);
				CREATE TABLE loose (org TEXT, tenant_id TEXT NOT NULL, id integer NOT NULL, PRIMARY KEY (tenant_id, id))`, "TEXT", text))
			err := openErr(t, dsn, schema, nil)
			for _, want := range []string{
				"(email) lacks the tenant column", "made.owner: the tenant column is generated", "(tenant_id, id) lacks the tenant column",
				"loose.org: the tenant column can be NULL", "(other) does not tie", "(tenant_id, other) does not tie", "sets the tenant column",
				`FOREIGN KEY ("tenant_id") REFERENCES`, `/* "other" then refers to nothing */`,
			} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not named", want)
				}
			}
			if t.Failed() {
				t.Log(err)
			}
		})
	}
}

// A table's tenant column can be of a type of its own.
func TestTenantColumnsOfSeveralTypes(t *testing.T) {
	raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
	mustExec(t, raw, `CREATE TABLE tenants (id bigint PRIMARY KEY, name text); CREATE TABLE logs (id bigint NOT NULL, what text)`)
	schema := sqldb.Schema{"tenants": {TenantColumn: "id", TenantType: "bigint"}, "logs": {}}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	a, b := tenant.MustParse("17"), tenant.MustParse("017")
	db, err := sqldb.Open(context.Background(), dsn, schema, storage.Guard{Keys: newRing(t, a, b), Audit: &recorder{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{`INSERT INTO tenants (name) VALUES ('A')`, `INSERT INTO logs (tenant_id, id, what) SELECT id, 1, name FROM tenants`} {
		if _, err := db.ExecContext(as(a), query); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := db.QueryRowContext(as(a), `SELECT count(*) FROM tenants t, logs l WHERE l.what = t.name`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
	// What is one tenant in one table is another one in the other.
	if err := db.QueryRowContext(as(b), `SELECT count(*) FROM logs`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := db.QueryRowContext(as(b), `SELECT count(*) FROM tenants, logs`).Scan(&n); err == nil {
		t.Errorf("%d rows of a tenant whose id is no number's text", n)
	}
	for _, wrong := range []sqldb.Schema{
		{"countries": {Shared: true, TenantColumn: "id"}},
		{"tenants": {TenantColumn: "id", Sealed: sqldb.Columns{"id": sqldb.Text()}}},
		{"tenants": {TenantColumn: "a\x00b"}},
	} {
		var problems *sqldb.SchemaError
		if _, err := wrong.DDL(dialect.PostgreSQL, nil); !errors.As(err, &problems) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	ddl, err = sqldb.Schema{"tenants": {TenantColumn: "id"}, "notes": {}}.DDL(dialect.SQLite, nil)
	if err != nil || strings.Contains(ddl, `ADD COLUMN "id"`) || !strings.Contains(ddl, `ADD COLUMN "tenant_id"`) {
		t.Errorf("%s %v", ddl, err)
	}
	if _, err := (sqldb.Schema{"tenants": {TenantType: "money"}}).DDL(dialect.PostgreSQL, nil); err == nil {
		t.Error("a tenant column of money")
	}
}
