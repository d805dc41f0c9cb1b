package buntest

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestSelect(t *testing.T) {
	c, db := open(t)
	c.Sealed(t, "Anna", "Björn", "Cleo", "1950-03-14", "note 10", "87654.75")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		var p patient
		fixture.OK(t, db.NewSelect().Model(&p).Where("name = ?", " ANNA of "+id.String()).Scan(ctx))
		fixture.Equal(t, "found", p.ID == 1 && p.Name == own("Anna") && p.Born.Equal(born), true)
		p = patient{ID: 3}
		fixture.OK(t, db.NewSelect().Model(&p).WherePK().Scan(ctx))
		fixture.Equal(t, "quoted", p.Name, own("Cleo 'x' \\ ?"))
		fixture.Equal(t, "default", p.Ward, "entry")
		var all []patient
		n, err := db.NewSelect().Model(&all).Where("ssn IN (?)", bun.In([]string{own("1"), own("2")})).OrderExpr("id DESC").Limit(1).ScanAndCount(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "page and count", n == 2 && len(all) == 1 && all[0].Name == own("Björn"), true)
		n, err = db.NewSelect().Model((*patient)(nil)).Where("ssn = ANY (?)", pgdialect.Array([]string{own("1"), own("3")})).Count(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "array", n, 1)
		ok, err := db.NewSelect().Model((*patient)(nil)).Where("ssn = ?", "1 of "+own("")).Exists(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "exists", ok, false)
		var names []string
		fixture.OK(t, db.NewSelect().Model((*patient)(nil)).Column("name").Order("id").Scan(ctx, &names))
		fixture.Equal(t, "names", len(names) == 3 && names[1] == own("Björn"), true)
		var byWard []struct {
			Ward  string
			Total int
		}
		fixture.OK(t, db.NewSelect().Model((*patient)(nil)).Column("ward").ColumnExpr("count(*) AS total").Group("ward").Order("ward").Scan(ctx, &byWard))
		fixture.Equal(t, "grouped", len(byWard) == 3 && byWard[0].Total == 1, true)
		sub := db.NewSelect().Model((*visit)(nil)).Column("patient_id").Where("room = ?", "r2")
		fixture.OK(t, db.NewSelect().Model(&all).Where("id IN (?)", sub).For("UPDATE").Scan(ctx))
		fixture.Equal(t, "subquery", len(all) == 1 && all[0].ID == 1, true)
		fixture.OK(t, db.NewSelect().With("recent", sub).TableExpr("recent").Join("JOIN patients AS p ON p.id = recent.patient_id").ColumnExpr("p.name").Scan(ctx, &names))
		fixture.Equal(t, "CTE", len(names) == 1 && names[0] == own("Anna"), true)
		var m []map[string]any
		fixture.OK(t, db.NewRaw("SELECT id, name FROM patients WHERE id = ?", 1).Scan(ctx, &m))
		fixture.Equal(t, "raw", len(m) == 1 && m[0]["name"] == any(own("Anna")), true)
		err = db.NewSelect().Model(&p).Where("id = 1 AND tenant_id <> ?", id.String()).Scan(ctx)
		fixture.Equal(t, "foreign is absent", errors.Is(err, sql.ErrNoRows), true)
	})
}

func TestRelations(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		var all []patient
		fixture.OK(t, db.NewSelect().Model(&all).Relation("Visits", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Order("id") }).
			Relation("Country").Relation("Tags").OrderExpr("p.id").Scan(ctx))
		fixture.Equal(t, "has many", len(all) == 3 && len(all[0].Visits) == 2 && *all[0].Visits[1].Note == own("note 11") && *all[0].Visits[0].Cost == "87654.75", true)
		fixture.Equal(t, "belongs to", all[0].Country.Title, "Iceland")
		fixture.Equal(t, "many to many", len(all[0].Tags), 2)
		var v visit
		fixture.OK(t, db.NewSelect().Model(&v).Relation("Patient").Relation("Patient.Country").Where("patient.name = ?", own("anna")).Where("v.id = ?", 10).Scan(ctx))
		fixture.OK(t, db.NewSelect().Model(&all).Distinct().Join("JOIN visits AS v ON v.patient_id = p.id").Scan(ctx))
		fixture.Equal(t, "distinct rows", len(all) == 1 && all[0].Name == own("Anna"), true)
		fixture.Equal(t, "nested", v.Patient.Name+v.Patient.Country.Title, own("Anna")+"Iceland")
	})
}

