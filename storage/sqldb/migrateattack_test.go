package sqldb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// one reads one value as the superuser.
func (m *moving) one(t *testing.T, query string, args ...any) (out string) {
	t.Helper()
	if err := m.super.QueryRow("SELECT coalesce(("+query+")::text, 'NULL')", args...).Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

// TestMigrationUnderAttack: what the application's role can do while the database moves in.
func TestMigrationUnderAttack(t *testing.T) {
	m := newMoving(t, 30, newRing(t, tenantA, tenantB, tenantC))
	app := openPool(t, m.dsn)
	app.SetMaxOpenConns(1)
	mustExec(t, app, `INSERT INTO public.patients (id, clinic, name) VALUES (6000, 'clinic', 'moves'); INSERT INTO public.visits (id, patient, note) VALUES (6000, 6000, 'moves');
		INSERT INTO public."drug ""s" (id, "the visit", secret) VALUES ('00000000-0000-0000-0000-000000006000', 6000, 'moves')`)
	m.to(t, sqldb.MigrateBackfill)

	t.Run("a sealed copy is the migration's to write", func(t *testing.T) {
		before := m.one(t, `SELECT string_agg(strongroom_new_name::text, ',' ORDER BY id) FROM patients`)
		mustExec(t, app, `UPDATE patients SET strongroom_new_name = (SELECT strongroom_new_name FROM patients WHERE id = 6), name_index = '\x00'`)
		if after := m.one(t, `SELECT string_agg(strongroom_new_name::text, ',' ORDER BY id) FROM patients`); after != before {
			t.Error("the application's role wrote sealed copies")
		}
		mustExec(t, app, `INSERT INTO patients (id, clinic, name, strongroom_new_name, tenant_id) SELECT 5000, 'clinic', 'forged', strongroom_new_name, 'Clinic' FROM patients WHERE id = 6`)
		if got := m.one(t, `SELECT concat_ws('|', tenant_id, strongroom_new_name IS NULL) FROM patients WHERE id = 5000`); got != "clinic|t" {
			t.Errorf("a forged row is %s", got)
		}
	})
	t.Run("a search path leads nowhere", func(t *testing.T) {
		mustExec(t, app, `CREATE TEMP TABLE patients (id bigint, clinic text); INSERT INTO pg_temp.patients VALUES (3, 'clinic-b'), (4, 'clinic-b'), (5, 'clinic-b');
			CREATE FUNCTION pg_temp.never(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
			CREATE OPERATOR pg_temp.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = pg_temp.never);
			SET search_path = pg_temp, public; INSERT INTO public.visits (id, patient, code) VALUES (5003, 3, 'path'), (5004, 4, 'path'), (5005, 5, 'path')`)
		if got := m.one(t, `SELECT string_agg(v.tenant_id || (v.tenant_id = p.clinic), ',' ORDER BY v.id) FROM visits v JOIN patients p ON p.id = v.patient WHERE v.id BETWEEN 5001 AND 5999`); got != "clinictrue,Clinictrue,clinic-btrue" {
			t.Errorf("the tenants of rows written with another search path: %s", got)
		}
	})
	t.Run("triggers fire for replication too", func(t *testing.T) {
		mustExec(t, m.super, `SET session_replication_role = replica; UPDATE patients SET name = 'replicated' WHERE id = 9; RESET session_replication_role`)
		if got := m.one(t, `SELECT strongroom_new_name IS NULL FROM patients WHERE id = 9`); got != "true" {
			t.Error("a sealed copy is older than its plaintext")
		}
	})
	t.Run("what a type takes for equal is another value", func(t *testing.T) {
		mustExec(t, m.raw, `UPDATE patients SET "odd ""quote*/" = '{"n": 1.0}' WHERE id = 12`)
		m.to(t, sqldb.MigrateKeys)
		m.to(t, sqldb.MigrateVerify)
		mustExec(t, app, `UPDATE public.patients SET "odd ""quote*/" = '{"n": 1.00}' WHERE id = 12`)
		if got := m.one(t, `SELECT "strongroom_new_odd ""quote*/" IS NULL FROM patients WHERE id = 12`); got != "true" {
			t.Error("a sealed copy is older than its plaintext")
		}
	})
	t.Run("a row that moves is sealed anew for its new tenant, with what refers to it", func(t *testing.T) {
		const moved = `SELECT concat_ws('|', p.tenant_id, v.tenant_id, d.tenant_id, p.strongroom_new_name IS NULL, v.strongroom_new_note IS NULL, d.strongroom_new_secret IS NULL)
			FROM patients p JOIN visits v ON v.patient = p.id JOIN "drug ""s" d ON d."the visit" = v.id WHERE p.id = 6000`
		if got := m.one(t, moved); got != "clinic|clinic|clinic|f|f|f" {
			t.Errorf("before the move: %s", got)
		}
		mustExec(t, app, `UPDATE public.patients SET clinic = 'Clinic' WHERE id = 6000`)
		if got := m.one(t, moved); got != "Clinic|Clinic|Clinic|t|t|t" {
			t.Errorf("after the move: %s", got)
		}
	})
	t.Run("its functions are nobody's", func(t *testing.T) {
		if got := m.one(t, `SELECT count(*) FROM pg_proc p, aclexplode(p.proacl) a WHERE proname LIKE 'strongroom_migrate_%' AND a.grantee <> p.proowner`); got != "0" {
			t.Error("others may call the migration's functions")
		}
	})
	m.to(t, sqldb.MigrateSwitch)
	e := m.open(t)
	if got := e.rows(t, tenantB, `SELECT p.name, v.note, d.secret FROM patients p JOIN visits v ON v.patient = p.id JOIN "drug ""s" d ON d."the visit" = v.id WHERE p.id = 6000`); len(got) != 1 || fmt.Sprintf("%s", got[0]) != "[moves moves moves]" {
		t.Errorf("the row that moved: %s", got)
	}
	if got := e.rows(t, tenantA, `SELECT name FROM patients WHERE id IN (6000, 5000)`); fmt.Sprint(got) != "[[forged]]" {
		t.Errorf("where it was: %v", got)
	}
	if got := e.rows(t, tenantA, `SELECT name, "odd ""quote*/" FROM patients WHERE id IN (9, 12) ORDER BY id`); fmt.Sprintf("%s", got) != `[[replicated {"n": 9, "text": "xxxxxxxxx"}] [Ada 12 {"n": 1.00}]]` {
		t.Errorf("late changes: %s", got)
	}
	if res, err := app.Exec(`UPDATE public.patients SET name = 'plain'`); err == nil {
		if n, _ := res.RowsAffected(); n > 0 {
			t.Error("rows can be written without a tenant after the switch")
		}
	}
	if _, err := app.Exec(`SET strongroom.tenant = 'clinic'; UPDATE public.patients SET name = 'plain'`); err == nil || !strings.Contains(err.Error(), "strongroom_sealed_name") {
		t.Errorf("plaintexts can be written after the switch: %v", err)
	}
}

// TestMigrationsState: what is run as the owner's SQL is the owner's, and one migration goes on at a time.
func TestMigrationsState(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	conn, err := m.super.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const lock = 0x7374726f6e67726d
	if _, err := conn.ExecContext(t.Context(), `SELECT pg_advisory_lock($1)`, lock); err != nil {
		t.Fatal(err)
	}
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateExpand); !errors.Is(err, sqldb.ErrMigrating) {
		t.Errorf("two at once: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), `SELECT pg_advisory_unlock($1)`, lock); err != nil {
		t.Fatal(err)
	}
	conn.Close()

	mustExec(t, m.super, `CREATE TABLE strongroom_migration (version int, stage text, plan jsonb); DO $$ BEGIN EXECUTE format('ALTER TABLE strongroom_migration OWNER TO %I', current_database() || '_app'); END $$`)
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateExpand); err == nil || !strings.Contains(err.Error(), "is not the connecting role's") {
		t.Errorf("a state that somebody else made: %v", err)
	}
	mustExec(t, m.super, `DROP TABLE strongroom_migration`)
	m.to(t, sqldb.MigrateExpand)
	if _, err := m.app.Exec(`SELECT plan FROM strongroom_migration`); err == nil {
		t.Error("the application's role reads the state")
	}
	other := m.plan
	other.Tenants = map[string]sqldb.TenantSource{"patients": sqldb.FromConstant(tenantA), "visits": sqldb.FromParent("patient"), `drug "s`: sqldb.FromParent("the visit"), "settings": sqldb.FromConstant(tenantC)}
	if _, err := sqldb.Migrate(t.Context(), other, sqldb.MigrateBackfill); err == nil || !strings.Contains(err.Error(), "another Schema, Options or Tenants") {
		t.Errorf("another declaration half-way: %v", err)
	}
	mustExec(t, m.raw, `GRANT UPDATE ON strongroom_migration TO PUBLIC`)
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateBackfill); err == nil || !strings.Contains(err.Error(), "others may read or write it") {
		t.Errorf("a state that others may write: %v", err)
	}
	mustExec(t, m.raw, `REVOKE UPDATE ON strongroom_migration FROM PUBLIC`)

	// An index whose building was interrupted is there and not valid.
	m.to(t, sqldb.MigrateBackfill)
	mustExec(t, m.super, `CREATE INDEX patients_name_index_blind ON patients (tenant_id, name_index); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'patients_name_index_blind'::regclass`)
	m.to(t, sqldb.MigrateKeys)
	if got := m.one(t, `SELECT bool_and(indisvalid) FROM pg_index`); got != "true" {
		t.Error("an index that is not valid was left")
	}
	// Whoever finds a copy that is not that of its plaintext is told, and nothing goes on.
	mustExec(t, m.raw, `UPDATE patients SET strongroom_new_name = (SELECT strongroom_new_name FROM patients WHERE id = 3) WHERE id = 6`)
	m.log.take()
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateSwitch); !errors.Is(err, storage.ErrIsolation) {
		t.Errorf("a copy of another value: %v", err)
	}
	if !m.log.has(func(e *audit.Event) bool { return e.Code == audit.CodeIsolation }) {
		t.Error("and no alert")
	}
}

