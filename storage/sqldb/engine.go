package sqldb

import (
	"context"
	"database/sql/driver"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// engine is one database, unguarded. It is given canonical SQL only.
type engine interface {
	// name is the database's name in the audit trail.
	name() string
	dialect() dialect.Dialect
	// introspect reads the declared tables and reports everything about them that would not be safe.
	introspect(ctx context.Context, s Schema, o *Options) (*sqlplan.Catalog, []Problem, error)
	connect(ctx context.Context, cat *sqlplan.Catalog) (session, error)
}

// session is one connection, used by one goroutine at a time. Every call names the tenant that it is for; the
// session sees to it that the database knows that tenant, where it has a layer of its own, before the statement runs.
type session interface {
	query(ctx context.Context, id tenant.ID, sql string, args []driver.Value) (cursor, error)
	exec(ctx context.Context, id tenant.ID, sql string, args []driver.Value) (rows int64, err error)
	// update runs one statement in the open transaction for each list of arguments, and tells which of them changed a row.
	update(ctx context.Context, id tenant.ID, sql string, args [][]driver.Value) (changed []bool, err error)
	begin(ctx context.Context, id tenant.ID, opts driver.TxOptions) error
	commit(ctx context.Context) error
	rollback(ctx context.Context) error
	ping(ctx context.Context) error
	// usable tells whether the session may serve another request: it is open and in no transaction.
	usable() bool
	close() error
}

// cursor is one result set.
type cursor interface {
	columns() []string
	// origin returns the table and column that the database says result column i comes from. Both are empty for a
	// computed value. Where the engine cannot tell, known is false.
	origin(i int) (table, column string, known bool)
	// databaseType is the engine's name of result column i's type.
	databaseType(i int) string
	// next fills dest or returns io.EOF, and then io.EOF again. What it fills in is the caller's to keep.
	next(dest []driver.Value) error
	close() error
}
