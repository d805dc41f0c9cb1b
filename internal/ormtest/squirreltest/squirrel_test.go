package squirreltest

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	sq "github.com/Masterminds/squirrel"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { fixture.Main(m) }

var born = time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC)

// open puts squirrel on a guarded database, and gives both tenants the same primary keys.
func open(t *testing.T) (*fixture.Clinic, sq.StatementBuilderType) {
	t.Helper()
	c := fixture.New(t)
	b := sq.StatementBuilder.PlaceholderFormat(sq.Dollar).RunWith(c.DB)
	for _, id := range []tenant.ID{fixture.A, fixture.B} {
		own := func(s string) string { return s + " of " + id.String() }
		ctx := fixture.As(id)
		_, err := b.Insert("patients").Columns("id", "name", "ssn", "born", "ward").
			Values(1, own("Anna"), own("1"), born, "north").
			Values(2, own("Björn"), own("2"), nil, "south").
			Values(3, own("Cleo"), nil, nil, sq.Expr("DEFAULT")).ExecContext(ctx)
		fixture.OK(t, err)
		_, err = b.Insert("visits").SetMap(map[string]any{"id": 10, "patient_id": 1, "room": "r1", "note": own("note")}).ExecContext(ctx)
		fixture.OK(t, err)
	}
	return c, b
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

// names runs a query of one text column.
func names(t *testing.T, ctx context.Context, q sq.SelectBuilder) (all []string) {
	t.Helper()
	rows, err := q.QueryContext(ctx)
	fixture.OK(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		fixture.OK(t, rows.Scan(&name))
		all = append(all, name)
	}
	fixture.OK(t, rows.Err())
	return all
}

func TestSelect(t *testing.T) {
	c, b := open(t)
	c.Sealed(t, "Anna", "Björn", "Cleo", "1950-03-14", "note of")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		var p struct {
			id   int64
			name string
			born sql.NullTime
			ward string
		}
		get := b.Select("id", "name", "born", "ward").From("patients")
		fixture.OK(t, get.Where(sq.Eq{"name": " anna OF " + id.String()}).ScanContext(ctx, &p.id, &p.name, &p.born, &p.ward))
		fixture.Equal(t, "found", p.id == 1 && p.name == own("Anna") && p.born.Time.Equal(born) && p.ward == "north", true)
		err := get.Where(sq.And{sq.Eq{"id": 1}, sq.NotEq{"tenant_id": id.String()}}).ScanContext(ctx, &p.id, &p.name, &p.born, &p.ward)
		fixture.Equal(t, "foreign is absent", errors.Is(err, sql.ErrNoRows), true)

		name := b.Select("p.name").From("patients p").OrderBy("p.id")
		expect := func(what string, q sq.SelectBuilder, want ...string) {
			t.Helper()
			got := names(t, ctx, q)
			fixture.Equal(t, what+": rows", len(got), len(want))
			for i := range min(len(got), len(want)) {
				fixture.Equal(t, what, got[i], own(want[i]))
			}
		}
		expect("IN", name.Where(sq.Eq{"ssn": []string{own("1"), own("2")}}), "Anna", "Björn")
		expect("IS NULL", name.Where(sq.Eq{"ssn": nil}), "Cleo")
		expect("not", name.Where(sq.NotEq{"name": own("Anna")}), "Björn", "Cleo")
		expect("OR, range", name.Where(sq.Or{sq.Gt{"p.id": 2}, sq.Eq{"ward": "north"}}), "Anna", "Cleo")
		expect("LIKE on a plain column", name.Where(sq.Like{"ward": "sou%"}), "Björn")
		expect("join", name.Join("visits v ON v.patient_id = p.id AND v.room = ?", "r1"), "Anna")
		expect("left join", name.LeftJoin("visits v ON v.patient_id = p.id").Where("v.id IS NULL"), "Björn", "Cleo")
		expect("page", name.Limit(1).Offset(1), "Björn")
		expect("subquery", b.Select("q.name").FromSelect(sq.Select("id", "name").From("patients").Where(sq.Eq{"ssn": own("2")}), "q"), "Björn")
		expect("EXISTS", name.Where(sq.Expr("EXISTS (?)", sq.Select("1").From("visits v").Where("v.patient_id = p.id"))), "Anna")
		expect("CTE", name.Prefix("WITH v AS (SELECT patient_id FROM visits WHERE room = ?)", "r1").Join("v ON v.patient_id = p.id"), "Anna")
		expect("lock", name.Where(sq.Eq{"id": 1}).Suffix("FOR UPDATE"), "Anna")
		var total int
		fixture.OK(t, b.Select("count(*)").From("patients").GroupBy("ward").Having("count(*) > ?", 0).OrderBy("ward").Limit(1).ScanContext(ctx, &total))
		fixture.Equal(t, "grouped", total, 1)
	})
}

