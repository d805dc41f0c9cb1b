package sqlplan

import (
	"context"
	"errors"
	"testing"
)

func TestNewRows(t *testing.T) {
	cat := testCatalog(PostgreSQL)
	plan, err := NewRows(context.Background(), `INSERT INTO patients (id, ssn, note, tenant_id, created) VALUES ($1, $2, $3, $4, $5)`, cat)
	if err != nil {
		t.Fatal(err)
	}
	const want = `INSERT INTO public.patients AS patients (id, ssn, ssn_index, note, created, tenant_id) SELECT ` +
		`pg_catalog.unnest($1::pg_catalog._int8), pg_catalog.unnest($2::pg_catalog._bytea), pg_catalog.unnest($3::pg_catalog._bytea), ` +
		`pg_catalog.unnest($4::pg_catalog._text), pg_catalog.unnest($5::pg_catalog._timestamptz), $6`
	if plan.SQL != want {
		t.Errorf("got  %s\nwant %s", plan.SQL, want)
	}
	one, err := New(`INSERT INTO patients (id, ssn, note, tenant_id, created) VALUES ($1, $2, $3, $4, $5)`, cat)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Statement != one.Statement || plan.Fingerprint != one.Fingerprint || plan.Verb != one.Verb || plan.NumInput != one.NumInput || len(plan.Tenants) != 1 {
		t.Errorf("%+v\nis not the plan of one row:\n%+v", plan, one)
	}
	for i, p := range plan.Params {
		if (p.Element == "") != (p.Source == FromTenant) {
			t.Errorf("parameter %d: %+v", i+1, p)
		}
		if p.Element = ""; p != one.Params[i] {
			t.Errorf("parameter %d: %+v and not %+v", i+1, p, one.Params[i])
		}
	}
}

// The plan of each type is one: its name is written as it is read.
func TestNewRowsOfEachType(t *testing.T) {
	for typ, name := range arrayTypes {
		cat := testCatalog(PostgreSQL)
		cat.Tables["visits"].Columns = append(cat.Tables["visits"].Columns, Column{Name: "value", Type: typ})
		plan, err := NewRows(context.Background(), `INSERT INTO visits (id, value) VALUES ($1, $2)`, cat)
		if err != nil {
			t.Errorf("%s: %v", typ, err)
		} else if plan.Params[1].Element != name {
			t.Errorf("%s: %+v", typ, plan.Params)
		}
	}
}

// What is not one row of parameters for columns of built-in types is refused, and can be sent as it is.
func TestNewRowsRefuses(t *testing.T) {
	cat := testCatalog(PostgreSQL)
	for i, name := range []string{"own_mood", "bigint[]", "inet", "public.bigint"} {
		column := Column{Name: "c" + itoa(i), Type: name}
		cat.Tables["visits"].Columns = append(cat.Tables["visits"].Columns, column)
	}
	cat.Tables["visits"].Columns = append(cat.Tables["visits"].Columns, Column{Name: "mood", Type: "text", Enum: true})
	for _, sql := range []string{
		`INSERT INTO visits (id, c0) VALUES ($1, $2)`,
		`INSERT INTO visits (id, c1) VALUES ($1, $2)`,
		`INSERT INTO visits (id, c2) VALUES ($1, $2)`,
		`INSERT INTO visits (id, c3) VALUES ($1, $2)`,
		`INSERT INTO visits (id, mood) VALUES ($1, $2)`,
		`INSERT INTO visits (id, ward) VALUES ($1, $2), ($3, $4)`,
		`INSERT INTO visits (id, ward) VALUES ($1, 'west')`,
		`INSERT INTO visits (id, ward) VALUES ($1, $2::text)`,
		`INSERT INTO visits (id, ward) VALUES ($1, DEFAULT)`,
		`INSERT INTO visits (id, patient_id) VALUES ($1, $1)`,
		`INSERT INTO visits (id, report) VALUES ($1, 'literal')`,
		`INSERT INTO visits (id) VALUES ($1) RETURNING id`,
		`INSERT INTO visits (id) VALUES ($1) ON CONFLICT DO NOTHING`,
		`WITH w AS (SELECT 1) INSERT INTO visits (id) VALUES ($1)`,
		`INSERT INTO visits (id) SELECT $1::bigint`,
		`INSERT INTO visits DEFAULT VALUES`,
		`UPDATE visits SET ward = $1`,
		`WITH w AS (INSERT INTO visits (id) VALUES ($1) RETURNING id) SELECT id FROM w`,
		`INSERT INTO countries (code) VALUES ($1)`,
		`INSERT INTO secrets (id) VALUES ($1)`,
	} {
		var refused *RefusedError
		if plan, err := NewRows(context.Background(), sql, cat); !errors.As(err, &refused) {
			t.Errorf("%s: %v, %v", sql, plan, err)
		}
	}
	if _, err := NewRows(context.Background(), `INSERT INTO visits (id, ward) VALUES ($1, $2)`, testCatalog(SQLite)); err == nil {
		t.Error("SQLite")
	}
}
