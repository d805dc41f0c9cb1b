package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxSweeps bounds how often all tables are gone through: what somebody writes all the time is nobody's to delete.
const maxSweeps = 8

// sweeper deletes one tenant's rows. Its statements are its own and need no plan: each names one table, and the tenant.
type sweeper struct {
	conn      *conn
	id        tenant.ID
	departure *gate.Departure
	opts      OffboardOptions
	report    *OffboardReport
	at        map[string]int // where a table is in the report
}

// run goes through all tables until a look at all of them, made when no process can have keys any more, finds nothing. What
// keeps a row because it refers to it may have been written meanwhile, and goes the next time.
func (s *sweeper) run(ctx context.Context, steps []offboardStep) error {
	for sweep := range maxSweeps {
		before := s.report.Rows()
		var kept error
		for _, step := range steps {
			if err := s.step(ctx, step); referredTo(err) {
				kept = err
			} else if err != nil {
				return err
			}
		}
		if sweep == 0 {
			if err := s.departure.Settle(ctx); err != nil {
				return err
			}
			continue
		}
		left, err := s.left(ctx, steps)
		switch {
		case err != nil || left == "":
			return err
		case s.report.Rows() > before:
		case kept != nil:
			return kept
		default:
			return fmt.Errorf("sqldb: offboard tenant %s: rows of table %s are there and DELETE does not take them; see which policy or trigger keeps them, and run it again", s.id, left)
		}
	}
	return fmt.Errorf("sqldb: offboard tenant %s: rows keep coming while they are deleted; see what writes them, and run it again", s.id)
}

