package sqldb_test

import (
	"context"
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

// twoSchemas has tables in the default schema and in another, of which two have the same name there.
var twoSchemas = sqldb.Schema{
	"patients": {}, "billing.patients": {},
	"billing.invoices": {Sealed: sqldb.Columns{"iban": sqldb.Text().Searchable("iban_index")}},
	"billing.rates":    {Shared: true},
}

func twoSchemaTables() string {
	invoices := `CREATE TABLE billing.invoices (tenant_id text COLLATE "C" NOT NULL, id bigserial, code text, patient bigint, iban bytea, iban_index bytea, PRIMARY KEY (tenant_id, id),
		CONSTRAINT by_code UNIQUE (tenant_id, code),
		FOREIGN KEY (tenant_id, patient) REFERENCES public.patients (tenant_id, id) ON DELETE CASCADE,
		` + strings.Join(twoSchemas["billing.invoices"].Checks(dialect.PostgreSQL), ", ") + `)`
	return `CREATE SCHEMA billing; CREATE SCHEMA other;
		CREATE TABLE patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, name text, PRIMARY KEY (tenant_id, id));
		CREATE TABLE billing.patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, name text, ward text, PRIMARY KEY (tenant_id, id, ward));
		` + invoices + `;
		CREATE TABLE billing.rates (code text PRIMARY KEY); INSERT INTO billing.rates VALUES ('standard');
		CREATE TABLE other.patients (tenant_id text, id bigint, name text); INSERT INTO other.patients VALUES ('clinic', 1, 'undeclared'), ('Clinic', 1, 'undeclared');
		CREATE TABLE "billing.invoices" (tenant_id text, id bigint); INSERT INTO "billing.invoices" VALUES ('clinic', 99);
		CREATE SEQUENCE other.invoices_id_seq START 777;
		GRANT USAGE ON SCHEMA billing, other TO PUBLIC;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, billing, other TO PUBLIC;
		GRANT USAGE ON ALL SEQUENCES IN SCHEMA billing, other TO PUBLIC`
}

// onTwoSchemas runs a test with row-level security and without, on connections whose search path leads elsewhere.
func onTwoSchemas(t *testing.T, test func(t *testing.T, e *env)) {
	for _, withoutRLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("withoutRLS=%v", withoutRLS), func(t *testing.T) {
			e := &env{dialect: dialect.PostgreSQL, log: &recorder{}}
			e.raw, e.dsn, e.super = newRaw(t, dialect.PostgreSQL)
			mustExec(t, openBare(t, e.super), `DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO PUBLIC', current_database()); END $$`)
			mustExec(t, e.raw, twoSchemaTables())
			mustExec(t, openBare(t, e.super), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = other, billing', current_database()); END $$`)
			opts := &sqldb.Options{InsecureWithoutRLS: withoutRLS}
			if !withoutRLS {
				ddl, err := twoSchemas.DDL(dialect.PostgreSQL, opts)
				if err != nil {
					t.Fatal(err)
				}
				mustExec(t, e.raw, ddl)
			}
			e.ring = newRing(t, tenantA, tenantB)
			e.guard = storage.Guard{Keys: e.ring, Audit: e.log}
			db, err := sqldb.Open(context.Background(), e.dsn, twoSchemas, e.guard, opts)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			e.db = db
			test(t, e)
		})
	}
}

