package sqldb_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestMigrateSQLiteRefused: what would leak, be lost or not fit afterwards is a problem of the plan, with what to do, and the
// file stays as it is.
func TestMigrateSQLiteRefused(t *testing.T) {
	ring := newRing(t, tenantA, tenantB)
	for _, c := range []struct{ ddl, want string }{
		{`CREATE VIEW v AS SELECT * FROM things`, "the view v names it"},
		{`CREATE TRIGGER x AFTER INSERT ON things BEGIN SELECT 1; END`, "the trigger x names it"},
		{`CREATE TABLE o (a); CREATE TRIGGER x AFTER INSERT ON o BEGIN INSERT INTO "THINGS" (id) VALUES (NEW.a); END`, "the trigger x names it"},
		{`CREATE TABLE o (a REFERENCES Things (id))`, "a foreign key of o"},
		{`DROP TABLE things; CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT) WITHOUT ROWID`, "WITHOUT ROWID"},
		{`DROP TABLE things; CREATE VIEW things AS SELECT 1 AS id, 'a' AS whose, 'b' AS name`, "it is a view"},
		{`DROP TABLE things; CREATE TABLE things (id INTEGER, whose TEXT, name TEXT PRIMARY KEY)`, "sealed values cannot tell rows apart"},
		{`DROP TABLE things; CREATE TABLE things (id INTEGER, whose TEXT, name TEXT, PRIMARY KEY (id, name))`, "sealed values cannot tell rows apart"},
		{`DROP TABLE things; CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT UNIQUE)`, "declare it Searchable"},
		{`CREATE UNIQUE INDEX u ON things (lower(name))`, "over an expression"},
		{`CREATE UNIQUE INDEX u ON things (id) WHERE name > 'a'`, "over an expression, or its condition"},
		{`DROP TABLE things; CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT, low TEXT AS (lower(name)))`, "would keep what it holds in the clear"},
		{`DROP TABLE things; CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT, up INTEGER REFERENCES things ON DELETE SET NULL)`, "the tenant column among them"},
		{`CREATE TABLE strangers (id INTEGER PRIMARY KEY); DROP TABLE things; CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT, up INTEGER REFERENCES strangers)`, "not declared by that name"},
		{`INSERT INTO things VALUES (5, 'clinic', x'00')`, "1 values are stored as what the declared type is not made of"},
		{`INSERT INTO things VALUES (5, NULL, 'x')`, "the tenant of 1 rows cannot be told"},
		{`INSERT INTO things VALUES (5, 'not an id ', 'x')`, "is no tenant's id"},
		{`INSERT INTO things VALUES (5, 'unknown', 'x')`, "not provisioned, or not active: unknown"},
		{`DROP TABLE things`, "not in the database"},
		{`CREATE INDEX things_name_index_blind ON things (id)`, ""},
		{`CREATE TABLE strongroom_old_things (a)`, "one of a migration's own"},
	} {
		raw, dsn, _ := newRaw(t, dialect.SQLite)
		mustExec(t, raw, `CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT); INSERT INTO things VALUES (1, 'clinic', 'a'), (2, 'Clinic', 'b')`)
		mustExec(t, raw, c.ddl)
		raw.Close()
		path := strings.TrimPrefix(dsn, "sqlite:")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := sqldb.Migration{DSN: dsn, Schema: sqldb.Schema{"things": {Sealed: sqldb.Columns{"name": sqldb.Text()}}}, Guard: storage.Guard{Keys: ring, Audit: &recorder{}},
			Tenants: map[string]sqldb.TenantSource{"things": sqldb.FromColumn("whose")}, Actor: "operator", Purpose: "moving in"}
		plan, err := sqldb.PlanMigration(t.Context(), m)
		if err != nil {
			t.Errorf("%s: %v", c.ddl, err)
			continue
		}
		if c.want == "" {
			if len(plan.Problems) > 0 {
				t.Errorf("%s: %s", c.ddl, plan)
			}
			continue
		}
		if !strings.Contains(plan.String(), c.want) || len(plan.Steps) > 0 {
			t.Errorf("%s: %s", c.ddl, plan)
		}
		var refused *sqldb.SchemaError
		if _, err := sqldb.Migrate(t.Context(), m, sqldb.MigrateDrop); !errors.As(err, &refused) {
			t.Errorf("%s: %v", c.ddl, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
			t.Errorf("%s: the file was changed, %v", c.ddl, err)
		}
	}
}

// TestMigrateSQLiteMeanwhile: what others do to the file between two stages is noticed, or does no harm.
func TestMigrateSQLiteMeanwhile(t *testing.T) {
	ring := newRing(t, tenantA, tenantB, tenantC)
	for _, c := range []struct {
		name, do string
		after    sqldb.MigrateStage
		want     string // of the error; empty where it goes on
		undo     string
	}{
		// Rowids tell which copy is whose, and VACUUM gives others.
		{"vacuum", `DELETE FROM "drug ""s" WHERE id IN ('d2', 'd6'); DELETE FROM lines WHERE n = 2; VACUUM`, sqldb.MigrateVerify, "", ""},
		{"vacuum early", `DELETE FROM pairs WHERE a < 20; VACUUM`, sqldb.MigrateBackfill, "", ""},
		{"another table", `CREATE TABLE other (a); CREATE INDEX other_a ON other (a)`, sqldb.MigrateKeys, "", ""},
		{"a column", `ALTER TABLE patients ADD COLUMN nick TEXT`, sqldb.MigrateKeys, "was changed since it began", ""},
		{"a trigger of the migration", `DROP TRIGGER ` + `"strongroom_migrate_%"`, sqldb.MigrateVerify, "was changed since it began", ""},
		{"a view", `CREATE VIEW v AS SELECT * FROM patients`, sqldb.MigrateVerify, "the view v names it", `DROP VIEW v`},
		{"a row that takes another's place", `INSERT OR REPLACE INTO patients (id, clinic, name, ssn) VALUES (1000, 'clinic', 'thief', 'ssn-1')`, sqldb.MigrateVerify, "", ""},
		{"all rows of a table", `DELETE FROM lines`, sqldb.MigrateVerify, "", ""},
		{"values that are exchanged", `UPDATE patients SET ssn = 'swap' WHERE id = 9; UPDATE patients SET ssn = 'ssn-9' WHERE id = 3; UPDATE patients SET ssn = 'ssn-3' WHERE id = 9`, sqldb.MigrateVerify, "", ""},
		{"an orphan", `PRAGMA foreign_keys = OFF; INSERT INTO visits (id, patient, note) VALUES (5000, 77777, 'lost'); PRAGMA foreign_keys = ON`, sqldb.MigrateVerify, "1 rows of visits have no tenant", `DELETE FROM visits WHERE id = 5000`},
		{"another tenant's row", `UPDATE patients SET mother = (SELECT min(id) FROM patients WHERE clinic = 'Clinic') WHERE id = 3`, sqldb.MigrateVerify, "rows refer to rows that are another tenant's", `UPDATE patients SET mother = NULL WHERE id = 3`},
		{"what is no time", `UPDATE visits SET at = 'yesterday' WHERE id = 7`, sqldb.MigrateBackfill, "the value of visits.at in the row with the rowid 7 of tenant", `UPDATE visits SET at = '2020-01-01T00:00:00Z' WHERE id = 7`},
		{"a damaged copy", `UPDATE "strongroom_migrate_%" SET "note" = randomblob(60) WHERE "note" IS NOT NULL`, sqldb.MigrateKeys, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newLite(t, 60, ring)
			m.to(t, c.after)
			for _, statement := range strings.Split(c.do, "; ") {
				if strings.Contains(statement, "strongroom_migrate_%") {
					kind, of := "trigger", "patients"
					if strings.HasPrefix(statement, "UPDATE") {
						kind, of = "table", ""
					}
					var name string
					if err := m.raw.QueryRow(`SELECT name FROM sqlite_schema WHERE type = ?1 AND (tbl_name = ?2 OR ?2 = '') AND name LIKE 'strongroom\_migrate\_%' ESCAPE '\' AND (?1 = 'trigger' OR sql LIKE '%strongroom_sealed_note%' AND sql LIKE '%"patient"%')`, kind, of).Scan(&name); err != nil {
						t.Fatal(err)
					}
					statement = strings.ReplaceAll(statement, "strongroom_migrate_%", name)
					if kind == "table" {
						mustExec(t, m.raw, `PRAGMA ignore_check_constraints = ON`)
					}
				}
				mustExec(t, m.raw, statement)
			}
			_, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateSwitch)
			if c.name == "a damaged copy" {
				if !errors.Is(err, storage.ErrIsolation) || !strings.Contains(err.Error(), "visits.note") {
					t.Fatal(err)
				}
				mustExec(t, m.raw, `UPDATE visits SET note = note`)
				m.to(t, sqldb.MigrateSwitch)
				return
			}
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v", err)
				}
				if c.undo == "" { // the way back is open
					if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
						t.Fatal(err)
					}
					return
				}
				mustExec(t, m.raw, c.undo)
				_, err = sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateSwitch)
			}
			if err != nil {
				t.Fatal(err)
			}
			// What was there is kept aside, and is what is read now.
			for _, table := range []string{"patients", "visits", `drug ""s`, "lines", "pairs"} {
				rows, err := m.raw.Query(fmt.Sprintf(`SELECT count(*) FROM "strongroom_old_%[1]s" o JOIN "%[1]s" n ON n.rowid = o.rowid UNION ALL SELECT count(*) FROM "strongroom_old_%[1]s" UNION ALL SELECT count(*) FROM "%[1]s"`, table))
				if err != nil {
					t.Fatal(err)
				}
				if n, err := collect(rows); err != nil || fmt.Sprint(n[0]) != fmt.Sprint(n[1]) || fmt.Sprint(n[1]) != fmt.Sprint(n[2]) {
					t.Errorf("%s: %v rows match, %v", table, n, err)
				}
			}
			e := m.openLite(t)
			for query, old := range map[string]string{
				`SELECT id, name, ssn FROM patients`: `SELECT id, name, ssn FROM strongroom_old_patients ORDER BY id`,
				`SELECT id, note FROM visits`:        `SELECT id, note FROM strongroom_old_visits ORDER BY id`,
				`SELECT id, secret FROM "drug ""s"`:  `SELECT id, secret FROM "strongroom_old_drug ""s" ORDER BY id`,
				`SELECT a, what FROM pairs`:          `SELECT a, what FROM strongroom_old_pairs ORDER BY a`,
			} {
				got := map[string]bool{}
				for _, row := range append(append(e.rows(t, tenantA, query), e.rows(t, tenantB, query)...), e.rows(t, tenantC, query)...) {
					got[fingerprint([][]any{row})] = true
				}
				rows, err := m.raw.Query(old)
				if err != nil {
					t.Fatal(err)
				}
				all, err := collect(rows)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range all {
					if !got[fingerprint([][]any{row})] {
						t.Errorf("%s: nobody reads %v", query, row)
					}
				}
			}
		})
	}
}

