package sqlxtest

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// patient has ordinary types for sealed columns. SELECT * yields the tenant column too, so a struct that is scanned
// from it has a field for it; an INSERT leaves it out.
type patient struct {
	TenantID  string     `db:"tenant_id"`
	ID        int64      `db:"id"`
	Name      string     `db:"name"`
	SSN       *string    `db:"ssn"`
	Born      *time.Time `db:"born"`
	Ward      string     `db:"ward"`
	Country   *string    `db:"country_code"`
	CreatedAt *time.Time `db:"created_at"`
	UpdatedAt *time.Time `db:"updated_at"`
	DeletedAt *time.Time `db:"deleted_at"`
}

type visit struct {
	ID        int64          `db:"id"`
	PatientID int64          `db:"patient_id"`
	Room      string         `db:"room"`
	Note      sql.NullString `db:"note"`
	Cost      sql.NullString `db:"cost"`
}

const (
	insertPatient = `INSERT INTO patients (id, name, ssn, born, ward) VALUES (:id, :name, :ssn, :born, :ward)`
	insertVisit   = `INSERT INTO visits (id, patient_id, room, note, cost) VALUES (:id, :patient_id, :room, :note, :cost)`
)

var born = time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// open puts sqlx on a guarded database. The driver's name tells sqlx to write $1, $2, …
func open(t *testing.T) (*fixture.Clinic, *sqlx.DB) {
	t.Helper()
	c := fixture.New(t)
	db := sqlx.NewDb(c.DB, "pgx")
	for _, id := range []tenant.ID{fixture.A, fixture.B} {
		own := func(s string) string { return s + " of " + id.String() }
		ctx := fixture.As(id)
		_, err := db.NamedExecContext(ctx, insertPatient, []patient{ // a batch: one row for each element
			{ID: 1, Name: own("Anna"), SSN: ptr(own("1")), Born: &born, Ward: "north"},
			{ID: 2, Name: own("Björn"), SSN: ptr(own("2")), Ward: "south"},
			{ID: 3, Name: own("Cleo"), Ward: "south"},
		})
		fixture.OK(t, err)
		_, err = db.NamedExecContext(ctx, insertVisit, visit{ID: 10, PatientID: 1, Room: "r1", Note: sql.NullString{String: own("note"), Valid: true}})
		fixture.OK(t, err)
	}
	return c, db
}

func each(t *testing.T, c *fixture.Clinic, test func(t *testing.T, id tenant.ID, own func(string) string)) {
	t.Helper()
	for id, other := range map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A} {
		t.Run(id.String(), func(t *testing.T) {
			c.Untouched(t, other, func() {
				test(t, id, func(s string) string { return s + " of " + id.String() })
			})
		})
	}
}

func TestGetAndSelect(t *testing.T) {
	c, db := open(t)
	c.Sealed(t, "Anna", "Björn", "Cleo", "1950-03-14", "note of")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		var p patient
		fixture.OK(t, db.GetContext(ctx, &p, `SELECT * FROM patients WHERE ssn = $1`, own("1")))
		fixture.Equal(t, "name", p.Name, own("Anna"))
		fixture.Equal(t, "born", *p.Born, born)
		fixture.Equal(t, "tenant", p.TenantID, id.String())
		var all []patient
		fixture.OK(t, db.SelectContext(ctx, &all, `SELECT * FROM patients ORDER BY id`))
		fixture.Equal(t, "all", len(all) == 3 && all[2].Name == own("Cleo") && all[2].SSN == nil, true)
		err := db.GetContext(ctx, &p, `SELECT * FROM patients WHERE id = $1 AND tenant_id <> $2`, 1, id.String())
		fixture.Equal(t, "foreign is absent", errors.Is(err, sql.ErrNoRows), true)

		var joined []struct {
			Patient patient `db:"p"`
			Note    string  `db:"note"`
		}
		fixture.OK(t, db.SelectContext(ctx, &joined, `SELECT p.id AS "p.id", p.name AS "p.name", p.born AS "p.born", v.note
			FROM patients p JOIN visits v ON v.patient_id = p.id`))
		fixture.Equal(t, "nested struct", len(joined) == 1 && joined[0].Patient.Name == own("Anna") && joined[0].Note == own("note"), true)
		rows, err := db.QueryxContext(ctx, `SELECT id, name FROM patients ORDER BY id`)
		fixture.OK(t, err)
		defer rows.Close()
		fixture.Equal(t, "a row", rows.Next(), true)
		m := map[string]any{}
		fixture.OK(t, rows.MapScan(m))
		fixture.Equal(t, "map", m["name"], any(own("Anna")))
		fixture.Equal(t, "a row", rows.Next(), true)
		fixture.OK(t, rows.StructScan(&p))
		fixture.Equal(t, "struct", p.Name, own("Björn"))
	})
}

