// Package sqltable delivers the events of an audit log to a table in PostgreSQL or SQLite, for
// queries and dashboards. The table is no evidence: whoever can write to it can change it. That is
// the log's, which each row's line is found in by its index.
package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// DefaultTable is the table's name where none is given.
const DefaultTable = "strongroom_events"

// columns are the table's, in the order in which they are inserted.
var columns = []string{"uid", "log", "index", "time", "code", "phase", "status", "severity", "tenant", "actor", "purpose", "rows", "line"}

// perStatement is how many rows one INSERT has.
const perStatement = 100

func quote(table string) (string, error) {
	if table == "" {
		table = DefaultTable
	}
	parts := strings.Split(table, ".")
	if len(parts) > 2 {
		return "", errors.New("sqltable: the table's name has more than one dot; give table or schema.table")
	}
	for i, p := range parts {
		if p == "" || len(p) > 63 || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r > '~' || r == '"' }) {
			return "", errors.New("sqltable: the table's name is unusable; give table or schema.table, each of 1 to 63 printable ASCII characters without quotation marks")
		}
		parts[i] = `"` + p + `"`
	}
	return strings.Join(parts, "."), nil
}

func check(d dialect.Dialect) error {
	if d != dialect.PostgreSQL && d != dialect.SQLite {
		return fmt.Errorf("sqltable: the dialect %q is unknown; use dialect.PostgreSQL or dialect.SQLite", d)
	}
	return nil
}

// DDL returns the statement that makes the table ("" for [DefaultTable]), which its owner runs
// once. The sink's role needs INSERT on it, and in PostgreSQL SELECT on the column uid, which ON
// CONFLICT asks for. Index is the event's in the log, time when it was recorded, tenant and actor
// empty in the log's own events, rows null where it is unknown, and line the event as it stands in
// the log: JSON of OCSF 1.8.
func DDL(d dialect.Dialect, table string) (string, error) {
	name, err := quote(table)
	if err := errors.Join(check(d), err); err != nil {
		return "", err
	}
	when := map[dialect.Dialect]string{dialect.PostgreSQL: "timestamptz", dialect.SQLite: "text"}[d]
	return `CREATE TABLE ` + name + ` (
	uid      text   PRIMARY KEY,
	log      text   NOT NULL,
	"index"  bigint NOT NULL,
	time     ` + when + ` NOT NULL,
	code     text   NOT NULL,
	phase    text   NOT NULL,
	status   text   NOT NULL,
	severity text   NOT NULL,
	tenant   text   NOT NULL,
	actor    text   NOT NULL,
	purpose  text   NOT NULL,
	"rows"   bigint,
	line     text   NOT NULL
);
`, nil
}

// tableSink is a [sink.Sink].
type tableSink struct {
	db      *sql.DB
	dialect dialect.Dialect
	table   string
}

// New returns a sink that inserts events into a table ("" for [DefaultTable]), a batch in one
// transaction. An event whose uid is there already is left as it is, so that what is delivered
// twice is there once. The database stays open when the sink is closed.
//
// It must be an ordinary connection, and not one that sqldb guards: the log has events of all tenants.
func New(db *sql.DB, d dialect.Dialect, table string) (sink.Sink, error) {
	if db == nil {
		return nil, errors.New("sqltable: the database is missing")
	}
	name, err := quote(table)
	if err := errors.Join(check(d), err); err != nil {
		return nil, err
	}
	return &tableSink{db, d, name}, nil
}

func (t *tableSink) String() string { return "the table " + t.table }

// Close implements [sink.Sink].
func (t *tableSink) Close() error { return nil }

// Deliver implements [sink.Sink].
func (t *tableSink) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	if err := t.insert(ctx, events); err != nil {
		return 0, redact.Error(err)
	}
	return len(events), nil
}

func (t *tableSink) insert(ctx context.Context, events []audit.Entry) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if t.dialect == dialect.PostgreSQL {
		// The cursor goes on when this commits, so it waits for a disk, whatever the database or
		// the role is set to.
		const durable = `SELECT pg_catalog.set_config('synchronous_commit', CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' ` +
			`ELSE pg_catalog.current_setting('synchronous_commit') END, true)`
		var is string
		if err := tx.QueryRowContext(ctx, durable).Scan(&is); err != nil {
			return err
		}
	}
	for len(events) > 0 {
		n := min(len(events), perStatement)
		statement, args := t.statement(events[:n])
		if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
			return err
		}
		events = events[n:]
	}
	return tx.Commit()
}

// statement returns one INSERT of all the events.
func (t *tableSink) statement(events []audit.Entry) (string, []any) {
	var b strings.Builder
	fmt.Fprintf(&b, `INSERT INTO %s ("%s") VALUES `, t.table, strings.Join(columns, `", "`))
	args := make([]any, 0, len(events)*len(columns))
	for i := range events {
		e := &events[i]
		for j := range columns {
			b.WriteString(map[bool]string{true: "(", false: ", "}[j == 0])
			if t.dialect == dialect.PostgreSQL {
				fmt.Fprintf(&b, "$%d", len(args)+j+1)
			} else {
				b.WriteByte('?')
			}
		}
		b.WriteString(map[bool]string{true: ")", false: "), "}[i == len(events)-1])
		var when any = e.Time
		if t.dialect == dialect.SQLite {
			when = e.Time.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		rows := sql.NullInt64{Int64: e.Rows, Valid: e.Rows >= 0}
		args = append(args, e.UID, text(e.Log), e.Index, when, text(string(e.Code)), text(string(e.Phase)), text(string(e.Status)), text(e.Severity), text(e.Tenant),
			text(e.Actor), text(e.Purpose), rows, string(e.Raw))
	}
	b.WriteString(" ON CONFLICT (uid) DO NOTHING")
	return b.String(), args
}

// text returns a value of an event as a text that every database takes. A caller's purpose may have
// a NUL, for which PostgreSQL has no place; in the line it is escaped.
func text(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }
