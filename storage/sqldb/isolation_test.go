package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

const insertPatient = `INSERT INTO patients (id, name, ssn, born, ward) VALUES ($1, $2, $3, $4, $5)`

// fill gives two tenants rows with the same keys and the same social security numbers.
func fill(t *testing.T, e *env) {
	t.Helper()
	born := time.Date(1984, 2, 29, 0, 0, 0, 0, time.UTC)
	for _, id := range []tenant.ID{tenantA, tenantB} {
		for i := 1; i <= 3; i++ {
			e.exec(t, id, insertPatient, i, fmt.Sprintf("Þóra %d of %s", i, id), fmt.Sprintf("ssn-%d", i), born, "west")
			e.exec(t, id, `INSERT INTO visits (id, patient_id, note) VALUES ($1, $2, $3)`, i, i, "note of "+id.String())
		}
	}
	e.log.take()
}

func TestTenantsDoNotMeet(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		want := func(what string, got [][]any, n int) {
			t.Helper()
			if len(got) != n {
				t.Errorf("%s: %d rows, want %d: %v", what, len(got), n, got)
			}
			for _, row := range got {
				for _, v := range row {
					if s, ok := v.(string); ok && strings.Contains(s, tenantB.String()) {
						t.Errorf("%s: %s reads %q", what, tenantA, s)
					}
				}
			}
		}
		want("all", e.rows(t, tenantA, `SELECT * FROM patients ORDER BY id`), 3)
		want("by key", e.rows(t, tenantA, `SELECT id, name FROM patients WHERE id = $1`, 2), 1)
		want("by blind index", e.rows(t, tenantA, `SELECT id, name FROM patients WHERE ssn = $1`, "ssn-2"), 1)
		want("by folded name", e.rows(t, tenantA, `SELECT id FROM patients WHERE name = $1`, " þÓRA 1 OF CLINIC "), 1)
		want("joined", e.rows(t, tenantA, `SELECT p.name, v.note FROM patients p LEFT JOIN visits v ON v.patient_id = p.id WHERE p.ssn IN ($1, 'ssn-3')`, "ssn-1"), 2)
		want("naming the other tenant", e.rows(t, tenantA, `SELECT name FROM patients WHERE tenant_id = $1`, tenantB.String()), 0)
		want("always true", e.rows(t, tenantA, `SELECT name FROM patients WHERE id = $1 OR 1 = 1`, 1), 3)
		want("shared", e.rows(t, tenantA, `SELECT code, name FROM countries`), 1)
		want("nobody's", e.rows(t, tenantC, `SELECT * FROM patients`), 0)

		before := e.rows(t, tenantB, `SELECT * FROM patients ORDER BY id`)
		if n := e.exec(t, tenantA, `UPDATE patients SET ward = $1, name = $2`, "east", "changed"); n != 3 {
			t.Errorf("updated %d rows", n)
		}
		if n := e.exec(t, tenantA, `DELETE FROM visits`); n != 3 {
			t.Errorf("deleted %d rows", n)
		}
		if n := e.exec(t, tenantA, `DELETE FROM patients WHERE ssn = $1`, "ssn-1"); n != 1 {
			t.Errorf("deleted %d rows", n)
		}
		if after := e.rows(t, tenantB, `SELECT * FROM patients ORDER BY id`); !reflect.DeepEqual(before, after) {
			t.Errorf("%s's writes changed %s's rows:\n%v\n%v", tenantA, tenantB, before, after)
		}
		if got := e.rows(t, tenantB, `SELECT id FROM visits`); len(got) != 3 {
			t.Errorf("%s's delete left %s %d visits", tenantA, tenantB, len(got))
		}
	})
}

func TestUpsertTouchesTheOwnRow(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		const upsert = `INSERT INTO patients (id, name, ssn) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET name = excluded.name, ssn = excluded.ssn RETURNING id, name`
		got := e.rows(t, tenantA, upsert, 2, "Ný", "ssn-new")
		if len(got) != 1 || got[0][1] != "Ný" {
			t.Errorf("upsert returned %v", got)
		}
		if got := e.rows(t, tenantA, `SELECT id FROM patients WHERE ssn = $1`, "ssn-new"); len(got) != 1 {
			t.Errorf("the upserted blind index finds %v", got)
		}
		if got := e.rows(t, tenantB, `SELECT name FROM patients WHERE id = 2`); len(got) != 1 || got[0][0] != "Þóra 2 of Clinic" {
			t.Errorf("the upsert reached the other tenant: %v", got)
		}
	})
}

