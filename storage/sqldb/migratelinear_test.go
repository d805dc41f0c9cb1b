package sqldb_test

import (
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestMigrateReadsAsMuchAsThereIs: what a backfill reads of tables and indexes grows as they do. A batch that finds its rows in
// another way than by their places reads all of the tenant's, or all of the table, each time.
func TestMigrateReadsAsMuchAsThereIs(t *testing.T) {
	const patients, perRow = 6000, 20
	m := newMoving(t, patients, newRing(t, tenantA, tenantB, tenantC))
	const name = "strongroom_test_migrate"
	m.plan.DSN += "&application_name=" + name
	m.plan.BatchSize = 100
	m.to(t, sqldb.MigrateExpand)
	// What the planner knows is of a time when no row had a tenant, so that it takes a condition on one for what leaves next to none.
	mustExec(t, m.raw, `ALTER TABLE patients SET (autovacuum_enabled = off); ALTER TABLE visits SET (autovacuum_enabled = off);
		ALTER TABLE "drug ""s" SET (autovacuum_enabled = off); ANALYZE patients, visits, "drug ""s"`)
	counted := m.read(t, name)
	m.to(t, sqldb.MigrateBackfill)
	rows := int64(patients + 2*patients + patients)
	got := m.read(t, name) - counted
	t.Logf("%d for each row", got/rows)
	if got < rows || got > perRow*rows {
		t.Errorf("a backfill of %d rows in batches of %d reads %d rows and entries of indexes, %d for each", rows, m.plan.BatchSize, got, got/rows)
	}
}

// read is how many rows and entries of indexes were read so far by sessions of a name, among others, none of which is left.
func (m *moving) read(t *testing.T, name string) (n int64) {
	t.Helper()
	for left := 1; left > 0; time.Sleep(time.Millisecond) { // what a session counted is there once it has ended
		if err := m.super.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1`, name).Scan(&left); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, m.raw, `SELECT pg_stat_force_next_flush()`)
	mustExec(t, m.super, `SELECT pg_stat_force_next_flush()`)
	err := m.super.QueryRowContext(t.Context(), `SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
