package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/tenant"
)

// sqliteChunk is how many rows are told by tenant in one transaction.
const sqliteChunk = 20_000

// expand surveys the tables, and makes the new ones beside them.
func (g *sqliteMigrator) expand(ctx context.Context) error {
	const version = `SELECT schema_version FROM pragma_schema_version`
	var surveyed, now int64
	if err := g.value(ctx, &surveyed, version); err != nil {
		return err
	}
	plan, problems, _, err := g.survey(ctx)
	if err == nil {
		err = newSchemaError(problems)
	}
	if err != nil {
		return err
	}
	_, err = g.transact(ctx, func() error {
		if err := g.value(ctx, &now, version); err != nil {
			return err
		}
		if now != surveyed { // a column that was added meanwhile would be left behind
			return errAnew
		}
		statements := append([]string{}, sqliteStateDDL...)
		for _, of := range []func(*sqliteMove) []string{plan.expanding, plan.watching} {
			for _, t := range plan.Tables {
				statements = append(statements, of(t)...)
			}
		}
		for _, text := range statements {
			if err := g.exec(ctx, text); err != nil {
				return err
			}
		}
		if err := g.exec(ctx, `INSERT INTO `+sqliteState+` VALUES (1, ?1, '', '', '', 0)`, sqliteMigrateVersion); err != nil {
			return err
		}
		g.plan = plan
		return g.reach(ctx, MigrateExpand)
	})
	if err != nil {
		g.plan, g.stage = nil, ""
		return err
	}
	g.progress("", first(sqliteStateDDL[0]), 0, 0)
	return nil
}

// backfill copies the rows.
func (g *sqliteMigrator) backfill(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		if err := g.scan(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range g.plan.Tables {
		if err := g.drain(ctx, t); err != nil {
			return err
		}
	}
	return g.write(ctx, func() error { return g.reach(ctx, MigrateBackfill) })
}

// scan writes down the rows that were there at the beginning, by tenant.
func (g *sqliteMigrator) scan(ctx context.Context, t *sqliteMove) error {
	table := quote(t.Name)
	for done, more := int64(0), true; more; {
		if err := g.allow(ctx); err != nil {
			return err
		}
		err := g.write(ctx, func() error {
			var last, upto int64
			var next sql.NullInt64
			if err := g.conn.QueryRowContext(ctx, `SELECT last, upto FROM `+sqliteScan+` WHERE tbl = ?1`, t.Name).Scan(&last, &upto); err != nil {
				return migrateErr("reading how far it came", err)
			}
			err := g.value(ctx, &next, fmt.Sprintf("SELECT max(row) FROM (SELECT %[1]s AS row FROM %[2]s WHERE %[1]s > ?1 AND %[1]s <= ?2 ORDER BY %[1]s LIMIT %[3]d)", t.Row, table, sqliteChunk), last, upto)
			if more = next.Valid; err != nil || !more {
				return err
			}
			if err := g.exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s > ?1 AND %[2]s <= ?2", quote(t.made()), t.Row), last, next); err != nil {
				return err
			}
			n, err := g.changed(ctx, fmt.Sprintf("INSERT OR IGNORE INTO %s SELECT %s, r.%s FROM %s r WHERE r.%[3]s > ?1 AND r.%[3]s <= ?2", quote(t.work()), g.whose(t, "r"), t.Row, table), last, next)
			if err != nil {
				return err
			}
			done += n
			return g.exec(ctx, `UPDATE `+sqliteScan+` SET last = ?2 WHERE tbl = ?1`, t.Name, next)
		})
		if err != nil {
			return err
		}
		if more {
			g.progress(t.Name, "tenants", done, max(t.Rows, done))
		}
	}
	return nil
}

// whose is the tenant of a row as work lists have it: nobody's is the empty one's.
func (g *sqliteMigrator) whose(t *sqliteMove, alias string) string {
	return "coalesce(" + g.plan.tenantOf(t, alias, (*sqliteMove).itself) + ", '')"
}

