package sqldb_test

import (
	"errors"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// broken runs something with the migration, whose connection the server ends after its first step, then after its
// second, and so on, until it comes to its end before that. It returns how often it was broken.
func (m *moving) broken(t *testing.T, run func(sqldb.Migration) error) (times int) {
	t.Helper()
	for n := 1; ; n++ {
		seen := 0
		plan := m.plan
		plan.Progress = func(sqldb.MigrateProgress) {
			if seen++; seen == n {
				mustExec(t, m.super, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database())
					AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`)
			}
		}
		err := run(plan)
		if err == nil && seen < n {
			return times
		}
		if times++; times > 400 {
			t.Fatalf("it does not come to an end: %v", err)
		}
		for errors.Is(err, sqldb.ErrMigrating) { // the server still ends the connection before
			err = run(m.plan)
		}
	}
}

// TestMigrationBrokenAtEachStep: whichever step is the last one of a run, the next goes on from there, both ways.
func TestMigrationBrokenAtEachStep(t *testing.T) {
	m := newMoving(t, 40, newRing(t, tenantA, tenantB, tenantC))
	m.plan.BatchSize = 10
	want := m.plaintexts(t)
	forward := func(until sqldb.MigrateStage) func(sqldb.Migration) error {
		return func(plan sqldb.Migration) error {
			_, err := sqldb.Migrate(t.Context(), plan, until)
			return err
		}
	}
	back := func(plan sqldb.Migration) error {
		_, err := sqldb.RollbackMigration(t.Context(), plan)
		return err
	}
	there := m.broken(t, forward(sqldb.MigrateSwitch))
	sameReads(t, want, m.open(t).reads(t))
	again := m.broken(t, back)
	sameDump(t, m.before, m.dump(t))
	m.to(t, sqldb.MigrateKeys)
	again += m.broken(t, back)
	sameDump(t, m.before, m.dump(t))
	m.to(t, sqldb.MigrateSwitch)
	there += m.broken(t, forward(sqldb.MigrateDrop))
	sameReads(t, want, m.open(t).reads(t))
	if there < 20 || again < 10 {
		t.Errorf("broken %d times on the way and %d times on the way back: the test says nothing", there, again)
	}
	t.Logf("broken %d times on the way and %d times on the way back", there, again)
}
