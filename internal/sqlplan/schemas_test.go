package sqlplan

import (
	"strings"
	"testing"
)

// schemasCatalog has a table of one name in two schemas, with different keys.
func schemasCatalog() *Catalog {
	cat := testCatalog(PostgreSQL)
	cat.Tables["billing.patients"] = &Table{Schema: "billing", Name: "billing.patients", TenantColumn: "clinic",
		Columns: []Column{{Name: "clinic", Type: "text", NotNull: true}, {Name: "id", Type: "bigint", NotNull: true}, {Name: "ward", Type: "text", NotNull: true},
			{Name: "iban", Type: "bytea", Sealed: true, IndexColumn: "iban_index"}, {Name: "iban_index", Type: "bytea", Index: true}},
		PrimaryKey: []string{"clinic", "id", "ward"}}
	return cat
}

// Which rows a subquery may have is said by the key of the table that it names. If billing.patients were taken for patients, one
// by id would be taken for one of at most one row, and evaluated for foreign rows: its failure would tell of them.
func TestKeysOfTablesOfOneName(t *testing.T) {
	for table, guarded := range map[string]bool{"patients": false, "public.patients": false, "billing.patients": true} {
		plan, err := New(`SELECT v.id FROM visits v WHERE CASE WHEN v.ward = $1 THEN (SELECT b.id FROM `+table+` b WHERE b.id = 1) IS NULL END`, schemasCatalog())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(plan.SQL, "OFFSET 0") || strings.Contains(plan.SQL, "THEN NULL"); got != guarded {
			t.Errorf("%s: %s", table, plan.SQL)
		}
	}
}

// A plan names a table in its schema, and calls it by the name under which it is declared.
func TestPlansOfSeveralSchemas(t *testing.T) {
	cat := schemasCatalog()
	for sql, want := range map[string][]string{
		`SELECT b.iban FROM billing.patients b WHERE b.iban = $1`:                      {"FROM billing.patients b WHERE b.clinic = $"},
		`DELETE FROM billing.patients WHERE billing.patients.id = 1`:                   {"DELETE FROM billing.patients patients", "patients.clinic = $"},
		`UPDATE billing.patients SET iban = $1`:                                        {"UPDATE billing.patients patients", "patients.clinic = $"},
		`INSERT INTO billing.patients (id, ward, iban) VALUES (1, 'east', $1)`:         {"INSERT INTO billing.patients", "clinic)"},
		`SELECT p.id FROM patients p, billing.patients b WHERE b.id = p.id`:            {"FROM public.patients p WHERE p.tenant_id", "FROM billing.patients b WHERE b.clinic"},
		`INSERT INTO billing.patients (clinic, id) SELECT tenant_id, id FROM patients`: {"INSERT INTO billing.patients"},
	} {
		plan, err := New(sql, cat)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		for _, part := range want {
			if !strings.Contains(plan.SQL, part) {
				t.Errorf("%s: %q is not in %s", sql, part, plan.SQL)
			}
		}
		for _, param := range plan.Params {
			if param.Use != AsIs && param.Table != "billing.patients" {
				t.Errorf("%s: a value of %s", sql, param.Table)
			}
		}
		if !strings.Contains(strings.Join(plan.Tables, " "), "billing.patients") {
			t.Errorf("%s: tables %q", sql, plan.Tables)
		}
	}
	for _, sql := range []string{`SELECT p.iban FROM patients p`, `SELECT clinic FROM public.patients`, `SELECT 1 FROM "billing.patients"`, `SELECT 1 FROM other.patients`,
		`SELECT 1 FROM billing.visits`, `SELECT billing.patients.id FROM patients`, `SELECT 1 FROM patients, billing.patients`,
		`SELECT b.id FROM billing.patients b JOIN patients p ON b.iban = p.ssn`} {
		if plan, err := New(sql, cat); err == nil {
			t.Errorf("%s: planned as %s", sql, plan.SQL)
		}
	}
}