// TestSeveralSchemas: a name means the table that is declared under it, in whatever schema a connection would look first.
func TestSeveralSchemas(t *testing.T) {
	onTwoSchemas(t, func(t *testing.T, e *env) {
		for id, name := range map[tenant.ID]string{tenantA: "A", tenantB: "B"} {
			e.exec(t, id, `INSERT INTO patients (id, name) VALUES (1, $1)`, name)
			e.exec(t, id, `INSERT INTO billing.patients (id, name, ward) VALUES (1, $1, 'east'), (1, $1, 'west')`, name+" billed")
		}
		e.exec(t, tenantA, `INSERT INTO billing.invoices (id, code, patient, iban) VALUES (7, 'x', 1, 'IS140159')`)
		for query, want := range map[string]string{
			`SELECT name FROM patients`:                                                                             "[[B]]",
			`SELECT public.patients.name FROM public.patients`:                                                      "[[B]]",
			`SELECT DISTINCT patients.name FROM billing.patients`:                                                   "[[B billed]]",
			`SELECT DISTINCT billing.patients.name FROM billing.patients`:                                           "[[B billed]]",
			`SELECT p.name, b.ward FROM patients p JOIN billing.patients b USING (id) ORDER BY 2`:                   "[[B east] [B west]]",
			`SELECT name, (SELECT count(*) FROM billing.patients b WHERE b.id = patients.id) FROM patients`:         "[[B 2]]",
			`WITH patients AS (SELECT 'own' AS name) SELECT patients.name, p.name FROM patients, public.patients p`: "[[own B]]",
			`SELECT count(*) FROM billing.invoices WHERE iban = 'IS140159'`:                                         "[[0]]",
			`SELECT code FROM billing.rates`:                                                                        "[[standard]]",
			`SELECT to_jsonb(b) ->> 'ward' FROM billing.patients b WHERE ward = 'west'`:                             "[[west]]",
			`SELECT id FROM jsonb_populate_recordset(NULL::billing.patients, '[{"id": 5}]')`:                        "[[5]]",
			`SELECT nextval('billing.invoices_id_seq') < 777`:                                                       "[[true]]",
		} {
			if got, err := e.tryRows(as(tenantB), query); err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s: %v, %v", query, got, err)
			}
		}
		for _, query := range []string{
			`SELECT 1 FROM invoices`, `SELECT 1 FROM other.patients`, `SELECT 1 FROM "billing.invoices"`, `SELECT 1 FROM public."billing.invoices"`,
			`SELECT 1 FROM public.invoices`, `SELECT 1 FROM "billing.patients".patients`, `SELECT 1 FROM "Billing".invoices`, `SELECT 1 FROM rates`,
			`SELECT patients.name FROM patients, billing.patients`, `SELECT other.patients.name FROM patients`, `SELECT billing.patients.name FROM patients`,
			`SELECT nextval('invoices_id_seq')`, `SELECT nextval('other.invoices_id_seq')`, `SELECT id FROM jsonb_populate_recordset(NULL::other.patients, '[{"id": 5}]')`,
			`DELETE FROM other.patients`, `DELETE FROM invoices`, `INSERT INTO billing.rates VALUES ('x')`, `UPDATE patients SET name = 'x' FROM billing.patients WHERE true`,
		} {
			var refused *sqldb.RefusedError
			if _, err := e.db.ExecContext(as(tenantB), query); !errors.As(err, &refused) {
				t.Errorf("%s: %v", query, err)
			}
		}
		// Its failure must not tell that another tenant has a row of that name.
		const twoRows = `SELECT id FROM patients WHERE CASE WHEN name = $1 THEN (SELECT b.name FROM billing.patients b WHERE b.id = 1) IS NULL END`
		for name, fails := range map[string]bool{"A": false, "B": true, "nobody": false} {
			if _, err := e.tryRows(as(tenantB), twoRows, name); (err != nil) != fails {
				t.Errorf("%s: %v", name, err)
			}
		}
		e.exec(t, tenantB, `DELETE FROM patients`)
		e.exec(t, tenantB, `INSERT INTO patients (id, name) VALUES (2, 'B')`)

		// A foreign key across schemas ties to the own tenant's rows.
		if _, err := e.db.ExecContext(as(tenantB), `INSERT INTO billing.invoices (patient) VALUES (1)`); err == nil {
			t.Error("a row refers to another tenant's")
		}
		if _, err := e.db.ExecContext(as(tenantB), `INSERT INTO billing.invoices (tenant_id, code) VALUES ($1, 'y')`, tenantA.String()); !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("stored for another tenant: %v", err)
		}
		for range 2 {
			e.exec(t, tenantB, `INSERT INTO billing.invoices (code, patient, iban) VALUES ('x', 2, 'IS99') ON CONFLICT ON CONSTRAINT by_code DO UPDATE SET iban = excluded.iban`)
		}
		if got := e.rows(t, tenantB, `SELECT billing.invoices.iban FROM billing.invoices WHERE iban = $1`, "IS99"); fmt.Sprint(got) != "[[IS99]]" {
			t.Errorf("sealed in another schema: %v", got)
		}
		e.log.take()
		e.exec(t, tenantB, `DELETE FROM patients`)
		if !slices.ContainsFunc(e.log.take(), func(ev audit.Event) bool { return slices.Equal(ev.Tables, []string{"billing.invoices", "patients"}) }) {
			t.Error("the trail does not say what went in the other schema")
		}
		e.exec(t, tenantB, `UPDATE billing.patients SET name = 'changed'`)
		if !slices.ContainsFunc(e.log.take(), func(ev audit.Event) bool { return slices.Contains(ev.Columns, "billing.patients.name") }) {
			t.Error("the trail does not name the column by its table")
		}
		if got := e.rows(t, tenantA, `SELECT p.name, b.name, i.iban FROM patients p, billing.patients b, billing.invoices i ORDER BY b.ward LIMIT 1`); fmt.Sprint(got) != "[[A A billed IS140159]]" {
			t.Errorf("A reads %v", got)
		}
	})
}

