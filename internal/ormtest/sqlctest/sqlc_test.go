package sqlctest

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/internal/ormtest/sqlctest/clinicdb"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { fixture.Main(m) }

var born = sql.NullTime{Time: time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC), Valid: true}

func text(s string) sql.NullString { return sql.NullString{String: s, Valid: true} }

// open puts generated code on a guarded database, and gives both tenants the same primary keys.
func open(t *testing.T) (*fixture.Clinic, *clinicdb.Queries) {
	t.Helper()
	c := fixture.New(t)
	q := clinicdb.New(c.DB)
	for _, id := range []tenant.ID{fixture.A, fixture.B} {
		own := func(s string) string { return s + " of " + id.String() }
		ctx := fixture.As(id)
		for _, p := range []clinicdb.CreatePatientParams{
			{ID: 1, Name: own("Anna"), Ssn: text(own("1")), Born: born, Ward: "north", CountryCode: text("is")},
			{ID: 2, Name: own("Björn"), Ssn: text(own("2")), Ward: "south"},
			{ID: 3, Name: own("Cleo"), Ward: "south"},
		} {
			_, err := q.CreatePatient(ctx, p)
			fixture.OK(t, err)
		}
		fixture.OK(t, q.AddVisit(ctx, clinicdb.AddVisitParams{ID: 10, PatientID: 1, Room: "r1", Note: text(own("note")), Cost: text("87654.75")}))
		fixture.OK(t, q.AddVisit(ctx, clinicdb.AddVisitParams{ID: 11, PatientID: 1, Room: "r2"}))
	}
	return c, q
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

func TestRead(t *testing.T) {
	c, q := open(t)
	c.Sealed(t, "Anna", "Björn", "Cleo", "1950-03-14", "note of", "87654.75")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		p, err := q.GetPatient(ctx, 1)
		fixture.OK(t, err)
		fixture.Equal(t, "row", p.Name == own("Anna") && p.Born == born && p.Ssn == text(own("1")), true)
		all, err := q.FindPatients(ctx, " BJÖRN of "+id.String())
		fixture.OK(t, err)
		fixture.Equal(t, "found, folded and trimmed", len(all) == 1 && all[0].ID == 2, true)
		one, err := q.FindBySSN(ctx, text(own("1")))
		fixture.OK(t, err)
		fixture.Equal(t, "found", one.Name, own("Anna"))
		_, err = q.FindBySSN(ctx, text("1 of nobody"))
		fixture.Equal(t, "absent", errors.Is(err, sql.ErrNoRows), true)
		either, err := q.FindByEither(ctx, clinicdb.FindByEitherParams{Name: own("Cleo"), Ssn1: text(own("2")), Ssn2: text("x")})
		fixture.OK(t, err)
		fixture.Equal(t, "either", len(either) == 2 && either[0].Name == own("Björn"), true)
		anyOf, err := q.FindBySSNs(ctx, []string{own("2"), "x", own("1")})
		fixture.OK(t, err)
		fixture.Equal(t, "any of", len(anyOf) == 2 && anyOf[0].Name == own("Anna"), true)
		list, err := q.ListPatients(ctx, clinicdb.ListPatientsParams{Ids: []int64{1, 2, 3, 4}, Limit: 2, Offset: 1})
		fixture.OK(t, err)
		fixture.Equal(t, "list", len(list) == 2 && list[1].Name == own("Anna") && list[1].Born == born, true)
		list, err = q.ListPatients(ctx, clinicdb.ListPatientsParams{Ids: []int64{1, 2, 3, 4}, Limit: 9, Ward: text("north")})
		fixture.OK(t, err)
		fixture.Equal(t, "narrowed list", len(list) == 1 && list[0].ID == 1, true)
		page, err := q.PageAfter(ctx, clinicdb.PageAfterParams{Ward: "north", ID: 1})
		fixture.OK(t, err)
		fixture.Equal(t, "keyset page", len(page) == 2 && page[0].ID == 2 && page[1].Name == own("Cleo"), true)
		visits, err := q.VisitsOf(ctx, text(own("1")))
		fixture.OK(t, err)
		fixture.Equal(t, "embedded", len(visits) == 2 && visits[0].Note == text(own("note")) && visits[0].Cost.String == "87654.75" && visits[1].Patient.Name == own("Anna"), true)
		counts, err := q.VisitCounts(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "grouped by primary key", len(counts) == 3 && counts[0].Name == own("Anna") && counts[0].Visits == 2 && counts[2].Visits == 0, true)
	})
}

