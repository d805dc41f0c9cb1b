package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// newThings is a SQLite file of one table, whose rows' tenant is in the column whose, and what moves it in.
func newThings(t *testing.T, ring *keys.Keyring, ddl string) *moving {
	t.Helper()
	raw, dsn, _ := newRaw(t, dialect.SQLite)
	mustExec(t, raw, ddl)
	m := &moving{raw: raw, dsn: dsn, ring: ring, log: &recorder{}}
	m.plan = sqldb.Migration{DSN: dsn, Schema: sqldb.Schema{"things": {Sealed: sqldb.Columns{"name": sqldb.Text()}}}, Guard: storage.Guard{Keys: ring, Audit: m.log},
		Tenants: map[string]sqldb.TenantSource{"things": sqldb.FromColumn("whose")}, Actor: "operator", Purpose: "moving in"}
	return m
}

const thingsTable = `CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT);
	INSERT INTO things VALUES (1, 'clinic', 'a'), (2, 'Clinic', 'b')`

// openThings opens the file with the guard.
func (m *moving) openThings(t *testing.T) *env {
	t.Helper()
	guard := storage.Guard{Keys: m.ring, Audit: m.log}
	db, err := sqldb.Open(t.Context(), m.dsn, m.plan.Schema, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &env{dialect: dialect.SQLite, db: db, raw: m.raw, dsn: m.dsn, ring: m.ring, log: m.log, guard: guard}
}

// TestMigrateSQLiteStatistics: ANALYZE keeps values of indexed columns, and no plaintext is left in them.
func TestMigrateSQLiteStatistics(t *testing.T) {
	m := newThings(t, newRing(t, tenantA, tenantB), `CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT); CREATE INDEX by_name ON things (name);
		INSERT INTO things VALUES (1, 'clinic', 'plaintext of one'), (2, 'Clinic', 'plaintext of another'); ANALYZE`)
	var n int
	if err := m.raw.QueryRow(`SELECT count(*) FROM sqlite_stat4 WHERE tbl = 'things' AND instr(sample, CAST('plaintext' AS BLOB))`).Scan(&n); err != nil || n == 0 {
		t.Fatalf("ANALYZE keeps %d values, %v", n, err)
	}
	m.to(t, sqldb.MigrateDrop)
	path := strings.TrimPrefix(m.dsn, "sqlite:")
	if data, err := os.ReadFile(path); err != nil || bytes.Contains(data, []byte("plaintext of")) {
		t.Errorf("a plaintext is in the file, %v", err)
	}
}

// listed is a store that calls something when it is asked for its tenants.
type listed struct {
	keys.Store
	call func()
}

func (l *listed) List(ctx context.Context, after tenant.ID, limit int) ([]tenant.ID, error) {
	if l.call != nil {
		l.call()
	}
	return l.Store.List(ctx, after, limit)
}

// TestMigrateSQLiteSurveyed: a table that is changed while it is surveyed is not moved in by what it was.
func TestMigrateSQLiteSurveyed(t *testing.T) {
	dir := t.TempDir()
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &listed{Store: store}
	ring, err := keys.Open(t.Context(), kek, l, &keys.Options{InsecureWithoutAudit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	for _, id := range []tenant.ID{tenantA, tenantB} {
		if err := ring.Provision(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	m := newThings(t, ring, thingsTable)
	l.call = func() {
		l.call = nil
		mustExec(t, m.raw, `ALTER TABLE things ADD COLUMN nick TEXT`)
		mustExec(t, m.raw, `UPDATE things SET nick = 'written meanwhile' WHERE id = 1`)
	}
	m.to(t, sqldb.MigrateDrop)
	if got := m.openThings(t).rows(t, tenantA, `SELECT nick FROM things`); len(got) != 1 || got[0][0] != "written meanwhile" {
		t.Errorf("what the application wrote is %v", got)
	}
}

// TestMigrateSQLiteBackRenumbered: a row that was written since the switch has a rowid that is not its number before it, and is
// looked at all the same before it could be another tenant's.
func TestMigrateSQLiteBackRenumbered(t *testing.T) {
	for what, statement := range map[string]string{
		"another tenant's": `INSERT INTO things (id, whose, name) VALUES (1000, 'Clinic', 'of the clinic')`,
		"nobody's":         `INSERT INTO things (id, name) VALUES (1000, 'of the clinic')`,
	} {
		m := newThings(t, newRing(t, tenantA, tenantB), thingsTable)
		m.to(t, sqldb.MigrateSwitch)
		e := m.openThings(t)
		e.exec(t, tenantA, statement)
		e.db.Close()
		if _, err := sqldb.RollbackMigration(t.Context(), m.plan); !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("%s: rolled back: %v", what, err)
		}
	}
}

// TestMigrateSQLiteNamed: SQLite takes a string for a table's name where it expects one. What names a table so goes on to use
// the one of before after the switch, and what it writes there is lost when that goes.
func TestMigrateSQLiteNamed(t *testing.T) {
	ring := newRing(t, tenantA, tenantB)
	for ddl, want := range map[string]string{
		`CREATE TABLE o (a); CREATE TRIGGER x AFTER INSERT ON o BEGIN INSERT INTO 'things' (id, whose, name) VALUES (NEW.a, 'clinic', 'kept'); END`: "the trigger x names it",
		`CREATE VIEW v AS SELECT name FROM 'Things'`:                                      "the view v names it",
		`CREATE VIRTUAL TABLE words USING fts5(name, content='things', content_rowid=id)`: "the virtual table words names it",
	} {
		m := newThings(t, ring, thingsTable+`; `+ddl)
		plan, err := sqldb.PlanMigration(t.Context(), m.plan)
		if err != nil || !strings.Contains(plan.String(), want) {
			t.Errorf("%s: %v %s", ddl, err, plan)
		}
	}
}

// TestMigrateSQLiteBackDefined: the way back makes the table by what stands behind its name, whatever is in the name or a
// comment.
func TestMigrateSQLiteBackDefined(t *testing.T) {
	m := newThings(t, newRing(t, tenantA, tenantB), strings.Replace(thingsTable, "things (", "things /* (as it was) */ (", 1))
	m.to(t, sqldb.MigrateSwitch)
	if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
		t.Fatal(err)
	}
	var names string
	if err := m.raw.QueryRow(`SELECT group_concat(name ORDER BY id) FROM things`).Scan(&names); err != nil || names != "a,b" {
		t.Errorf("%q, %v", names, err)
	}
}

// TestMigrateSQLiteLinked: a file that has two names is kept from two runs at once.
func TestMigrateSQLiteLinked(t *testing.T) {
	m := newThings(t, newRing(t, tenantA, tenantB), thingsTable)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(strings.TrimPrefix(m.dsn, "sqlite:"), link); err != nil {
		t.Fatal(err)
	}
	other, called := m.plan, false
	other.DSN = "sqlite:" + link
	m.plan.Progress = func(sqldb.MigrateProgress) {
		if called {
			return
		}
		called = true
		if _, err := sqldb.PlanMigration(t.Context(), other); !errors.Is(err, sqldb.ErrMigrating) {
			t.Errorf("a second run by the link: %v", err)
		}
	}
	m.to(t, sqldb.MigrateSwitch)
}

// TestMigrateSQLiteExact: a whole number that a floating-point one would not be the same as is told, and not rounded.
func TestMigrateSQLiteExact(t *testing.T) {
	m := newThings(t, newRing(t, tenantA, tenantB), `CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name INT);
		INSERT INTO things VALUES (1, 'clinic', 9007199254740992), (2, 'Clinic', 9007199254740993)`)
	m.plan.Schema = sqldb.Schema{"things": {Sealed: sqldb.Columns{"name": sqldb.Float()}}}
	if _, err := sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateDrop); err == nil || !strings.Contains(err.Error(), "the rowid 2 of tenant Clinic") {
		t.Errorf("%v", err)
	}
}

// TestMigrateSQLiteDeleted: what the application had deleted before may be in free pages, which no statement but VACUUM clears; the
// report says so.
func TestMigrateSQLiteDeleted(t *testing.T) {
	m := newThings(t, newRing(t, tenantA, tenantB), thingsTable+`; CREATE TABLE big (text); INSERT INTO big SELECT 'plaintext that was deleted ' || hex(randomblob(2000)) FROM json_each('[1, 2, 3, 4, 5, 6, 7, 8]');
		INSERT INTO things SELECT 10 + rowid, 'clinic', text FROM big; DROP TABLE big; DELETE FROM things WHERE id > 10`)
	report := m.to(t, sqldb.MigrateDrop)
	if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "VACUUM") || !strings.Contains(notes, "had deleted") {
		t.Errorf("the report does not say where plaintexts may be: %s", notes)
	}
	mustExec(t, m.raw, `VACUUM`)
	mustExec(t, m.raw, `PRAGMA wal_checkpoint(TRUNCATE)`)
	if data, err := os.ReadFile(strings.TrimPrefix(m.dsn, "sqlite:")); err != nil || bytes.Contains(data, []byte("plaintext that was")) {
		t.Errorf("a plaintext is in the file, %v", err)
	}
}

// TestMigrateSQLiteSpaced: a run that ended while indexes were made goes on, whatever is in their names.
func TestMigrateSQLiteSpaced(t *testing.T) {
	m := newThings(t, newRing(t, tenantA, tenantB), strings.ReplaceAll(thingsTable, "things", `"the things"`))
	m.plan.Schema = sqldb.Schema{"the things": {Sealed: sqldb.Columns{"name": sqldb.Text().Searchable("name_index")}}}
	m.plan.Tenants = map[string]sqldb.TenantSource{"the things": sqldb.FromColumn("whose")}
	ctx, cancel := context.WithCancel(t.Context())
	m.plan.Progress = func(p sqldb.MigrateProgress) {
		if strings.HasPrefix(p.What, "CREATE INDEX") {
			cancel()
		}
	}
	if _, err := sqldb.Migrate(ctx, m.plan, sqldb.MigrateDrop); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	m.to(t, sqldb.MigrateDrop)
}

// TestMigrateSQLiteOutermost: the smallest and the largest rowid that there can be are rows as any other, on the way there and back.
func TestMigrateSQLiteOutermost(t *testing.T) {
	ring := newRing(t, tenantA, tenantB)
	const rows = `SELECT group_concat(id || ' ' || name, ', ' ORDER BY id) FROM things`
	const want = "-9223372036854775808 a, -9223372036854775807 b, 9223372036854775806 c, 9223372036854775807 d"
	for what, table := range map[string]string{
		"of a column":       `CREATE TABLE things (id INTEGER PRIMARY KEY, whose TEXT, name TEXT)`,
		"of its own column": `CREATE TABLE things (id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, name TEXT)`,
	} {
		for _, batch := range []int{1, 2, 100} {
			m := newThings(t, ring, table+`; INSERT INTO things VALUES (-9223372036854775808, 'clinic', 'a'), (-9223372036854775807, 'clinic', 'b'),
				(9223372036854775806, 'clinic', 'c'), (9223372036854775807, 'clinic', 'd')`)
			if m.plan.BatchSize = batch; what == "of its own column" {
				m.plan.Tenants = nil
			}
			report := m.to(t, sqldb.MigrateSwitch)
			if report.Verified != 4 {
				t.Errorf("%s, batches of %d: %d values were verified", what, batch, report.Verified)
			}
			if got := m.openThings(t).rows(t, tenantA, `SELECT name FROM things ORDER BY id`); len(got) != 4 || got[0][0] != "a" || got[3][0] != "d" {
				t.Errorf("%s, batches of %d: there are %v", what, batch, got)
			}
			if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
				t.Errorf("%s, batches of %d: %v", what, batch, err)
			}
			var back string
			if err := m.raw.QueryRow(rows).Scan(&back); err != nil || back != want {
				t.Errorf("%s, batches of %d: there are %s, %v", what, batch, back, err)
			}
		}
	}
}
