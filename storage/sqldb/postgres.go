package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
	for name := range config.RuntimeParams {
		if name == tenantSetting || name == "options" || name == "role" || name == "session_authorization" || name == "row_security" {
			return nil, fmt.Errorf("sqldb: the connection string sets %q, which can weaken row-level security; leave it out", name)
		}
	}
	// Canonical SQL is written for these, whatever the server's default.
	config.RuntimeParams["standard_conforming_strings"] = "on"
	config.RuntimeParams["client_encoding"] = "UTF8"
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "strongroom"
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

// redact removes from a server's error what can hold values: the detail ("Key (ssn)=(…) already exists"), the context,
// and, for data exceptions (SQLSTATE class 22), what the message quotes.
func redact(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if err != nil && strings.Contains(err.Error(), "encode args[") {
			// pgx prints the argument.
			return errors.New("sqldb: a parameter cannot be encoded as the type that the database wants; pass a value of that type")
		}
		return err
	}
	c := *pg
	c.Detail, c.Where, c.InternalQuery = "", "", ""
	switch {
	case strings.HasPrefix(c.Code, "23"): // constraints: they are named, and the values are in the detail
	case c.Code == "42P01" || c.Code == "42703": // an unknown table or column
	default:
		c.Message = redactQuoted(c.Message)
	}
	return &c
}

func redactQuoted(s string) string {
	open := strings.IndexByte(s, '"')
	if open < 0 {
		return s
	}
	// To the last quote: a quoted value can hold quotes itself.
	end := strings.LastIndexByte(s, '"')
	if end == open {
		end = len(s) - 1
	}
	return s[:open] + `"…"` + s[end+1:]
}

// badConn tells database/sql to try another connection where pgx knows that nothing was sent.
func badConn(err error) error {
	if pgconn.SafeToRetry(err) {
		return driver.ErrBadConn
	}
	return redact(err)
}

var errClosed = fmt.Errorf("sqldb: result set is closed: %w", io.ErrClosedPipe)
