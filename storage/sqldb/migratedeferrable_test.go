package sqldb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestMigrateDeferrableForeignKey: a foreign key that a row's tenant comes by may be deferrable, but not deferred from the first: then each of
// the application's rows could be there before the one that says whose it is. One that comes so in the midst of a migration gets its tenant as
// long as rows may lack one, and is refused afterwards. A view of a table that does not move is in nobody's way.
func TestMigrateDeferrableForeignKey(t *testing.T) {
	m := newMoving(t, 20, newRing(t, tenantA, tenantB, tenantC))
	mustExec(t, m.raw, `ALTER TABLE visits ALTER CONSTRAINT of_patient DEFERRABLE INITIALLY DEFERRED;
		CREATE TABLE elsewhere (id bigint); CREATE VIEW of_elsewhere AS SELECT id FROM elsewhere; CREATE VIEW of_view AS SELECT id FROM of_elsewhere`)
	plan, err := sqldb.PlanMigration(t.Context(), m.plan)
	must(t, err)
	if len(plan.Problems) != 1 || !strings.Contains(plan.Problems[0].What, "of_patient is INITIALLY DEFERRED") {
		t.Fatal(plan.Problems)
	}
	mustExec(t, m.raw, plan.Problems[0].Fix)
	if plan, err = sqldb.PlanMigration(t.Context(), m.plan); err != nil || len(plan.Problems) > 0 {
		t.Fatal(plan.Problems, err)
	}
	if !slices.ContainsFunc(plan.Notes, func(note string) bool { return strings.Contains(note, "of_patient of visits is deferrable") }) {
		t.Errorf("the plan says nothing of it: %q", plan.Notes)
	}
	// childFirst stores a visit, and then the patient whose it is.
	childFirst := func(id int) error {
		tx, err := m.app.Begin()
		must(t, err)
		defer tx.Rollback()
		for _, query := range []string{`SET CONSTRAINTS ALL DEFERRED`, `INSERT INTO visits (patient, code, note) VALUES (%d, 'late', 'of a patient to come')`,
			`INSERT INTO patients (id, clinic, name) VALUES (%d, 'Clinic', 'Ada')`} {
			if strings.Contains(query, "%") {
				query = fmt.Sprintf(query, id)
			}
			if _, err := tx.Exec(query); err != nil {
				return err
			}
		}
		return tx.Commit()
	}
	_, err = sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateExpand)
	must(t, err)
	must(t, childFirst(9001))
	_, err = sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateBackfill)
	must(t, err)
	must(t, childFirst(9002))
	_, err = sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateKeys)
	must(t, err)
	if err := childFirst(9003); err == nil {
		t.Error("a visit of a patient who is not there yet was stored")
	}
	_, err = sqldb.Migrate(t.Context(), m.plan, sqldb.MigrateSwitch)
	must(t, err)
	e := m.open(t)
	if got := fmt.Sprint(e.rows(t, tenantB, `SELECT patient, note FROM visits WHERE patient > 9000 ORDER BY patient`)); got != "[[9001 of a patient to come] [9002 of a patient to come]]" {
		t.Errorf("the tenant has %s", got)
	}
	if got := fmt.Sprint(e.rows(t, tenantA, `SELECT id FROM visits WHERE patient > 9000`)); got != "[]" {
		t.Errorf("another has %s", got)
	}
	var deferrable bool
	must(t, m.raw.QueryRow(`SELECT condeferrable FROM pg_constraint WHERE conrelid = 'visits'::regclass AND conname = 'of_patient'`).Scan(&deferrable))
	if !deferrable {
		t.Error("the foreign key is not deferrable any more")
	}
}
