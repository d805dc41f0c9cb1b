// Package pgxtest puts the code that sqlc makes for pgx/v5, and scany, on a guarded pool.
package pgxtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/georgysavva/scany/v2/pgxscan"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/internal/ormtest/pgxtest/clinicdb"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { fixture.Main(m) }

var born = pgtype.Date{Time: time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC), Valid: true}

func text(s string) pgtype.Text { return pgtype.Text{String: s, Valid: true} }

func numeric(t *testing.T, s string) (n pgtype.Numeric) {
	t.Helper()
	fixture.OK(t, n.Scan(s))
	return n
}

// open puts generated code on a guarded pool, and gives both tenants the same primary keys.
func open(t *testing.T) (*fixture.Clinic, *sqldb.Pool, *clinicdb.Queries) {
	t.Helper()
	c := fixture.New(t)
	pool, err := sqldb.OpenPool(t.Context(), c.AppURL, fixture.Schema, c.Guard, nil)
	fixture.OK(t, err)
	t.Cleanup(pool.Close)
	q := clinicdb.New(pool)
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
		fixture.OK(t, q.AddVisit(ctx, clinicdb.AddVisitParams{ID: 10, PatientID: 1, Room: "r1", Note: text(own("note")), Cost: numeric(t, "87654.75")}))
		fixture.OK(t, q.AddVisit(ctx, clinicdb.AddVisitParams{ID: 11, PatientID: 1, Room: "r2"}))
	}
	return c, pool, q
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
	c, _, q := open(t)
	c.Sealed(t, "Anna", "Björn", "Cleo", "1950-03-14", "note of", "87654.75")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		p, err := q.GetPatient(ctx, 1)
		fixture.OK(t, err)
		fixture.Equal(t, "row", p.Name == own("Anna") && p.Born == born && p.Ssn == text(own("1")), true)
		all, err := q.FindPatients(ctx, " BJÖRN of "+id.String())
		fixture.OK(t, err)
		fixture.Equal(t, "found, folded and trimmed", len(all) == 1 && all[0].ID == 2, true)
		_, err = q.FindBySSN(ctx, text("1 of nobody"))
		fixture.Equal(t, "absent", errors.Is(err, pgx.ErrNoRows), true)
		either, err := q.FindByEither(ctx, clinicdb.FindByEitherParams{Name: own("Cleo"), Ssn1: text(own("2")), Ssn2: text("x")})
		fixture.OK(t, err)
		fixture.Equal(t, "either", len(either) == 2 && either[0].Name == own("Björn"), true)
		anyOf, err := q.FindBySSNs(ctx, []string{own("2"), "x", own("1")})
		fixture.OK(t, err)
		fixture.Equal(t, "any of", len(anyOf) == 2 && anyOf[0].Name == own("Anna"), true)
		list, err := q.ListPatients(ctx, clinicdb.ListPatientsParams{Ids: []int64{1, 2, 3, 4}, Limit: 9, Ward: text("north")})
		fixture.OK(t, err)
		fixture.Equal(t, "narrowed list", len(list) == 1 && list[0].ID == 1, true)
		page, err := q.PageAfter(ctx, clinicdb.PageAfterParams{Ward: "north", ID: 1})
		fixture.OK(t, err)
		fixture.Equal(t, "keyset page", len(page) == 2 && page[0].ID == 2 && page[1].Name == own("Cleo"), true)
		visits, err := q.VisitsOf(ctx, text(own("1")))
		fixture.OK(t, err)
		cost, err := visits[0].Cost.Value()
		fixture.OK(t, err)
		fixture.Equal(t, "embedded", len(visits) == 2 && visits[0].Note == text(own("note")) && cost == "87654.75" && visits[1].Patient.Name == own("Anna"), true)
		counts, err := q.VisitCounts(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "grouped by primary key", len(counts) == 3 && counts[0].Name == own("Anna") && counts[0].Visits == 2 && counts[2].Visits == 0, true)
		seen, err := q.CountrySeen(ctx, "Iceland")
		fixture.OK(t, err)
		fixture.Equal(t, "shared table", seen, true)
	})
}

// What sqlc makes of :copyfrom, :batchone, :batchexec and :batchmany.
func TestCopyAndBatch(t *testing.T) {
	c, _, q := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		var rows []clinicdb.CopyPatientsParams
		for i := range int64(300) {
			rows = append(rows, clinicdb.CopyPatientsParams{ID: 100 + i, Name: own(fmt.Sprint("Copied ", i)), Ssn: text(own(fmt.Sprint("copied ", i))), Ward: "east"})
		}
		n, err := q.CopyPatients(ctx, rows)
		fixture.OK(t, err)
		fixture.Equal(t, "copied", n, 300)
		found, err := q.FindBySSN(ctx, text(own("copied 299")))
		fixture.OK(t, err)
		fixture.Equal(t, "found", found.Name, own("Copied 299"))
		q.AddVisits(ctx, []clinicdb.AddVisitsParams{{ID: 50, PatientID: 100, Room: "a", Note: text(own("batched"))}, {ID: 51, PatientID: 100, Room: "b"}}).Exec(func(i int, err error) {
			fixture.OK(t, err)
		})
		q.GetNames(ctx, []int64{1, 399, 999}).QueryRow(func(i int, name string, err error) {
			if i == 2 {
				fixture.Equal(t, "absent", errors.Is(err, pgx.ErrNoRows), true)
				return
			}
			fixture.OK(t, err)
			fixture.Equal(t, "name", name, []string{own("Anna"), own("Copied 299")}[i])
		})
		q.VisitNotes(ctx, []int64{100, 1}).Query(func(i int, notes []pgtype.Text, err error) {
			fixture.OK(t, err)
			fixture.Equal(t, "notes", len(notes) == 2 && notes[0] == text(own([]string{"batched", "note"}[i])) && !notes[1].Valid, true)
		})
	})
	c.Sealed(t, "Copied", "batched of")
}

