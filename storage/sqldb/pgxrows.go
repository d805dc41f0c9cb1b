package sqldb

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// nativeRows is a result in pgx's form.
type nativeRows struct {
	rows    *rows
	typeMap *pgtype.Map
	tagNow  func() pgconn.CommandTag // the statement's, once its result is closed
	release func(error)              // ends what held the connection for the result
	tx      *sharedTx                // whose connection it reads from; nil where the connection is the result's until it is closed, and for a batch's
	fields  []pgconn.FieldDescription
	opened  []driver.Value // of the current row, what stands in sealed columns
	wire    [][]byte       // of the current row
	row     [][]byte       // wire, with memory of its own
	room    wireRoom
	current bool
	closed  bool
	err     error
	tag     pgconn.CommandTag
	plans   []pgtype.ScanPlan
	types   []reflect.Type
}

var _ pgx.Rows = (*nativeRows)(nil)

func newNativeRows(r *rows, typeMap *pgtype.Map, tag func() pgconn.CommandTag, release func(error)) *nativeRows {
	n := &nativeRows{rows: r, typeMap: typeMap, tagNow: tag, release: release, opened: make([]driver.Value, len(r.names))}
	if wire, ok := r.cursor.(wireRows); ok {
		n.fields = append(n.fields, wire.fields()...)
	}
	for i := range n.fields {
		n.fields[i].Name = r.names[i]
	}
	for _, s := range r.sealed {
		n.fields[s.index] = openedField(n.fields[s.index], s.place.Logical())
	}
	return n
}

// Next implements pgx.Rows.
func (n *nativeRows) Next() bool {
	if n.tx != nil { // which does not end meanwhile: after that the connection is another's
		n.tx.mu.Lock()
		defer n.tx.mu.Unlock()
	}
	return n.next()
}

func (n *nativeRows) next() bool {
	if n.current = false; n.closed {
		return false
	}
	if err := n.rows.Next(n.opened); err != nil {
		if !errors.Is(err, io.EOF) {
			n.err = err
		}
		n.close()
		return false
	}
	n.row = append(n.row[:0], n.rows.cursor.(wireRows).wire()...)
	n.wire = n.row
	for _, s := range n.rows.sealed {
		if n.wire[s.index] = nil; n.opened[s.index] == nil {
			continue
		}
		value, err := wireValue(s.place.Logical(), n.opened[s.index])
		if err != nil {
			n.err = err
			n.close()
			return false
		}
		n.wire[s.index] = value
	}
	if _, live := n.rows.cursor.(*nativeCursor); live {
		n.keep()
	}
	n.current = true
	return true
}

// keep copies what the current row has in the connection's buffer. Opened values are not there.
func (n *nativeRows) keep() {
	for i, v := range n.wire {
		if n.opened[i] == nil {
			n.wire[i] = n.room.keep(v)
		}
	}
}

func (n *nativeRows) fatal(err error) error {
	if n.err == nil {
		n.err = err
	}
	n.Close()
	return err
}

// Close implements pgx.Rows.
func (n *nativeRows) Close() {
	if n.tx != nil {
		n.tx.mu.Lock()
		defer n.tx.mu.Unlock()
	}
	n.close()
}

// cut closes rows that are open when what they are part of ends, so that their outcome is recorded. Whoever reads on is told that they
// are not all.
func (n *nativeRows) cut() {
	if n.closed {
		return
	}
	if n.close(); n.err == nil {
		n.err = fmt.Errorf("sqldb: the transaction ended before its rows were read: %w", pgx.ErrTxClosed)
	}
}

func (n *nativeRows) close() {
	if n.closed {
		return
	}
	n.closed, n.current, n.wire = true, false, nil
	if err := n.rows.Close(); err != nil && n.err == nil {
		n.err = err
	}
	n.tag = n.tagNow()
	n.release(n.err)
}

func (n *nativeRows) Err() error                                   { return n.err }
func (n *nativeRows) CommandTag() pgconn.CommandTag                { return n.tag }
func (n *nativeRows) FieldDescriptions() []pgconn.FieldDescription { return n.fields }
func (n *nativeRows) RawValues() [][]byte                          { return n.wire }
func (n *nativeRows) TypeMap() *pgtype.Map                         { return n.typeMap }

// Conn returns nil: a connection would run statements past the guard.
func (n *nativeRows) Conn() *pgx.Conn { return nil }

var (
	errNoRow    = errors.New("sqldb: there is no row; call Next first")
	errRowEnded = errors.New("sqldb: the rows were closed by a destination that a row of theirs was scanned into; close them behind Scan")
)

// Scan implements pgx.Rows.
func (n *nativeRows) Scan(dest ...any) error {
	if !n.current {
		return errNoRow
	}
	if len(dest) == 1 {
		if row, ok := dest[0].(pgx.RowScanner); ok {
			if err := row.ScanRow(n); err != nil {
				return n.fatal(err)
			}
			return nil
		}
	}
	if len(dest) != len(n.fields) {
		return n.fatal(fmt.Errorf("sqldb: the result has %d columns and Scan was given %d destinations", len(n.fields), len(dest)))
	}
	if n.plans == nil {
		n.plans, n.types = make([]pgtype.ScanPlan, len(dest)), make([]reflect.Type, len(dest))
	}
	for i, d := range dest {
		if !n.current { // the connection, and its types, are another's by now
			return cmp.Or(n.err, errRowEnded)
		}
		if d == nil {
			continue
		}
		if at, ok := d.(*time.Time); ok {
			if instant, ok := n.instant(i); ok {
				*at = instant
				continue
			}
		}
		if t := reflect.TypeOf(d); n.types[i] != t {
			n.plans[i], n.types[i] = n.TypeMap().PlanScan(n.fields[i].DataTypeOID, n.fields[i].Format, d), t
		}
		if err := n.plans[i].Scan(n.wire[i], d); err != nil {
			return n.fatal(n.unscanned(i, d, err))
		}
	}
	return nil
}

// instant returns an opened instant as pgx shows one, in the local zone. Its types would round it to microseconds.
func (n *nativeRows) instant(i int) (time.Time, bool) {
	logical, sealed := n.rows.logical(i)
	at, ok := n.opened[i].(time.Time)
	return at.Local(), ok && sealed && logical == envelope.Time
}

// unscanned is why a value does not fit its destination. What pgx says of a sealed one would repeat it.
func (n *nativeRows) unscanned(i int, dest any, err error) error {
	if _, sealed := n.rows.logical(i); sealed {
		err = fmt.Errorf("the value of a sealed column does not fit a %T", dest)
	}
	return pgx.ScanArgError{ColumnIndex: i, FieldName: n.fields[i].Name, Err: err}
}

// Values implements pgx.Rows.
func (n *nativeRows) Values() ([]any, error) {
	if !n.current {
		return nil, errNoRow
	}
	values := make([]any, len(n.fields))
	for i, f := range n.fields {
		if n.wire[i] == nil {
			continue
		}
		if at, ok := n.instant(i); ok {
			values[i] = at
			continue
		}
		typ, known := n.TypeMap().TypeForOID(f.DataTypeOID)
		switch {
		case known:
			v, err := typ.Codec.DecodeValue(n.TypeMap(), f.DataTypeOID, f.Format, n.wire[i])
			if err != nil {
				return nil, n.fatal(n.unscanned(i, v, err))
			}
			values[i] = v
		case f.Format == pgtype.TextFormatCode:
			values[i] = string(n.wire[i])
		default:
			values[i] = append([]byte(nil), n.wire[i]...)
		}
	}
	return values, nil
}

// failedRows is the result of a statement that failed, or of one without rows.
type failedRows struct {
	err error
	tag pgconn.CommandTag
}

func (f *failedRows) Close()                                       {}
func (f *failedRows) Err() error                                   { return f.err }
func (f *failedRows) CommandTag() pgconn.CommandTag                { return f.tag }
func (f *failedRows) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (f *failedRows) Next() bool                                   { return false }
func (f *failedRows) Scan(...any) error                            { return errors.Join(f.err, errNoRow) }
func (f *failedRows) Values() ([]any, error)                       { return nil, errors.Join(f.err, errNoRow) }
func (f *failedRows) RawValues() [][]byte                          { return nil }
func (f *failedRows) TypeMap() *pgtype.Map                         { return nil }
func (f *failedRows) Conn() *pgx.Conn                              { return nil }

// nativeRow is the first row of a result, in pgx's form.
type nativeRow struct{ rows pgx.Rows }

// Scan implements pgx.Row.
func (r nativeRow) Scan(dest ...any) error {
	defer r.rows.Close()
	for _, d := range dest {
		if _, ok := d.(*pgtype.DriverBytes); ok {
			return errors.New("sqldb: QueryRow cannot scan into *pgtype.DriverBytes, which are gone when it returns; use []byte")
		}
	}
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// queryNative runs a statement on a connection that nobody else uses meanwhile, and calls release once when its result is closed, or
// has none.
func (c *conn) queryNative(ctx context.Context, query string, args []any, release func(error)) (pgx.Rows, error) {
	fail := func(err error) (pgx.Rows, error) {
		release(err)
		return &failedRows{err: err}, err
	}
	query, values, err := nativeCall(ctx, query, args)
	if err != nil {
		return fail(err)
	}
	result, err := c.QueryContext(ctx, query, values)
	if err != nil {
		return fail(err)
	}
	session := c.session.(*pgSession)
	r, ok := result.(*rows)
	if !ok {
		release(nil)
		return &failedRows{tag: session.tag}, nil
	}
	return newNativeRows(r, session.conn.TypeMap(), func() pgconn.CommandTag { return session.tag }, release), nil
}

// execNative runs a statement without showing its rows.
func (c *conn) execNative(ctx context.Context, query string, args []any) (pgconn.CommandTag, error) {
	query, values, err := nativeCall(ctx, query, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	result, err := c.ExecContext(ctx, query, values)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag := c.session.(*pgSession).tag
	if _, err := result.RowsAffected(); err != nil { // it waits until the intent is in the trail
		return pgconn.CommandTag{}, err
	}
	return tag, nil
}
