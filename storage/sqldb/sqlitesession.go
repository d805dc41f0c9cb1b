package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"

	"modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/tenant"
)

// sqliteSession is one SQLite connection.
type sqliteSession struct {
	conn sqliteConn
	tx   driver.Tx
	// origins by canonical SQL: SQLite knows them when a statement is compiled. It is bounded by maxOrigins.
	origins map[string][]sqlite.ColumnInfo
}

const maxOrigins = 1000

func ordinals(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}

func (s *sqliteSession) query(ctx context.Context, _ tenant.ID, sql string, args []driver.Value) (cursor, error) {
	origins, ok := s.origins[sql]
	if !ok {
		var err error
		if origins, err = s.conn.ColumnInfo(sql); err != nil {
			return nil, err
		}
		if len(s.origins) >= maxOrigins {
			clear(s.origins)
		}
		s.origins[sql] = origins
	}
	rows, err := s.conn.QueryContext(ctx, sql, ordinals(args))
	if err != nil {
		return nil, err
	}
	return &sqliteCursor{rows: rows, origins: origins}, nil
}

func (s *sqliteSession) exec(ctx context.Context, _ tenant.ID, sql string, args []driver.Value) (int64, error) {
	res, err := s.conn.ExecContext(ctx, sql, ordinals(args))
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

func (s *sqliteSession) close() error { return s.conn.Close() }

// sqliteCursor is a result set of SQLite's.
type sqliteCursor struct {
	rows    driver.Rows
	origins []sqlite.ColumnInfo
}

func (c *sqliteCursor) columns() []string { return c.rows.Columns() }

func (c *sqliteCursor) origin(i int) (table, column string, known bool) {
	if i >= len(c.origins) {
		return "", "", false
	}
	return c.origins[i].TableName, c.origins[i].OriginName, true
}

func (c *sqliteCursor) databaseType(i int) string {
	if t, ok := c.rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return t.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

func (c *sqliteCursor) next(dest []driver.Value) error { return c.rows.Next(dest) }
func (c *sqliteCursor) close() error                   { return c.rows.Close() }
