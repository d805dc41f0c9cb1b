package sqldb_test

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestPlaintextsAreNotGranted: what a switch keeps aside is nobody's but the owner's, whoever granted what to whom before, and a
// database where somebody is granted it afterwards does not open for anybody.
func TestPlaintextsAreNotGranted(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	app := m.one(t, `SELECT current_database() || '_app'`)
	one, two := app+"_one", app+"_aaa"
	roles := strings.NewReplacer("ONE", `"`+one+`"`, "TWO", `"`+two+`"`)
	exec := func(query string) { t.Helper(); mustExec(t, m.super, roles.Replace(query)) }
	exec(`CREATE ROLE ONE; CREATE ROLE TWO; GRANT USAGE ON SCHEMA public TO ONE, TWO`)
	t.Cleanup(func() { exec(`DROP OWNED BY ONE, TWO; DROP ROLE ONE, TWO`) })
	// What others than the owner passed on, before it and after it by the order of names.
	exec(`GRANT SELECT ON patients, visits TO ONE WITH GRANT OPTION; SET ROLE ONE; GRANT SELECT ON patients TO TWO; RESET ROLE`)
	exec(`GRANT UPDATE ON patients TO TWO WITH GRANT OPTION; SET ROLE TWO; GRANT UPDATE ON patients TO ONE; RESET ROLE`)
	m.to(t, sqldb.MigrateSwitch)
	mayRead := func(column string) string {
		return m.one(t, `SELECT coalesce(string_agg(r.rolname, ','), '') FROM pg_roles r WHERE rolname IN ($1, $2) AND has_column_privilege(r.oid, 'patients', $3, 'SELECT, UPDATE')`, one, two, column)
	}
	if got := mayRead("strongroom_old_name"); got != "" {
		t.Errorf("%s may read or write the plaintexts", got)
	}
	if got := mayRead("name"); !strings.Contains(got, "_one") || !strings.Contains(got, "_aaa") {
		t.Errorf("of those that could read the table %s may", got)
	}
	m.open(t)
	for _, grant := range []string{`SELECT ON patients TO ONE`, `SELECT (strongroom_old_name) ON patients TO ONE`, `UPDATE (strongroom_old_name) ON patients TO TWO`, `TRIGGER ON patients TO PUBLIC`} {
		exec(`GRANT ` + grant)
		if err := openErr(t, m.dsn, movingSchema, nil); err == nil || !strings.Contains(err.Error(), "strongroom_old_name: the column holds the plaintexts that a migration keeps aside") {
			t.Errorf("%s: %v", grant, err)
		}
		exec(`REVOKE ` + strings.Replace(grant, " TO ", " FROM ", 1))
		exec(`GRANT SELECT (name) ON patients TO ONE`) // which went with what was revoked
		m.open(t)
	}
	// A privilege on a sealed column that was given since is one on it still after the plaintexts are gone, and none on what
	// has its name after a rollback.
	exec(`REVOKE ALL ON patients FROM ONE, TWO; GRANT SELECT (name) ON patients TO TWO`)
	if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err != nil {
		t.Fatal(err)
	}
	if got := mayRead("name"); got != "" {
		t.Errorf("%s may read the plaintexts after a rollback", got)
	}
}
