package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// errTooMuchLeft means that more has to be sealed than what others should wait for.
var errTooMuchLeft = errors.New("sqldb: Migrate: the application writes faster than what it writes can be sealed; stop it before the switch")

// swap has what was built take the place of what was there, in one transaction.
func (g *migrator) swap(ctx context.Context) error {
	for try := 1; ; try++ {
		for _, t := range g.plan.Tables {
			if len(t.Columns) > 0 {
				if err := g.seal(ctx, t, lockForKeys); err != nil {
					return err
				}
			}
		}
		sealed := g.report.Sealed
		var locked time.Time
		err := g.alter(ctx, "", g.locking("ACCESS EXCLUSIVE"), func() error {
			locked, g.report.Sealed = time.Now(), sealed
			return g.swapLocked(ctx)
		})
		if errors.Is(err, errUnwatched) {
			return errors.Join(err, g.reach(ctx, ""))
		}
		if err == nil {
			g.report.Locked = time.Since(locked)
			g.stage, g.report.Stage = MigrateSwitch, MigrateSwitch
			return g.afterSwitch(ctx)
		}
		if !errors.Is(err, errTooMuchLeft) || try == 5 {
			return err
		}
	}
}

func (g *migrator) swapLocked(ctx context.Context) error {
	if err := g.watched(ctx); err != nil {
		return err
	}
	if err := g.lookAgain(ctx); err != nil {
		return err
	}
	var statements []string
	for _, t := range g.plan.Tables {
		if err := g.drain(ctx, t); err != nil {
			return err
		}
		statements = append(statements, t.detaching()...)
	}
	for _, t := range g.plan.Tables {
		if err := g.readPlain(ctx, t); err != nil {
			return err
		}
		statements = append(statements, t.switching(g.Options)...)
	}
	for _, sql := range statements {
		if err := g.exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := g.fits(ctx); err != nil {
		return fmt.Errorf("sqldb: Migrate: nothing was switched: %w", err)
	}
	encoded, err := encodePlan(g.plan)
	if err != nil {
		return err
	}
	return g.exec(ctx, `UPDATE `+g.stateTable()+` SET stage = $1, plan = $2::text::jsonb, changed = now()`, string(MigrateSwitch), encoded)
}

// readPlain reads which columns stay as they are: the application's own migrations may have added some.
func (g *migrator) readPlain(ctx context.Context, t *migrateTable) error {
	var sealed []string
	for _, c := range t.Columns {
		sealed = append(sealed, c.Name, c.New)
	}
	err := g.row(ctx, `SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL ($2::text[])`,
		t.Table, append([]string{}, sealed...)).Scan(&t.Plain)
	return migrateErr("reading the columns of "+t.Name, err)
}

// drain seals what was written since, in the transaction of the switch. That each row has a tenant a constraint says by
// then.
func (g *migrator) drain(ctx context.Context, t *migrateTable) error {
	if len(t.Columns) == 0 {
		return nil
	}
	counts, total, err := g.staleTenants(ctx, t)
	if err != nil {
		return err
	}
	if total > 20*int64(g.BatchSize) {
		return errTooMuchLeft
	}
	for id := range counts {
		bound, err := g.bound(t, id)
		if err != nil {
			return err
		}
		places, err := g.places(ctx, fmt.Sprintf("SELECT ctid::text FROM %s WHERE %s = $1 AND %s", t.Table, quote(t.Tenant.Column), t.stale()), bound)
		if err != nil {
			return err
		}
		for at := 0; at < len(places); at += g.BatchSize {
			if _, err := g.sealBatch(ctx, t, id, places[at:min(at+g.BatchSize, len(places))], "", false); err != nil {
				return err
			}
		}
	}
	if _, total, err = g.staleTenants(ctx, t); err == nil && total > 0 {
		err = fmt.Errorf("sqldb: Migrate: nothing was switched: %d rows of %s are not sealed", total, t.Name)
	}
	return err
}

// fits holds the tables against the schema as Open does, in the transaction that is open, but for what it asks of the
// role that connects.
func (g *migrator) fits(ctx context.Context) error {
	quiet := *g.Options
	quiet.Logger = slog.New(slog.DiscardHandler)
	r := &pgReader{ctx: ctx, conn: g.conn, options: &quiet, declared: g.Schema, tables: map[string]*pgTable{}, owner: true}
	for _, step := range []func() error{r.readServer, r.readTables, r.readFamilies, r.readColumns, r.readIndexes, r.readForeignKeys, r.readCascades, r.readTriggers, r.readRules, r.readMarks, r.readPolicies} {
		if err := step(); err != nil {
			return migrateErr("reading PostgreSQL's catalog", err)
		}
	}
	return newSchemaError(r.problems)
}

// afterSwitch validates what the switch did not take the time for. Where that was done the constraint is gone.
func (g *migrator) afterSwitch(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		for _, c := range t.Columns {
			there, err := g.constrained(ctx, t, required(c))
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			for _, sql := range t.finishing(c) {
				if err := g.alter(ctx, t.Name, []string{sql}, nil); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// drop drops the plaintexts, and what the migration kept for itself.
func (g *migrator) drop(ctx context.Context) error {
	var statements []string
	var tables []string
	for _, t := range g.plan.Tables {
		if len(t.Columns) > 0 {
			tables = append(tables, t.Table)
		}
		statements = append(statements, t.dropping()...)
	}
	err := g.alter(ctx, "", statements, func() error {
		last := []string{}
		for _, t := range g.plan.Tables {
			if err := g.stillGranted(ctx, t); err != nil {
				return err
			}
			last = append(last, t.opening(false, !g.Options.InsecureWithoutRLS)...)
		}
		for _, sql := range append(last, "DROP TABLE "+g.stateTable()) {
			if err := g.exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	g.stage, g.report.Stage, g.plan = "", MigrateDrop, nil
	if len(tables) > 0 {
		g.report.Notes = append(g.report.Notes, "the plaintexts are in the tables' files until these are rewritten: VACUUM FULL "+strings.Join(tables, ", ")+" (as the owner; it locks them)",
			"they are in the write-ahead log, in replicas' files, and in backups that were made before, until these expire")
	}
	return nil
}
