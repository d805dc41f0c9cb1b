package sqldb_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// liteTables is an application that scopes nothing, in a SQLite file.
const liteTables = `
	CREATE TABLE clinics (id TEXT PRIMARY KEY, title);
	CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT NOT NULL);
	CREATE TABLE patients (id INTEGER PRIMARY KEY AUTOINCREMENT, clinic TEXT NOT NULL REFERENCES clinics (id), name TEXT NOT NULL CHECK (length(name) > 0), ssn VARCHAR(40) UNIQUE,
		born DATE, balance NUMERIC, [odd "quote*/] TEXT, mother INTEGER REFERENCES patients, country TEXT DEFAULT 'is' REFERENCES countries, ward TEXT COLLATE NOCASE DEFAULT 'east',
		loud TEXT GENERATED ALWAYS AS (upper(ward)) VIRTUAL, CONSTRAINT warded CHECK (ward <> ''));
	CREATE INDEX by_name ON patients (name);
	CREATE INDEX by_ward ON patients (ward, id DESC) WHERE ward <> 'O''Neil';
	CREATE UNIQUE INDEX once ON patients (ward, id);
	CREATE TABLE visits (id INTEGER PRIMARY KEY, patient INTEGER NOT NULL, code TEXT, note TEXT, at TIMESTAMP, UNIQUE (patient, code) ON CONFLICT REPLACE,
		CONSTRAINT of_patient FOREIGN KEY (patient) REFERENCES patients (id) ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
	CREATE INDEX of_whom ON visits (patient);
	CREATE TABLE "drug ""s" (id TEXT PRIMARY KEY, "the visit" INTEGER NOT NULL REFERENCES visits (id) ON DELETE CASCADE ON UPDATE CASCADE, dose REAL, secret BLOB, flag BOOLEAN);
	CREATE INDEX of_which ON "drug ""s" ("the visit");
	CREATE TABLE lines (note TEXT, n INT);
	CREATE TABLE pairs (a INTEGER, b INTEGER, what TEXT, patient INTEGER, code TEXT, PRIMARY KEY (a, b), FOREIGN KEY (patient, code) REFERENCES visits (patient, code) ON DELETE CASCADE ON UPDATE CASCADE);
	INSERT INTO countries VALUES ('is', 'Iceland'), ('fo', 'Føroyar');
	INSERT INTO clinics VALUES ('clinic', 'A'), ('Clinic', 'B'), ('clinic-b', 3);
	INSERT INTO lines VALUES ('one', 1), (NULL, 2), ('one', 1)`

// liteRows adds patients with numbers from one to another, two visits each, a drug and a pair.
func liteRows(t *testing.T, db *sql.DB, from, to int) {
	t.Helper()
	for _, statement := range []string{fmt.Sprintf(`
		INSERT INTO patients (id, clinic, name, ssn, born, balance, "odd ""quote*/", country, ward)
		WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		SELECT i, CASE i %% 3 WHEN 0 THEN 'clinic' WHEN 1 THEN 'Clinic' ELSE 'clinic-b' END, 'Ada ' || i, CASE WHEN i %% 7 > 0 THEN 'ssn-' || i END, CASE WHEN i %% 5 > 0 THEN date('1912-06-23', '+' || (i %% 20000) || ' days') END, i / 4.0,
			CASE WHEN i %% 4 > 0 THEN json_object('n', i) END, CASE WHEN i %% 2 = 0 THEN 'is' END, CASE WHEN i %% 3 > 0 THEN 'west' ELSE 'O''Neil' END FROM n`, from, to),
		fmt.Sprintf(`INSERT INTO visits (patient, code, note, at) SELECT p.id, 'c' || n.value, CASE WHEN n.value = 1 THEN 'seen ' || p.id END, datetime('2020-01-01', '+' || p.id || ' hours') FROM patients p, json_each('[1, 2]') n WHERE p.id BETWEEN %d AND %d`, from, to),
		`INSERT OR IGNORE INTO "drug ""s" SELECT 'd' || id, id, id / 2.0, CAST('x' || id AS BLOB), id % 3 = 0 FROM visits WHERE id % 2 = 0`,
		`INSERT OR IGNORE INTO pairs SELECT id, id + 1, 'pair ' || id, patient, code FROM visits WHERE id % 4 = 0`,
		`UPDATE patients SET mother = (SELECT min(m.id) FROM patients m WHERE m.clinic = patients.clinic) WHERE id % 3 = 0`,
	} {
		mustExec(t, db, statement)
	}
}

