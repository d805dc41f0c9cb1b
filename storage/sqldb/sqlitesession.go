package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/strongroom-go/strongroom/tenant"
)

// sqliteSession is one SQLite connection.
type sqliteSession struct {
	conn sqliteConn
	tx   driver.Tx
	// failed is set by an error inside a transaction. SQLite ends some transactions by itself then, and what follows
	// would become permanent statement by statement; so nothing follows but the end, as in PostgreSQL.
	failed bool
	// stmts are the compiled statements by canonical SQL.
	stmts *simplelru.LRU[string, *sqliteStmt]
}

func ordinals(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}

// note remembers that a statement failed inside a transaction, and withholds what can hold values of what SQLite said.
func (s *sqliteSession) note(err error) error {
	if err != nil && err != io.EOF && s.tx != nil {
		s.failed = true
	}
	return withoutValues(err)
}

// errTxFailed is the answer to every statement after one that failed.
var errTxFailed = errors.New("sqldb: an earlier statement of the transaction failed; roll it back, or back to a savepoint")

func (s *sqliteSession) query(ctx context.Context, _ tenant.ID, sql string, args []driver.Value) (cursor, error) {
	if s.failed {
		return nil, errTxFailed
	}
	c, err := s.runQuery(ctx, sql, args)
	return c, s.note(err)
}

func (s *sqliteSession) runQuery(ctx context.Context, sql string, args []driver.Value) (cursor, error) {
	stmt, err := s.statement(ctx, sql)
	if err != nil {
		return nil, &unsentError{err}
	}
	if stmt.origins == nil {
		if stmt.origins, err = s.conn.ColumnInfo(sql); err != nil {
			stmt.release()
			return nil, &unsentError{err}
		}
	}
	rows, err := stmt.compiled.QueryContext(ctx, ordinals(args))
	if err != nil {
		stmt.release()
		return nil, cutShort(err)
	}
	return &sqliteCursor{session: s, rows: rows, stmt: stmt}, nil
}

func (s *sqliteSession) exec(ctx context.Context, _ tenant.ID, sql string, args []driver.Value) (int64, error) {
	// Only the way back to a savepoint is open to a failed transaction. Where SQLite has ended it, there is none.
	back := strings.HasPrefix(sql, "ROLLBACK TO ")
	if s.failed && !back {
		return 0, errTxFailed
	}
	n, err := s.runExec(ctx, sql, args)
	if err == nil && back {
		s.failed = false
	}
	return n, s.note(err)
}

func (s *sqliteSession) runExec(ctx context.Context, sql string, args []driver.Value) (int64, error) {
	stmt, err := s.statement(ctx, sql)
	if err != nil {
		return 0, &unsentError{err}
	}
	res, err := stmt.compiled.ExecContext(ctx, ordinals(args))
	if rerr := stmt.release(); err == nil {
		err = rerr
	}
	if err != nil {
		return 0, cutShort(err)
	}
	return res.RowsAffected()
}

// cutShort tells a run that was interrupted from one that SQLite answered. The driver puts the context's error in the place
// of any answer that comes once the context has ended, also of one that tells of success.
func cutShort(err error) error {
	var answer interface{ Code() int }
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if ended || errors.As(err, &answer) && answer.Code()&0xff == sqlite3.SQLITE_INTERRUPT {
		return &noAnswerError{err}
	}
	return err
}

func (s *sqliteSession) update(ctx context.Context, id tenant.ID, sql string, args [][]driver.Value) ([]bool, error) {
	changed := make([]bool, len(args))
	for i, a := range args {
		n, err := s.exec(ctx, id, sql, a)
		if err != nil {
			return nil, err
		}
		changed[i] = n > 0
	}
	return changed, nil
}

func (s *sqliteSession) begin(ctx context.Context, _ tenant.ID, opts driver.TxOptions) error {
	tx, err := s.conn.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	s.tx, s.failed = tx, false
	return nil
}

func (s *sqliteSession) commit(ctx context.Context) error {
	if s.failed {
		return errors.Join(errCommitRolledBack, s.rollback(ctx))
	}
	tx := s.tx
	s.tx = nil
	return cutShort(tx.Commit())
}

func (s *sqliteSession) rollback(context.Context) error {
	tx, failed := s.tx, s.failed
	s.tx, s.failed = nil, false
	err := tx.Rollback()
	if err != nil && failed && strings.Contains(err.Error(), "no transaction is active") {
		return nil // SQLite had ended it
	}
	return err
}

func (s *sqliteSession) ping(ctx context.Context) error {
	if p, ok := s.conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return errors.New("sqldb: this version of modernc.org/sqlite cannot ping")
}

func (s *sqliteSession) usable() bool { return s.tx == nil && s.conn.IsValid() }

func (s *sqliteSession) close() error {
	s.stmts.Purge()
	return s.conn.Close()
}

// sqliteCursor is a result set of SQLite's.
type sqliteCursor struct {
	session *sqliteSession
	rows    driver.Rows
	stmt    *sqliteStmt
	closed  bool
	ended   error // what next answers from now on: io.EOF, or why it failed
}

func (c *sqliteCursor) columns() []string { return c.rows.Columns() }

func (c *sqliteCursor) origin(i int) (table, column string, known bool) {
	if i >= len(c.stmt.origins) {
		return "", "", false
	}
	return c.stmt.origins[i].TableName, c.stmt.origins[i].OriginName, true
}

func (c *sqliteCursor) databaseType(i int) string {
	if t, ok := c.rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return t.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

// next asks no further once there is nothing more: SQLite would run the statement again, and write again.
func (c *sqliteCursor) next(dest []driver.Value) error {
	if c.ended == nil {
		c.ended = c.session.note(cutShort(c.rows.Next(dest)))
	}
	return c.ended
}

func (c *sqliteCursor) close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	err := cutShort(c.rows.Close())
	if rerr := c.stmt.release(); err == nil {
		err = rerr
	}
	return err
}
