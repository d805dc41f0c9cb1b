package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestMigrationLooksAgainBeforeTheSwitch: days can lie between a plan and the switch, and what the plan refuses can be
// made in them.
func TestMigrationLooksAgainBeforeTheSwitch(t *testing.T) {
	m := newMoving(t, 30, newRing(t, tenantA, tenantB, tenantC))
	m.to(t, sqldb.MigrateVerify)
	for _, c := range []struct{ name, do, want, undo string }{
		{"triggers that were off for a while", `ALTER TABLE patients DISABLE TRIGGER USER; UPDATE patients SET clinic = 'clinic', name = 'late' WHERE id = 4; ALTER TABLE patients ENABLE TRIGGER USER`,
			"trigger", ``},
		{"a view", `CREATE VIEW seen AS SELECT name FROM patients`, "seen reads it", `DROP VIEW seen`},
		{"a function that knows columns by number", `CREATE FUNCTION peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER BEGIN ATOMIC SELECT name FROM patients; END`,
			"peek() reads it", `DROP FUNCTION peek()`},
		{"a privilege on a column of plaintexts", `GRANT SELECT (name) ON patients TO pg_monitor`, "patients.name: there are privileges on the column alone", `REVOKE SELECT (name) ON patients FROM pg_monitor`},
		{"a generated column", `ALTER TABLE patients ADD COLUMN loud text GENERATED ALWAYS AS (upper(name)) STORED`, "patients.name: a generated column is computed of it", `ALTER TABLE patients DROP COLUMN loud`},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustExec(t, m.raw, c.do)
			report, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateSwitch)
			if err == nil || !strings.Contains(err.Error(), c.want) || report.Stage == sqldb.MigrateSwitch {
				t.Errorf("%v; want it to say %q", err, c.want)
			}
			if c.undo == "" { // it begins anew, and finds what was missed
				m.to(t, sqldb.MigrateVerify)
				if got := m.one(t, `SELECT concat_ws('|', p.tenant_id, v.tenant_id) FROM patients p JOIN visits v ON v.patient = p.id WHERE p.id = 4 LIMIT 1`); got != "clinic|clinic" {
					t.Errorf("row 4 is of %s", got)
				}
			}
			if err == nil {
				t.Logf("after the switch: row 4 is %s", m.one(t, `SELECT concat_ws('|', tenant_id, clinic, strongroom_old_name) FROM patients WHERE id = 4`))
				if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
					t.Fatal(err)
				}
				m.to(t, sqldb.MigrateVerify)
			}
			if c.undo != "" {
				mustExec(t, m.raw, c.undo)
			}
		})
	}
}

// TestMigrationFollowsARowThatMovesEarly: a row that moves before it has a tenant leaves those behind that took theirs
// from it already.
func TestMigrationFollowsARowThatMovesEarly(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	mustExec(t, m.raw, `CREATE TABLE beds (id bigint PRIMARY KEY, patient bigint REFERENCES patients (id)); INSERT INTO beds VALUES (1, 4)`)
	m.plan.Schema, m.plan.Tenants = maps.Clone(m.plan.Schema), maps.Clone(m.plan.Tenants)
	m.plan.Schema["beds"], m.plan.Tenants["beds"] = sqldb.Table{}, sqldb.FromParent("patient")
	m.to(t, sqldb.MigrateExpand)
	mustExec(t, m.raw, `UPDATE "drug ""s" SET tenant_id = NULL; UPDATE visits SET tenant_id = NULL; UPDATE beds SET tenant_id = NULL`) // as a backfill that was interrupted leaves it
	mustExec(t, m.app, `UPDATE patients SET clinic = 'clinic' WHERE id = 4`)
	m.to(t, sqldb.MigrateVerify)
	if got := m.one(t, `SELECT concat_ws('|', p.tenant_id, b.tenant_id, v.tenant_id, d.tenant_id) FROM patients p JOIN beds b ON b.patient = p.id JOIN visits v ON v.patient = p.id JOIN "drug ""s" d ON d."the visit" = v.id WHERE p.id = 4 LIMIT 1`); got != "clinic|clinic|clinic|clinic" {
		t.Errorf("the row and what refers to it are of %s", got)
	}
}