var liteSchema = sqldb.Schema{
	"clinics":   {TenantColumn: "id"},
	"countries": {Shared: true},
	"patients": {Sealed: sqldb.Columns{
		"name": sqldb.Text().Searchable("name_index"), "ssn": sqldb.Text().Searchable("ssn_index"), "born": sqldb.Date().Searchable("born_index"),
		"balance": sqldb.Numeric(), `odd "quote*/`: sqldb.JSON(), "extra": sqldb.Text(),
	}},
	"visits":  {Sealed: sqldb.Columns{"note": sqldb.Text(), "at": sqldb.Time()}},
	`drug "s`: {Sealed: sqldb.Columns{"secret": sqldb.Bytes(), "dose": sqldb.Float(), "flag": sqldb.Bool()}},
	"lines":   {Sealed: sqldb.Columns{"note": sqldb.Text()}},
	"pairs":   {Sealed: sqldb.Columns{"what": sqldb.Text()}},
}

func liteMigration(dsn string, guard storage.Guard) sqldb.Migration {
	return sqldb.Migration{
		DSN: dsn, Schema: liteSchema, Guard: guard, Actor: "operator", Purpose: "moving in",
		Tenants: map[string]sqldb.TenantSource{
			"patients": sqldb.FromColumn("clinic"), "visits": sqldb.FromParent("patient"), `drug "s`: sqldb.FromParent("the visit"),
			"lines": sqldb.FromConstant(tenantC), "pairs": sqldb.FromParent("code", "patient"),
		},
	}
}

