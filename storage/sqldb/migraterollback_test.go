package sqldb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// TestMigrationRollsBack: from each stage the tables become what they were, to the byte.
func TestMigrationRollsBack(t *testing.T) {
	m := newMoving(t, 60, newRing(t, tenantA, tenantB, tenantC))
	back := func(t *testing.T) {
		t.Helper()
		report, err := sqldb.RollbackMigration(t.Context(), m.plan)
		if err != nil || report.Stage != "" {
			t.Fatalf("%+v, %v", report, err)
		}
		sameDump(t, m.before, m.dump(t))
	}
	back(t) // there is none
	for _, stage := range []sqldb.MigrateStage{sqldb.MigrateExpand, sqldb.MigrateBackfill, sqldb.MigrateKeys, sqldb.MigrateVerify, sqldb.MigrateSwitch} {
		t.Run(string(stage), func(t *testing.T) {
			m.to(t, stage)
			back(t)
		})
	}
	t.Run("after work with the guard", func(t *testing.T) {
		m.to(t, sqldb.MigrateSwitch)
		e := m.open(t)
		e.exec(t, tenantA, `UPDATE patients SET name = 'changed', born = '2001-02-03', balance = '7.5', "odd ""quote*/" = '{"a": [1, 2]}', ssn = NULL WHERE id = 3`)
		e.exec(t, tenantB, `INSERT INTO patients (id, clinic, name, ssn, ward) VALUES (777, 'Clinic', 'new', 'ssn-777', 'x')`)
		e.exec(t, tenantB, `INSERT INTO visits (id, patient, code, note, at) VALUES (777, 777, 'c', 'noted', '2021-02-03T04:05:06.789Z')`)
		e.exec(t, tenantB, `INSERT INTO "drug ""s" (id, "the visit", dose, secret, flag) VALUES ('00000000-0000-0000-0000-000000000777', 777, 1.25, $1, true)`, []byte{0, 1, 255})
		report, err := sqldb.RollbackMigration(t.Context(), m.plan)
		if err != nil || report.Unsealed != 12 {
			t.Fatalf("%+v, %v", report, err)
		}
		var got string
		err = m.super.QueryRow(`SELECT (SELECT concat_ws('|', name, born, balance, "odd ""quote*/", coalesce(ssn, 'none')) FROM patients WHERE id = 3) || ' ' ||
			(SELECT concat_ws('|', clinic, name, ssn, born) FROM patients WHERE id = 777) || ' ' || (SELECT concat_ws('|', note, at AT TIME ZONE 'UTC') FROM visits WHERE id = 777) || ' ' ||
			(SELECT concat_ws('|', dose, secret, flag) FROM "drug ""s" WHERE "the visit" = 777)`).Scan(&got)
		if want := `changed|2001-02-03|7.50|{"a": [1, 2]}|none Clinic|new|ssn-777 noted|2021-02-03 04:05:06.789 1.25|\x0001ff|t`; err != nil || got != want {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
		m.before = m.dump(t)
	})
	t.Run("not where two tenants share a key", func(t *testing.T) {
		m.to(t, sqldb.MigrateSwitch)
		e := m.open(t)
		e.exec(t, tenantA, `INSERT INTO patients (id, clinic, name) VALUES (888, 'clinic', 'A')`)
		e.exec(t, tenantB, `INSERT INTO patients (id, clinic, name) VALUES (888, 'Clinic', 'B')`)
		report, err := sqldb.RollbackMigration(t.Context(), m.plan)
		if !errors.Is(err, sqldb.ErrDuplicate) || report.Stage != sqldb.MigrateSwitch {
			t.Fatalf("%+v, %v", report, err)
		}
		e = m.open(t) // it is as it was
		e.exec(t, tenantB, `DELETE FROM patients WHERE id = 888`)
		e.exec(t, tenantA, `UPDATE patients SET balance = '1.005' WHERE id = 888`)
		if _, err = sqldb.RollbackMigration(t.Context(), m.plan); err == nil || !strings.Contains(err.Error(), "does not fit the type") {
			t.Fatalf("a value that was rounded: %v", err)
		}
		e = m.open(t)
		e.exec(t, tenantA, `DELETE FROM patients WHERE id = 888`)
		back(t)
	})
	m.to(t, sqldb.MigrateDrop)
	if _, err := sqldb.RollbackMigration(t.Context(), m.plan); err == nil {
		t.Error("a migration that is over was rolled back")
	}
}
