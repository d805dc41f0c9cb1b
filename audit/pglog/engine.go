package pglog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/audit"
)

// synchronous is an expression that makes the transaction it is evaluated in wait for its commit to be durable, however
// the server, the database, the role or a pooler has set that: at least on the server's own disk and, with synchronous
// standbys, on theirs. What is set to wait for more is left as it is. It is part of the statement, so that it costs no round
// trip and holds behind a pooler that gives each transaction another session. It is never null.
const synchronous = `pg_catalog.set_config('synchronous_commit', CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local') ` +
	`THEN 'on' ELSE pg_catalog.current_setting('synchronous_commit') END, true)`

// engine is one connection to a database, made anew whenever it was lost.
type engine struct {
	config *pgx.ConnConfig
	table  table
	insert string
	conn   *pgx.Conn   // nil for none
	warned atomic.Bool // the server has warned since it was last asked
}

func newEngine(config *pgx.ConnConfig, t table) *engine {
	e := &engine{config: config.Copy(), table: t}
	if e.config.RuntimeParams["application_name"] == "" {
		e.config.RuntimeParams["application_name"] = "strongroom-audit"
	}
	next := e.config.OnNotice
	e.config.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			e.warned.Store(true)
		}
		if next != nil {
			next(c, n)
		}
	}
	e.prepare()
	return e
}

// in names the schema that the table was found in. Behind a pooler the next statement may have a session in which somebody
// made a temporary table of that name, which comes before all others and takes whatever it is given.
func (e *engine) in(schema string) {
	if e.table.schema == "" {
		e.table.schema = pgx.Identifier{schema}.Sanitize()
		e.table.rows = e.table.schema + "." + e.table.rows
		e.prepare()
	}
}

func (e *engine) prepare() {
	e.insert = `INSERT INTO ` + e.table.rows + ` (uid, stream, number, batch, line, key, mac) ` +
		`SELECT r.uid, $1::pg_catalog.uuid, $2::pg_catalog.int8 + r.n - 1, $3::pg_catalog.int8, r.line, $7::pg_catalog.int8, r.mac ` +
		`FROM ROWS FROM (pg_catalog.unnest($4::pg_catalog.uuid[]), pg_catalog.unnest($5::pg_catalog.bytea[]), pg_catalog.unnest($6::pg_catalog.bytea[])) WITH ORDINALITY AS r (uid, line, mac, n) ` +
		`WHERE (SELECT ` + synchronous + `) IS NOT NULL`
}

func (e *engine) String() string {
	return fmt.Sprintf("the table %s of the PostgreSQL database at %s", e.table.plain, e.config.Host)
}

// connect returns the connection, a new one where there is none that is known to be well.
func (e *engine) connect(ctx context.Context) (*pgx.Conn, error) {
	if e.conn != nil && !e.conn.IsClosed() {
		return e.conn, nil
	}
	conn, err := pgx.ConnectConfig(ctx, e.config)
	if err != nil {
		return nil, describe(err)
	}
	e.conn = conn
	return conn, nil
}

// drop closes the connection, whatever state it is in: the next call makes another, perhaps to another server.
func (e *engine) drop() {
	if e.conn == nil {
		return
	}
	// The context has ended: nothing is waited for.
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	e.conn.Close(ended)
	e.conn = nil
}

// Append implements [audit.Engine]: one statement, which is one round trip and one transaction.
func (e *engine) Append(ctx context.Context, rows []audit.Row) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	uids, lines, macs := make([][16]byte, len(rows)), make([][]byte, len(rows)), make([][]byte, len(rows))
	for i, r := range rows {
		if uids[i], err = uuid.Parse(r.UID); err != nil {
			return errors.New("an event's uid is no UUID")
		}
		lines[i], macs[i] = r.Line, r.MAC
	}
	stream, err := uuid.Parse(rows[0].Stream)
	if err != nil {
		return errors.New("a stream's id is no UUID")
	}
	e.warned.Store(false)
	tag, err := conn.Exec(ctx, e.insert, [16]byte(stream), rows[0].Number, rows[0].Batch, uids, lines, macs, int64(rows[0].Key))
	switch {
	case err != nil:
		return e.failed(ctx, err)
	case tag.RowsAffected() != int64(len(rows)):
		e.drop()
		return fmt.Errorf("%d of %d rows were inserted; remove the trigger, rule or policy on the table that keeps rows out", tag.RowsAffected(), len(rows))
	case e.warned.Load():
		// The server says no more than this where it was told to wait for a standby no longer.
		e.drop()
		return errors.New("the server warned that the commit may not be on a standby; see its log")
	}
	return nil
}

