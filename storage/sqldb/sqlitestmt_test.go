package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// oneConn returns a guarded connection of SQLite's and patients 1 to 3 of two tenants, in wards named for them.
func oneConn(t *testing.T) (*env, *sql.Conn) {
	t.Helper()
	e := newEnv(t, dialect.SQLite, nil)
	for _, id := range []tenant.ID{tenantA, tenantB} {
		for i := range 3 {
			e.exec(t, id, `INSERT INTO patients (id, name, ward) VALUES ($1, $2, $3)`, i+1, fmt.Sprintf("%s's %d", id, i+1), id.String())
		}
	}
	c, err := e.db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return e, c
}

// TestStatementSharedByTenants: one compiled statement of a connection serves every tenant, also while another tenant's
// result set is still being read from it.
func TestStatementSharedByTenants(t *testing.T) {
	_, c := oneConn(t)
	const query = `SELECT name FROM patients WHERE id >= $1 ORDER BY id`
	open := func(id tenant.ID) *sql.Rows {
		t.Helper()
		rows, err := c.QueryContext(as(id), query, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rows.Close() }) // before the connection, which would wait for it
		return rows
	}
	for range 3 { // the first time compiles, the later ones reuse
		a, b := open(tenantA), open(tenantB)
		for i := 1; i <= 3; i++ {
			for _, r := range []struct {
				id   tenant.ID
				rows *sql.Rows
			}{{tenantA, a}, {tenantB, b}} {
				var name string
				if !r.rows.Next() {
					t.Fatalf("%s: no row %d: %v", r.id, i, r.rows.Err())
				}
				if err := r.rows.Scan(&name); err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("%s's %d", r.id, i); name != want {
					t.Errorf("%s read %q, want %q", r.id, name, want)
				}
			}
		}
		if a.Next() || b.Next() {
			t.Error("more rows than the tenant has")
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestStatementsDropped: a statement that is dropped from the cache while it is read from stays whole.
func TestStatementsDropped(t *testing.T) {
	_, c := oneConn(t)
	rows, err := c.QueryContext(as(tenantA), `SELECT ward FROM patients ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rows.Close() })
	for i := range 250 {
		others, err := c.QueryContext(as(tenantB), fmt.Sprintf(`SELECT ward FROM patients WHERE id > %d`, -i))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := collect(others); err != nil || len(got) != 3 {
			t.Fatalf("statement %d: %v, %v", i, got, err)
		}
	}
	got, err := collect(rows)
	if want := [][]any{{"clinic"}, {"clinic"}, {"clinic"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// TestStatementAfterFailure: a statement that failed can run again, and a parameter of the run before is gone.
func TestStatementAfterFailure(t *testing.T) {
	e, c := oneConn(t)
	const insert = `INSERT INTO patients (id, ward, ssn) VALUES ($1, $2, $3)`
	for range 3 {
		if _, err := c.ExecContext(as(tenantA), insert, 1, "duplicate", "123"); err == nil {
			t.Fatal("a second patient 1 was inserted")
		}
	}
	if _, err := c.ExecContext(as(tenantB), insert, 7, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := e.rows(t, tenantB, `SELECT ward, ssn FROM patients WHERE id = 7`); !reflect.DeepEqual(got, [][]any{{nil, nil}}) {
		t.Errorf("got %v", got)
	}
	ctx, cancel := context.WithCancel(as(tenantA))
	const query = `SELECT ward FROM patients WHERE id = $1`
	rows, err := c.QueryContext(ctx, query, 1)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	rows.Close()
	again, err := c.QueryContext(as(tenantB), query, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(again); err != nil || !reflect.DeepEqual(got, [][]any{{"Clinic"}}) {
		t.Errorf("after a cancelled query: %v, %v", got, err)
	}
}

// TestStatementAfterSchemaChange: a compiled statement does not outlive the schema that it was compiled for.
func TestStatementAfterSchemaChange(t *testing.T) {
	e, c := oneConn(t)
	query := func() ([][]any, error) {
		rows, err := c.QueryContext(as(tenantA), `SELECT id, ward FROM patients WHERE id = $1`, 1)
		if err != nil {
			return nil, err
		}
		return collect(rows)
	}
	want := [][]any{{int64(1), "clinic"}}
	if got, err := query(); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
	mustExec(t, e.raw, `ALTER TABLE patients ADD COLUMN bed TEXT`)
	if got, err := query(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after a column was added: %v, %v", got, err)
	}
	mustExec(t, e.raw, `PRAGMA foreign_keys = off`)
	mustExec(t, e.raw, `DROP TABLE visits`)
	mustExec(t, e.raw, `DROP TABLE patients`)
	if got, err := query(); err == nil {
		t.Errorf("after the table was dropped: %v", got)
	}
	// In the table's place, a view of what is not declared: the authorizer is asked anew.
	mustExec(t, e.raw, `CREATE VIEW patients AS SELECT 'clinic' AS tenant_id, id, what AS ward FROM secrets`)
	if got, err := query(); err == nil {
		t.Errorf("a view put in the table's place was read: %v", got)
	}
}