// classifying moves what the triggers wrote down to the work list, up to ?1, and takes copies away that are not what their row
// is. The last entry stays, empty: its number must not be given again, since readers tell by it what is newer.
func (p *sqliteMigration) classifying(t *sqliteMove) []string {
	todo := quote(t.todo())
	rows := "(SELECT row FROM " + todo + " WHERE seq <= ?1 AND row IS NOT NULL)"
	return []string{
		fmt.Sprintf("DELETE FROM %s WHERE %s IN %s", quote(t.made()), t.Row, rows),
		fmt.Sprintf("INSERT OR IGNORE INTO %s SELECT coalesce(%s, ''), r.%s FROM %s r WHERE r.%[3]s IN %[5]s", quote(t.work()), p.tenantOf(t, "r", (*sqliteMove).itself), t.Row, quote(t.Name), rows),
		"DELETE FROM " + todo + " WHERE seq < ?1",
		"UPDATE " + todo + " SET row = NULL WHERE seq = ?1",
	}
}

// classify does that, in the transaction that is open, and tells whether there is more.
func (g *sqliteMigrator) classify(ctx context.Context, t *sqliteMove) (more bool, err error) {
	var upto sql.NullInt64
	todo := quote(t.todo())
	if err := g.value(ctx, &upto, fmt.Sprintf("SELECT max(seq) FROM (SELECT seq FROM %s WHERE row IS NOT NULL ORDER BY seq LIMIT %d)", todo, sqliteChunk)); err != nil || !upto.Valid {
		return false, err
	}
	for _, text := range g.plan.classifying(t) {
		if err := g.exec(ctx, text, upto.Int64); err != nil {
			return false, err
		}
	}
	err = g.value(ctx, &more, fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM %s WHERE seq > ?1)", todo), upto.Int64)
	return more, err
}

