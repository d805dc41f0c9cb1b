package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"modernc.org/sqlite"
)

// Compiling a statement is most of what SQLite does for a short query, the more so for one with derived tables, and its
// driver compiles anew for every call. A session therefore keeps compiled statements: at most maxStatements, of texts
// of at most maxStatementText bytes, those used last. SQLite compiles one anew by itself, and asks the authorizer again,
// when the schema has changed.
const (
	maxStatements    = 100
	maxStatementText = 4 << 10
)

// sqliteStmt is a compiled statement. The driver binds every parameter anew for each run, or fails, and unbinds what it
// allocated after it.
type sqliteStmt struct {
	compiled compiledStmt
	// origins says where each result column comes from; nil until a query asks.
	origins []sqlite.ColumnInfo
	// busy is set while a result set reads from the statement: it can serve one at a time.
	busy bool
	// dropped is set when the session keeps the statement no longer; it is closed as soon as it is not busy.
	dropped bool
}

// compiledStmt is what the guard needs of modernc's statement.
type compiledStmt interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

func newSQLiteStmts() *simplelru.LRU[string, *sqliteStmt] {
	stmts, err := simplelru.NewLRU(maxStatements, func(_ string, s *sqliteStmt) { s.drop() })
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return stmts
}

// statement returns the compiled form of canonical SQL, to be released after its use.
func (s *sqliteSession) statement(ctx context.Context, sql string) (*sqliteStmt, error) {
	kept, ok := s.stmts.Get(sql)
	if ok && !kept.busy {
		kept.busy = true
		return kept, nil
	}
	c, err := s.conn.PrepareContext(ctx, sql)
	if err != nil {
		return nil, err
	}
	compiled, isCompiled := c.(compiledStmt)
	if !isCompiled {
		c.Close()
		return nil, errors.New("sqldb: this version of modernc.org/sqlite lacks an interface that the guard needs; use the version in go.mod")
	}
	stmt := &sqliteStmt{compiled: compiled, busy: true}
	if ok || len(sql) > maxStatementText {
		stmt.dropped = true // another result set is being read from the one that is kept
		return stmt, nil
	}
	s.stmts.Add(sql, stmt)
	return stmt, nil
}

// release ends a use of the statement.
func (s *sqliteStmt) release() error {
	s.busy = false
	if s.dropped {
		return s.compiled.Close()
	}
	return nil
}

func (s *sqliteStmt) drop() {
	if s.dropped {
		return
	}
	s.dropped = true
	if !s.busy {
		s.compiled.Close()
	}
}