func TestNoTenantNoAccess(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		ctx := context.Background()
		if _, err := e.tryRows(ctx, `SELECT id FROM patients`); !errors.Is(err, tenant.ErrMissing) {
			t.Errorf("query: %v", err)
		}
		if _, err := e.db.ExecContext(ctx, `DELETE FROM visits`); !errors.Is(err, tenant.ErrMissing) {
			t.Errorf("exec: %v", err)
		}
		if _, err := e.db.BeginTx(ctx, nil); !errors.Is(err, tenant.ErrMissing) {
			t.Errorf("begin: %v", err)
		}
		events := e.log.take()
		if len(events) != 3 {
			t.Fatalf("%d events", len(events))
		}
		for _, ev := range events {
			if ev.Status != audit.Denied || ev.Reason != "no tenant in the context" {
				t.Errorf("event %+v", ev)
			}
		}
		if got := e.rows(t, tenantA, `SELECT id FROM visits`); len(got) != 3 {
			t.Errorf("a refused delete deleted: %v", got)
		}
	})
}

func TestTransactionBelongsToItsTenant(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(1)
		tx, err := e.db.BeginTx(as(tenantA), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(as(tenantA), `UPDATE patients SET ward = 'tx'`); err != nil {
			t.Fatal(err)
		}
		e.log.take()
		if _, err := tx.ExecContext(as(tenantB), `UPDATE patients SET ward = 'stolen'`); !errors.Is(err, sqldb.ErrTxTenant) {
			t.Errorf("another tenant's statement: %v", err)
		}
		if ev := e.log.take(); len(ev) != 1 || ev[0].Status != audit.Denied || ev[0].Tenant != tenantB {
			t.Errorf("events %+v", ev)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		// The one connection goes on to the other tenant, and back, whatever the rollback did to its session.
		for _, id := range []tenant.ID{tenantB, tenantA, tenantB} {
			got := e.rows(t, id, `SELECT name, ward FROM patients WHERE id = 1`)
			if len(got) != 1 || got[0][0] != "Þóra 1 of "+id.String() || got[0][1] != "west" {
				t.Errorf("%s reads %v", id, got)
			}
		}
	})
}

// TestFailedStatementsLeaveNoTenantBehind: a statement that fails takes the session's tenant setting back with it.
func TestFailedStatementsLeaveNoTenantBehind(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(1)
		for range 3 {
			if _, err := e.db.ExecContext(as(tenantB), insertPatient, 1, "dup", "dup", nil, nil); err == nil {
				t.Fatal("a duplicate key was accepted")
			}
			for _, id := range []tenant.ID{tenantA, tenantB} {
				if got := e.rows(t, id, `SELECT name FROM patients WHERE id = 1`); len(got) != 1 || got[0][0] != "Þóra 1 of "+id.String() {
					t.Errorf("%s reads %v", id, got)
				}
			}
			ctx, cancel := context.WithCancel(as(tenantA))
			cancel()
			if _, err := e.tryRows(ctx, `SELECT name FROM patients`); err == nil {
				t.Error("a cancelled query succeeded")
			}
		}
	})
}

func TestPreparedStatementRunsForWhoeverExecutesIt(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(1)
		st, err := e.db.PrepareContext(context.Background(), `SELECT name FROM patients WHERE ssn = $1`)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		for range 3 {
			for _, id := range []tenant.ID{tenantA, tenantB} {
				var name string
				if err := st.QueryRowContext(as(id), "ssn-1").Scan(&name); err != nil || name != "Þóra 1 of "+id.String() {
					t.Errorf("%s reads %q, %v", id, name, err)
				}
			}
			var name string
			if err := st.QueryRowContext(as(tenantC), "ssn-1").Scan(&name); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("a tenant without rows reads %q, %v", name, err)
			}
			if err := st.QueryRowContext(context.Background(), "ssn-1").Scan(&name); !errors.Is(err, tenant.ErrMissing) {
				t.Errorf("nobody reads %q, %v", name, err)
			}
		}
	})
}