func TestWrite(t *testing.T) {
	c, pool, q := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		var last int64
		fixture.OK(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			in := q.WithTx(tx)
			n, err := in.RenamePatient(ctx, clinicdb.RenamePatientParams{ID: 1, Name: own("Astrid")})
			fixture.OK(t, err)
			fixture.Equal(t, "renamed", n, 1)
			row, err := in.UpsertPatient(ctx, clinicdb.UpsertPatientParams{Name: own("Bo"), Ssn: text(own("2"))})
			fixture.OK(t, err)
			fixture.Equal(t, "upserted", row.ID == 2 && !row.Unnamed, true)
			row, err = in.UpsertPatient(ctx, clinicdb.UpsertPatientParams{Name: own("Eva"), Ssn: text(own("5"))})
			fixture.OK(t, err)
			last = row.ID
			fixture.OK(t, in.DeletePatient(ctx, own("CLEO")))
			_, err = in.GetPatient(fixture.As(map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A}[id]), 1)
			fixture.Equal(t, "another tenant's context", errors.Is(err, sqldb.ErrTxTenant), true)
			return nil
		}))
		list, err := q.ListPatients(ctx, clinicdb.ListPatientsParams{Ids: []int64{1, 2, 3, last}, Limit: 9})
		fixture.OK(t, err)
		fixture.Equal(t, "patients", len(list) == 3 && list[0].Name == own("Eva") && list[1].Name == own("Bo") && list[2].Name == own("Astrid"), true)
	})
}

// Every logical type is stored, searched for and read back with sqlc's types.
func TestTypes(t *testing.T) {
	c, _, q := open(t)
	for i, want := range fixture.Results {
		mine, others := fixture.As(fixture.A), fixture.As(fixture.B)
		at, day, amount := pgtype.Timestamptz{Time: want.At, Valid: true}, pgtype.Date{Time: want.Day, Valid: true}, numeric(t, want.Amount)
		c.Untouched(t, fixture.B, func() {
			fixture.OK(t, q.AddResult(mine, clinicdb.AddResultParams{ID: int64(i), Scan: want.Scan, Count: want.Count, Level: want.Level,
				Urgent: want.Urgent, At: at, Day: day, Amount: amount, Doc: want.Doc, Ref: want.Ref}))
		})
		by := clinicdb.FindResultParams{Count: want.Count, Level: want.Level, Urgent: want.Urgent, At: at, Day: day, Amount: amount, Ref: want.Ref}
		r, err := q.FindResult(mine, by)
		fixture.OK(t, err)
		got, err := r.Amount.Value()
		fixture.OK(t, err)
		fixture.Equal(t, "amount", got, any(want.Amount))
		fixture.Equal(t, "instant, to the microsecond", r.At.Time.Sub(want.At).Abs() < time.Microsecond, true)
		fixture.Equal(t, "row", fmt.Sprint(r.Scan, r.Count, r.Level, r.Urgent, r.Day.Time.Equal(want.Day), string(r.Doc), r.Ref),
			fmt.Sprint(want.Scan, want.Count, want.Level, want.Urgent, true, string(want.Doc), want.Ref))
		_, err = q.FindResult(others, by)
		fixture.Equal(t, "the other's", errors.Is(err, pgx.ErrNoRows), true)
	}
}

func TestRefused(t *testing.T) {
	c, _, q := open(t)
	for reason, run := range map[string]func(ctx context.Context) error{
		"ORDER BY a sealed column":                          func(ctx context.Context) error { _, err := q.PatientsByName(ctx); return err },
		"comparison of a sealed column other than equality": func(ctx context.Context) error { _, err := q.PatientsLike(ctx, "A%"); return err },
		"sealed column set from an expression":              func(ctx context.Context) error { return q.UpperNames(ctx) },
	} {
		t.Run(reason, func(t *testing.T) {
			c.Untouched(t, fixture.A, func() {
				c.Untouched(t, fixture.B, func() { fixture.Refused(t, run(fixture.As(fixture.A)), reason) })
			})
		})
	}
	_, err := q.GetPatient(context.Background(), 1)
	fixture.Equal(t, "without a tenant", errors.Is(err, tenant.ErrMissing), true)
}

// scany scans by the columns' names.
func TestScany(t *testing.T) {
	c, pool, _ := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		var all []struct {
			ID   int64
			Name string
			Born *time.Time
		}
		fixture.OK(t, pgxscan.Select(fixture.As(id), pool, &all, `SELECT id, name, born FROM patients WHERE ward <> $1 ORDER BY id`, "x"))
		fixture.Equal(t, "rows", len(all) == 3 && all[0].Name == own("Anna") && all[0].Born.Equal(born.Time) && all[2].Born == nil, true)
		var name string
		err := pgxscan.Get(fixture.As(id), pool, &name, `SELECT name FROM patients WHERE id = 99`)
		fixture.Equal(t, "absent", pgxscan.NotFound(err), true)
	})
}
