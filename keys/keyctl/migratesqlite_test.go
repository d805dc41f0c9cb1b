package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestMigrateSQLiteFile moves a SQLite file in by the command, back, and in again for good.
func TestMigrateSQLiteFile(t *testing.T) {
	w := newWorld(t, `{"kek": {"local": {"file": "kek.json"}}, "store": {"files": {"dir": "keys"}}, "audit": {"dir": "trail"}, "databases": [{"name": "clinics", "sqlite": {"file": "app.db"}, "schema": `+schemaJSON(t)+`,
		"migration": {"tenants": {"patients": {"column": "clinic"}, "visits": {"parent": ["patient"]}}}}]}`)
	path := filepath.Join(w.dir, "app.db")
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	must(t, err)
	t.Cleanup(func() { raw.Close() })
	_, err = raw.Exec(`CREATE TABLE patients (id INTEGER PRIMARY KEY, clinic TEXT NOT NULL, name TEXT);
		CREATE TABLE visits (id INTEGER PRIMARY KEY, patient INTEGER NOT NULL REFERENCES patients);
		CREATE TABLE countries (code TEXT PRIMARY KEY);
		INSERT INTO patients VALUES (1, 'globex', '` + canary + `1'), (2, 'acme', '` + canary + `2');
		INSERT INTO visits VALUES (1, 2), (2, 1)`)
	must(t, err)
	must(t, os.Chmod(path, 0o600))
	stage := func(want string, opens bool) {
		t.Helper()
		out, _ := w.try(exitOK, "migrate", "status", "-json")
		if got := lines(t, out)[0]; got["stage"] != want || got["opens"] != opens {
			t.Errorf("want %s, %v; the status is %v", want, opens, got)
		}
	}
	w.try(exitOK, "init")
	w.try(exitFindings, "migrate", "plan")
	w.try(exitOK, "provision", "acme")
	w.try(exitOK, "provision", "globex")
	w.try(exitOK, "migrate", "plan")
	w.try(exitOK, "migrate", "run", "-batch", "1")
	stage(string(sqldb.MigrateVerify), false)
	w.try(exitError, "migrate", "run", "-until", "switch", "-yes", "-confirm", "other")
	w.try(exitOK, "migrate", "run", "-until", "switch", "-yes", "-confirm", "clinics")
	stage(string(sqldb.MigrateSwitch), true)
	w.try(exitOK, "migrate", "rollback", "-yes", "-confirm", "clinics")
	var name string
	must(t, raw.QueryRow(`SELECT p.clinic || p.name || v.id FROM patients p JOIN visits v ON v.patient = p.id WHERE p.id = 2`).Scan(&name))
	if want := fmt.Sprint("acme", canary, "21"); name != want {
		t.Errorf("%q is there after the way back, not %q", name, want)
	}
	w.try(exitOK, "migrate", "run", "-until", "drop", "-yes", "-confirm", "clinics")
	stage(string(sqldb.MigrateDrop), true)
	var left int
	must(t, raw.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name LIKE '%strongroom%'`).Scan(&left))
	if left != 0 {
		t.Errorf("%d things of the migration are left", left)
	}
}
