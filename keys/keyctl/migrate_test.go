package main

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// moving is a site whose database knows of no guard yet.
type moving struct {
	*site
	app string // the services' connection string
}

func newMoving(t *testing.T) *moving {
	t.Helper()
	data := testenv.Postgres(t).NewDatabase(t)
	m := &moving{site: &site{world: newWorld(t, "{}")}, app: data.AppURL}
	appURL, appPassword := m.apart("app-password", data.AppURL)
	ownerURL, ownerPassword := m.apart("owner-password", data.OwnerURL)
	m.write("keyctl.json", fmt.Sprintf(`{
  "keyring": {"suspendWithin": "200ms"},
  "kek": {"local": {"file": "kek.json"}},
  "store": {"files": {"dir": "keys"}},
  "audit": {"dir": "trail"},
  "databases": [
    {"name": "other", "sqlite": {"file": "other.db"}, "schema": %[5]s},
    {"name": "clinics", "postgresql": {"url": %[1]q, "password": %[2]s}, "schema": %[5]s,
     "migration": {"url": %[3]q, "password": %[4]s, "tenants": {"patients": {"column": "clinic"}, "visits": {"parent": ["patient"]}}}}]
}`, appURL, appPassword, ownerURL, ownerPassword, schemaJSON(t)))
	m.raw = openSQL(t, data.SuperURL)
	_, err := openSQL(t, data.OwnerURL).Exec(`
		CREATE TABLE patients (id bigint PRIMARY KEY, clinic text COLLATE "C" NOT NULL, name text);
		CREATE TABLE visits (id bigint PRIMARY KEY, patient bigint NOT NULL REFERENCES patients (id));
		CREATE TABLE countries (code text PRIMARY KEY);
		INSERT INTO patients SELECT i, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END, '` + canary + `' || i FROM generate_series(1, 40) i;
		INSERT INTO visits SELECT i, i FROM generate_series(1, 40) i`)
	must(t, err)
	m.try(exitOK, "init")
	return m
}

// names are the plaintexts, as somebody reads them past the guard before a switch and after a rollback.
func (m *moving) names() (all string) {
	m.t.Helper()
	must(m.t, m.raw.QueryRow(`SELECT string_agg(id || clinic || name, ',' ORDER BY id) FROM patients`).Scan(&all))
	return all
}

// served opens the database as a service does, and counts what a tenant sees of what was there.
func (m *moving) served(id tenant.ID, want int) {
	m.t.Helper()
	if m.db == nil {
		kek, err := localkek.Open(filepath.Join(m.dir, "kek.json"), nil)
		must(m.t, err)
		store, err := filestore.Open(filepath.Join(m.dir, "keys"), nil)
		must(m.t, err)
		m.serve(kek, store, 200*time.Millisecond)
	}
	var err error
	m.db, err = sqldb.Open(m.t.Context(), m.app, schema, m.guard, nil)
	must(m.t, err)
	m.t.Cleanup(func() { m.db.Close() })
	rows, err := m.db.QueryContext(as(id), `SELECT p.id, p.name, v.id FROM patients p JOIN visits v ON v.patient = p.id`)
	must(m.t, err)
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var patient, visit int
		var name sql.NullString
		must(m.t, rows.Scan(&patient, &name, &visit))
		if name.String != fmt.Sprint(canary, patient) {
			m.t.Errorf("patient %d is called %q", patient, name.String)
		}
	}
	must(m.t, rows.Err())
	if n != want {
		m.t.Errorf("%s sees %d rows, not %d", id, n, want)
	}
	var found int
	if err := m.db.QueryRowContext(as(id), `SELECT count(*) FROM patients WHERE name = $1`, fmt.Sprint(canary, 2)).Scan(&found); err != nil || (found == 1) != (id == acme) {
		m.t.Errorf("%s finds %d of that name, %v", id, found, err)
	}
}