// TestMigrationKeepsPrivilegesAsTheyAre: those that were granted or revoked while it ran are as they were left.
func TestMigrationKeepsPrivilegesAsTheyAre(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	may := func(column, privilege string, want string) {
		t.Helper()
		if got := m.one(t, `SELECT has_column_privilege('pg_monitor', 'patients', '`+column+`', '`+privilege+`')`); got != want {
			t.Errorf("%s of %s is %s", privilege, column, got)
		}
	}
	mustExec(t, m.raw, `GRANT INSERT, UPDATE ON patients TO pg_monitor`)
	m.to(t, sqldb.MigrateVerify)
	mustExec(t, m.raw, `REVOKE UPDATE ON patients FROM pg_monitor; GRANT SELECT ON patients TO pg_monitor`)
	m.to(t, sqldb.MigrateSwitch)
	may("strongroom_old_name", "SELECT", "false")
	may("name", "SELECT", "true")
	may("name", "INSERT", "true")
	may("name", "UPDATE", "false")
	mustExec(t, m.raw, `REVOKE INSERT ON patients FROM pg_monitor`)
	m.to(t, sqldb.MigrateDrop)
	may("name", "SELECT", "true")
	may("name", "INSERT", "false")
	may("name", "UPDATE", "false")
}

// TestRollbackGivesNoRowAway: a row whose tenant is another than where it was to come from would be another tenant's
// when the tenant column is gone.
func TestRollbackGivesNoRowAway(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	m.to(t, sqldb.MigrateSwitch)
	e := m.open(t)
	for _, c := range []struct{ insert, remove string }{
		{`INSERT INTO patients (id, clinic, name) VALUES (777, 'clinic', 'of B')`, `DELETE FROM patients WHERE id = 777`},
		{`INSERT INTO settings (key, value) VALUES ('secret', 'of B')`, `DELETE FROM settings WHERE key = 'secret'`},
	} {
		e.exec(t, tenantB, c.insert)
		if report, err := sqldb.RollbackMigration(t.Context(), m.plan); !errors.Is(err, storage.ErrIsolation) || report.Stage != sqldb.MigrateSwitch {
			t.Fatalf("%s: %+v, %v", c.insert, report, err)
		}
		e = m.open(t)
		e.exec(t, tenantB, c.remove)
	}
	// What has no place in the tables of before would be lost.
	e.exec(t, tenantA, `UPDATE patients SET extra = 'kept' WHERE id = 3`)
	if report, err := sqldb.RollbackMigration(t.Context(), m.plan); err == nil || report.Stage != sqldb.MigrateSwitch {
		t.Fatalf("a value of an added column: %+v, %v", report, err)
	}
	e = m.open(t)
	e.exec(t, tenantA, `UPDATE patients SET extra = NULL WHERE id = 3`)
	if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
		t.Fatal(err)
	}
	sameDump(t, m.before, m.dump(t))
}