// classifyAll leaves nothing to classify. Rows that were nobody's are looked at again: the one that their tenant comes from may
// have come after them.
func (g *sqliteMigrator) classifyAll(ctx context.Context, t *sqliteMove) error {
	if err := g.exec(ctx, fmt.Sprintf("INSERT INTO %s (row) SELECT row FROM %s WHERE tenant = ''", quote(t.todo()), quote(t.work()))); err != nil {
		return err
	}
	if err := g.exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE tenant = ''", quote(t.work()))); err != nil {
		return err
	}
	for more := true; more; {
		var err error
		if more, err = g.classify(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// left counts what is to be copied, by tenant.
func (g *sqliteMigrator) left(ctx context.Context, t *sqliteMove) (counts map[tenant.ID]int64, total int64, err error) {
	rows, err := g.conn.QueryContext(ctx, fmt.Sprintf("SELECT tenant, count(*) FROM %s GROUP BY tenant", quote(t.work())))
	if err != nil {
		return nil, 0, migrateErr("counting what is to be sealed", err)
	}
	defer rows.Close()
	counts = map[tenant.ID]int64{}
	for rows.Next() {
		var text string
		var n int64
		if err := rows.Scan(&text, &n); err != nil {
			return nil, 0, migrateErr("counting what is to be sealed", err)
		}
		id, err := tenant.Parse(text)
		if err != nil {
			return nil, 0, fmt.Errorf("sqldb: Migrate: %d rows of %s have no tenant, or what is no tenant's id; give them one, or delete them: SELECT * FROM %s r WHERE %s = %s",
				n, t.Name, quote(t.Name), g.whose(t, "r"), literalSQLite(text))
		}
		counts[id] += n
		total += n
	}
	return counts, total, migrateErr("counting what is to be sealed", rows.Err())
}

// drain copies a table's rows until what is left is what others write at this moment.
func (g *sqliteMigrator) drain(ctx context.Context, t *sqliteMove) error {
	for pass := 1; pass <= fillTries; pass++ {
		for more := true; more; {
			err := g.write(ctx, func() (err error) {
				if pass == 1 {
					more = false
					return g.classifyAll(ctx, t)
				}
				more, err = g.classify(ctx, t)
				return err
			})
			if err != nil {
				return err
			}
		}
		counts, total, err := g.left(ctx, t)
		if err != nil {
			return err
		}
		if total == 0 || pass > 1 && total <= int64(g.BatchSize) {
			return nil
		}
		var done int64
		for id := range counts {
			for more := true; more; {
				if err := g.allow(ctx); err != nil {
					return err
				}
				var n int64
				if n, more, err = g.sealSome(ctx, t, id, true); err != nil {
					return err
				}
				done += n
				g.progress(t.Name, "sealed", done, max(total, done))
			}
		}
	}
	return fmt.Errorf("sqldb: Migrate: the application writes to %s faster than what it writes can be sealed; call it again when it writes less", t.Name)
}

// liteBatch is what was read of a tenant's rows.
type liteBatch struct {
	first, last int64 // of the work list
	entries     int
	seen        int64 // the triggers' last number
	rows        []int64
	args        [][]any
	values      int64
}

// sealSome copies a tenant's next rows: what is sealed is made before the file is locked. It tells whether there are more.
func (g *sqliteMigrator) sealSome(ctx context.Context, t *sqliteMove, id tenant.ID, own bool) (changed int64, more bool, err error) {
	as := g.as(ctx, id)
	pass, err := g.gate.Enter(as, g.op(&t.migrateTable, tenant.Write))
	if err != nil {
		return 0, false, fmt.Errorf("sqldb: Migrate: sealing %s: %w", t.Name, err)
	}
	defer func() {
		err = errors.Join(err, pass.Leave(as, gate.Result{Rows: changed, Bytes: -1, Err: err, Unknown: err != nil && unanswered(err)}))
	}()
	b := &liteBatch{}
	fill := func() error { return g.fill(ctx, t, pass, b) }
	if !own {
		if err = fill(); err == nil && b.entries > 0 {
			changed, err = g.copyBatch(ctx, t, id, b)
		}
	} else if err = g.read(ctx, fill); err == nil && b.entries > 0 {
		err = g.write(ctx, func() (err error) {
			changed, err = g.copyBatch(ctx, t, id, b)
			return err
		})
	}
	if err != nil {
		return 0, false, err
	}
	g.report.Tenanted += changed
	g.report.Sealed += b.values
	return changed, b.entries == g.BatchSize, nil
}

// fill reads a batch, and seals it.
func (g *sqliteMigrator) fill(ctx context.Context, t *sqliteMove, pass *gate.Pass, b *liteBatch) error {
	id := pass.Tenant().String()
	err := g.conn.QueryRowContext(ctx, fmt.Sprintf("SELECT coalesce(min(row), 0), coalesce(max(row), 0), count(*), (SELECT coalesce(max(seq), 0) FROM %s) FROM (SELECT row FROM %s WHERE tenant = ?1 ORDER BY row LIMIT %d)",
		quote(t.todo()), quote(t.work()), g.BatchSize), id).Scan(&b.first, &b.last, &b.entries, &b.seen)
	if err != nil || b.entries == 0 {
		return migrateErr("finding what is to be sealed", err)
	}
	selected := append([]string{"r." + t.Row}, t.read("r")...)
	rows, err := g.conn.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s w CROSS JOIN %s r ON r.%s = w.row WHERE w.tenant = ?1 AND w.row BETWEEN ?2 AND ?3 AND %s = ?1 ORDER BY w.row",
		strings.Join(selected, ", "), quote(t.work()), quote(t.Name), t.Row, g.whose(t, "r")), id, b.first, b.last)
	if err != nil {
		return migrateErr("reading "+t.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		row, values, err := scanned(rows, len(t.Columns))
		if err != nil {
			return migrateErr("reading "+t.Name, err)
		}
		args := []any{row, id}
		for k, c := range t.Columns {
			v, err := sqlitePlain(g.logicalOf(&t.migrateTable, c.Name), values[k])
			var sealed, index []byte
			if err == nil {
				sealed, index, err = g.sealValue(pass, &t.migrateTable, c, v)
			}
			if err != nil {
				return fmt.Errorf("sqldb: Migrate: the value of %s.%s in the row with the rowid %d of tenant %s: %w", t.Name, c.Name, row, pass.Tenant(), err)
			}
			if args = append(args, orNull(sealed)); c.Index != "" {
				args = append(args, orNull(index))
			}
			if v != nil {
				b.values++
			}
		}
		b.rows, b.args = append(b.rows, row), append(b.args, args)
	}
	return migrateErr("reading "+t.Name, rows.Err())
}

func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// scanned reads a row number and values.
func scanned(rows *sql.Rows, n int) (row int64, values []any, err error) {
	values = make([]any, n)
	into := []any{&row}
	for i := range values {
		into = append(into, &values[i])
	}
	return row, values, rows.Scan(into...)
}

// copyBatch writes a batch, in the transaction that is open, but for the rows that were changed since it was read.
func (g *sqliteMigrator) copyBatch(ctx context.Context, t *sqliteMove, id tenant.ID, b *liteBatch) (copied int64, err error) {
	newer := map[int64]bool{}
	rows, err := g.conn.QueryContext(ctx, fmt.Sprintf("SELECT row FROM %s WHERE seq > ?1 AND row IS NOT NULL", quote(t.todo())), b.seen)
	if err != nil {
		return 0, migrateErr("looking for what was changed meanwhile", err)
	}
	for rows.Next() {
		var row int64
		if err := rows.Scan(&row); err != nil {
			rows.Close()
			return 0, migrateErr("looking for what was changed meanwhile", err)
		}
		newer[row] = true
	}
	if rows.Close(); rows.Err() != nil {
		return 0, migrateErr("looking for what was changed meanwhile", rows.Err())
	}
	// A row that went from one tenant to another and back is on the lists of both, and may have a copy of before.
	var again []int64
	for _, row := range b.rows {
		if !newer[row] {
			again = append(again, row)
		}
	}
	encoded, err := json.Marshal(again)
	if err != nil {
		return 0, err
	}
	if err := g.exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s IN (SELECT value FROM json_each(?1))", quote(t.made()), t.Row), string(encoded)); err != nil {
		return 0, err
	}
	stmt, err := g.conn.PrepareContext(ctx, t.copying())
	if err != nil {
		return 0, migrateErr(first(t.copying()), err)
	}
	defer stmt.Close()
	clean := false
	for i := 0; i < len(b.rows); i++ {
		if newer[b.rows[i]] {
			continue
		}
		_, err := stmt.ExecContext(ctx, b.args[i]...)
		switch {
		case isUniqueViolation(err) && !clean: // with a copy of what is another row now, or none
			clean = true
			taken, err := g.clean(ctx, t)
			if err != nil {
				return 0, err
			}
			for _, row := range taken {
				newer[row] = true
			}
			i--
		case isUniqueViolation(err):
			return 0, fmt.Errorf("%w: the row with the rowid %d of %s holds under a unique key what another of its tenant %s does, or what a blind index takes for the same; change or delete one, or declare the column without FoldCase and TrimSpace", ErrDuplicate, b.rows[i], t.Name, id)
		case err != nil:
			return 0, migrateErr("writing to "+t.made(), err)
		default:
			copied++
		}
	}
	return copied, g.exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE tenant = ?1 AND row BETWEEN ?2 AND ?3 AND row NOT IN (SELECT value FROM json_each(?4))", quote(t.work())), id.String(), b.first, b.last, g.kept(newer))
}

