package sqldb_test

import (
	"database/sql"
	"errors"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// An application that names its tenant column itself runs unchanged, and cannot write into another tenant's room with it:
// not by a parameter, a literal, a copy of it in another statement of the same text, or an upsert.
func TestTheStatementsOwnTenantColumn(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, e *env) {
		fill(t, e)
		e.exec(t, tenantA, `INSERT INTO patients (tenant_id, id, ward) VALUES ($1, 10, 'w'), ('clinic', 11, 'w')`, "clinic")
		e.exec(t, tenantA, `INSERT INTO visits (id, tenant_id, patient_id) SELECT 20 + p.id, p.tenant_id, p.id FROM patients p WHERE p.id = $1`, 10)
		e.exec(t, tenantA, `INSERT INTO patients (tenant_id, id) VALUES ($1, 10) ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = excluded.tenant_id, ward = 'x'`, []byte("clinic"))
		got, err := e.tryRows(as(tenantA), `SELECT id, ward FROM patients WHERE tenant_id = $1 AND id >= 10 ORDER BY id`, "clinic")
		if err != nil || len(got) != 2 {
			t.Fatalf("%v, %v", got, err)
		}
		before := snapshot(t, e)
		for _, attack := range []struct {
			query string
			args  []any
		}{
			{`INSERT INTO patients (tenant_id, id) VALUES ($1, 30)`, []any{"Clinic"}},
			{`INSERT INTO patients (tenant_id, id) VALUES ($1, 30), ($2, 31)`, []any{"clinic", "Clinic"}},
			{`INSERT INTO patients (tenant_id, id) VALUES ('Clinic', 30)`, nil},
			{`INSERT INTO patients (tenant_id, id) VALUES ($1, 30)`, []any{nil}},
			{`INSERT INTO patients (tenant_id, id) VALUES ($1, 30)`, []any{7}},
			{`INSERT INTO patients (id, tenant_id) SELECT 30, $1`, []any{"Clinic"}},
			{`INSERT INTO patients (tenant_id, id) VALUES ($1, 1) ON CONFLICT (tenant_id, id) DO UPDATE SET ward = 'stolen'`, []any{"Clinic"}},
		} {
			e.log.take()
			_, err := e.db.ExecContext(as(tenantA), attack.query, attack.args...)
			if !errors.Is(err, storage.ErrIsolation) {
				t.Errorf("%s %v: %v", attack.query, attack.args, err)
			}
			if !slices.ContainsFunc(e.log.take(), func(ev audit.Event) bool { return ev.Code == audit.CodeIsolation && ev.Tenant == tenantA }) {
				t.Errorf("%s %v: no alert", attack.query, attack.args)
			}
		}
		if after := snapshot(t, e); !slices.Equal(before, after) {
			t.Errorf("rows changed:\n%v\n%v", before, after)
		}
		for _, refused := range []string{
			`UPDATE patients SET tenant_id = $1 WHERE id = 1`,
			`INSERT INTO patients (tenant_id, id) VALUES (lower($1), 30)`,
			`INSERT INTO patients (tenant_id, id) SELECT ward, id FROM patients`,
			`INSERT INTO patients (tenant_id, id) SELECT $1, 30 UNION ALL SELECT 'Clinic', 31`,
			`INSERT INTO patients (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET tenant_id = $1`,
		} {
			if _, err := e.db.ExecContext(as(tenantA), refused, "clinic"); err == nil || errors.Is(err, storage.ErrIsolation) {
				t.Errorf("%s: %v", refused, err)
			}
		}
	})
}

// snapshot is every tenant's row of patients and visits, as stored.
func snapshot(t *testing.T, e *env) []string {
	t.Helper()
	var all []string
	for _, query := range []string{`SELECT tenant_id || '/' || id || '/' || coalesce(ward, '') FROM patients ORDER BY 1`, `SELECT tenant_id || '/' || id FROM visits ORDER BY 1`} {
		rows, err := everything(t, e).Query(query)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) == 0 {
		t.Fatal("there is nothing that could change")
	}
	return all
}

// everything is a handle that sees every row.
func everything(t *testing.T, e *env) *sql.DB {
	t.Helper()
	if e.dialect == dialect.SQLite {
		return e.raw
	}
	db, err := sql.Open("pgx", e.super)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