func TestNamedAndIn(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		rows, err := db.NamedQueryContext(ctx, `SELECT * FROM patients WHERE name = :name AND ward = :ward`,
			map[string]any{"name": " BJÖRN of " + id.String(), "ward": "south"})
		fixture.OK(t, err)
		fixture.Equal(t, "a row", rows.Next(), true)
		var p patient
		fixture.OK(t, rows.StructScan(&p))
		fixture.Equal(t, "id", p.ID, 2)
		fixture.OK(t, rows.Close())

		query, args, err := sqlx.In(`SELECT name FROM patients WHERE ssn IN (?) AND id IN (?) ORDER BY id`, []string{own("1"), own("2")}, []int64{1, 2, 3})
		fixture.OK(t, err)
		var names []string
		fixture.OK(t, db.SelectContext(ctx, &names, db.Rebind(query), args...))
		fixture.Equal(t, "IN", len(names) == 2 && names[1] == own("Björn"), true)

		query, args, err = sqlx.Named(`SELECT name FROM patients WHERE ssn IN (:ssns) AND ward = :ward`, map[string]any{"ssns": []string{own("1"), own("2")}, "ward": "north"})
		fixture.OK(t, err)
		query, args, err = sqlx.In(query, args...)
		fixture.OK(t, err)
		fixture.OK(t, db.SelectContext(ctx, &names, db.Rebind(query), args...))
		fixture.Equal(t, "named IN", len(names) == 1 && names[0] == own("Anna"), true)

		stmt, err := db.PrepareNamedContext(ctx, `SELECT name FROM patients WHERE id = :id`)
		fixture.OK(t, err)
		defer stmt.Close()
		// The statement runs for whoever executes it.
		for _, who := range []tenant.ID{fixture.A, fixture.B, id} {
			var name string
			fixture.OK(t, stmt.GetContext(fixture.As(who), &name, map[string]any{"id": 1}))
			fixture.Equal(t, "prepared", name, "Anna of "+who.String())
		}
	})
}

func TestWrites(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		tx, err := db.BeginTxx(ctx, nil)
		fixture.OK(t, err)
		defer tx.Rollback()
		_, err = tx.NamedExecContext(ctx, `UPDATE patients SET name = :name, born = :born WHERE id = :id`, patient{ID: 1, Name: own("Astrid")})
		fixture.OK(t, err)
		// an upsert by primary key
		_, err = tx.NamedExecContext(ctx, insertPatient+` ON CONFLICT (id) DO UPDATE SET name = excluded.name, ward = excluded.ward`,
			[]patient{{ID: 2, Name: own("Bo"), Ward: "west"}, {ID: 4, Name: own("Dora")}})
		fixture.OK(t, err)
		var newID int64
		fixture.OK(t, tx.GetContext(ctx, &newID, tx.Rebind(`INSERT INTO patients (name, ssn) VALUES (?, ?) RETURNING id`), own("Eva"), own("5")))
		res, err := tx.ExecContext(ctx, `DELETE FROM patients WHERE name = $1`, own("cleo"))
		fixture.OK(t, err)
		n, err := res.RowsAffected()
		fixture.OK(t, err)
		fixture.Equal(t, "deleted", n, 1)
		_, err = tx.ExecContext(fixture.As(map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A}[id]), `DELETE FROM visits`)
		fixture.Equal(t, "another tenant's context", errors.Is(err, sqldb.ErrTxTenant), true)
		fixture.OK(t, tx.Commit())

		var all []patient
		fixture.OK(t, db.SelectContext(ctx, &all, `SELECT id, name, born, ward FROM patients ORDER BY id`))
		fixture.Equal(t, "rows", len(all), 4)
		fixture.Equal(t, "updated", all[0].Name == own("Astrid") && all[0].Born == nil, true)
		fixture.Equal(t, "upserted", all[1].Name == own("Bo") && all[1].Ward == "west" && all[2].Name == own("Dora"), true)
		fixture.Equal(t, "inserted", all[3].Name == own("Eva") && all[3].ID == newID, true)
	})
}

func TestRefused(t *testing.T) {
	c, db := open(t)
	ctx := fixture.As(fixture.A)
	for _, test := range []struct{ reason, query string }{
		{fixture.OtherTenant, `INSERT INTO patients (tenant_id, id, name) VALUES ('Clinic', 9, 'x')`},
		{"write to the tenant column", `UPDATE patients SET tenant_id = 'Clinic'`},
		{fixture.OtherTenant, `INSERT INTO tags VALUES ('Clinic', 9, 'x')`},
		{"ORDER BY a sealed column", `SELECT * FROM patients ORDER BY 3`},
		{"comparison of a sealed column other than equality", `SELECT * FROM patients WHERE name ILIKE 'a%'`},
		{"comparison of a sealed column that is not searchable", `SELECT * FROM patients WHERE born = '1950-03-14'`},
		{"expression over a sealed column", `SELECT upper(name) FROM patients`},
		{"unknown column", `SELECT name_index FROM patients`},
		{"unknown table", `SELECT * FROM pg_catalog.pg_tables`},
		{"not one statement", `DELETE FROM visits; DELETE FROM patients`},
	} {
		c.Untouched(t, fixture.A, func() {
			c.Untouched(t, fixture.B, func() {
				_, err := db.ExecContext(ctx, test.query)
				fixture.Refused(t, err, test.reason)
			})
		})
	}
	err := db.Get(new(string), `SELECT name FROM patients WHERE id = 1`)
	fixture.Equal(t, "without a context", errors.Is(err, tenant.ErrMissing), true)
}
