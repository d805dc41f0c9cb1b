package sqldb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// While two index keys live a unique key on a blind index still admits a value once: also what a row from before the rotation
// holds.
func TestUniqueIndexesDuringARotation(t *testing.T) {
	onBothQuickly(t, func(t *testing.T, e *env) {
		e.admit(t, tenantA, 0, 10)
		e.admit(t, tenantB, 0, 10)
		e.rotate(t, tenantA, keys.PurposeIndex)
		e.admit(t, tenantA, 10, 20) // under the newer key
		before := fmt.Sprint(e.raws(t, tenantA))
		try := func(query string, args ...any) error {
			_, err := e.db.ExecContext(as(tenantA), query, args...)
			return err
		}
		for _, c := range []struct {
			query string
			args  []any
		}{
			{`INSERT INTO patients (id, ssn) VALUES (77, $1)`, []any{ssn(4)}},
			{`INSERT INTO patients (id, ssn) VALUES (76, 'new'), (77, $1)`, []any{ssn(4)}},
			{`INSERT INTO patients (id, ssn) VALUES (77, '004-00-0001')`, nil},
			{`INSERT INTO patients (id, ssn) VALUES (77, $1) ON CONFLICT DO NOTHING`, []any{ssn(4)}},
			{`INSERT INTO patients (id, ssn) VALUES (12, 'new') ON CONFLICT (id) DO UPDATE SET ssn = $1`, []any{ssn(4)}},
			{`UPDATE patients SET ssn = $1 WHERE id = 12`, []any{ssn(4)}},
			{`UPDATE patients SET ssn = $1 WHERE id = 5`, []any{ssn(4)}},
		} {
			e.log.take()
			if err := try(c.query, c.args...); !errors.Is(err, sqldb.ErrDuplicate) || errors.Is(err, sqldb.ErrOutcomeUnknown) || strings.Contains(err.Error(), ssn(4)) {
				t.Errorf("%s: %v", c.query, err)
			}
			if !e.log.has(func(ev *audit.Event) bool { return ev.Phase == audit.Outcome && ev.Status == audit.Failure }) {
				t.Errorf("%s is not recorded as failed", c.query)
			}
			if _, err := e.tryRows(as(tenantA), c.query+` RETURNING id`, c.args...); !errors.Is(err, sqldb.ErrDuplicate) {
				t.Errorf("%s RETURNING id: %v", c.query, err)
			}
			if fmt.Sprint(e.raws(t, tenantA)) != before {
				t.Fatalf("%s changed something all the same", c.query)
			}
		}
		// In a transaction it can only be rolled back.
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(as(tenantA), `INSERT INTO patients (id, ssn) VALUES (77, $1)`, ssn(4)); !errors.Is(err, sqldb.ErrDuplicate) {
			t.Errorf("in a transaction: %v", err)
		}
		if err := tx.Commit(); err == nil || fmt.Sprint(e.raws(t, tenantA)) != before {
			t.Errorf("it was committed: %v", err)
		}
		// Whatever is there once goes on, and so does the other tenant.
		for _, c := range []struct {
			id    tenant.ID
			query string
			args  []any
		}{
			{tenantA, `UPDATE patients SET ssn = $1, ward = 'B' WHERE id = 4`, []any{ssn(4)}},
			{tenantA, `UPDATE patients SET ssn = $1 WHERE id = 13`, []any{ssn(13)}},
			{tenantA, `INSERT INTO patients (id, ssn) VALUES (77, 'new'), (78, NULL), (79, NULL)`, nil},
			{tenantA, `DELETE FROM patients WHERE ssn = $1`, []any{ssn(6)}},
			{tenantA, `INSERT INTO patients (id, ssn) VALUES (6, $1)`, []any{ssn(6)}},
			{tenantB, `UPDATE patients SET ssn = 'new' WHERE id = 4`, nil},
		} {
			e.exec(t, c.id, c.query, c.args...)
		}
		if got := e.rows(t, tenantA, `INSERT INTO patients (id, ssn) VALUES (80, 'newer') RETURNING id, ssn`); len(got) != 1 || got[0][1] != "newer" {
			t.Errorf("returned %v", got)
		}
		if report, err := sqldb.Reseal(as(tenantA), e.db, nil); err != nil || len(report.Left) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}
