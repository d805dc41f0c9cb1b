package sqldb_test

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestPlanNotesForeignKeysWithoutIndex: a table without an index for the foreign key that its tenants come by is read whole each
// time a row is handed on to another tenant, and the plan says so with the index that is missing.
func TestPlanNotesForeignKeysWithoutIndex(t *testing.T) {
	m := newMoving(t, 10, newRing(t, tenantA, tenantB, tenantC))
	missing := func() (out []string) {
		t.Helper()
		plan, err := sqldb.PlanMigration(t.Context(), m.plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, note := range plan.Notes {
			if _, index, ok := strings.Cut(note, "CREATE INDEX CONCURRENTLY"); ok {
				out = append(out, "CREATE INDEX CONCURRENTLY"+index)
			}
		}
		return out
	}
	indexes := missing()
	if len(indexes) != 1 || !strings.Contains(indexes[0], `("the visit")`) { // visits has a unique key that begins with patient
		t.Fatalf("the plan misses %q", indexes)
	}
	mustExec(t, m.raw, strings.Replace(indexes[0], "INDEX CONCURRENTLY", "INDEX CONCURRENTLY partial", 1)+" WHERE dose > 0")
	if len(missing()) != 1 {
		t.Error("an index over some rows is taken for one over all")
	}
	mustExec(t, m.raw, indexes[0])
	if left := missing(); len(left) > 0 {
		t.Errorf("with the index the plan still misses %q", left)
	}
}