// TestMigrationIsRecorded: each batch is an access of its tenant, and without a trail nothing is read.
func TestMigrationIsRecorded(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	m.to(t, sqldb.MigrateExpand)
	m.log.failing(func(e *audit.Event) bool { return e.Code == audit.CodeMigrate })
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateBackfill); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("without a trail: %v", err)
	}
	if got := m.one(t, `SELECT count(strongroom_new_name) FROM patients`); got != "0" {
		t.Errorf("%s values were sealed", got)
	}
	m.log.failing(nil)
	m.log.take()
	m.to(t, sqldb.MigrateBackfill)
	seen := map[tenant.ID]int{}
	for _, e := range m.log.take() {
		if e.Code == audit.CodeMigrate && e.Actor == "operator" && e.Purpose == "moving in" && e.Phase == audit.Intent {
			seen[e.Tenant]++
		}
	}
	if len(seen) != 3 {
		t.Errorf("the trail has %v", seen)
	}
	if err := m.ring.Suspend(t.Context(), tenantB, "test"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, m.app, `UPDATE patients SET name = 'again'`)
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateVerify); err == nil || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("a suspended tenant: %v", err)
	}
}

// TestMigrationPlansProblems: what cannot be moved is named before anything is changed.
func TestMigrationPlansProblems(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	schema := sqldb.Schema{}
	for name, table := range movingSchema {
		schema[name] = table
	}
	schema["odd"] = sqldb.Table{Sealed: sqldb.Columns{"k": sqldb.Text(), "u": sqldb.Text(), "made": sqldb.Text(), "of": sqldb.Int(), "w": sqldb.Text(), "ref": sqldb.Text(), "x": sqldb.Text().Searchable("x_index")}}
	schema["lost"], schema["part"], schema["child"] = sqldb.Table{}, sqldb.Table{}, sqldb.Table{}
	m.plan.Schema = schema
	m.plan.Tenants = map[string]sqldb.TenantSource{
		"patients": sqldb.FromColumn("clinic"), "visits": sqldb.FromParent("patient"), `drug "s`: sqldb.FromParent("the visit"), "settings": sqldb.FromConstant(tenantC),
		"odd": sqldb.FromConstant(tenantA), "lost": sqldb.FromColumn("whose"), "part": sqldb.FromConstant(tenantA), "child": sqldb.FromParent("up"),
	}
	mustExec(t, m.raw, `
		CREATE TABLE codes (k text PRIMARY KEY); CREATE TABLE stranger (id bigint REFERENCES patients (id));
		CREATE TABLE odd (k text PRIMARY KEY, u text UNIQUE, of text, made text GENERATED ALWAYS AS (upper(u)) STORED, w text UNIQUE, ref text REFERENCES codes (k), x text, x_index text);
		CREATE UNIQUE INDEX lowered ON odd (lower(x));
		CREATE TABLE lost (id bigint PRIMARY KEY, whose text); INSERT INTO lost VALUES (1, NULL), (2, NULL), (3, 'nobody'), (4, ' not an id ');
		CREATE TABLE part (id bigint) PARTITION BY LIST (id);
		CREATE TABLE child (id bigint PRIMARY KEY, up bigint REFERENCES child (id), patient bigint REFERENCES patients (id) MATCH FULL, second bigint REFERENCES patients (id) ON UPDATE SET NULL);
		CREATE VIEW seen AS SELECT name FROM patients;
		CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER touched BEFORE UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION touch();
		CREATE TRIGGER "~touched~" BEFORE UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION touch(); GRANT SELECT (name) ON patients TO PUBLIC;
		CREATE RULE nothing AS ON DELETE TO settings DO INSTEAD NOTHING`)
	before := m.dump(t)
	plan, err := sqldb.PlanMigration(t.Context(), m.plan)
	if err != nil {
		t.Fatal(err)
	}
	said := plan.String()
	for _, want := range []string{
		"odd.k: the column is in the primary key", "odd.w: the column is in the unique key odd_w_key", "odd.made: the column is generated", "odd.of: the column has type text",
		"odd.u: a generated column is computed of it", "odd: foreign key odd_ref_fkey refers to table public.codes, which is not declared", "odd.x_index: there is a column of the name", "odd.x: the unique key lowered has the column in an expression",
		"patients: the foreign key stranger_id_fkey of public.stranger, which is not declared", "part: it is partitioned", "child.tenant_id: its tenant is to come from a row of its own table",
		"child: foreign key child_patient_fkey is MATCH FULL", "child: foreign key child_second_fkey sets its columns", "patients: the view public.seen reads it",
		"visits: the trigger touched, which is not declared", "visits: the trigger ~touched~ would fire after", "patients.name: there are privileges on the column alone", "settings: rules rewrite", "patients: the constraint named is over values that will be sealed",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not named", want)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
	var se *sqldb.SchemaError
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateExpand); !errors.As(err, &se) {
		t.Errorf("it went on: %v", err)
	}
	for name := range schema {
		if _, moves := movingSchema[name]; !moves && name != "lost" {
			delete(schema, name)
		}
	}
	mustExec(t, m.raw, `DROP VIEW seen; DROP TABLE child, stranger; DROP TRIGGER touched ON visits; DROP TRIGGER "~touched~" ON visits; REVOKE SELECT (name) ON patients FROM PUBLIC; DROP RULE nothing ON settings`)
	m.plan.Tenants = map[string]sqldb.TenantSource{"patients": sqldb.FromColumn("clinic"), "visits": sqldb.FromParent("patient"), `drug "s`: sqldb.FromParent("the visit"), "settings": sqldb.FromConstant(tenantC), "lost": sqldb.FromColumn("whose")}
	if plan, err = sqldb.PlanMigration(t.Context(), m.plan); err != nil {
		t.Fatal(err)
	}
	said = plan.String()
	for _, want := range []string{"the tenant of 2 rows cannot be told", "what 1 rows give for their tenant is no tenant's id", "1 rows belong to tenants that are not provisioned, or not active: nobody"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not named", want)
		}
	}
	if strings.Contains(said, "not an id ") || t.Failed() {
		t.Error(said)
	}
	mustExec(t, m.raw, `DELETE FROM lost WHERE id > 1; UPDATE lost SET whose = 'clinic'`)
	m.plan.DSN = m.dsn
	if plan, err = sqldb.PlanMigration(t.Context(), m.plan); err == nil && !strings.Contains(plan.String(), "the connecting role does not own it") {
		t.Errorf("not the owner: %v", plan)
	}
	if after := m.dump(t); before == "" || after == "" {
		t.Error("nothing was compared")
	}
}