func TestMovedValuesDoNotOpen(t *testing.T) {
	moves := map[string]string{
		"from another tenant": `UPDATE patients SET name = (SELECT o.name FROM patients o WHERE o.tenant_id = 'Clinic' AND o.id = 1) WHERE tenant_id = 'clinic' AND id = 1`,
		"from another column": `UPDATE patients SET name = ssn WHERE tenant_id = 'clinic' AND id = 1`,
		"from another table":  `UPDATE patients SET name = (SELECT note FROM visits WHERE tenant_id = 'clinic' AND id = 1) WHERE tenant_id = 'clinic' AND id = 1`,
		"truncated":           `UPDATE patients SET name = substr(name, 1, 20) WHERE tenant_id = 'clinic' AND id = 1`,
		"in the clear":        `UPDATE patients SET name = substr(name, 1, 0) WHERE tenant_id = 'clinic' AND id = 1`,
	}
	for what, move := range moves {
		t.Run(what, func(t *testing.T) {
			onBoth(t, &sqldb.Options{InsecureWithoutRLS: true}, func(t *testing.T, e *env) {
				if e.dialect == dialect.PostgreSQL {
					// The owner stands for an attacker who can write to the database.
					mustExec(t, e.raw, `ALTER TABLE patients NO FORCE ROW LEVEL SECURITY; ALTER TABLE patients DISABLE ROW LEVEL SECURITY; ALTER TABLE visits DISABLE ROW LEVEL SECURITY`)
				}
				fill(t, e)
				if e.dialect == dialect.PostgreSQL {
					mustExec(t, e.raw, `ALTER TABLE patients DROP CONSTRAINT strongroom_sealed_name; `+move)
				} else {
					mustExec(t, e.raw, `PRAGMA ignore_check_constraints = ON; `+move)
				}
				got, err := e.tryRows(as(tenantA), `SELECT id, name FROM patients WHERE id = 1`)
				if !errors.Is(err, storage.ErrIsolation) || len(got) != 0 {
					t.Fatalf("read %v, %v", got, err)
				}
				if !strings.Contains(err.Error(), "patients.name") {
					t.Errorf("the error does not name the place: %v", err)
				}
				alerts := 0
				for _, ev := range e.log.take() {
					if ev.Code == audit.CodeIsolation && ev.Tenant == tenantA && reflect.DeepEqual(ev.Columns, []string{"patients.name"}) {
						alerts++
					}
				}
				if alerts != 1 {
					t.Errorf("%d alerts", alerts)
				}
				// The rest of the tenant's data stays readable.
				if got := e.rows(t, tenantA, `SELECT name FROM patients WHERE id = 2`); len(got) != 1 {
					t.Errorf("the next row: %v", got)
				}
			})
		})
	}
}

func TestSuspendedTenantIsRefused(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		if err := e.ring.Suspend(context.Background(), tenantB, "court order"); err != nil {
			t.Fatal(err)
		}
		if _, err := e.tryRows(as(tenantB), `SELECT id FROM patients`); !errors.Is(err, keys.ErrSuspended) {
			t.Errorf("suspended: %v", err)
		}
		if _, err := e.db.BeginTx(as(tenantB), nil); !errors.Is(err, keys.ErrSuspended) {
			t.Errorf("suspended begin: %v", err)
		}
		if ev := e.log.take(); len(ev) != 2 || ev[0].Reason != "suspended" || ev[0].Status != audit.Denied {
			t.Errorf("events %+v", ev)
		}
		if got := e.rows(t, tenantA, `SELECT id FROM patients`); len(got) != 3 {
			t.Errorf("the other tenant reads %v", got)
		}
	})
}

func TestNothingHappensUnrecorded(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.log.failing(func(ev *audit.Event) bool { return ev.Phase == audit.Intent })
		if got, err := e.tryRows(as(tenantA), `SELECT name FROM patients`); !errors.Is(err, audit.ErrUnavailable) || len(got) > 0 {
			t.Errorf("read %v, %v", got, err)
		}
		if _, err := e.db.ExecContext(as(tenantA), `DELETE FROM visits`); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("delete: %v", err)
		}
		e.log.failing(func(ev *audit.Event) bool { return ev.Phase == audit.Outcome })
		if _, err := e.tryRows(as(tenantA), `SELECT name FROM patients`); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("a read whose outcome is lost: %v", err)
		}
		e.log.failing(func(ev *audit.Event) bool { return ev.Status == audit.Denied })
		_, err := e.tryRows(as(tenantA), `DROP TABLE patients`)
		var refused *sqldb.RefusedError
		if !errors.As(err, &refused) || !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("a refusal that cannot be recorded: %v", err)
		}
		e.log.failing(nil)
		if got := e.rows(t, tenantA, `SELECT id FROM visits`); len(got) != 3 {
			t.Errorf("an unrecorded delete deleted: %v", got)
		}
	})
}

