package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// sqliteEngine is the embedded engine, for sqlite: connection strings.
type sqliteEngine struct {
	path   string
	driver *sqlite.Driver
}

func openSQLite(dsn string) (*sqliteEngine, error) {
	path := strings.TrimPrefix(dsn, "sqlite:")
	switch {
	case path == "" || strings.Contains(path, ":memory:"):
		return nil, errors.New("sqldb: SQLite needs a file: each connection would have a database in memory of its own; use sqlite:path/to/file.db")
	case strings.ContainsAny(path, "?#"):
		return nil, errors.New("sqldb: a sqlite: connection string is a file's path without parameters: the guard sets those itself")
	case strings.IndexByte(path, 0) >= 0:
		return nil, errors.New("sqldb: the SQLite file's path contains NUL")
	}
	return &sqliteEngine{path: path, driver: &sqlite.Driver{}}, nil
}

func (e *sqliteEngine) name() string             { return filepath.Base(e.path) }
func (e *sqliteEngine) dialect() dialect.Dialect { return dialect.SQLite }

// dsn is the driver's form of the connection string. It never creates the file: the schema's owner does.
func (e *sqliteEngine) dsn() string {
	q := url.Values{}
	q.Set("mode", "rw")
	q.Add("_pragma", "busy_timeout(10000)")
	q.Add("_pragma", "foreign_keys(1)")
	q.Add("_pragma", "trusted_schema(0)")
	// Take the write lock at BEGIN: a read transaction that upgrades later would fail with SQLITE_BUSY.
	q.Set("_txlock", "immediate")
	q.Set("_time_format", "sqlite")
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: e.path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func (e *sqliteEngine) open() (sqliteConn, error) {
	c, err := e.driver.Open(e.dsn())
	if err != nil {
		return nil, fmt.Errorf("sqldb: opening the SQLite file %s failed: %w; create it and its tables through a raw handle first", e.path, err)
	}
	conn, ok := c.(sqliteConn)
	if !ok {
		c.Close()
		return nil, errors.New("sqldb: this version of modernc.org/sqlite lacks an interface that the guard needs; use the version in go.mod")
	}
	return conn, nil
}

// sqliteConn is what the guard needs of modernc's connection.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.QueryerContext
	driver.ExecerContext
	driver.Validator
	sqlite.AuthorizerRegisterer
	ColumnInfo(query string) ([]sqlite.ColumnInfo, error)
}

func (e *sqliteEngine) connect(ctx context.Context, cat *sqlplan.Catalog) (session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := e.open()
	if err != nil {
		return nil, err
	}
	// SQLite has no row-level security. Its authorizer is asked about every table, column and function while a
	// statement is compiled, and so refuses whatever the planner might have let through beyond the declared tables.
	if err := conn.RegisterAuthorizer(authorizer(cat)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("sqldb: SQLite refused the authorizer: %w", err)
	}
	return &sqliteSession{conn: conn, stmts: newSQLiteStmts()}, nil
}

// authorizer admits reading and writing the declared tables, functions, and transactions; all else is denied.
func authorizer(cat *sqlplan.Catalog) sqlite.AuthorizerFn {
	tables := make(map[string]*sqlplan.Table, len(cat.Tables))
	for name, t := range cat.Tables {
		tables[strings.ToLower(name)] = t
	}
	return func(action sqlite.AuthorizerActionCode, arg1, arg2, database, via string) sqlite.AuthorizerReturnCode {
		allowed := false
		switch action {
		case sqlite.AuthSelect, sqlite.AuthTransaction, sqlite.AuthSavepoint, sqlite.AuthFunction, sqlite.AuthRecursive:
			allowed = true
		case sqlite.AuthPragma: // no statement of a caller's is one
			allowed = strings.EqualFold(arg1, "defer_foreign_keys")
		case sqlite.AuthRead:
			// An empty database name is a subquery's or a common table expression's.
			t := tables[strings.ToLower(arg1)]
			allowed = database == "" || database == "main" && t != nil
		case sqlite.AuthInsert, sqlite.AuthUpdate, sqlite.AuthDelete:
			t := tables[strings.ToLower(arg1)]
			allowed = database == "main" && t != nil && !t.Shared
		}
		if allowed {
			return sqlite.AuthorizerOK
		}
		return sqlite.AuthorizerDeny
	}
}
