package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// rows opens sealed columns on the way to the caller, and records the outcome when it is closed.
type rows struct {
	ctx    context.Context
	conn   *conn
	access *access
	cursor cursor
	names  []string
	sealed []sealedColumn
	count  int64
	failed error
	closed bool
}

// sealedColumn is a result column that has to be opened.
type sealedColumn struct {
	index         int
	table, column string
	place         envelope.Place // of the tenant whose rows they are
}

func newRows(ctx context.Context, c *conn, a *access, cur cursor) (*rows, error) {
	r := &rows{ctx: ctx, conn: c, access: a, cursor: cur, names: cur.columns()}
	if len(r.names) != len(a.plan.Outputs) {
		return nil, fmt.Errorf("%w (the result has %d columns where the plan has %d)", ErrSchemaChanged, len(r.names), len(a.plan.Outputs))
	}
	for i, out := range a.plan.Outputs {
		if out.Name != "" {
			r.names[i] = out.Name
		}
		if err := c.db.checkOrigin(cur, i, out); err != nil {
			return nil, err
		}
		if out.Sealed {
			if wire, native := cur.(wireRows); native && !bytesOnTheWire(wire.fields()[i]) {
				return nil, fmt.Errorf("%w (result column %d is %s.%s and no bytea)", ErrSchemaChanged, i+1, out.Table, out.Column)
			}
			logical := c.db.schema[out.Table].Sealed[out.Column].logical
			r.sealed = append(r.sealed, sealedColumn{i, out.Table, out.Column, envelope.PlaceOf(a.id, c.db.bound[out.Table], out.Column, logical)})
		}
	}
	return r, nil
}

// checkOrigin holds the plan against what the database says of where a result column comes from.
func (d *database) checkOrigin(cur cursor, i int, out sqlplan.Output) error {
	table, column, known := cur.origin(i)
	if !known || out.OriginHidden && table == "" {
		return nil
	}
	if table == "" {
		if out.Sealed {
			return fmt.Errorf("%w (result column %d should be %s.%s and is computed)", ErrSchemaChanged, i+1, out.Table, out.Column)
		}
		return nil
	}
	if out.Sealed {
		if table != out.Table || column != out.Column {
			return fmt.Errorf("%w (result column %d should be %s.%s and is %s)", ErrSchemaChanged, i+1, out.Table, out.Column, place(table, column))
		}
		return nil
	}
	t, declared := d.schema[table]
	_, sealed := t.Sealed[column]
	if !declared || sealed || column == madeSince {
		return fmt.Errorf("%w (result column %d should be %s and is %s)", ErrSchemaChanged, i+1, expected(out), place(table, column))
	}
	return nil
}

// madeSince is what an engine calls a table or a column that was not there when the connection was made.
const madeSince = "?"

// place names where the database says that a result column comes from.
func place(table, column string) string {
	switch {
	case table == madeSince:
		return "of a table that was made, or made anew, since the database was opened"
	case column == madeSince:
		return "a column that table " + table + " was given since the database was opened"
	}
	return table + "." + column
}

// expected names a result column of the plan's.
func expected(out sqlplan.Output) string {
	switch {
	case out.Table != "" && out.Column != "":
		return out.Table + "." + out.Column
	case out.Name != "":
		return fmt.Sprintf("%q", out.Name)
	}
	return "computed"
}

// Columns implements driver.Rows.
func (r *rows) Columns() []string { return r.names }

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if r.failed != nil {
		return r.failed
	}
	err := r.cursor.next(dest)
	if err == nil {
		err = r.open(dest)
	}
	if err != nil {
		// Nothing of a row that did not open reaches the caller.
		clear(dest)
		if !errors.Is(err, io.EOF) {
			err = r.access.result(-1, err).Err
			r.failed = err
		}
		return err
	}
	r.count++
	return nil
}

