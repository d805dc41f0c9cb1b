package enttest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/internal/ormtest/enttest/ent"
	"github.com/strongroom-go/strongroom/internal/ormtest/enttest/ent/patient"
	"github.com/strongroom-go/strongroom/internal/ormtest/enttest/ent/predicate"
	"github.com/strongroom-go/strongroom/internal/ormtest/enttest/ent/result"
	"github.com/strongroom-go/strongroom/internal/ormtest/enttest/ent/tag"
	"github.com/strongroom-go/strongroom/internal/ormtest/enttest/ent/visit"
	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { fixture.Main(m) }

var born = time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// open puts ent on a guarded database, and gives both tenants the same primary keys.
func open(t *testing.T) (*fixture.Clinic, *ent.Client) {
	t.Helper()
	c := fixture.New(t)
	db := ent.NewClient(ent.Driver(entsql.OpenDB(dialect.Postgres, c.DB)))
	for _, id := range []tenant.ID{fixture.A, fixture.B} {
		own := func(s string) string { return s + " of " + id.String() }
		ctx := fixture.As(id)
		fixture.OK(t, db.Tag.CreateBulk(db.Tag.Create().SetID(5).SetLabel("blue"), db.Tag.Create().SetID(6).SetLabel("red")).Exec(ctx))
		fixture.OK(t, db.Patient.CreateBulk(
			db.Patient.Create().SetID(1).SetName(own("Anna")).SetSsn(own("1")).SetBorn(born).SetWard("north").AddTagIDs(5, 6),
			db.Patient.Create().SetID(2).SetName(own("Björn")).SetSsn(own("2")),
			db.Patient.Create().SetID(3).SetName(own("Cleo")),
		).Exec(ctx))
		fixture.OK(t, db.Visit.CreateBulk(
			db.Visit.Create().SetID(10).SetPatientID(1).SetRoom("r1").SetNote(own("note 10")).SetCost("87654.75"),
			db.Visit.Create().SetID(11).SetPatientID(1).SetRoom("r2").SetNote(own("note 11")),
		).Exec(ctx))
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

func TestQuery(t *testing.T) {
	c, db := open(t)
	c.Sealed(t, "Anna", "Björn", "Cleo", "1950-03-14", "note 10", "87654.75")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		p, err := db.Patient.Get(ctx, 1)
		fixture.OK(t, err)
		fixture.Equal(t, "row", p.Name == own("Anna") && p.Born.Equal(born) && *p.Ssn == own("1") && p.Ward == "north", true)
		find := func(what string, want int, where ...predicate.Patient) {
			t.Helper()
			all, err := db.Patient.Query().Where(where...).Order(ent.Asc(patient.FieldID)).All(ctx)
			fixture.OK(t, err)
			fixture.Equal(t, what, len(all), want)
			for _, p := range all {
				fixture.Equal(t, what+" is the tenant's", p.Name[len(p.Name)-len(id.String()):], id.String())
			}
		}
		find("equal, folded and trimmed", 1, patient.Name(" björn OF "+id.String()))
		find("not equal", 2, patient.NameNEQ(own("Anna")))
		find("IN", 2, patient.SsnIn(own("1"), own("2"), "3"))
		find("NOT IN", 2, patient.NameNotIn(own("Anna")))
		find("IS NULL", 1, patient.SsnIsNil())
		find("OR", 2, patient.Or(patient.Name(own("Anna")), patient.IDGT(2)))
		find("plain LIKE", 2, patient.WardContains("entr"))
		find("edge", 1, patient.HasVisitsWith(visit.Room("r2")))
		find("no edge", 2, patient.Not(patient.HasVisits()))
		find("many to many", 1, patient.HasTagsWith(tag.LabelEQ("red")))
		find("everything", 3, func(s *entsql.Selector) { s.Where(entsql.ExprP("1 = 1 OR tenant_id <> $1", id.String())) })

		n, err := db.Patient.Query().Count(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "count", n, 3)
		ok, err := db.Patient.Query().Where(patient.Name("Anna of nobody")).Exist(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "exists", ok, false)
		names, err := db.Patient.Query().Unique(false).Order(ent.Desc(patient.FieldID)).Limit(2).Offset(1).Select(patient.FieldName).Strings(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "names", len(names) == 2 && names[0] == own("Björn"), true)
		var byWard []struct {
			Ward  string
			Count int
		}
		fixture.OK(t, db.Patient.Query().Order(ent.Asc(patient.FieldWard)).GroupBy(patient.FieldWard).Aggregate(ent.Count()).Scan(ctx, &byWard))
		fixture.Equal(t, "grouped", len(byWard) == 2 && byWard[0].Count == 2, true)
		_, err = db.Patient.Query().Where(patient.ID(1)).ForUpdate().Only(ctx)
		fixture.OK(t, err)
	})
}

