package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/strongroom-go/strongroom/tenant"
)

// sqliteSession is one SQLite connection.
type sqliteSession struct {
	conn sqliteConn
	tx   driver.Tx
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

func (s *sqliteSession) query(ctx context.Context, _ tenant.ID, sql string, args []driver.Value) (cursor, error) {
	stmt, err := s.statement(ctx, sql)
	if err != nil {
		return nil, err
	}
	if stmt.origins == nil {
		if stmt.origins, err = s.conn.ColumnInfo(sql); err != nil {
			stmt.release()
			return nil, err
		}
	}
	rows, err := stmt.compiled.QueryContext(ctx, ordinals(args))
	if err != nil {
		stmt.release()
		return nil, err
	}
	return &sqliteCursor{rows: rows, stmt: stmt}, nil
}

func (s *sqliteSession) exec(ctx context.Context, _ tenant.ID, sql string, args []driver.Value) (int64, error) {
	stmt, err := s.statement(ctx, sql)
	if err != nil {
		return 0, err
	}
	res, err := stmt.compiled.ExecContext(ctx, ordinals(args))
	if rerr := stmt.release(); err == nil {
		err = rerr
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *sqliteSession) begin(ctx context.Context, _ tenant.ID, opts driver.TxOptions) error {
	tx, err := s.conn.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	s.tx = tx
	return nil
}

func (s *sqliteSession) commit(context.Context) error {
	tx := s.tx
	s.tx = nil
	return tx.Commit()
}

func (s *sqliteSession) rollback(context.Context) error {
	tx := s.tx
	s.tx = nil
	return tx.Rollback()
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
	rows   driver.Rows
	stmt   *sqliteStmt
	closed bool
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

func (c *sqliteCursor) next(dest []driver.Value) error { return c.rows.Next(dest) }

func (c *sqliteCursor) close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	err := c.rows.Close()
	if rerr := c.stmt.release(); err == nil {
		err = rerr
	}
	return err
}
