package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/pgtls"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// postgres is the engine for postgres:// connection strings.
type postgres struct {
	config *pgx.ConnConfig
	rls    bool
	pooler bool
	native bool // the connections are a Pool's, which hands values out as pgx does

	origins originsCache
}

func openPostgres(dsn string, o *Options) (*postgres, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		// pgx's error repeats the connection string, if without its password: the reason is enough.
		return nil, errUnreadableDSN
	}
	return newPostgres(config, o)
}

var errUnreadableDSN = errors.New("sqldb: the connection string is not one that pgx can read; it has the form postgres://user@host:5432/database?sslmode=verify-full")

func newPostgres(config *pgx.ConnConfig, o *Options) (*postgres, error) {
	if !o.InsecureAllowPlaintext {
		if err := requireTLS(config); err != nil {
			return nil, err
		}
	}
	switch config.DefaultQueryExecMode {
	case pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec:
		return nil, errors.New("sqldb: default_query_exec_mode simple_protocol and exec are refused: they do not let the server say what a result column is; leave it out")
	}
	params, err := runtimeParams(config.RuntimeParams)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams = params
	return &postgres{config: config, rls: !o.InsecureWithoutRLS, pooler: o.TransactionPooler}, nil
}

func (p *postgres) name() string             { return p.config.Database }
func (p *postgres) dialect() dialect.Dialect { return dialect.PostgreSQL }

// requireTLS refuses a configuration that would, even as a fallback, speak to another machine in the clear.
func requireTLS(config *pgx.ConnConfig) error {
	if host := pgtls.Plain(config); host != "" {
		return fmt.Errorf("sqldb: the connection to %s could be without TLS; add sslmode=verify-full to the connection string, or set Options.InsecureAllowPlaintext", host)
	}
	return nil
}

func (p *postgres) connect(ctx context.Context, cat *sqlplan.Catalog) (session, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	s, err := p.session(ctx, conn, cat)
	if err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return s, nil
}

// session makes a new connection one that statements run on.
func (p *postgres) session(ctx context.Context, conn *pgx.Conn, cat *sqlplan.Catalog) (*pgSession, error) {
	origins, err := p.origins.read(ctx, conn, cat)
	return &pgSession{conn: conn, rls: p.rls, pooler: p.pooler, native: p.native, origins: origins, described: time.Now()}, err
}

func (p *postgres) dial(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, p.config.Copy())
	if err != nil {
		return nil, fmt.Errorf("sqldb: connecting to PostgreSQL database %q at %s failed: %w", p.config.Database, p.config.Host, redact(err))
	}
	if err := readsAsChecked(conn); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	likeDatabaseSQL(conn.TypeMap())
	return conn, nil
}

// readsAsChecked refuses a server that would read text differently from how it was checked.
func readsAsChecked(conn *pgx.Conn) error {
	for setting, want := range map[string]string{"standard_conforming_strings": "on", "client_encoding": "UTF8", "server_encoding": "UTF8"} {
		if got := conn.PgConn().ParameterStatus(setting); got != want {
			return fmt.Errorf("sqldb: the server reports %s = %q and not %q; text would be read differently from how it was checked", setting, got, want)
		}
	}
	return nil
}

var errClosed = fmt.Errorf("sqldb: result set is closed: %w", io.ErrClosedPipe)