func TestWrites(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		n := patient{Name: own("Dora"), Ward: "west"}
		_, err := db.NewInsert().Model(&n).Exec(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "generated id", n.ID > 0, true)
		_, err = db.NewUpdate().Model(&patient{ID: 1, Name: own("Astrid"), Ward: "north"}).WherePK().Exec(ctx)
		fixture.OK(t, err)
		_, err = db.NewUpdate().Model((*patient)(nil)).Set("name = ?", own("Bo")).Set("ward = upper(ward)").Where("ssn = ?", own("2")).Exec(ctx)
		fixture.OK(t, err)
		// upserts
		_, err = db.NewInsert().Model(&[]patient{{ID: 1, Name: own("Aase")}, {ID: 20, Name: own("Eva"), SSN: ptr(own("20"))}}).
			On("CONFLICT (id) DO UPDATE").Set("name = EXCLUDED.name").Exec(ctx)
		fixture.OK(t, err)
		_, err = db.NewInsert().Model(&patient{ID: 21, Name: own("Eva L."), SSN: ptr(own("20"))}).
			On("CONFLICT (ssn) DO UPDATE").Set("name = EXCLUDED.name").Returning("id").Exec(ctx)
		fixture.OK(t, err)
		_, err = db.NewInsert().Model(&patient{ID: 1, Name: own("Nobody")}).Ignore().Exec(ctx)
		fixture.OK(t, err)
		var deleted []patient
		_, err = db.NewDelete().Model(&deleted).Where("name = ?", own("Cleo 'x' \\ ?")).Returning("id, name").Exec(ctx)
		fixture.OK(t, err)
		var names []string
		fixture.OK(t, db.NewSelect().Model((*patient)(nil)).Column("name").Order("id").Scan(ctx, &names))
		got := ""
		for _, name := range names {
			got += name + ";"
		}
		fixture.Equal(t, "names", got, own("Aase")+";"+own("Bo")+";"+own("Eva L.")+";"+own("Dora")+";")
		var p patient
		fixture.OK(t, db.NewSelect().Model(&p).Where("name = ?", own("eva l.")).Scan(ctx))
		fixture.Equal(t, "found by its new name", p.ID, 20)
		fixture.OK(t, db.NewSelect().Model(&p).WhereDeleted().Scan(ctx))
		fixture.Equal(t, "soft-deleted", p.ID, 3)
		_, err = db.NewDelete().Model(&patient{ID: 3}).WherePK().ForceDelete().Exec(ctx)
		fixture.OK(t, err)
		fixture.Equal(t, "rows", c.Count(t, id, "patients"), 4)
	})
}

func TestTransactions(t *testing.T) {
	c, db := open(t)
	errUndo := errors.New("undo")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		other := fixture.As(map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A}[id])
		err := db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.NewInsert().Model(&patient{ID: 50, Name: own("Outer")}).Exec(ctx)
			fixture.OK(t, err)
			err = tx.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { // a savepoint
				_, err := tx.NewUpdate().Model((*patient)(nil)).Set("name = ?", "gone").Where("TRUE").Exec(ctx)
				fixture.OK(t, err)
				return errUndo
			})
			fixture.Equal(t, "inner", errors.Is(err, errUndo), true)
			_, err = tx.NewUpdate().Model((*patient)(nil)).Set("name = ?", "crossed").Where("TRUE").Exec(other)
			fixture.Equal(t, "another tenant's context", errors.Is(err, sqldb.ErrTxTenant), true)
			return nil
		})
		fixture.OK(t, err)
		var names []string
		fixture.OK(t, db.NewSelect().Model((*patient)(nil)).Column("name").Where("id IN (1, 50)").Order("id").Scan(ctx, &names))
		fixture.Equal(t, "names", len(names) == 2 && names[0] == own("Anna") && names[1] == own("Outer"), true)
	})
}

// Every logical type is stored, searched for and read back; bun writes values into the text of the statement.
func TestTypes(t *testing.T) {
	c, db := open(t)
	for i, want := range fixture.Results {
		ctx := fixture.As(fixture.A)
		r := result{ID: int64(i), Scan: want.Scan, Count: want.Count, Level: want.Level, Urgent: want.Urgent, At: want.At, Day: want.Day,
			Amount: want.Amount, Doc: want.Doc, Ref: want.Ref}
		c.Untouched(t, fixture.B, func() {
			_, err := db.NewInsert().Model(&r).Exec(ctx)
			fixture.OK(t, err)
		})
		var got result
		where := func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.Where("count = ? AND level = ? AND urgent = ?", want.Count, want.Level, want.Urgent).
				Where("at = ? AND day = ? AND amount = ? AND ref = ?", want.At, want.Day, want.Amount, want.Ref)
		}
		fixture.OK(t, where(db.NewSelect().Model(&got)).Scan(ctx))
		fixture.Same(t, fixture.Result{Scan: got.Scan, Count: got.Count, Level: got.Level, Urgent: got.Urgent, At: got.At, Day: got.Day,
			Amount: got.Amount, Doc: got.Doc, Ref: got.Ref}, want)
		n, err := where(db.NewSelect().Model((*result)(nil))).Count(fixture.As(fixture.B))
		fixture.OK(t, err)
		fixture.Equal(t, "the other's", n, 0)
	}
}

