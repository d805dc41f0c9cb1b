package sqldb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// rollback goes back to where the migration began, in one transaction.
func (g *sqliteMigrator) rollback(ctx context.Context) error {
	if g.plan == nil {
		problems, err := g.fits(ctx, g.conn)
		if err == nil && len(problems) == 0 {
			err = errors.New("sqldb: RollbackMigration: there is no migration under way; one that dropped the plaintexts cannot be rolled back")
		}
		return err
	}
	var locked time.Time
	_, err := g.transact(ctx, func() error {
		locked = time.Now()
		statements := g.plan.undoing()
		if g.stage == MigrateSwitch {
			if err := g.unsealAll(ctx); err != nil {
				return err
			}
			statements = g.plan.restoring()
		}
		for _, text := range statements {
			if err := g.exec(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if g.stage == MigrateSwitch {
		g.report.Locked = time.Since(locked)
	}
	g.plan, g.stage, g.report.Stage = nil, "", ""
	return nil
}

// unsealAll makes the tables of before anew, of what is there now.
func (g *sqliteMigrator) unsealAll(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		for _, name := range t.Added {
			var n int64
			if err := g.value(ctx, &n, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s IS NOT NULL", quote(t.Name), quote(name))); err != nil {
				return err
			}
			if n > 0 {
				return fmt.Errorf("sqldb: RollbackMigration: nothing was rolled back: %d values of %s.%s were written since the switch, and the column goes; read them through the guard, make them NULL, and call it again", n, t.Name, name)
			}
		}
		for _, text := range []string{strings.ReplaceAll(t.Create, nameMark, quote(t.back())), t.byTenant(t.Name)} {
			if err := g.exec(ctx, text); err != nil {
				return err
			}
		}
		counts, err := g.byTenant(ctx, t, t.Name)
		if err != nil {
			return err
		}
		var done int64
		for id, total := range counts {
			for from, more := int64(math.MinInt64), true; more; {
				n, last, err := g.unsealSome(ctx, t, id, from)
				if err != nil {
					return err
				}
				done, from = done+n, last+1
				more = n == int64(g.BatchSize) && last < math.MaxInt64
				g.progress(t.Name, "unsealed", done, max(done, total))
			}
		}
		if t.Numbered { // a number is not given twice
			for _, text := range []string{
				"INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
				"UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = ?2), 0)) WHERE name = ?1",
			} {
				if err := g.exec(ctx, text, t.back(), t.aside()); err != nil {
					return err
				}
			}
		}
	}
	for _, t := range g.plan.Tables {
		if !t.Tenant.Add {
			continue
		}
		var n int64
		of := g.plan.tenantOf(t, "r", (*sqliteMove).back)
		if err := g.value(ctx, &n, fmt.Sprintf("SELECT count(*) FROM %s n LEFT JOIN %s r ON %s WHERE r.%s IS NULL OR %s IS NOT n.%s", quote(t.Name), quote(t.back()), t.sameRow(), t.Row, of, quote(t.Tenant.Column))); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%w: RollbackMigration: nothing was rolled back: %d rows of %s would be another tenant's, or nobody's, without the column %s; give them the tenant that they have where that came from, or delete them", storage.ErrIsolation, n, t.Name, t.Tenant.Column)
		}
	}
	return nil
}

// sameRow is the condition under which r is the row n put back: a primary key that is the rowid has given it another one.
func (t *sqliteMove) sameRow() string {
	if len(t.Primary) == 0 {
		return fmt.Sprintf("r.%[1]s = n.%[1]s", t.Row)
	}
	var and []string
	for _, c := range t.Primary {
		and = append(and, fmt.Sprintf("r.%[1]s IS n.%[1]s", quote(c)))
	}
	return strings.Join(and, " AND ")
}

// unsealing is the statement that reads a batch of a tenant's rows: each plaintext that was kept, and what is sealed now.
func (t *sqliteMove) unsealing() string {
	selected := []string{"n." + t.Row}
	for _, c := range t.Columns {
		selected = append(selected, "+o."+quote(c.Name), "n."+quote(c.Name))
	}
	return fmt.Sprintf("SELECT %s FROM %s n INDEXED BY %s %s WHERE n.%s = ?1 AND n.%s >= ?2 ORDER BY n.%[6]s LIMIT ?3", strings.Join(selected, ", "), quote(t.Name), quote(t.rows()), t.joinAside(), quote(t.Tenant.Column), t.Row)
}

// joinAside finds the row of before that has the same primary key: VACUUM may have changed rowids since.
func (t *sqliteMove) joinAside() string {
	and := []string{"false"}
	for i, c := range t.Primary {
		if i == 0 {
			and = nil
		}
		and = append(and, fmt.Sprintf("o.%[1]s = n.%[1]s", quote(c)))
	}
	return fmt.Sprintf("LEFT JOIN %s o ON %s", quote(t.aside()), strings.Join(and, " AND "))
}

// putting is the statement that makes a row of the table of before. For each column that was sealed it is told whether what was
// kept is right, and if not the value.
func (t *sqliteMove) putting() string {
	columns, values, returned := []string{t.Row}, []string{"n." + t.Row}, []string{}
	for _, c := range t.Copied {
		columns, values = append(columns, quote(c)), append(values, "n."+quote(c))
	}
	for i, c := range t.Columns {
		columns = append(columns, quote(c.Name))
		values = append(values, fmt.Sprintf("CASE WHEN ?%d THEN o.%s ELSE ?%d END", 2+2*i, quote(c.Name), 3+2*i))
		returned = append(returned, "+"+quote(c.Name))
	}
	out := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s n %s WHERE n.%s = ?1", quote(t.back()), strings.Join(columns, ", "), strings.Join(values, ", "), quote(t.Name), t.joinAside(), t.Row)
	return out + " RETURNING " + strings.Join(append([]string{t.Row}, returned...), ", ")
}

// unsealSome puts a tenant's rows from one on back as plaintexts, and says how many there were and the last.
func (g *sqliteMigrator) unsealSome(ctx context.Context, t *sqliteMove, id tenant.ID, from int64) (seen, last int64, err error) {
	as := g.as(ctx, id)
	pass, err := g.gate.Enter(as, g.op(&t.migrateTable, tenant.Write))
	if err != nil {
		return 0, 0, fmt.Errorf("sqldb: RollbackMigration: unsealing %s: %w", t.Name, err)
	}
	defer func() {
		err = errors.Join(err, pass.Leave(as, gate.Result{Rows: seen, Bytes: -1, Err: err}))
	}()
	rows, err := g.conn.QueryContext(ctx, t.unsealing(), id.String(), from, g.BatchSize)
	if err != nil {
		return 0, 0, migrateErr("reading "+t.Name, err)
	}
	defer rows.Close()
	var puts [][]any
	for rows.Next() {
		row, values, err := scanned(rows, 2*len(t.Columns))
		if err != nil {
			return 0, 0, migrateErr("reading "+t.Name, err)
		}
		seen, last = seen+1, row
		args := []any{row}
		for i, c := range t.Columns {
			kept, v, err := g.unsealed(pass, t, c, values[2*i], values[1+2*i])
			if err != nil {
				return 0, 0, errors.Join(err, pass.Alert(as, t.Name+"."+c.Name))
			}
			args = append(args, kept, v)
		}
		puts = append(puts, args)
	}
	if err := rows.Err(); err != nil {
		return 0, 0, migrateErr("reading "+t.Name, err)
	}
	rows.Close()
	for _, args := range puts {
		if err := g.put(ctx, t, pass, args); err != nil {
			return 0, 0, err
		}
	}
	return seen, last, nil
}

// unsealed opens a value, and tells whether it is the plaintext that was kept.
func (g *sqliteMigrator) unsealed(pass *gate.Pass, t *sqliteMove, c migrateColumn, kept, sealed any) (same bool, stored any, err error) {
	if sealed == nil {
		return false, nil, nil
	}
	logical := g.logicalOf(&t.migrateTable, c.Name)
	v, err := envelope.OpenField(pass.Keys().Data(), pass.Tenant(), g.place(&t.migrateTable), c.Name, logical, sealed.([]byte))
	if err != nil {
		return false, nil, fmt.Errorf("%w: RollbackMigration: nothing was rolled back: a value of %s.%s of tenant %s does not open", storage.ErrIsolation, t.Name, c.Name, pass.Tenant())
	}
	if kept != nil && sameValue(logical, kept, v) {
		return true, nil, nil
	}
	return false, sqliteStored(logical, v), nil
}

// sameValue tells whether what a column of plaintexts has is a value.
func sameValue(l envelope.Logical, stored, v any) bool {
	plain, err := sqlitePlain(l, stored)
	if err != nil {
		return false
	}
	a, aerr := envelope.AppendValue(nil, l, plain)
	b, berr := envelope.AppendValue(nil, l, v)
	return aerr == nil && berr == nil && string(a) == string(b)
}

// put makes one row, and looks at what its columns made of the values.
func (g *sqliteMigrator) put(ctx context.Context, t *sqliteMove, pass *gate.Pass, args []any) error {
	rows, err := g.conn.QueryContext(ctx, t.putting(), args...)
	if err != nil {
		return migrateErr("putting plaintexts back into "+t.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		_, values, err := scanned(rows, len(t.Columns))
		if err != nil {
			return migrateErr("putting plaintexts back into "+t.Name, err)
		}
		for i, c := range t.Columns {
			kept, put := args[1+2*i].(bool), args[2+2*i]
			if kept || put == nil {
				continue
			}
			logical := g.logicalOf(&t.migrateTable, c.Name)
			want, err := sqlitePlain(logical, put)
			if err != nil || !sameValue(logical, values[i], want) {
				return fmt.Errorf("sqldb: RollbackMigration: nothing was rolled back: a value of %s.%s of tenant %s does not fit the type %s that the column had; change it through the guard", t.Name, c.Name, pass.Tenant(), c.Type)
			}
			g.report.Unsealed++
		}
	}
	err = rows.Err()
	if isUniqueViolation(err) {
		return fmt.Errorf("%w: RollbackMigration: nothing was rolled back: rows of %s hold the same values under a key that was unique over all tenants; change or delete one through the guard", ErrDuplicate, t.Name)
	}
	return migrateErr("putting plaintexts back into "+t.Name, err)
}

// makePlan says what is left to do.
func (g *sqliteMigrator) makePlan(ctx context.Context) (*MigrationPlan, error) {
	p := &MigrationPlan{Stage: g.stage}
	plan := g.plan
	if plan == nil {
		problems, err := g.fits(ctx, g.conn)
		if err != nil {
			return nil, err
		}
		if len(problems) == 0 { // it is over, as Migrate finds too
			p.Stage = MigrateDrop
			return p, nil
		}
		if plan, p.Problems, p.Notes, err = g.survey(ctx); err != nil {
			return nil, err
		}
	}
	for _, t := range plan.Tables {
		p.Tables = append(p.Tables, MigrationTable{t.Name, t.Rows})
	}
	if len(p.Problems) == 0 {
		p.Steps = plan.steps()
	}
	return p, nil
}
