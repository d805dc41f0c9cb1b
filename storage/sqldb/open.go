package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/storage"
)

// Open opens a database whose every statement runs for exactly one tenant, the one in the statement's context. Dsn is
// postgres://… or postgresql://… for PostgreSQL 15 or newer (all that pgx reads, with TLS unless the host is loopback
// or a unix socket), or sqlite:path for an existing SQLite file.
//
// The database is connected to and its tables are held against the schema; everything that would not be safe is
// returned in one [*SchemaError] with what mends it. The tables are the owner's to make: see [Schema.DDL].
//
// The result is an ordinary *sql.DB. Its pool is the caller's to tune and to close. Errors of its calls wrap
// [tenant.ErrMissing], [*RefusedError], [ErrTxTenant], [storage.ErrIsolation], [audit.ErrUnavailable], the errors of
// package keys, or are the driver's own without what could hold values. opts may be nil.
func Open(ctx context.Context, dsn string, schema Schema, guard storage.Guard, opts *Options) (*sql.DB, error) {
	o := opts.withDefaults()
	g, err := gate.New(guard.Keys, guard.Audit, guard.Authorizer)
	if err != nil {
		return nil, err
	}
	if err := schema.validate(o); err != nil {
		return nil, err
	}
	e, err := newEngine(dsn, o)
	if err != nil {
		return nil, err
	}
	d, err := newDatabase(ctx, e, g, schema, o)
	if err != nil {
		return nil, err
	}
	if err := d.observe(guard.Telemetry); err != nil {
		return nil, err
	}
	return sql.OpenDB(d), nil
}

func newEngine(dsn string, o *Options) (engine, error) {
	scheme, _, ok := strings.Cut(dsn, ":")
	switch {
	case !ok:
		return nil, errors.New("sqldb: the connection string has no scheme; use postgres://… or sqlite:path")
	case scheme == "postgres" || scheme == "postgresql":
		return openPostgres(dsn, o)
	case scheme == "sqlite":
		return openSQLite(dsn)
	default:
		return nil, fmt.Errorf("sqldb: no engine for %q; use postgres://… or sqlite:path", scheme+":")
	}
}