// What is wrong in another schema is found and mended there.
func TestProblemsInAnotherSchema(t *testing.T) {
	e := &env{dialect: dialect.PostgreSQL}
	e.raw, e.dsn, e.super = newRaw(t, dialect.PostgreSQL)
	mustExec(t, openBare(t, e.super), `CREATE SCHEMA billing; CREATE SCHEMA other; GRANT USAGE, CREATE ON SCHEMA billing TO PUBLIC;
		CREATE TABLE patients (tenant_id text NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));
		CREATE TABLE other.patients (id bigint PRIMARY KEY);
		CREATE TABLE "billing.codes" (tenant_id text NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));
		CREATE TABLE billing.codes (tenant_id text NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));
		CREATE TABLE billing.patients (tenant_id text NOT NULL, id bigint UNIQUE, other bigint CONSTRAINT strays REFERENCES other.patients (id) ON DELETE CASCADE,
			PRIMARY KEY (tenant_id, id), CONSTRAINT dotted FOREIGN KEY (tenant_id, other) REFERENCES "billing.codes" (tenant_id, id),
			CONSTRAINT loose FOREIGN KEY (other) REFERENCES billing.patients (id));
		CREATE TABLE other.unseen (tenant_id text, id bigint, CONSTRAINT unseen FOREIGN KEY (tenant_id, id) REFERENCES billing.patients (tenant_id, id) ON DELETE CASCADE)`)
	schema := sqldb.Schema{"patients": {}, "billing.patients": {}, "billing.codes": {}, "billing.gone": {}}
	err := openErr(t, e.dsn, schema, nil)
	for _, want := range []string{
		`billing.gone: the table is not in schema "billing"`, "billing.patients: unique index patients_id_key", "foreign key strays refers to table other.patients, which is not declared",
		"foreign key dotted refers to table public.billing.codes, which is not declared", `DROP CONSTRAINT "loose", ADD FOREIGN KEY ("tenant_id", "other") REFERENCES "billing"."patients" ("tenant_id", "id")`,
		"other.unseen, which is not declared", `ALTER TABLE "billing"."patients" ENABLE ROW LEVEL SECURITY`, `CREATE POLICY strongroom_tenant ON "billing"."patients"`,
		`DROP CONSTRAINT "patients_id_key"`, "may create operators in schema billing",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

// A table is declared under one name, which the engine can have.
func TestNamesOfTables(t *testing.T) {
	for _, name := range []string{"public.patients", "a.b.c", ".patients", "billing.", "pg_catalog.pg_class", "information_schema.tables", "pg_temp.patients"} {
		var problems *sqldb.SchemaError
		if _, err := (sqldb.Schema{name: {}}).DDL(dialect.PostgreSQL, nil); !errors.As(err, &problems) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (sqldb.Schema{"billing.patients": {Shared: true}}).DDL(dialect.SQLite, nil); err == nil {
		t.Error("a schema on SQLite")
	}
	raw, dsn, _ := newRaw(t, dialect.SQLite)
	mustExec(t, raw, `CREATE TABLE "billing.patients" (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (tenant_id, id))`)
	if err := openErr(t, dsn, sqldb.Schema{"billing.patients": {}}, nil); err == nil || !strings.Contains(err.Error(), "which SQLite has not") {
		t.Errorf("a schema on SQLite: %v", err)
	}
}
