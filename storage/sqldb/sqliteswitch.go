package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// keys builds the indexes of the new tables, and looks whether their rows refer to their own tenant's.
func (g *sqliteMigrator) keys(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		for _, text := range t.building() {
			var there bool
			err := g.write(ctx, func() error {
				if err := g.value(ctx, &there, `SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'index' AND name = ?1)`, indexMade(text)); err != nil || there {
					return err
				}
				err := g.exec(ctx, text)
				if isUniqueViolation(err) {
					return fmt.Errorf("%w: rows of %s hold the same values of one tenant under the key that %s makes; change or delete them and call it again, or roll back", ErrDuplicate, t.Name, first(text))
				}
				if err != nil {
					return err
				}
				return g.reach(ctx, g.stage)
			})
			if err != nil {
				return err
			}
			if !there {
				g.progress(t.Name, first(text), 0, 0)
			}
		}
	}
	return g.settled(ctx, func() error { return g.reach(ctx, MigrateKeys) })
}

// indexMade is the name of the index that a statement of building makes.
func indexMade(text string) string {
	for i, tokens := 1, sqlTokens(text, false); i < len(tokens); i++ {
		if tokens[i-1].is("index") {
			return tokens[i].text
		}
	}
	return ""
}

// settled copies what is left, and calls do in a transaction in which every row has its copy and refers to its own tenant's.
func (g *sqliteMigrator) settled(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		for _, t := range g.plan.Tables {
			if err := g.rightTenants(ctx, t); err != nil {
				return err
			}
			if err := g.drain(ctx, t); err != nil {
				return err
			}
		}
		before := g.report
		err := g.write(ctx, func() error {
			if err := g.settle(ctx); err != nil {
				return err
			}
			return do()
		})
		if err == nil || try == 5 || !errors.Is(err, errTooMuchLeft) && !errors.Is(err, errStranger) {
			return err
		}
		g.report = before
	}
}

// errStranger means that a row refers to another tenant's.
var errStranger = errors.New("sqldb: Migrate: rows refer to rows that are another tenant's, or are not there")

// settle does it, in the transaction that is open.
func (g *sqliteMigrator) settle(ctx context.Context) error {
	for _, t := range g.plan.Tables {
		if err := g.classifyAll(ctx, t); err != nil {
			return err
		}
		if err := g.exec(ctx, t.ghosts()); err != nil {
			return err
		}
		counts, total, err := g.left(ctx, t)
		if err != nil {
			return err
		}
		if total > 20*int64(g.BatchSize) {
			return errTooMuchLeft
		}
		for id := range counts {
			for more := true; more; {
				if _, more, err = g.sealSome(ctx, t, id, false); err != nil {
					return err
				}
			}
		}
	}
	for _, t := range g.plan.Tables {
		var missing int64
		if err := g.value(ctx, &missing, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s NOT IN (SELECT %[2]s FROM %[3]s)", quote(t.Name), t.Row, quote(t.made()))); err != nil {
			return err
		}
		if missing > 0 {
			return fmt.Errorf("sqldb: Migrate: %d rows of %s have no copy, although nothing is left to do: a connection had triggers turned off (SQLITE_DBCONFIG_ENABLE_TRIGGER); roll back, and begin anew without it", missing, t.Name)
		}
		if err := g.strangers(ctx, t, t.made()); err != nil {
			return err
		}
	}
	return nil
}

// strangers fails where rows of a table refer to what is not there.
func (g *sqliteMigrator) strangers(ctx context.Context, t *sqliteMove, table string) error {
	var n int64
	var row sql.NullInt64
	var parent sql.NullString
	err := g.conn.QueryRowContext(ctx, `SELECT count(*), min(rowid), min(parent) FROM pragma_foreign_key_check(?1)`, table).Scan(&n, &row, &parent)
	if err != nil {
		return migrateErr("checking foreign keys", err)
	}
	if n > 0 {
		return fmt.Errorf("%w: %d rows of %s, the first with the rowid %d; change or delete them and call it again, or roll back", errStranger, n, t.Name, row.Int64)
	}
	return nil
}

// rightTenants has rows copied anew whose copy is another tenant's than they are.
func (g *sqliteMigrator) rightTenants(ctx context.Context, t *sqliteMove) error {
	if !t.Tenant.Add {
		return nil
	}
	return g.write(ctx, func() error {
		return g.exec(ctx, fmt.Sprintf("INSERT INTO %s (row) SELECT r.%s FROM %s r JOIN %s n ON n.%[2]s = r.%[2]s WHERE %[5]s <> n.%[6]s", quote(t.todo()), t.Row, quote(t.Name), quote(t.made()), g.whose(t, "r"), quote(t.Tenant.Column)))
	})
}