// TestMigrate moves a database in by the command, back, and in again for good.
func TestMigrate(t *testing.T) {
	m := newMoving(t)
	migrate := func(want int, args ...string) []map[string]any {
		t.Helper()
		out, errs := m.try(want, append(append([]string{"migrate"}, args...), "-json")...)
		if want == exitError {
			return lines(t, errs)
		}
		return lines(t, out)
	}
	stage := func(want string, opens bool) {
		t.Helper()
		got := migrate(exitOK, "status", "clinics")[0]
		if got["stage"] != want || got["opens"] != opens || (len(got["problems"].([]any)) == 0) != opens {
			t.Errorf("want %s, %v; the status is %v", want, opens, got)
		}
	}
	before := m.names()
	stage("", false)
	m.try(exitOK, "provision", "acme")
	for _, action := range []string{"plan", "run"} { // nothing begins while a tenant is unknown
		if got := migrate(exitFindings, action, "clinics")[0]; len(got["problems"].([]any)) != 2 || len(got["steps"].([]any)) != 0 || !strings.Contains(fmt.Sprint(got["problems"]), "not provisioned") {
			t.Errorf("%s: %v", action, got)
		}
	}
	m.try(exitOK, "provision", "globex")
	plan := migrate(exitOK, "plan")[0]
	if plan["database"] != "clinics" || plan["stage"] != "" || len(plan["steps"].([]any)) < 30 || len(plan["tables"].([]any)) != 2 {
		t.Errorf("the plan is %v", plan)
	}
	if out, _ := m.try(exitOK, "migrate", "plan", "clinics"); !strings.Contains(out, "-- stage drop\n") || !strings.Contains(out, "ENABLE ROW LEVEL SECURITY;") {
		t.Errorf("the plan reads %s", out)
	}
	stage("", false)

	first := migrate(exitOK, "run", "-until", "backfill", "-batch", "7", "clinics")
	if len(first) != 2 || first[0]["action"] != "plan" || first[1]["stage"] != "backfill" || first[1]["sealed"] != 40.0 || first[1]["tenanted"] != 80.0 {
		t.Errorf("to backfill: %v", first)
	}
	for _, step := range first[0]["steps"].([]any) {
		if s := step.(map[string]any)["stage"]; s != "expand" && s != "backfill" {
			t.Errorf("a step of the stage %v, which was not asked for", s)
		}
	}
	verified := migrate(exitOK, "run", "clinics")
	if got := verified[1]; got["stage"] != "verify" || got["verified"] != 40.0 || fmt.Sprint(got["rows"]) != "[map[rows:20 table:patients tenant:acme] map[rows:20 table:patients tenant:globex] map[rows:20 table:visits tenant:acme] map[rows:20 table:visits tenant:globex]]" {
		t.Errorf("to verify: %v", got)
	}
	stage("verify", false)
	// What stops the application, and what has no way back, is asked for.
	for _, args := range [][]string{{"run", "-until", "switch", "clinics"}, {"run", "-until", "drop", "clinics"}, {"run", "-until", "switch", "-yes", "clinics"}, {"run", "-until", "switch", "-yes", "-confirm", "other", "clinics"}} {
		out, errs := m.try(exitError, append(append([]string{"migrate"}, args...), "-json")...)
		if got := lines(t, errs)[0]["class"]; got != "not-confirmed" || !strings.Contains(out, `"stage":"verify"`) {
			t.Errorf("%v: %v after %s", args, got, out)
		}
	}
	stage("verify", false)
	if got := m.names(); got != before {
		t.Error("the application's own rows are not as they were")
	}
	if got := migrate(exitOK, "run", "-until", "switch", "-yes", "-confirm", "clinics", "clinics"); got[1]["stage"] != "switch" {
		t.Errorf("to switch: %v", got)
	}
	stage("switch", true)
	m.served(acme, 20)
	m.served(globex, 20)

	migrate(exitError, "rollback", "clinics")
	if got := migrate(exitOK, "rollback", "-yes", "-confirm", "clinics", "clinics")[0]; got["stage"] != "" || got["action"] != "rollback" {
		t.Errorf("back: %v", got)
	}
	stage("", false)
	if got := m.names(); got != before {
		t.Errorf("after a rollback there is %s", got)
	}

	out, _ := m.try(exitOK, "migrate", "run", "-until", "drop", "-yes", "-confirm", "clinics", "clinics")
	if !strings.Contains(out, "clinics is at the stage drop") || !strings.Contains(out, "VACUUM FULL") {
		t.Errorf("to the end: %s", out)
	}
	stage("drop", true)
	if got := migrate(exitOK, "run", "-until", "drop", "clinics"); len(got) != 2 || got[1]["stage"] != "drop" || got[1]["sealed"] != 0.0 {
		t.Errorf("once more: %v", got)
	}
	if got := migrate(exitOK, "run", "clinics"); got[1]["stage"] != "drop" {
		t.Errorf("to a stage before: %v", got)
	}
	m.served(acme, 20)
	m.served(globex, 20)
	var n int
	must(t, m.raw.QueryRow(`SELECT count(*) FROM patients WHERE position($1::bytea IN name) > 0 OR name IS NULL`, []byte(canary)).Scan(&n))
	if n != 0 {
		t.Errorf("%d plaintexts are left", n)
	}
}