func TestEdges(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		all, err := db.Patient.Query().WithTags().WithVisits(func(q *ent.VisitQuery) { q.Order(ent.Desc(visit.FieldID)) }).
			Order(ent.Asc(patient.FieldID)).All(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "eager", len(all) == 3 && len(all[0].Edges.Visits) == 2 && len(all[0].Edges.Tags) == 2, true)
		fixture.Equal(t, "note", *all[0].Edges.Visits[0].Note, own("note 11"))
		v, err := db.Visit.Query().Where(visit.HasPatientWith(patient.Name(own("anna")))).WithPatient().Order(ent.Asc(visit.FieldID)).First(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "inverse", v.Edges.Patient.Name+*v.Cost, own("Anna")+"87654.75")
		// Walking an edge is a SELECT DISTINCT.
		visits, err := all[0].QueryVisits().All(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "walked", len(visits), 2)
		who, err := db.Tag.Query().Where(tag.LabelEQ("red")).QueryPatients().Only(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "walked", who.Name, own("Anna"))
	})
}

func TestWrites(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		n, err := db.Patient.Create().SetName(own("Dora")).AddTagIDs(5).Save(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "generated id", n.ID > 0, true)
		fixture.OK(t, db.Visit.Create().SetID(12).SetPatientID(1).SetNote(own("note 12")).Exec(ctx))
		p, err := db.Patient.UpdateOneID(1).SetName(own("Astrid")).ClearBorn().RemoveTagIDs(6).Save(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "updated", p.Name == own("Astrid") && p.Born == nil && *p.Ssn == own("1"), true)
		many, err := db.Patient.Update().Where(patient.Ssn(own("2"))).SetName(own("Bo")).Save(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "updated", many, 1)
		// upserts
		key := entsql.ConflictColumns(patient.FieldID)
		fixture.OK(t, db.Patient.CreateBulk(
			db.Patient.Create().SetID(1).SetName(own("Aase")).SetSsn(own("1")),
			db.Patient.Create().SetID(20).SetName(own("Eva")).SetSsn(own("20")),
		).OnConflict(key).UpdateNewValues().Exec(ctx))
		upserted, err := db.Patient.Create().SetName(own("Eva L.")).SetSsn(own("20")).
			OnConflictColumns(patient.FieldSsn).Update(func(u *ent.PatientUpsert) { u.UpdateName() }).ID(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "by the sealed key", upserted, 20)
		fixture.OK(t, db.Patient.Create().SetID(1).SetName(own("Nobody")).OnConflictColumns(patient.FieldID).Ignore().Exec(ctx))
		// deletes
		gone, err := db.Patient.Delete().Where(patient.Name(own("Cleo"))).Exec(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "deleted", gone, 1)
		err = db.Patient.DeleteOneID(3).Exec(ctx)
		fixture.Equal(t, "gone", ent.IsNotFound(err), true)
		err = db.Patient.Create().SetID(1).SetName("x").Exec(ctx)
		fixture.Equal(t, "constraint", ent.IsConstraintError(err), true)

		names, err := db.Patient.Query().Order(ent.Asc(patient.FieldID)).All(ctx)
		fixture.OK(t, err)
		got := ""
		for _, p := range names {
			got += p.Name + ";"
		}
		fixture.Equal(t, "names", got, own("Aase")+";"+own("Bo")+";"+own("Eva L.")+";"+own("Dora")+";")
		fixture.Equal(t, "links", c.Count(t, id, "patient_tags"), 2)
		fixture.Equal(t, "visits", c.Count(t, id, "visits"), 3)
	})
}

func TestTransactions(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		other := fixture.As(map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A}[id])
		tx, err := db.Tx(ctx)
		fixture.OK(t, err)
		fixture.OK(t, tx.Patient.UpdateOneID(1).SetName(own("Changed")).Exec(ctx))
		_, err = tx.Patient.Query().All(other)
		fixture.Equal(t, "another tenant's context", errors.Is(err, sqldb.ErrTxTenant), true)
		fixture.OK(t, tx.Rollback())
		p, err := db.Patient.Get(ctx, 1)
		fixture.OK(t, err)
		fixture.Equal(t, "unchanged", p.Name, own("Anna"))
		tx, err = db.Tx(ctx)
		fixture.OK(t, err)
		fixture.OK(t, tx.Patient.UpdateOne(p).SetName(own("Changed")).Exec(ctx))
		fixture.OK(t, tx.Commit())
		fixture.Equal(t, "changed", db.Patient.GetX(ctx, 1).Name, own("Changed"))
	})
}