// newLite is a SQLite file that moves in.
func newLite(t *testing.T, rows int, ring *keys.Keyring) *moving {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(60000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	m := &moving{raw: raw, app: raw, super: raw, dsn: "sqlite:" + path, ring: ring, log: &recorder{}}
	mustExec(t, raw, liteTables)
	liteRows(t, raw, 1, rows)
	m.plan = liteMigration(m.dsn, storage.Guard{Keys: ring, Audit: m.log})
	m.before = m.liteDump(t)
	return m
}

var liteDump = []string{
	`SELECT * FROM clinics ORDER BY id`, `SELECT rowid, * FROM patients ORDER BY id`, `SELECT rowid, * FROM visits ORDER BY id`, `SELECT rowid, * FROM "drug ""s" ORDER BY id`, `SELECT rowid, * FROM lines ORDER BY 1`, `SELECT rowid, * FROM pairs ORDER BY a`,
	`SELECT id, typeof(name), typeof(ssn), born, typeof(balance), "odd ""quote*/" FROM patients ORDER BY id`, `SELECT id, typeof(at), at || '' FROM visits ORDER BY id`,
	`SELECT type, name, tbl_name, replace(sql, '"', '') FROM sqlite_schema ORDER BY type, name`, `SELECT name, seq FROM sqlite_sequence`,
}

func (m *moving) liteDump(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, query := range liteDump {
		rows, err := m.raw.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		all, err := collect(rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range all {
			fmt.Fprintf(&b, "%q\n", fmt.Sprint(row...))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// openLite opens the file with the guard.
func (m *moving) openLite(t *testing.T) *env {
	t.Helper()
	guard := storage.Guard{Keys: m.ring, Audit: m.log}
	db, err := sqldb.Open(t.Context(), m.dsn, liteSchema, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &env{dialect: dialect.SQLite, db: db, raw: m.raw, dsn: m.dsn, ring: m.ring, log: m.log, guard: guard}
}

var liteReads = [][2]string{
	{`SELECT id, name, ssn, born, balance, "odd ""quote*/", mother, country, ward FROM patients WHERE clinic = ?1 ORDER BY id`, `SELECT id, name, ssn, born, balance, "odd ""quote*/", mother, country, ward FROM patients ORDER BY id`},
	{`SELECT id, patient, code, note, at FROM visits WHERE patient IN (SELECT id FROM patients WHERE clinic = ?1) ORDER BY id`, `SELECT id, patient, code, note, at FROM visits ORDER BY id`},
	{`SELECT id, "the visit", dose, secret, iif(flag, 'true', 'false') FROM "drug ""s" WHERE "the visit" IN (SELECT v.id FROM visits v JOIN patients p ON p.id = v.patient WHERE p.clinic = ?1) ORDER BY id`, `SELECT id, "the visit", dose, secret, flag FROM "drug ""s" ORDER BY id`},
	{`SELECT a, b, what, patient, code FROM pairs WHERE patient IN (SELECT id FROM patients WHERE clinic = ?1) ORDER BY a`, `SELECT a, b, what, patient, code FROM pairs ORDER BY a`},
}

func (m *moving) litePlain(t *testing.T) map[tenant.ID]string {
	t.Helper()
	out := map[tenant.ID]string{}
	for _, id := range []tenant.ID{tenantA, tenantB, tenantC} {
		for _, query := range liteReads {
			rows, err := m.raw.Query(query[0], id.String())
			if err != nil {
				t.Fatal(err)
			}
			all, err := collect(rows)
			if err != nil || len(all) == 0 {
				t.Fatal(id, query[0], len(all), err)
			}
			out[id] += fingerprint(all)
		}
	}
	return out
}

func (e *env) liteGuarded(t *testing.T) map[tenant.ID]string {
	t.Helper()
	out := map[tenant.ID]string{}
	for _, id := range []tenant.ID{tenantA, tenantB, tenantC} {
		for _, query := range liteReads {
			out[id] += fingerprint(e.rows(t, id, query[1]))
		}
	}
	return out
}

// TestMigrateSQLite moves a SQLite file in, stage by stage.
func TestMigrateSQLite(t *testing.T) {
	m := newLite(t, 300, newRing(t, tenantA, tenantB, tenantC))
	want := m.litePlain(t)
	plan, err := sqldb.PlanMigration(t.Context(), m.plan)
	if err != nil || len(plan.Problems) > 0 {
		t.Fatal(err, plan)
	}
	sameDump(t, m.before, m.liteDump(t))
	text := plan.String()
	for _, part := range []string{"stage expand", "stage backfill", "stage keys", "stage verify", "stage switch", "stage drop", "CREATE TRIGGER", "RENAME TO", "about 600 rows", "by_name is over values that will be sealed", "numbers rows by itself no more"} {
		if !strings.Contains(text, part) {
			t.Errorf("the plan does not say %q", part)
		}
	}
	for _, stage := range []sqldb.MigrateStage{sqldb.MigrateExpand, sqldb.MigrateBackfill, sqldb.MigrateKeys, sqldb.MigrateVerify} {
		m.to(t, stage)
		sameReads(t, want, m.litePlain(t)) // the application goes on
		mustExec(t, m.raw, `UPDATE patients SET name = name || '' WHERE id < 10`)
	}
	report := m.to(t, sqldb.MigrateSwitch)
	if report.Sealed == 0 {
		t.Errorf("what was written since was not sealed: %+v", report)
	}
	e := m.openLite(t)
	sameReads(t, want, e.liteGuarded(t))
	if got := e.rows(t, tenantC, `SELECT note, n FROM lines ORDER BY n`); fmt.Sprint(got) != "[[one 1] [one 1] [<nil> 2]]" {
		t.Errorf("lines: %v", got)
	}
	if got := e.rows(t, tenantB, `SELECT name FROM patients WHERE ssn = $1`, "ssn-1"); fmt.Sprint(got) != "[[Ada 1]]" {
		t.Errorf("by its index: %v", got)
	}
	if got := e.rows(t, tenantA, `SELECT name FROM patients WHERE ssn = $1`, "ssn-1"); len(got) != 0 {
		t.Errorf("another tenant's: %v", got)
	}
	var refused *sqldb.RefusedError
	if _, err := e.tryRows(as(tenantA), `SELECT * FROM strongroom_old_patients`); !errors.As(err, &refused) {
		t.Errorf("the plaintexts through the guard: %v", err)
	}
	// Two tenants can have the same key now, and rows are tied to the tenant's own.
	e.exec(t, tenantA, `INSERT INTO patients (id, clinic, name, ssn) VALUES (1000001, 'clinic', 'new', 'ssn-new')`)
	e.exec(t, tenantB, `INSERT INTO patients (id, clinic, name, ssn) VALUES (1000001, 'Clinic', 'new', 'ssn-new')`)
	for what, statement := range map[string]string{
		"a unique key over a sealed column": `INSERT INTO patients (id, clinic, name, ssn) VALUES (5, 'clinic', 'twice', 'ssn-new')`,
		"NOT NULL":                          `INSERT INTO patients (id, clinic, ssn) VALUES (5, 'clinic', 'nameless')`,
		"NOT NULL of what was the rowid":    `INSERT INTO patients (clinic, name) VALUES ('clinic', 'numberless')`,
		"a CHECK":                           `INSERT INTO patients (id, clinic, name, ward) VALUES (5, 'clinic', 'x', '')`,
		"a foreign key to another tenant's": `INSERT INTO patients (id, clinic, name, mother) VALUES (5, 'clinic', 'stranger', 1)`,
		"a composite foreign key":           `INSERT INTO pairs (a, b, patient, code) VALUES (5, 5, 3, 'no such')`,
		"one to another tenant's":           `INSERT INTO pairs (a, b, patient, code) VALUES (5, 5, 1, 'c1')`,
		"a foreign key to a shared table":   `INSERT INTO patients (id, clinic, name, country) VALUES (5, 'clinic', 'x', 'nowhere')`,
	} {
		if _, err := e.db.ExecContext(as(tenantA), statement); err == nil {
			t.Errorf("%s does not hold", what)
		}
	}
	e.exec(t, tenantA, `DELETE FROM patients WHERE id = 1000001`)
	e.exec(t, tenantB, `DELETE FROM patients WHERE id = 1000001`)
	if report := m.to(t, sqldb.MigrateDrop); len(report.Notes) == 0 {
		t.Error("nothing says where the plaintexts still are")
	}
	sameReads(t, want, m.openLite(t).liteGuarded(t))
	rows, err := m.raw.Query(`SELECT name FROM sqlite_schema WHERE name LIKE '%strongroom%' OR name LIKE 'by\_%' ESCAPE '\' OR name LIKE 'o%' ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := collect(rows); err != nil || fmt.Sprint(left) != "[[by_ward] [of_which] [of_whom] [once]]" {
		t.Errorf("%v are there, %v", left, err)
	}
	if report, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateDrop); err != nil || report.Stage != sqldb.MigrateDrop {
		t.Errorf("once more: %+v, %v", report, err)
	}
	if plan, err := sqldb.PlanMigration(t.Context(), m.plan); err != nil || plan.Stage != sqldb.MigrateDrop || len(plan.Problems)+len(plan.Steps) > 0 {
		t.Errorf("planned once more: %+v, %v", plan, err)
	}
	if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err == nil {
		t.Error("what was dropped is rolled back")
	}
}

// TestMigrateSQLiteBack: from each stage but the last the way back leads to what was there.
func TestMigrateSQLiteBack(t *testing.T) {
	for _, stage := range []sqldb.MigrateStage{sqldb.MigrateExpand, sqldb.MigrateBackfill, sqldb.MigrateKeys, sqldb.MigrateVerify, sqldb.MigrateSwitch} {
		t.Run(string(stage), func(t *testing.T) {
			m := newLite(t, 60, newRing(t, tenantA, tenantB, tenantC))
			m.to(t, stage)
			if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
				t.Fatal(err)
			}
			sameDump(t, m.before, m.liteDump(t))
			if stage != sqldb.MigrateSwitch {
				return
			}
			m.to(t, stage)
			e := m.openLite(t)
			// What is written behind the guard is there as plaintexts after it.
			e.exec(t, tenantA, `UPDATE patients SET name = 'Grace', born = NULL, balance = '7.50' WHERE id = 3`)
			e.exec(t, tenantA, `DELETE FROM patients WHERE id = 6`)
			e.exec(t, tenantB, `INSERT INTO patients (id, clinic, name, ssn, born) VALUES (900, 'Clinic', 'new', 'ssn-900', '2001-02-03')`)
			e.exec(t, tenantB, `INSERT INTO visits (id, patient, code, note, at) VALUES (900, 900, 'c', 'noted', '2020-02-02T02:02:02Z')`)
			mustExec(t, m.raw, `VACUUM`)
			e.db.Close()
			report, err := sqldb.RollbackMigration(t.Context(), m.plan)
			if err != nil || report.Unsealed == 0 || report.Unsealed > 10 {
				t.Fatal(report, err)
			}
			rows, err := m.raw.Query(`SELECT p.id, p.name, p.ssn, p.born || '', p.balance, v.note, v.at || '' FROM patients p LEFT JOIN visits v ON v.patient = p.id WHERE p.id IN (3, 6, 900) AND coalesce(v.code, '') <> 'c2' ORDER BY p.id`)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := collect(rows); err != nil || fmt.Sprint(got) != "[[3 Grace ssn-3 <nil> 7.5 seen 3 2020-01-01 03:00:00] [900 new ssn-900 2001-02-03 <nil> noted 2020-02-02 02:02:02Z]]" {
				t.Errorf("%v, %v", got, err)
			}
			// What would lose something is refused, and changes nothing.
			for what, statements := range map[string][2]string{
				"values of a new column":       {`UPDATE patients SET extra = 'kept' WHERE id = 3`, `UPDATE patients SET extra = NULL WHERE id = 3`},
				"a tenant that is not so":      {`UPDATE patients SET clinic = 'Clinic' WHERE id = 3`, `UPDATE patients SET clinic = 'clinic' WHERE id = 3`},
				"a key that two tenants share": {`INSERT INTO patients (id, clinic, name) VALUES (1, 'clinic', 'twin')`, `DELETE FROM patients WHERE id = 1`},
			} {
				m.to(t, stage)
				e := m.openLite(t)
				e.exec(t, tenantA, statements[0])
				if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err == nil {
					t.Errorf("%s: rolled back", what)
					continue
				}
				e.exec(t, tenantA, statements[1])
				e.db.Close()
				if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
					t.Errorf("%s, after that was undone: %v", what, err)
				}
			}
		})
	}
}