// failed tells what an error of the statement means.
func (e *engine) failed(ctx context.Context, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "23505" {
		e.drop()
		return describe(err)
	}
	switch pg.ConstraintName {
	case e.table.number:
		return audit.ErrTaken
	case e.table.unique:
		// Nobody else knows the uids before they are in the table: these rows are there since a statement whose answer was
		// lost. Whether a standby has them is not known of that one, but of any commit behind it.
		return e.confirm(ctx)
	}
	e.drop()
	return describe(err)
}

// confirm waits until everything that is committed is as durable as a commit, with one that writes a few bytes to the
// write-ahead log and nothing else.
func (e *engine) confirm(ctx context.Context) error {
	e.warned.Store(false)
	_, err := e.conn.Exec(ctx, `SELECT pg_catalog.pg_logical_emit_message(true, 'strongroom', '') WHERE (SELECT `+synchronous+`) IS NOT NULL`)
	if err == nil && e.warned.Load() {
		err = errors.New("the server warned that a commit may not be on a standby; see its log")
	}
	if err != nil {
		e.drop()
		return describe(err)
	}
	return audit.ErrRepeated
}

// Close implements [audit.Engine].
func (e *engine) Close() error {
	e.drop()
	return nil
}

// check returns why a recorder must not use the table: it would not be safe, or not work.
func (e *engine) check(ctx context.Context) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	if err := checkConstraints(ctx, conn, e.table); err != nil {
		return err
	}
	var schema string
	err = conn.QueryRow(ctx, `SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass($1)`, e.table.rows).Scan(&schema)
	if err != nil {
		return describe(err)
	}
	e.in(schema)
	var insert bool
	var more []string
	err = conn.QueryRow(ctx, `SELECT pg_catalog.has_column_privilege($1, 'line', 'INSERT'), ARRAY(
		SELECT p FROM pg_catalog.unnest(ARRAY['SELECT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p
		WHERE pg_catalog.has_table_privilege($1, p) OR p IN ('SELECT', 'UPDATE') AND pg_catalog.has_any_column_privilege($1, p))`,
		e.table.rows).Scan(&insert, &more)
	switch {
	case err != nil:
		return describe(err)
	case !insert:
		return errors.New("the role may not insert; run the statements of pglog.DDL for it")
	case len(more) > 0:
		return fmt.Errorf("the role has more rights than a recorder may have (%s); connect as one that may insert and nothing else, see pglog.DDL", strings.Join(more, ", "))
	}
	return nil
}

// checkConstraints looks for those that tell an event which is there already from one of somebody else, on a table that is
// still there after a crash.
func checkConstraints(ctx context.Context, conn *pgx.Conn, t table) error {
	var n int
	err := conn.QueryRow(ctx, `SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint WHERE conrelid = (SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1) AND c.relpersistence = 'p') AND convalidated AND NOT condeferrable AND
		(conname = $2 AND pg_catalog.pg_get_constraintdef(oid) = 'PRIMARY KEY (uid)' OR conname = $3 AND pg_catalog.pg_get_constraintdef(oid) = 'UNIQUE (stream, number)')`,
		t.rows, t.unique, t.number).Scan(&n)
	if err != nil {
		return describe(err)
	}
	if n != 2 {
		return errors.New("the table is missing, or not as pglog.DDL makes it; run its statements")
	}
	return nil
}
