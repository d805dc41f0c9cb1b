package sqldb_test

import (
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// offboardSchema has a foreign key of every kind: to the tenants' own table, to a parent, to the table itself, in a circle that
// can be cut, and in circles that cannot.
var offboardSchema = sqldb.Schema{
	"tenants":   {TenantColumn: "id"},
	"patients":  {Sealed: sqldb.Columns{"name": sqldb.Text()}},
	"visits":    {},
	"staff":     {},
	"wards":     {},
	"rooms":     {},
	"ping":      {},
	"pong":      {},
	"ring":      {},
	"countries": {Shared: true},
}

var offboardTables = []string{
	`CREATE TABLE tenants (id TEXT NOT NULL PRIMARY KEY, plan TEXT)`,
	`CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT NOT NULL)`,
	`CREATE TABLE patients (tenant_id TEXT NOT NULL REFERENCES tenants (id), id INTEGER NOT NULL, name BINARYTYPE, country TEXT REFERENCES countries (code), PRIMARY KEY (tenant_id, id))`,
	`CREATE TABLE visits (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, patient_id INTEGER NOT NULL, ward TEXT, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id))`,
	`CREATE TABLE staff (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, boss INTEGER, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, boss) REFERENCES staff (tenant_id, id))`,
	`CREATE TABLE wards (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, best INTEGER, PRIMARY KEY (tenant_id, id)CIRCLE)`,
	`CREATE TABLE rooms (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, ward INTEGER NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, ward) REFERENCES wards (tenant_id, id))`,
	`CREATE TABLE ping (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, pong INTEGER NOT NULL, PRIMARY KEY (tenant_id, id)CIRCLE)`,
	`CREATE TABLE pong (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, ping INTEGER NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, ping) REFERENCES ping (tenant_id, id) DEFERRABLE INITIALLY DEFERRED)`,
	`CREATE TABLE ring (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, next) REFERENCES ring (tenant_id, id) DEFERRABLE INITIALLY DEFERRED)`,
}

var offboardCircles = map[string]string{
	"wards": `FOREIGN KEY (tenant_id, best) REFERENCES rooms (tenant_id, id)`,
	"ping":  `FOREIGN KEY (tenant_id, pong) REFERENCES pong (tenant_id, id) DEFERRABLE INITIALLY DEFERRED`,
}

// leaver is a database with rows of tenants that look alike, of whom "a" leaves.
type leaver struct {
	*env
	super *sql.DB // past row-level security
	kek   keys.KEK
	store keys.Store
	dir   string // where they are
	opts  *sqldb.Options
}

var (
	leaving   = tenant.MustParse("a")
	lookalike = []tenant.ID{tenant.MustParse("A"), tenant.MustParse("a."), tenant.MustParse("a-"), tenant.MustParse("ab"), tenant.MustParse("a_"), tenant.MustParse("0a")}
)

const offboardRows = 25 // of each tenant in each table but its own

func onBothLeaving(t *testing.T, test func(*testing.T, *leaver)) {
	for _, d := range []dialect.Dialect{dialect.SQLite, dialect.PostgreSQL} {
		t.Run(string(d), func(t *testing.T) { test(t, newLeaver(t, d)) })
	}
}

func newLeaver(t *testing.T, d dialect.Dialect) *leaver {
	t.Helper()
	l := &leaver{env: &env{dialect: d, log: &recorder{}}}
	l.raw, l.dsn, l.env.super = newRaw(t, d)
	for _, ddl := range offboardTables {
		name := strings.Fields(ddl)[2]
		if d == dialect.PostgreSQL {
			ddl = strings.ReplaceAll(strings.ReplaceAll(ddl, "BINARYTYPE", "bytea"), "CIRCLE", "")
			ddl = strings.ReplaceAll(strings.ReplaceAll(ddl, "tenant_id TEXT", `tenant_id text COLLATE "C"`), "(id TEXT", `(id text COLLATE "C"`)
		} else {
			circle := ""
			if key := offboardCircles[name]; key != "" {
				circle = ", " + key
			}
			ddl = strings.ReplaceAll(strings.ReplaceAll(ddl, "BINARYTYPE", "BLOB"), "CIRCLE", circle)
			if name == "staff" {
				ddl += " WITHOUT ROWID"
			}
		}
		mustExec(t, l.raw, withChecks(d, offboardSchema, ddl))
	}
	l.super = l.raw
	if d == dialect.PostgreSQL {
		for table, key := range offboardCircles {
			mustExec(t, l.raw, `ALTER TABLE `+table+` ADD `+key)
		}
		ddl, err := offboardSchema.DDL(d, nil)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, l.raw, ddl)
		l.super = openBare(t, l.env.super)
	}
	l.dir = t.TempDir()
	l.kek, l.store = newKeys(t, l.dir)
	l.ring = l.openRing(t)
	l.guard = storage.Guard{Keys: l.ring, Audit: l.log}
	l.open(t)
	mustExec(t, l.super, `INSERT INTO countries VALUES ('is', 'Iceland')`)
	for _, id := range append([]tenant.ID{leaving}, lookalike...) {
		if err := l.ring.Provision(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		l.fill(t, id)
	}
	return l
}

func newKeys(t *testing.T, dir string) (keys.KEK, keys.Store) {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return kek, store
}

// newQuickRing is a keyring whose bound is not waited for.
func newQuickRing(t *testing.T, ids ...tenant.ID) *keys.Keyring {
	t.Helper()
	l := &leaver{}
	l.kek, l.store = newKeys(t, t.TempDir())
	ring := l.openRing(t)
	for _, id := range ids {
		if err := ring.Provision(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	return ring
}

// openRing is another process's keyring.
func (l *leaver) openRing(t *testing.T) *keys.Keyring {
	t.Helper()
	ring, err := keys.Open(t.Context(), l.kek, l.store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	return ring
}

func openSQLiteFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (l *leaver) open(t *testing.T) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), l.dsn, offboardSchema, l.guard, l.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l.db = db
}

// fill gives a tenant rows, in circles where there can be some.
func (l *leaver) fill(t *testing.T, id tenant.ID) {
	t.Helper()
	tx, err := l.super.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	do := func(query string, args ...any) {
		t.Helper()
		if _, err := tx.ExecContext(t.Context(), query, append([]any{id.String()}, args...)...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	do(`INSERT INTO tenants (id, plan) VALUES ($1, 'gold')`)
	for i := 1; i <= offboardRows; i++ {
		do(`INSERT INTO patients (tenant_id, id, country) VALUES ($1, $2, 'is')`, i)
		do(`INSERT INTO visits (tenant_id, id, patient_id, ward) VALUES ($1, $2, $3, 'north')`, i, (i+1)/2)
		boss := any(i - 1)
		if i == 1 {
			boss = nil
		}
		do(`INSERT INTO staff (tenant_id, id, boss) VALUES ($1, $2, $3)`, i, boss)
		do(`INSERT INTO wards (tenant_id, id) VALUES ($1, $2)`, i)
		do(`INSERT INTO rooms (tenant_id, id, ward) VALUES ($1, $2, $3)`, i, i)
		do(`INSERT INTO ping (tenant_id, id, pong) VALUES ($1, $2, $3)`, i, i)
		do(`INSERT INTO pong (tenant_id, id, ping) VALUES ($1, $2, $3)`, i, i%offboardRows+1)
		do(`INSERT INTO ring (tenant_id, id, next) VALUES ($1, $2, $3)`, i, i%offboardRows+1)
	}
	do(`UPDATE wards SET best = id WHERE tenant_id = $1`)
	do(`UPDATE staff SET boss = 2 WHERE tenant_id = $1 AND id = 1`) // of each other
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.db.ExecContext(as(id), `UPDATE patients SET name = $1`, "name in "+id.String()); err != nil {
		t.Fatal(err)
	}
}

// counts are the rows of each table by tenant, shared tables under "".
func (l *leaver) counts(t *testing.T) map[string]map[string]int {
	t.Helper()
	all := map[string]map[string]int{}
	for table, decl := range offboardSchema {
		column := "tenant_id"
		if decl.TenantColumn != "" {
			column = decl.TenantColumn
		}
		if decl.Shared {
			column = "''"
		}
		rows, err := l.super.QueryContext(t.Context(), `SELECT `+column+`, count(*) FROM `+table+` GROUP BY 1`)
		if err != nil {
			t.Fatal(err)
		}
		found, err := collect(rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range found {
			id := fmt.Sprintf("%s", row[0])
			if all[id] == nil {
				all[id] = map[string]int{}
			}
			all[id][table] = int(row[1].(int64))
		}
	}
	return all
}

// gone checks that the tenant has no rows and everybody else has all of theirs.
func (l *leaver) gone(t *testing.T) {
	t.Helper()
	all := l.counts(t)
	if len(all[leaving.String()]) != 0 {
		t.Errorf("left of the tenant: %v", all[leaving.String()])
	}
	l.others(t, all)
}

func (l *leaver) others(t *testing.T, all map[string]map[string]int) {
	t.Helper()
	want := map[string]int{"tenants": 1}
	for table := range offboardSchema {
		if table != "tenants" && table != "countries" {
			want[table] = offboardRows
		}
	}
	for _, id := range lookalike {
		if !maps.Equal(all[id.String()], want) {
			t.Errorf("%s has %v", id, all[id.String()])
		}
		rows := l.rows(t, id, `SELECT name FROM patients`)
		if len(rows) != offboardRows || rows[0][0] != "name in "+id.String() {
			t.Errorf("%s reads %v", id, rows)
		}
	}
	if all[""]["countries"] != 1 {
		t.Errorf("shared tables: %v", all[""])
	}
}

func (l *leaver) shred(t *testing.T) {
	t.Helper()
	if err := l.ring.Shred(t.Context(), leaving, "left"); err != nil {
		t.Fatal(err)
	}
}