// Every logical type is stored, searched for and read back with ent's types.
func TestTypes(t *testing.T) {
	c, db := open(t)
	for i, want := range fixture.Results {
		mine, others := fixture.As(fixture.A), fixture.As(fixture.B)
		c.Untouched(t, fixture.B, func() {
			fixture.OK(t, db.Result.Create().SetID(int64(i)).SetScan(want.Scan).SetCount(want.Count).SetLevel(want.Level).SetUrgent(want.Urgent).
				SetAt(want.At).SetDay(want.Day).SetAmount(want.Amount).SetDoc(json.RawMessage(want.Doc)).SetRef(uuid.MustParse(want.Ref)).Exec(mine))
		})
		// ent writes a comparison with true or false as the bare column, which a sealed one cannot be.
		urgent := func(s *entsql.Selector) {
			s.Where(entsql.P(func(b *entsql.Builder) { b.Ident(result.FieldUrgent).WriteString(" = ").Arg(want.Urgent) }))
		}
		where := result.And(result.Count(want.Count), result.Level(want.Level), urgent, result.At(want.At),
			result.Day(want.Day), result.Amount(want.Amount), result.Ref(uuid.MustParse(want.Ref)))
		r, err := db.Result.Query().Where(where).Only(mine)
		fixture.OK(t, err)
		doc := []byte(r.Doc)
		if string(want.Doc) == "null" {
			doc = want.Doc // ent reads JSON's null as nil
		}
		compact(t, &doc)
		compact(t, &want.Doc)
		fixture.Same(t, fixture.Result{Scan: r.Scan, Count: r.Count, Level: r.Level, Urgent: r.Urgent, At: r.At, Day: r.Day, Amount: r.Amount,
			Doc: doc, Ref: r.Ref.String()}, want)
		n, err := db.Result.Query().Where(where).Count(others)
		fixture.OK(t, err)
		fixture.Equal(t, "the other's", n, 0)
	}
}

// compact writes JSON as ent does, through encoding/json.
func compact(t *testing.T, doc *[]byte) {
	t.Helper()
	b, err := json.Marshal(json.RawMessage(*doc))
	fixture.OK(t, err)
	*doc = b
}

func TestRefused(t *testing.T) {
	c, db := open(t)
	for _, test := range []struct {
		name, reason string
		run          func(ctx context.Context) error
	}{
		{"order", "ORDER BY a sealed column", func(ctx context.Context) error {
			_, err := db.Patient.Query().Order(ent.Asc(patient.FieldName)).All(ctx)
			return err
		}},
		{"contains", "comparison of a sealed column other than equality", func(ctx context.Context) error {
			_, err := db.Patient.Query().Where(patient.NameContains("nn")).All(ctx)
			return err
		}},
		{"case-folding by SQL", "comparison of a sealed column other than equality", func(ctx context.Context) error {
			_, err := db.Patient.Query().Where(patient.NameEqualFold("anna")).All(ctx)
			return err
		}},
		{"range", "comparison of a sealed column other than equality", func(ctx context.Context) error {
			_, err := db.Patient.Query().Where(patient.NameGT("A")).All(ctx)
			return err
		}},
		{"not searchable", "comparison of a sealed column that is not searchable", func(ctx context.Context) error {
			_, err := db.Patient.Query().Where(patient.Born(born)).All(ctx)
			return err
		}},
		{"distinct values", "DISTINCT over a sealed column", func(ctx context.Context) error {
			_, err := db.Patient.Query().Unique(true).Select(patient.FieldName).Strings(ctx)
			return err
		}},
		{"true or false", "expression over a sealed column", func(ctx context.Context) error {
			_, err := db.Result.Query().Where(result.Urgent(true)).All(ctx)
			return err
		}},
		{"group", "GROUP BY a sealed column", func(ctx context.Context) error {
			_, err := db.Patient.Query().GroupBy(patient.FieldName).Strings(ctx)
			return err
		}},
		{"minimum", "expression over a sealed column", func(ctx context.Context) error {
			_, err := db.Patient.Query().Aggregate(ent.Min(patient.FieldName)).String(ctx)
			return err
		}},
		{"tenant column", "write to the tenant column", func(ctx context.Context) error {
			return db.Patient.Update().Modify(func(u *entsql.UpdateBuilder) { u.Set("tenant_id", "Clinic") }).Exec(ctx)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.Untouched(t, fixture.A, func() {
				c.Untouched(t, fixture.B, func() { fixture.Refused(t, test.run(fixture.As(fixture.A)), test.reason) })
			})
		})
	}
	if err := db.Schema.Create(fixture.As(fixture.A)); err == nil {
		t.Error("a migration ran through the guard")
	}
	_, err := db.Patient.Get(context.Background(), 1)
	fixture.Equal(t, "without a tenant", errors.Is(err, tenant.ErrMissing), true)
}