// verifying is the statement that reads a batch of a tenant's rows to be compared: whether what is copied is the same, and for
// each column the plaintext, its sealed copy and its index value.
func (p *sqliteMigration) verifying(t *sqliteMove) string {
	selected := []string{"n." + t.Row, fmt.Sprintf("%s AND coalesce(%s, '') = ?1", t.same(), p.tenantOf(t, "r", (*sqliteMove).itself))}
	for _, c := range t.Columns {
		index := "NULL"
		if c.Index != "" {
			index = "n." + quote(c.Index)
		}
		selected = append(selected, "+r."+quote(c.Name), "n."+quote(c.Name), index)
	}
	return fmt.Sprintf("SELECT %s FROM %s n INDEXED BY %s CROSS JOIN %s r ON r.%s = n.%[5]s WHERE n.%[6]s = ?1 AND n.%[5]s >= ?2 ORDER BY n.%[5]s LIMIT ?3",
		strings.Join(selected, ", "), quote(t.made()), quote(t.rows()), quote(t.Name), t.Row, quote(t.Tenant.Column))
}

// verify opens every sealed value and compares it with its plaintext.
func (g *sqliteMigrator) verify(ctx context.Context) error {
	g.report.Rows = map[string]map[tenant.ID]int64{}
	for _, t := range g.plan.Tables {
		if err := g.rightTenants(ctx, t); err != nil {
			return err
		}
		if err := g.drain(ctx, t); err != nil {
			return err
		}
		counts, err := g.byTenant(ctx, t, t.made())
		if err != nil {
			return err
		}
		g.report.Rows[t.Name] = counts
		var done, total int64
		for _, n := range counts {
			total += n
		}
		for id := range counts {
			for from, more := int64(math.MinInt64), true; more; {
				if err := g.allow(ctx); err != nil {
					return err
				}
				n, last, err := g.verifySome(ctx, t, id, from)
				if err != nil {
					return err
				}
				done, from = done+n, last+1
				if more = n == int64(g.BatchSize) && last < math.MaxInt64; n > 0 {
					g.progress(t.Name, "verified", done, max(total, done))
				}
			}
		}
	}
	return g.settled(ctx, func() error { return g.reach(ctx, MigrateVerify) })
}

func (g *sqliteMigrator) byTenant(ctx context.Context, t *sqliteMove, table string) (map[tenant.ID]int64, error) {
	rows, err := g.conn.QueryContext(ctx, fmt.Sprintf("SELECT %s, count(*) FROM %s GROUP BY 1", quote(t.Tenant.Column), quote(table)))
	if err != nil {
		return nil, migrateErr("counting the rows of "+t.Name, err)
	}
	defer rows.Close()
	counts := map[tenant.ID]int64{}
	for rows.Next() {
		var text string
		var n int64
		err := rows.Scan(&text, &n)
		var id tenant.ID
		if err == nil {
			id, err = tenant.Parse(text)
		}
		if err != nil {
			return nil, migrateErr("counting the rows of "+t.Name, err)
		}
		counts[id] = n
	}
	return counts, migrateErr("counting the rows of "+t.Name, rows.Err())
}

// verifySome compares a tenant's rows from one on, and says how many there were and the last.
func (g *sqliteMigrator) verifySome(ctx context.Context, t *sqliteMove, id tenant.ID, from int64) (seen, last int64, err error) {
	as := g.as(ctx, id)
	pass, err := g.gate.Enter(as, g.op(&t.migrateTable, tenant.Read))
	if err != nil {
		return 0, 0, fmt.Errorf("sqldb: Migrate: verifying %s: %w", t.Name, err)
	}
	defer func() {
		err = errors.Join(err, pass.Leave(as, gate.Result{Rows: seen, Bytes: -1, Err: err}))
	}()
	bad, where := map[int64]string{}, ""
	err = g.read(ctx, func() error {
		rows, err := g.conn.QueryContext(ctx, g.plan.verifying(t), id.String(), from, g.BatchSize)
		if err != nil {
			return migrateErr("reading "+t.Name, err)
		}
		defer rows.Close()
		for rows.Next() {
			row, values, err := scanned(rows, 1+3*len(t.Columns))
			if err != nil {
				return migrateErr("reading "+t.Name, err)
			}
			seen, last = seen+1, row
			if copied, _ := values[0].(int64); copied != 1 {
				bad[row] = t.Name
			}
			for k, c := range t.Columns {
				plain, err := sqlitePlain(g.logicalOf(&t.migrateTable, c.Name), values[1+3*k])
				same := false
				sealed, index := values[2+3*k], values[3+3*k]
				if err == nil && (plain == nil) == (sealed == nil) {
					if same, err = g.same(pass, &t.migrateTable, c, plain, sealed, index); err != nil {
						return err
					}
				}
				if !same {
					bad[row] = t.Name + "." + c.Name
				}
			}
		}
		if err := rows.Err(); err != nil || len(bad) == 0 {
			return migrateErr("reading "+t.Name, err)
		}
		rows.Close()
		return g.pending(ctx, t, bad) // what the application changed since is copied anew before the switch
	})
	if err != nil {
		return 0, 0, err
	}
	g.report.Verified += seen * int64(len(t.Columns))
	if len(bad) == 0 {
		return seen, last, nil
	}
	for row, column := range bad {
		where = fmt.Sprintf("%s in the row with the rowid %d of tenant %s", column, row, id)
		break
	}
	return 0, 0, errors.Join(fmt.Errorf("%w: the copies of %d rows are not what those are, one is %s; update these rows, and they are copied anew", storage.ErrIsolation, len(bad), where), pass.Alert(as, t.Name))
}