// A day goes into the text in UTC: midnight elsewhere is another day there.
func TestDaysAreUTC(t *testing.T) {
	_, db := open(t)
	ctx := fixture.As(fixture.A)
	east := time.Date(1950, 3, 14, 0, 0, 0, 0, time.FixedZone("", 3600))
	_, err := db.NewInsert().Model(&patient{ID: 60, Name: "x", Born: &east}).Exec(ctx)
	fixture.OK(t, err)
	var p patient
	fixture.OK(t, db.NewSelect().Model(&p).Where("id = 60").Scan(ctx))
	fixture.Equal(t, "day", p.Born.Format(time.DateOnly), "1950-03-13")
}

func TestRefused(t *testing.T) {
	c, db := open(t)
	two := []patient{{ID: 1, Name: "x", Ward: "w"}, {ID: 2, Name: "y", Ward: "w"}}
	for _, test := range []struct {
		name, reason string
		run          func(ctx context.Context) error
	}{
		{"order", "ORDER BY a sealed column", func(ctx context.Context) error {
			return db.NewSelect().Model(&[]patient{}).Order("name").Scan(ctx)
		}},
		{"LIKE", "comparison of a sealed column other than equality", func(ctx context.Context) error {
			return db.NewSelect().Model(&[]patient{}).Where("name LIKE ?", "A%").Scan(ctx)
		}},
		{"distinct", "DISTINCT over a sealed column", func(ctx context.Context) error {
			return db.NewSelect().Model((*patient)(nil)).Distinct().Column("name").Scan(ctx, &[]string{})
		}},
		{"bulk update of a sealed column", "sealed column set from an expression", func(ctx context.Context) error {
			_, err := db.NewUpdate().Model(&two).Column("name").Bulk().Exec(ctx)
			return err
		}},
		{"tenant column", "write to the tenant column", func(ctx context.Context) error {
			_, err := db.NewUpdate().Model((*patient)(nil)).Set("tenant_id = ?", "Clinic").Where("id = 1").Exec(ctx)
			return err
		}},
		{"DDL", "unsupported statement", func(ctx context.Context) error {
			_, err := db.NewCreateTable().Model((*patient)(nil)).Exec(ctx)
			return err
		}},
		{"truncate", "unsupported statement", func(ctx context.Context) error {
			_, err := db.NewTruncateTable().Model((*patient)(nil)).Exec(ctx)
			return err
		}},
		{"union", "UNION of a sealed column", func(ctx context.Context) error {
			q := db.NewSelect().Model((*patient)(nil)).Column("name")
			return q.Union(db.NewSelect().Model((*patient)(nil)).Column("name")).Scan(ctx, &[]string{})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.Untouched(t, fixture.A, func() {
				c.Untouched(t, fixture.B, func() { fixture.Refused(t, test.run(fixture.As(fixture.A)), test.reason) })
			})
		})
	}
	err := db.NewSelect().Model(&[]patient{}).Scan(context.Background())
	fixture.Equal(t, "without a tenant", errors.Is(err, tenant.ErrMissing), true)
}

// A bulk update of plain columns works; sealed ones are updated by an upsert.
func TestBulk(t *testing.T) {
	c, db := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		wards := []patient{{ID: 1, Ward: "w1"}, {ID: 2, Ward: "w2"}}
		_, err := db.NewUpdate().Model(&wards).Column("ward").Bulk().Exec(ctx)
		fixture.OK(t, err)
		names := []patient{{ID: 1, Name: own("One")}, {ID: 2, Name: own("Two")}}
		_, err = db.NewInsert().Model(&names).Column("id", "name").On("CONFLICT (id) DO UPDATE").Set("name = EXCLUDED.name").Exec(ctx)
		fixture.OK(t, err)
		var got []patient
		fixture.OK(t, db.NewSelect().Model(&got).Order("id").Limit(2).Scan(ctx))
		fixture.Equal(t, "updated", len(got) == 2 && got[1].Ward == "w2" && got[1].Name == own("Two") && *got[1].SSN == own("2"), true)
	})
}