// referredTo tells the error of a foreign key of another row.
func referredTo(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	return errors.As(err, &pg) && pg.Code == "23503" || errors.As(err, &lite) && lite.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// step empties the tables of a step.
func (s *sweeper) step(ctx context.Context, step offboardStep) error {
	for _, cut := range step.cuts {
		if _, err := s.batches(ctx, cut.table, "UPDATE "+s.name(cut.table)+" SET "+quote(cut.column)+" = NULL", " AND "+quote(cut.column)+" IS NOT NULL", nil); err != nil {
			return err
		}
	}
	if step.together {
		return s.together(ctx, step.tables)
	}
	for _, t := range step.tables {
		if _, err := s.batches(ctx, t, "DELETE FROM "+s.name(t), "", func(n int64) error { return s.deleted(ctx, t, n) }); err != nil {
			return err
		}
	}
	return nil
}

// deleted counts and records rows that are gone.
func (s *sweeper) deleted(ctx context.Context, t *sqlplan.Table, n int64) error {
	if n == 0 {
		return nil
	}
	counted := &s.report.Tables[s.at[t.Name]]
	counted.Rows += n
	if err := s.departure.RecordDeleted(ctx, []string{t.Name}, gate.Result{Rows: n, Bytes: -1}); err != nil {
		return err
	}
	if s.opts.Progress != nil {
		s.opts.Progress(OffboardProgress{t.Name, counted.Rows})
	}
	return nil
}

// batches runs a statement that does something to the tenant's rows, some at a time, until none is left of those that meet a
// condition.
func (s *sweeper) batches(ctx context.Context, t *sqlplan.Table, do, condition string, done func(n int64) error) (total int64, err error) {
	arg, ok := s.bound(t)
	if !ok {
		return 0, nil
	}
	row, columns := s.row(t)
	mine := " WHERE " + quote(t.TenantColumn) + " = " + s.param(1)
	these := fmt.Sprintf("SELECT %s FROM %s%s%s LIMIT %d", columns, s.name(t), mine, condition, s.opts.BatchRows)
	text := do + mine + " AND " + row + " IN (" + these + ")"
	if s.postgres() {
		// A partitioned table has rows of one ctid in each partition. Who meets more of them deletes more: they are the tenant's.
		text = do + mine + " AND " + row + " = ANY (ARRAY(" + these + "))"
	}
	for {
		if err := s.departure.Still(ctx); err != nil {
			return total, err
		}
		n, err := s.conn.session.exec(ctx, s.id, text, []driver.Value{arg})
		if err != nil {
			return total, s.failed(t, err)
		}
		if n == 0 {
			return total, nil
		}
		total += n
		if done != nil {
			if err := done(n); err != nil {
				return total, err
			}
		}
	}
}

// together empties tables that refer to each other by one statement, after which alone PostgreSQL checks their foreign keys, or
// by one transaction at whose end SQLite does.
func (s *sweeper) together(ctx context.Context, tables []*sqlplan.Table) error {
	if err := s.departure.Still(ctx); err != nil {
		return err
	}
	tables = slices.DeleteFunc(slices.Clone(tables), func(t *sqlplan.Table) bool { _, ok := s.bound(t); return !ok })
	if len(tables) == 0 {
		return nil
	}
	counts, err := s.atOnce(ctx, tables)
	if err != nil {
		return s.failed(tables[0], err)
	}
	for i, t := range tables {
		if err := s.deleted(ctx, t, counts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *sweeper) atOnce(ctx context.Context, tables []*sqlplan.Table) (counts []int64, err error) {
	session := s.conn.session
	if s.postgres() {
		var with, sums []string
		var args []driver.Value
		for i, t := range tables {
			arg, _ := s.bound(t)
			args = append(args, arg)
			with = append(with, fmt.Sprintf("d%d AS (DELETE FROM %s WHERE %s = $%d RETURNING 1)", i, s.name(t), quote(t.TenantColumn), i+1))
			sums = append(sums, fmt.Sprintf("(SELECT pg_catalog.count(*) FROM d%d)", i))
		}
		return s.numbers(ctx, "WITH "+strings.Join(with, ", ")+" SELECT "+strings.Join(sums, ", "), args)
	}
	if err := session.begin(ctx, s.id, driver.TxOptions{}); err != nil {
		return nil, err
	}
	if _, err = session.exec(ctx, s.id, "PRAGMA defer_foreign_keys = ON", nil); err == nil {
		for _, t := range tables {
			arg, _ := s.bound(t)
			var n int64
			if n, err = session.exec(ctx, s.id, "DELETE FROM "+s.name(t)+" WHERE "+quote(t.TenantColumn)+" = "+s.param(1), []driver.Value{arg}); err != nil {
				break
			}
			counts = append(counts, n)
		}
	}
	if err != nil {
		return nil, errors.Join(err, session.rollback(context.WithoutCancel(ctx)))
	}
	return counts, session.commit(ctx)
}

// numbers runs a statement that returns one row of counts.
func (s *sweeper) numbers(ctx context.Context, text string, args []driver.Value) ([]int64, error) {
	cur, err := s.conn.session.query(ctx, s.id, text, args)
	if err != nil {
		return nil, err
	}
	kept, _, _, err := exhaust(cur, true)
	if err != nil {
		return nil, err
	}
	if len(kept.rows) != 1 {
		return nil, errors.New("sqldb: a count has not one row")
	}
	counts := make([]int64, len(kept.rows[0]))
	for i, v := range kept.rows[0] {
		n, ok := v.(int64)
		if !ok {
			return nil, fmt.Errorf("sqldb: a count is a %T", v)
		}
		counts[i] = n
	}
	return counts, nil
}

// rows counts the tenant's rows of a table, or with a limit no further than that.
func (s *sweeper) rows(ctx context.Context, t *sqlplan.Table, limit string) (int64, error) {
	arg, ok := s.bound(t)
	if !ok {
		return 0, nil
	}
	text := fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s WHERE %s = %s%s) AS mine", s.name(t), quote(t.TenantColumn), s.param(1), limit)
	n, err := s.numbers(ctx, text, []driver.Value{arg})
	if err != nil {
		return 0, s.failed(t, err)
	}
	return n[0], nil
}

// count is the dry run.
func (s *sweeper) count(ctx context.Context, steps []offboardStep) error {
	for _, step := range steps {
		for _, t := range step.tables {
			n, err := s.rows(ctx, t, "")
			if err != nil {
				return err
			}
			s.report.Tables[s.at[t.Name]].Rows = n
			if s.opts.Progress != nil {
				s.opts.Progress(OffboardProgress{t.Name, n})
			}
		}
	}
	return nil
}

// left returns the name of a table that still has rows of the tenant, or "".
func (s *sweeper) left(ctx context.Context, steps []offboardStep) (string, error) {
	for _, step := range steps {
		for _, t := range step.tables {
			if n, err := s.rows(ctx, t, " LIMIT 1"); err != nil || n > 0 {
				return t.Name, err
			}
		}
	}
	return "", nil
}

func (s *sweeper) failed(t *sqlplan.Table, err error) error {
	if referredTo(err) {
		return fmt.Errorf("sqldb: offboard tenant %s: rows of table %s are referred to, maybe by a table that is not declared; delete those rows, or declare it, and run it again: %w", s.id, t.Name, err)
	}
	return fmt.Errorf("sqldb: offboard tenant %s, table %s: %w", s.id, t.Name, err)
}

func (s *sweeper) postgres() bool { return s.report.Engine == dialect.PostgreSQL }

func (s *sweeper) name(t *sqlplan.Table) string {
	if s.postgres() {
		return quote(t.Schema) + "." + quote(t.Relation())
	}
	return "main." + quote(t.Name)
}

func (s *sweeper) param(n int) string {
	if s.postgres() {
		return fmt.Sprintf("$%d", n)
	}
	return fmt.Sprintf("?%d", n)
}

// row is what tells rows of a table apart, to be compared with, and as the columns of a query. SQLite's number of a row has
// three names, each of which a column may have taken. A table that has none is one WITHOUT ROWID, and then its primary key is
// NOT NULL.
func (s *sweeper) row(t *sqlplan.Table) (row, columns string) {
	if s.postgres() {
		return "ctid", "ctid"
	}
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		taken := slices.ContainsFunc(t.Columns, func(c sqlplan.Column) bool { return strings.EqualFold(c.Name, name) })
		if !taken && !t.WithoutRowID {
			return name, name
		}
	}
	columns = quoteAll(t.PrimaryKey)
	return "(" + columns + ")", columns
}

// bound returns the tenant's id as the table's tenant column takes it. It is false where no row can be the tenant's, because
// the column is of a type that its id is none of.
func (s *sweeper) bound(t *sqlplan.Table) (driver.Value, bool) {
	typ := sqlplan.TenantText
	for _, c := range t.Columns {
		switch {
		case c.Name != t.TenantColumn || !s.postgres():
		case c.Type == "uuid":
			typ = sqlplan.TenantUUID
		case castsTenant(c.Type):
			typ = sqlplan.TenantInteger
		}
	}
	v, err := canonicalTenant(s.id.String(), typ)
	return v, err == nil
}
