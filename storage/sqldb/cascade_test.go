package sqldb_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// forbids denies one verb on one table.
type forbids struct {
	verb  tenant.Verb
	table string
}

func (f forbids) Authorize(_ context.Context, _ tenant.Access, a tenant.Action) error {
	if a.Verb == f.verb && slices.Contains(a.Tables, f.table) {
		return errors.New("forbidden")
	}
	return nil
}

// visitsThat remakes the table visits with a foreign key with an action, and opens the database again.
func visitsThat(t *testing.T, e *env, action string, a forbids) {
	t.Helper()
	e.db.Close()
	mustExec(t, e.raw, `DROP TABLE visits`)
	create := strings.Replace(clinicTables[e.dialect][1], "REFERENCES patients (tenant_id, id)", "REFERENCES patients (tenant_id, id) "+action, 1)
	mustExec(t, e.raw, strings.Replace(create, "patient_id INTEGER NOT NULL", "patient_id INTEGER", 1))
	if e.dialect == dialect.PostgreSQL {
		ddl, err := clinicSchema.DDL(e.dialect, nil)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, e.raw, ddl)
	}
	g := e.guard
	g.Authorizer = a
	db, err := sqldb.Open(context.Background(), e.dsn, clinicSchema, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	e.db = db
}

// What a foreign key does to another table's rows is put to the authorizer, and is in the trail.
func TestCascadesAreSeen(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		visitsThat(t, e, "ON DELETE CASCADE ON UPDATE CASCADE", forbids{tenant.Delete, "visits"})
		e.exec(t, tenantA, `INSERT INTO visits (id, patient_id) VALUES (1, 1)`)
		if _, err := e.db.ExecContext(as(tenantA), `DELETE FROM patients WHERE id = 1`); err == nil {
			t.Error("a cascade that may not be was not put to the authorizer")
		}
		if got, err := e.tryRows(as(tenantA), `SELECT id FROM visits`); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
		e.log.take()
		e.exec(t, tenantA, `UPDATE patients SET id = 9 WHERE id = 1`)
		if !slices.ContainsFunc(e.log.take(), func(ev audit.Event) bool { return slices.Contains(ev.Tables, "visits") }) {
			t.Error("the trail does not say that visits were changed")
		}
		e.exec(t, tenantA, `UPDATE patients SET ward = 'x' WHERE id = 9`)
		if slices.ContainsFunc(e.log.take(), func(ev audit.Event) bool { return slices.Contains(ev.Tables, "visits") }) {
			t.Error("the trail says that visits were changed")
		}
	})
}

func TestForeignKeysOfUndeclaredTables(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		mustExec(t, e.raw, `CREATE TABLE bills (tenant_id text NOT NULL, id integer NOT NULL, patient_id bigint, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id) ON DELETE CASCADE)`)
		_, err := sqldb.Open(context.Background(), e.dsn, clinicSchema, e.guard, nil)
		var problems *sqldb.SchemaError
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), "bills") || len(problems.Problems) != 1 {
			t.Errorf("a table whose rows go unseen: %v", err)
		}
	})
}