// TestMigrateSQLiteTwice: two rows of a tenant that a blind index takes for the same are told before the switch; two runs at
// once are refused.
func TestMigrateSQLiteTwice(t *testing.T) {
	raw, dsn, _ := newRaw(t, dialect.SQLite)
	mustExec(t, raw, `CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT UNIQUE); INSERT INTO things VALUES (1, 'clinic', 'a'), (2, 'Clinic', 'A'), (3, 'clinic', 'A ')`)
	m := sqldb.Migration{DSN: dsn, Schema: sqldb.Schema{"things": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index").FoldCase().TrimSpace()}}}, Guard: storage.Guard{Keys: newRing(t, tenantA, tenantB), Audit: &recorder{}},
		Tenants: map[string]sqldb.TenantSource{"things": sqldb.FromColumn("whose")}, Actor: "operator", Purpose: "moving in"}
	if _, err := sqldb.Migrate(t.Context(), m, sqldb.MigrateSwitch); !errors.Is(err, sqldb.ErrDuplicate) {
		t.Fatal(err)
	}
	mustExec(t, raw, `UPDATE things SET name = 'other' WHERE id = 3`)
	var second error
	m.Progress = func(sqldb.MigrateProgress) {
		if second == nil {
			other := m
			other.Progress = nil
			_, second = sqldb.PlanMigration(t.Context(), other)
		}
	}
	if _, err := sqldb.Migrate(t.Context(), m, sqldb.MigrateDrop); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(second, sqldb.ErrMigrating) {
		t.Errorf("a second run: %v", second)
	}
	// The plaintexts are gone from the file.
	if data, err := os.ReadFile(strings.TrimPrefix(dsn, "sqlite:")); err != nil || strings.Contains(string(data), "other") {
		t.Errorf("a plaintext is in the file, %v", err)
	}
	if left, err := filepath.Glob(strings.TrimPrefix(dsn, "sqlite:") + "*"); err != nil || len(left) != 2 {
		t.Errorf("%v are there, %v", left, err)
	}
}