func TestEventsTellWhatHappened(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.rows(t, tenantA, `SELECT id, name FROM patients WHERE ssn = $1`, "ssn-1")
		ev := e.log.take()
		if len(ev) != 2 {
			t.Fatalf("%d events", len(ev))
		}
		intent, outcome := ev[0], ev[1]
		if intent.Phase != audit.Intent || outcome.Phase != audit.Outcome || intent.Correlation == "" || intent.Correlation != outcome.Correlation {
			t.Errorf("phases %v %v, correlations %q %q", intent.Phase, outcome.Phase, intent.Correlation, outcome.Correlation)
		}
		if outcome.Rows != 1 || outcome.Status != audit.Success || !reflect.DeepEqual(outcome.Tables, []string{"patients"}) {
			t.Errorf("outcome %+v", outcome)
		}
		for _, column := range []string{"patients.name", "patients.ssn"} {
			if !strings.Contains(strings.Join(outcome.SealedColumns, " "), column) {
				t.Errorf("%s is not among the sealed columns %v", column, outcome.SealedColumns)
			}
		}
		e.exec(t, tenantA, `UPDATE patients SET ward = 'north' WHERE id = 1`)
		ev = e.log.take()
		if len(ev) != 2 || ev[1].Rows != 1 || ev[1].Code != audit.CodeExec || strings.Contains(ev[1].Statement, "north") {
			t.Errorf("update's events %+v", ev)
		}
		if _, err := e.tryRows(as(tenantA), `SELECT name FROM patients ORDER BY name`); err == nil {
			t.Error("ordering by a sealed column was accepted")
		}
		if ev = e.log.take(); len(ev) != 1 || ev[0].Status != audit.Denied || !strings.HasPrefix(ev[0].Reason, "refused: ") {
			t.Errorf("refusal's events %+v", ev)
		}
	})
}

// TestManyTenantsShareAPool looks, under the race detector, for a connection that serves the wrong tenant.
func TestManyTenantsShareAPool(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.db.SetMaxOpenConns(4)
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for i := range 25 {
					id := []tenant.ID{tenantA, tenantB}[(g+i)%2]
					var name string
					err := e.db.QueryRowContext(as(id), `SELECT name FROM patients WHERE ssn = $1`, "ssn-2").Scan(&name)
					if err != nil || name != "Þóra 2 of "+id.String() {
						t.Errorf("%s reads %q, %v", id, name, err)
						return
					}
					if i%5 == 0 {
						tx, err := e.db.BeginTx(as(id), &sql.TxOptions{ReadOnly: true})
						if err != nil {
							t.Errorf("begin: %v", err)
							return
						}
						err = tx.QueryRowContext(as(id), `SELECT note FROM visits WHERE id = 1`).Scan(&name)
						if err != nil || name != "note of "+id.String() {
							t.Errorf("%s reads %q, %v", id, name, err)
						}
						if err := tx.Rollback(); err != nil {
							t.Errorf("rollback: %v", err)
						}
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestRawConnectionIsGuarded(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		c, err := e.db.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = c.Raw(func(dc any) error {
			typ := reflect.TypeOf(dc)
			allowed := "Begin BeginTx CheckNamedValue Close ExecContext IsValid Ping Prepare PrepareContext QueryContext ResetSession"
			for i := range typ.NumMethod() {
				if !strings.Contains(" "+allowed+" ", " "+typ.Method(i).Name+" ") {
					t.Errorf("the raw connection has the method %s", typ.Method(i).Name)
				}
			}
			for i := range typ.Elem().NumField() {
				if typ.Elem().Field(i).IsExported() {
					t.Errorf("the raw connection has the field %s", typ.Elem().Field(i).Name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.db.Driver().Open(e.dsn); err == nil {
			t.Error("the driver opens an unguarded connection")
		}
	})
}