func TestWrites(t *testing.T) {
	c, b := open(t)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		ctx := fixture.As(id)
		tx, err := c.DB.BeginTx(ctx, nil)
		fixture.OK(t, err)
		defer tx.Rollback()
		in := b.RunWith(tx)
		var newID int64
		fixture.OK(t, in.Insert("patients").Columns("name").Values(own("Dora")).Suffix("RETURNING id").ScanContext(ctx, &newID))
		_, err = in.Update("patients").Set("name", own("Astrid")).Set("ward", sq.Expr("upper(ward)")).Where(sq.Eq{"name": own("anna")}).ExecContext(ctx)
		fixture.OK(t, err)
		_, err = in.Insert("patients").Columns("id", "name", "ssn").Values(30, own("Bo"), own("2")).
			Suffix("ON CONFLICT (ssn) DO UPDATE SET name = excluded.name").ExecContext(ctx)
		fixture.OK(t, err)
		_, err = in.Update("patients p").Set("ward", "visited").From("visits v").Where("v.patient_id = p.id").ExecContext(ctx)
		fixture.OK(t, err)
		_, err = in.Delete("patients").Where(sq.Eq{"name": own("Cleo")}).ExecContext(ctx)
		fixture.OK(t, err)
		_, err = in.Insert("tags").Columns("id", "label").Select(sq.Select("id", "room").From("visits")).ExecContext(ctx)
		fixture.OK(t, err)
		_, err = in.Delete("patients").ExecContext(fixture.As(map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A}[id]))
		fixture.Equal(t, "another tenant's context", errors.Is(err, sqldb.ErrTxTenant), true)
		fixture.OK(t, tx.Commit())

		got := names(t, ctx, b.Select("name").From("patients").OrderBy("id"))
		fixture.Equal(t, "names", len(got) == 3 && got[0] == own("Astrid") && got[1] == own("Bo") && got[2] == own("Dora"), true)
		got = names(t, ctx, b.Select("label").From("tags"))
		fixture.Equal(t, "INSERT … SELECT", len(got) == 1 && got[0] == "r1", true)
		got = names(t, ctx, b.Select("ward").From("patients").Where(sq.Eq{"id": 1}))
		fixture.Equal(t, "UPDATE … FROM", len(got) == 1 && got[0] == "visited", true)
	})
}

func TestRefused(t *testing.T) {
	c, b := open(t)
	for _, test := range []struct {
		name, reason string
		q            sq.Sqlizer
	}{
		{"order", "ORDER BY a sealed column", b.Select("id").From("patients").OrderBy("name")},
		{"order by an ordinal", "ORDER BY a sealed column", b.Select("name").From("patients").OrderBy("1")},
		{"range", "comparison of a sealed column other than equality", b.Select("id").From("patients").Where(sq.Gt{"ssn": "1"})},
		{"LIKE", "comparison of a sealed column other than equality", b.Select("id").From("patients").Where(sq.Like{"name": "A%"})},
		{"not searchable", "comparison of a sealed column that is not searchable", b.Select("id").From("patients").Where(sq.Eq{"born": born})},
		{"sealed from an expression", "sealed column set from an expression", b.Update("patients").Set("name", sq.Expr("ward"))},
		{"sealed under a cast", "sealed column set from an expression", b.Update("patients").Set("name", sq.Expr("?::text", "x"))},
		{"copy of a sealed column", "copy between sealed columns", b.Insert("visits").Columns("patient_id", "note").Select(sq.Select("id", "name").From("patients"))},
		{"tenant column", fixture.OtherTenant, b.Insert("tags").Columns("tenant_id", "label").Values("Clinic", "x")},
		{"no columns", fixture.OtherTenant, b.Insert("tags").Values("Clinic", 1, "x")},
		{"unknown table", "unknown table", b.Select("*").From("information_schema.tables")},
		{"function", "function not in the allowlist", b.Select("current_setting('strongroom.tenant')")},
		{"injected", "unknown table", b.Select("id").From("patients").Where("ward = '' UNION SELECT usesysid FROM pg_user")},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.Untouched(t, fixture.A, func() {
				c.Untouched(t, fixture.B, func() {
					query, args, err := test.q.ToSql()
					fixture.OK(t, err)
					_, err = c.DB.ExecContext(fixture.As(fixture.A), query, args...)
					fixture.Refused(t, err, test.reason)
				})
			})
		})
	}
	_, err := b.Select("id").From("patients").Query()
	fixture.Equal(t, "without a context", errors.Is(err, tenant.ErrMissing), true)
}