// kept are rows that stay in the work list: it has what they are by now.
func (g *sqliteMigrator) kept(newer map[int64]bool) string {
	var rows []int64
	for row := range newer {
		rows = append(rows, row)
	}
	text, err := json.Marshal(rows)
	if err != nil || rows == nil {
		return "[]"
	}
	return string(text)
}

// clean takes copies away of what is another row now, or none, and says which rows changed.
func (g *sqliteMigrator) clean(ctx context.Context, t *sqliteMove) (changed []int64, err error) {
	rows, err := g.conn.QueryContext(ctx, fmt.Sprintf("SELECT DISTINCT row FROM %s WHERE row IS NOT NULL", quote(t.todo())))
	if err != nil {
		return nil, migrateErr("looking for what was changed meanwhile", err)
	}
	defer rows.Close()
	for rows.Next() {
		var row int64
		if err := rows.Scan(&row); err != nil {
			return nil, migrateErr("looking for what was changed meanwhile", err)
		}
		changed = append(changed, row)
	}
	if err := rows.Err(); err != nil {
		return nil, migrateErr("looking for what was changed meanwhile", err)
	}
	rows.Close()
	if err := g.classifyAll(ctx, t); err != nil {
		return nil, err
	}
	return changed, g.exec(ctx, t.ghosts())
}

// ghosts takes copies away whose row is gone: REPLACE removes rows without telling a trigger.
func (t *sqliteMove) ghosts() string {
	return fmt.Sprintf("DELETE FROM %s WHERE %s NOT IN (SELECT %[2]s FROM %[3]s)", quote(t.made()), t.Row, quote(t.Name))
}