// TestMigrationMeetsBadData: what is found on the way ends it with where it is and without the value, and can be mended
// or rolled back.
func TestMigrationMeetsBadData(t *testing.T) {
	m := newMoving(t, 20, newRing(t, tenantA, tenantB, tenantC))
	schema := sqldb.Schema{}
	for name, table := range movingSchema {
		schema[name] = table
	}
	patients := movingSchema["patients"]
	patients.Sealed = sqldb.Columns{"name": sqldb.Text().Searchable("name_index"), "born": sqldb.Date(), "ssn": sqldb.Text().Searchable("ssn_index").FoldCase()}
	schema["patients"] = patients
	m.plan.Schema = schema
	fails := func(stage sqldb.MigrateStage, what error, words string) {
		t.Helper()
		_, err := sqldb.Migrate(t.Context(), m.plan, stage)
		if err == nil || what != nil && !errors.Is(err, what) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v; want it to say %q", err, words)
		}
		if err != nil && (strings.Contains(err.Error(), "infinity") || strings.Contains(strings.ToLower(err.Error()), "twice")) {
			t.Errorf("the error has the value: %v", err)
		}
	}
	mustExec(t, m.raw, `UPDATE patients SET born = 'infinity' WHERE id = 7`)
	fails(sqldb.MigrateBackfill, nil, "the value of patients.born in the row at")
	mustExec(t, m.raw, `UPDATE patients SET born = '1999-01-01' WHERE id = 7; UPDATE patients SET ssn = 'TWICE' WHERE id = 3; UPDATE patients SET ssn = 'twice' WHERE id = 6`)
	m.to(t, sqldb.MigrateBackfill)
	fails(sqldb.MigrateKeys, sqldb.ErrDuplicate, "rows of patients hold the same values of one tenant")
	if got := m.one(t, `SELECT bool_and(indisvalid) FROM pg_index`); got != "true" {
		t.Error("an index that is not valid was left")
	}
	mustExec(t, m.raw, `UPDATE patients SET ssn = 'once' WHERE id = 3; UPDATE patients SET mother = 2 WHERE id = 3`)
	fails(sqldb.MigrateKeys, nil, "rows of patients are not as")
	if report, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil || report.Stage != "" {
		t.Fatalf("%+v, %v", report, err)
	}
	mustExec(t, m.raw, `UPDATE patients SET mother = NULL WHERE id = 3`)
	m.to(t, sqldb.MigrateKeys)
	mustExec(t, m.app, `UPDATE patients SET ssn = 'TWICE' WHERE id = 3`) // the database does not know yet
	fails(sqldb.MigrateVerify, sqldb.ErrDuplicate, "what a blind index takes for the same value")
	mustExec(t, m.app, `UPDATE patients SET ssn = 'once' WHERE id = 3`)
	m.to(t, sqldb.MigrateSwitch)
}