func TestPlain(t *testing.T) {
	c, q := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, _ func(string) string) {
		ctx := fixture.As(id)
		wards, err := q.BusyWards(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "CTE and window", len(wards) == 2 && wards[0].Ward == "south" && wards[0].Total == 2 && wards[1].Place == 2, true)
		seen, err := q.CountrySeen(ctx, "Iceland")
		fixture.OK(t, err)
		fixture.Equal(t, "shared table", seen, true)
	})
}

func TestWrite(t *testing.T) {
	c, q := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		tx, err := c.DB.BeginTx(ctx, nil)
		fixture.OK(t, err)
		defer tx.Rollback()
		in := q.WithTx(tx)
		n, err := in.RenamePatient(ctx, clinicdb.RenamePatientParams{ID: 1, Name: own("Astrid")})
		fixture.OK(t, err)
		fixture.Equal(t, "renamed", n, 1)
		row, err := in.UpsertPatient(ctx, clinicdb.UpsertPatientParams{Name: own("Bo"), Ssn: text(own("2"))})
		fixture.OK(t, err)
		fixture.Equal(t, "upserted", row.ID == 2 && !row.Unnamed, true)
		row, err = in.UpsertPatient(ctx, clinicdb.UpsertPatientParams{Name: own("Eva"), Ssn: text(own("5"))})
		fixture.OK(t, err)
		fixture.Equal(t, "inserted", row.ID > 3, true)
		fixture.OK(t, in.DeletePatient(ctx, own("CLEO")))
		_, err = in.GetPatient(fixture.As(map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A}[id]), 1)
		fixture.Equal(t, "another tenant's context", errors.Is(err, sqldb.ErrTxTenant), true)
		fixture.OK(t, tx.Commit())
		list, err := q.ListPatients(ctx, clinicdb.ListPatientsParams{Ids: []int64{1, 2, 3, row.ID}, Limit: 9})
		fixture.OK(t, err)
		fixture.Equal(t, "patients", len(list) == 3 && list[0].Name == own("Eva") && list[1].Name == own("Bo") && list[2].Name == own("Astrid"), true)
		p, err := q.GetPatient(ctx, 1)
		fixture.OK(t, err)
		fixture.Equal(t, "kept", p.Ward, "north")
	})
}

// Every logical type is stored, searched for and read back with sqlc's types.
func TestTypes(t *testing.T) {
	c, q := open(t)
	for i, want := range fixture.Results {
		mine, others := fixture.As(fixture.A), fixture.As(fixture.B)
		c.Untouched(t, fixture.B, func() {
			fixture.OK(t, q.AddResult(mine, clinicdb.AddResultParams{ID: int64(i), Scan: want.Scan, Count: want.Count, Level: want.Level,
				Urgent: want.Urgent, At: want.At, Day: want.Day, Amount: want.Amount, Doc: want.Doc, Ref: want.Ref}))
		})
		by := clinicdb.FindResultParams{Count: want.Count, Level: want.Level, Urgent: want.Urgent, At: want.At, Day: want.Day, Amount: want.Amount, Ref: want.Ref}
		r, err := q.FindResult(mine, by)
		fixture.OK(t, err)
		fixture.Same(t, fixture.Result{Scan: r.Scan, Count: r.Count, Level: r.Level, Urgent: r.Urgent, At: r.At, Day: r.Day, Amount: r.Amount,
			Doc: r.Doc, Ref: r.Ref}, want)
		_, err = q.FindResult(others, by)
		fixture.Equal(t, "the other's", errors.Is(err, sql.ErrNoRows), true)
	}
}

func TestRefused(t *testing.T) {
	c, q := open(t)
	for _, test := range []struct {
		name, reason string
		run          func(ctx context.Context) error
	}{
		{"order", "ORDER BY a sealed column", func(ctx context.Context) error { _, err := q.PatientsByName(ctx); return err }},
		{"LIKE", "comparison of a sealed column other than equality", func(ctx context.Context) error { _, err := q.PatientsLike(ctx, "A%"); return err }},
		{"update from an expression", "sealed column set from an expression", func(ctx context.Context) error { return q.UpperNames(ctx) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.Untouched(t, fixture.A, func() {
				c.Untouched(t, fixture.B, func() { fixture.Refused(t, test.run(fixture.As(fixture.A)), test.reason) })
			})
		})
	}
	_, err := q.GetPatient(context.Background(), 1)
	fixture.Equal(t, "without a tenant", errors.Is(err, tenant.ErrMissing), true)
}