// pending takes out of rows those that are to be copied anew.
func (g *sqliteMigrator) pending(ctx context.Context, t *sqliteMove, rows map[int64]string) error {
	for _, list := range []string{t.todo(), t.work()} {
		found, err := g.conn.QueryContext(ctx, fmt.Sprintf("SELECT DISTINCT row FROM %s WHERE row IS NOT NULL", quote(list)))
		if err != nil {
			return migrateErr("looking for what was changed meanwhile", err)
		}
		for found.Next() {
			var row int64
			if err := found.Scan(&row); err != nil {
				found.Close()
				return migrateErr("looking for what was changed meanwhile", err)
			}
			delete(rows, row)
		}
		if found.Close(); found.Err() != nil {
			return migrateErr("looking for what was changed meanwhile", found.Err())
		}
	}
	return nil
}

// swap has the new tables take the place of those of before, in one transaction.
func (g *sqliteMigrator) swap(ctx context.Context) error {
	var locked time.Time
	err := g.settled(ctx, func() error {
		locked = time.Now()
		s := &sqliteSurvey{sqliteMigrator: g, ctx: ctx, plan: g.plan}
		if err := s.strangersBut(g.plan.own()); err != nil {
			return migrateErr("reading the SQLite file", err)
		}
		if err := newSchemaError(s.problems); err != nil {
			return fmt.Errorf("sqldb: Migrate: nothing was switched: %w", err)
		}
		for _, text := range g.plan.switching() {
			if err := g.exec(ctx, text); err != nil {
				return err
			}
		}
		problems, err := g.fits(ctx, g.conn)
		if err != nil {
			return err
		}
		if err := newSchemaError(problems); err != nil {
			return fmt.Errorf("sqldb: Migrate: nothing was switched: %w", err)
		}
		return g.reach(ctx, MigrateSwitch)
	})
	if err == nil {
		g.report.Locked = time.Since(locked)
		g.progress("", first(g.plan.switching()[0]), 0, 0)
	}
	return err
}

// drop drops the plaintexts, and overwrites them.
func (g *sqliteMigrator) drop(ctx context.Context) error {
	if err := g.exec(ctx, "PRAGMA secure_delete = ON"); err != nil {
		return err
	}
	err := g.write(ctx, func() (err error) {
		if g.plan.Statistics, err = g.statistics(ctx); err != nil {
			return err
		}
		for _, text := range g.plan.dropping() {
			if err := g.exec(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	g.progress("", first(g.plan.dropping()[0]), 0, 0)
	g.plan, g.stage, g.report.Stage = nil, "", MigrateDrop
	g.report.Notes = append(g.report.Notes, "the pages that held the plaintexts were overwritten in the file; what the file system keeps of them, and backups that were made before, is not",
		"VACUUM, which gives back the room that they took: until then pages that were free before may hold what the application had deleted or changed; behind it PRAGMA wal_checkpoint(TRUNCATE), where the file has a write-ahead log")
	return nil
}

// statistics are the tables in which ANALYZE keeps values of indexed columns, and how many there are.
func (g *sqliteMigrator) statistics(ctx context.Context) (names []string, err error) {
	var text sql.NullString
	err = g.value(ctx, &text, `SELECT group_concat(name) FROM main.sqlite_schema WHERE type = 'table' AND name GLOB 'sqlite_stat[1-4]'`)
	if err != nil || !text.Valid {
		return nil, err
	}
	return strings.Split(text.String, ","), nil
}
