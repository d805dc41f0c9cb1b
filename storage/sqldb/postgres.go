package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// postgres is the engine for postgres:// connection strings.
type postgres struct {
	config *pgx.ConnConfig
	rls    bool
	pooler bool
}

func openPostgres(dsn string, o *Options) (*postgres, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		// pgx's error repeats the connection string, if without its password: the reason is enough.
		return nil, errors.New("sqldb: the connection string is not one that pgx can read; it has the form postgres://user@host:5432/database?sslmode=verify-full")
	}
	if !o.InsecureAllowPlaintext {
		if err := requireTLS(config); err != nil {
			return nil, err
		}
	}
	switch config.DefaultQueryExecMode {
	case pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec:
		return nil, errors.New("sqldb: default_query_exec_mode simple_protocol and exec are refused: they do not let the server say what a result column is; leave it out")
	}
	if config.RuntimeParams, err = runtimeParams(config.RuntimeParams); err != nil {
		return nil, err
	}
	return &postgres{config: config, rls: !o.InsecureWithoutRLS, pooler: o.TransactionPooler}, nil
}

func (p *postgres) name() string     { return p.config.Database }
func (p *postgres) dialect() Dialect { return PostgreSQL }

// requireTLS refuses a configuration that would, even as a fallback, speak to another machine in the clear.
func requireTLS(config *pgx.ConnConfig) error {
	plain := func(host string, encrypted bool) error {
		if encrypted || isLoopback(host) {
			return nil
		}
		return fmt.Errorf("sqldb: the connection to %s could be without TLS; add sslmode=verify-full to the connection string, or set Options.InsecureAllowPlaintext", host)
	}
	if err := plain(config.Host, config.TLSConfig != nil); err != nil {
		return err
	}
	for _, f := range config.Fallbacks {
		if err := plain(f.Host, f.TLSConfig != nil); err != nil {
			return err
		}
	}
	return nil
}

// isLoopback tells whether host is this machine: a unix socket's directory, localhost, or a loopback address.
func isLoopback(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (p *postgres) connect(ctx context.Context, cat *sqlplan.Catalog) (session, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &pgSession{conn: conn, rls: p.rls, pooler: p.pooler}
	if err := s.readOrigins(ctx, cat); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (p *postgres) dial(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, p.config.Copy())
	if err != nil {
		return nil, fmt.Errorf("sqldb: connecting to PostgreSQL database %q at %s failed: %w", p.config.Database, p.config.Host, redact(err))
	}
	likeDatabaseSQL(conn.TypeMap())
	for setting, want := range map[string]string{"standard_conforming_strings": "on", "client_encoding": "UTF8", "server_encoding": "UTF8"} {
		if got := conn.PgConn().ParameterStatus(setting); got != want {
			conn.Close(ctx)
			return nil, fmt.Errorf("sqldb: the server reports %s = %q and not %q; text would be read differently from how it was checked", setting, got, want)
		}
	}
	return conn, nil
}

var errClosed = fmt.Errorf("sqldb: result set is closed: %w", io.ErrClosedPipe)
