package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/storage"
)

// What a plan found can be another by the time of a switch, which comes days later: others go on to create views, to grant
// and to revoke.

// errUnwatched means that a table's triggers were off. Nothing tells what was written meanwhile.
var errUnwatched = errors.New("sqldb: Migrate: nothing was switched: the migration's triggers were turned off or dropped")

// watched fails unless the triggers are as they were made. Whoever turns them off for a while, as tools that load many rows
// do, and then on again, leaves them not firing ALWAYS.
func (g *migrator) watched(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		var want []string
		if t.watched() {
			want = append(want, lastTrigger)
		}
		if len(t.Children) > 0 {
			want = append(want, firstTrigger)
		}
		var n int
		err := g.row(ctx, `SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = to_regclass($1) AND g.tgname = ANY ($2::text[]) AND g.tgenabled = 'A'`, t.Table, append([]string{}, want...)).Scan(&n)
		if err != nil {
			return migrateErr("looking at the triggers of "+t.Name, err)
		}
		if n < len(want) {
			return fmt.Errorf("%w: those of %s; call it again, which begins anew with making them and then compares everything", errUnwatched, t.Name)
		}
	}
	return nil
}

// lookAgain looks once more for what keeps a migration from going on and Open does not look for, and reads the privileges
// that there are by now. The tables have their names of before the switch.
func (g *migrator) lookAgain(ctx context.Context) error {
	quiet := *g.Options
	quiet.Logger = slog.New(slog.DiscardHandler)
	s := &surveyor{migrator: g, tables: map[string]*migrateTable{}, again: true}
	s.pgReader = &pgReader{ctx: ctx, conn: g.conn, options: &quiet, declared: g.Schema, tables: map[string]*pgTable{}, owner: true}
	for _, t := range g.plan.Tables {
		s.tables[t.Name], t.Grants = t, nil
	}
	for _, step := range []func() error{s.readTables, s.readViews, s.computed, s.privileges, s.grantsOf} {
		if err := step(); err != nil {
			return migrateErr("reading PostgreSQL's catalog", err)
		}
	}
	if err := newSchemaError(s.problems); err != nil {
		return fmt.Errorf("sqldb: Migrate: nothing was switched: %w", err)
	}
	return nil
}

// computed finds generated columns that would keep what a column of plaintexts holds.
func (s *surveyor) computed() error {
	return s.each(`SELECT DISTINCT d.name, a.attname::text FROM declared d JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = d.oid AND p.classid = 'pg_attrdef'::regclass
		JOIN pg_attrdef e ON e.oid = p.objid JOIN pg_attribute o ON o.attrelid = e.adrelid AND o.attnum = e.adnum AND o.attgenerated <> ''
		JOIN pg_attribute a ON a.attrelid = d.oid AND a.attnum = p.refobjsubid WHERE o.attnum <> a.attnum ORDER BY 1, 2`, func(rows pgx.Rows) error {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return err
		}
		if s.sealedIn(table, []string{column}) {
			s.problem(table, column, "a generated column is computed of it, and would keep what it holds in the clear", "drop the generated column")
		}
		return nil
	})
}

// stillGranted forgets privileges that were taken away since the switch, in whole or for one of the columns.
func (g *migrator) stillGranted(ctx context.Context, t *migrateTable) error {
	var still []migrateGrant
	for _, grant := range t.Grants {
		if grant.excessive() { // the switch took it away
			still = append(still, grant)
			continue
		}
		var held, grantable bool
		err := g.row(ctx, `SELECT coalesce(bool_and(h.held), false), coalesce(bool_and(h.grantable), false)
			FROM pg_attribute a CROSS JOIN LATERAL (SELECT count(*) > 0 AS held, coalesce(bool_or(x.is_grantable), false) AS grantable FROM aclexplode(a.attacl) x
				WHERE x.privilege_type = $3 AND CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END = $4) h
			WHERE a.attrelid = to_regclass($1) AND a.attname = ANY ($2::text[]) AND NOT a.attisdropped`, t.Table, t.shown(), grant.Privilege, grant.Grantee).Scan(&held, &grantable)
		if err != nil {
			return migrateErr("reading the privileges on "+t.Name, err)
		}
		if held {
			grant.Grantable = grant.Grantable && grantable
			still = append(still, grant)
		}
	}
	t.Grants = still
	return nil
}

// keepsAll fails where going back would lose what was written since the switch, or give it to another tenant: values that
// had no column, and rows that the tables of before take for another tenant's.
func (g *migrator) keepsAll(ctx context.Context, t *migrateTable) error {
	count := func(what, where string) (n int64, err error) {
		err = g.row(ctx, fmt.Sprintf("SELECT count(*) FROM %s r WHERE %s", t.Table, where)).Scan(&n)
		return n, migrateErr(what+" "+t.Name, err)
	}
	if t.Tenant.Add {
		wrong := fmt.Sprintf("r.%s IS DISTINCT FROM (%s)", quote(t.Tenant.Column), t.Tenant.of("r"))
		n, err := count("comparing the tenants of", wrong)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%w: RollbackMigration: nothing was rolled back: %d rows of %s would be another tenant's, or nobody's, without the column %s; give them the tenant that they have where that came from, or delete them: SELECT * FROM %s r WHERE %s",
				storage.ErrIsolation, n, t.Name, t.Tenant.Column, t.Table, wrong)
		}
	}
	for _, name := range t.Added {
		n, err := count("looking for what would be lost of", "r."+quote(name)+" IS NOT NULL")
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("sqldb: RollbackMigration: nothing was rolled back: %d values of %s.%s were written since the switch, and the column goes; read them through the guard, make them NULL, and call it again", n, t.Name, name)
		}
	}
	return nil
}