func (r *rows) open(dest []driver.Value) error {
	for _, s := range r.sealed {
		ciphertext, null, ok := r.stored(s.index, dest)
		if dest[s.index] = nil; null {
			continue
		}
		if !ok {
			return r.isolation(s, "")
		}
		value, err := s.place.Open(r.access.pass.Keys().Data(), ciphertext)
		if err != nil {
			return r.unopened(s, ciphertext)
		}
		dest[s.index] = value
	}
	return nil
}

// stored is what the database has in a sealed column. An engine's value that is no byte string is none of the library's.
func (r *rows) stored(i int, dest []driver.Value) (ciphertext []byte, null, ok bool) {
	if wire, native := r.cursor.(wireRows); native {
		ciphertext = wire.wire()[i]
		return ciphertext, ciphertext == nil, true
	}
	ciphertext, ok = dest[i].([]byte)
	return ciphertext, dest[i] == nil, ok
}

// unopened says why a value did not open where its key explains it: the key is one of the tenant's that is disabled, or none of
// them, such as one that was destroyed, or another tenant's. The key's id stands before the value in the clear.
func (r *rows) unopened(s sealedColumn, ciphertext []byte) error {
	key, named := envelope.FieldKey(ciphertext)
	switch t := r.access.pass.Keys(); {
	case named && t.DataKeyDisabled(key):
		return fmt.Errorf("%w: a value in %s.%s needs data key %d; the row is withheld; Keyring.EnableKey lets it be opened, and Reseal moves it to a newer key",
			keys.ErrKeyDisabled, s.table, s.column, key)
	case named && !t.HasDataKey(key):
		return r.isolation(s, fmt.Sprintf(" is sealed with key %d, which the tenant has not, or not any more", key))
	}
	return r.isolation(s, "")
}

// isolation raises the alert. Why a value did not open under a key of the tenant is not said: it would tell an attacker what to
// change.
func (r *rows) isolation(s sealedColumn, why string) error {
	place := s.table + "." + s.column
	err := fmt.Errorf("%w: a value in %s%s; the row is withheld and an alert is in the audit trail", storage.ErrIsolation, place, why)
	if aerr := r.access.pass.Alert(r.ctx, place); aerr != nil {
		return errors.Join(err, aerr)
	}
	return err
}

// Close implements driver.Rows. The outcome is recorded here, also for a result that was not read to its end.
func (r *rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	var err error
	if r.access.writes() && r.failed == nil {
		// What was written counts, whether the caller reads about it or not.
		var unread int64
		unread, err = count(r.cursor)
		r.count += unread
	}
	why := r.failed
	if why == nil {
		why = err
	}
	cerr := r.cursor.close()
	if err == nil {
		err = cerr
	}
	if r.access.writes() && (why != nil && cerr == nil || unanswered(errors.Join(why, cerr))) {
		r.conn.doubt(r.access) // the write may stand in the transaction, and its rows were not shown
	}
	if why == nil {
		why = err
	}
	err = r.access.result(-1, err).Err
	if lerr := r.access.pass.Leave(r.ctx, r.access.result(r.count, why)); lerr != nil {
		return errors.Join(err, lerr)
	}
	return err
}

// count reads a cursor to its end.
func count(cur cursor) (n int64, err error) {
	dest := make([]driver.Value, len(cur.columns()))
	for ; ; n++ {
		if err := cur.next(dest); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName; a sealed column has its logical type's.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	if l, ok := r.logical(i); ok {
		return typeNames[l]
	}
	return r.cursor.databaseType(i)
}

// ColumnTypeScanType implements driver.RowsColumnTypeScanType for sealed columns; others can be scanned into any.
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	if l, ok := r.logical(i); ok {
		return scanTypes[l]
	}
	return reflect.TypeFor[any]()
}

func (r *rows) logical(i int) (envelope.Logical, bool) {
	for _, s := range r.sealed {
		if s.index == i {
			return s.place.Logical(), true
		}
	}
	return 0, false
}

// emptyRows is the result of a statement without one.
type emptyRows struct{}

func (emptyRows) Columns() []string         { return nil }
func (emptyRows) Close() error              { return nil }
func (emptyRows) Next([]driver.Value) error { return io.EOF }