// TestMigrationWaitsForNoRow: a batch locks its rows from before it reads them, and passes over those of others.
func TestMigrationWaitsForNoRow(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	m.to(t, sqldb.MigrateKeys)
	mustExec(t, m.app, `UPDATE patients SET name = 'again'`)
	tx, err := m.app.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`SELECT FROM patients WHERE id = 3 FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := sqldb.Migrate(ctx, m.plan, sqldb.MigrateVerify); err != nil {
		t.Fatal(err)
	}
	if got := m.one(t, `SELECT string_agg(id::text, ',') FROM patients WHERE strongroom_new_name IS NULL`); got != "3" {
		t.Errorf("not sealed are %s", got)
	}
}

// TestMigrationGivesUpFirst: who wants a table that the migration has locked, or waits for, waits behind it. Where the
// migration goes on to wait for what that one has, PostgreSQL ends whichever has waited for a second first.
func TestMigrationGivesUpFirst(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	m.to(t, sqldb.MigrateVerify)
	begin := func(lock string) *sql.Tx {
		tx, err := m.app.Begin()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tx.Rollback() })
		if _, err := tx.Exec(lock); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	first, last := begin(`LOCK TABLE patients IN ROW EXCLUSIVE MODE`), begin(`LOCK TABLE visits IN ROW EXCLUSIVE MODE`)
	migrated := make(chan error, 1)
	go func() {
		_, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateSwitch)
		migrated <- err
	}()
	// Long enough for each of its tries to be made once.
	waits := `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'patients'::regclass AND mode = 'AccessExclusiveLock'
		AND clock_timestamp() - waitstart > interval '550 ms')`
	for began, long := time.Now(), false; !long && time.Since(began) < 4*time.Second; time.Sleep(10 * time.Millisecond) {
		if err := m.super.QueryRow(waits).Scan(&long); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan error, 1)
	go func() {
		_, err := last.Exec(`SELECT FROM patients`)
		read <- err
	}()
	time.Sleep(100 * time.Millisecond) // it waits, or has read
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-read, last.Commit()); err != nil {
		t.Errorf("the application's transaction failed: %v", err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	m.open(t)
}

// TestPlaintextsAreNotSeenByTriggers: a trigger sees whole rows, whatever columns its maker may read. Many an application's
// role was granted everything.
func TestPlaintextsAreNotSeenByTriggers(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	mustExec(t, m.raw, `DO $$ BEGIN EXECUTE format('GRANT ALL ON patients TO %I', current_database() || '_app'); END $$`)
	m.to(t, sqldb.MigrateSwitch)
	app := openPool(t, m.dsn)
	app.SetMaxOpenConns(1)
	_, err := app.Exec(`SET strongroom.tenant = 'clinic'; CREATE TEMP TABLE caught (name text);
		CREATE FUNCTION pg_temp.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO pg_temp.caught VALUES (OLD.strongroom_old_name); RETURN NEW; END $$;
		CREATE TRIGGER look BEFORE UPDATE ON public.patients FOR EACH ROW EXECUTE FUNCTION pg_temp.look(); UPDATE public.patients SET ward = ward`)
	if err == nil {
		var name string
		err := app.QueryRow(`SELECT min(name) FROM caught`).Scan(&name)
		t.Errorf("the application's role reads %q, %v", name, err)
	}
	m.open(t)
	mustExec(t, m.raw, `DO $$ BEGIN EXECUTE format('GRANT TRIGGER ON patients TO %I', current_database() || '_app'); END $$`)
	if err := openErr(t, m.dsn, movingSchema, nil); err == nil || !strings.Contains(err.Error(), "make a trigger that does") {
		t.Errorf("it opens for a role that may make triggers: %v", err)
	}
	if report, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
		t.Errorf("%+v, %v", report, err)
	}
	if got := m.one(t, `SELECT has_table_privilege(current_database() || '_app', 'patients', 'TRIGGER') AND has_table_privilege(current_database() || '_app', 'patients', 'TRUNCATE')`); got != "true" {
		t.Error("the privileges are not back")
	}
	// After the last stage there is nothing to go back to, and Open refuses a role that has them.
	m.to(t, sqldb.MigrateDrop)
	m.open(t)
	if got := m.one(t, `SELECT has_table_privilege(current_database() || '_app', 'patients', 'SELECT, UPDATE') AND NOT has_table_privilege(current_database() || '_app', 'patients', 'TRIGGER, TRUNCATE, REFERENCES')`); got != "true" {
		t.Error("the privileges are not what they were, without those that row-level security does not bind")
	}
}

// TestMigrationSeesAllRows: row-level security that somebody turns on meanwhile must not hide rows that are to be sealed.
func TestMigrationSeesAllRows(t *testing.T) {
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	m := &moving{raw: raw, app: openPool(t, dsn), super: openBare(t, super), dsn: dsn, ring: newRing(t, tenantA), log: &recorder{}}
	mustExec(t, raw, `CREATE TABLE things (id bigint PRIMARY KEY, tenant_id text COLLATE "C" NOT NULL, name text); INSERT INTO things VALUES (1, 'clinic', 'kept')`)
	schema := sqldb.Schema{"things": {Sealed: sqldb.Columns{"name": sqldb.Text()}}}
	m.plan = sqldb.Migration{DSN: ownerURL(dsn), Schema: schema, Guard: storage.Guard{Keys: m.ring, Audit: m.log}, Actor: "operator", Purpose: "moving in"}
	m.to(t, sqldb.MigrateExpand)
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	if report, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateDrop); err == nil {
		t.Errorf("%+v; of the values that there were, %s is left sealed", report, m.one(t, `SELECT count(name) FROM things`))
		return
	}
	mustExec(t, raw, `ALTER TABLE things NO FORCE ROW LEVEL SECURITY`)
	m.to(t, sqldb.MigrateDrop)
	if got := m.one(t, `SELECT count(name) FROM things`); got != "1" {
		t.Errorf("%s values are left", got)
	}
}