// TestMigrateRefuses: what is asked for wrongly changes nothing.
func TestMigrateRefuses(t *testing.T) {
	w := newWorld(t, embedded)
	w.try(exitOK, "init")
	for want, args := range map[string][]string{
		"takes plan, run, status or rollback":             {"migrate"},
		`and not \"go\"`:                                  {"migrate", "go", "clinics"},
		"-until is for migrate run":                       {"migrate", "plan", "-until", "drop"},
		"names no database \\\"clinics\\\"":               {"migrate", "run", "clinics"},
		"no database has a migration":                     {"migrate", "status"},
		"takes at most 2 arguments and got 3":             {"migrate", "plan", "a", "b"},
		"flag provided but not defined: -no-confirmation": {"migrate", "run", "-no-confirmation"},
	} {
		_, errs := w.try(exitError, append(args, "-json")...)
		if !strings.Contains(errs, want) {
			t.Errorf("keyctl %q: %s; want it to say %s", args, errs, want)
		}
	}
	const rest = `{"kek": {"local": {"file": "kek.json"}}, "audit": {"dir": "trail"}, "store": {"files": {"dir": "keys"}}, "databases": [{"name": "a", "schema": {"p": {}}, `
	const owner = `"migration": {"url": "postgres://o@localhost/a"`
	for text, want := range map[string]string{
		`"sqlite": {"file": "f"}, ` + owner + `}}]}`:                                                                                                                   "databases[0].migration has a url or a password, and a SQLite file has no owner",
		`"postgresql": {"url": "postgres://h/a"}, "migration": {}}]}`:                                                                                                  "databases[0].migration.url is",
		`"postgresql": {"url": "postgres://h/a"}, "migration": {"url": "postgres://o:` + canary + `@h/a"}}]}`:                                                          "databases[0].migration.url has a password in it",
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `, "tenants": {"p": {}}}}]}`:                                                                             `databases[0].migration.tenants["p"] has 0 of column, parent and tenant`,
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `, "tenants": {"p": {"column": "c", "parent": ["d"]}}}}]}`:                                               `databases[0].migration.tenants["p"] has 2 of column, parent and tenant`,
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `, "tenants": {"p": {"tenant": "no tenant"}}}}]}`:                                                        `databases[0].migration.tenants["p"].tenant is no tenant's id`,
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `, "tenants": {"p": {"columns": "c"}}}}]}`:                                                               `columns is not known here`,
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `, "tenants": {"p": {"column": "c"}, "p": {"column": "d"}}}}]}`:                                          `stands there twice`,
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `, "password": "` + canary + `"}}]}`:                                                                     `databases[0].migration.password is a string`,
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `, "passwort": {"env": "X"}}}]}`:                                                                         `databases[0].migration.passwort is not known here`,
		`"postgresql": {"url": "postgres://h/a"}, ` + owner + `}}, {"name": "b", "postgresql": {"url": "postgres://h/b"}, ` + `"schema": {"p": {}}, ` + owner + `}}]}`: "several databases of the configuration have a migration",
	} {
		w := newWorld(t, rest+text)
		if strings.HasPrefix(want, "several") {
			w.try(exitOK, "init")
		}
		if _, errs := w.try(exitError, "migrate", "plan"); !strings.Contains(errs, want) {
			t.Errorf("%s: %s; want it to say %s", text, errs, want)
		}
	}
}
