package sqldb

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxCopyRows and maxCopyBytes bound the rows of one statement. A single row can be larger.
const (
	maxCopyRows  = 4096
	maxCopyBytes = 1 << 20
)

// copyArrays sends rows in INSERT statements of an array for each column: see [sqlplan.NewRows]. A plain value is encoded when it comes, in the
// format that pgx sends it in by itself, so that what is stored is the same. What is sealed is kept until its statement is
// admitted, with the tenant's keys as they are then.
type copyArrays struct {
	ctx     context.Context
	tx      *nativeTx
	text    string // the INSERT of one row
	ahead   bool
	types   *pgtype.Map
	params  []sqlplan.Param
	columns []*copyColumn // by their place among the caller's values
	args    []driver.NamedValue
	sealed  []array // by their place among the parameters, for what is sealed
	rows    int
	size    int // bytes of what is in the columns
	sent    *sentRows
	stored  int64
}

// copyColumn has the values of the caller's for one column that are not sent yet.
type copyColumn struct {
	tenant  bool           // they must be the tenant's id and are not sent
	sealed  bool           // they are in kept, or otherwise encoded in array
	json    bool           // what is sealed is JSON
	oid     uint32         // of an element of array
	array   array          // with all elements
	kept    []driver.Value // converted as database/sql does it
	before  int            // the bytes of array before the row that is being added
	hadNull bool
}

// elementTypes are the types of elements and arrays that plans name, of PostgreSQL's own numbers.
var elementTypes = map[string]struct{ element, array uint32 }{
	"bool": {pgtype.BoolOID, pgtype.BoolArrayOID}, "int2": {pgtype.Int2OID, pgtype.Int2ArrayOID}, "int4": {pgtype.Int4OID, pgtype.Int4ArrayOID},
	"int8": {pgtype.Int8OID, pgtype.Int8ArrayOID}, "float4": {pgtype.Float4OID, pgtype.Float4ArrayOID}, "float8": {pgtype.Float8OID, pgtype.Float8ArrayOID},
	"numeric": {pgtype.NumericOID, pgtype.NumericArrayOID}, "text": {pgtype.TextOID, pgtype.TextArrayOID}, "varchar": {pgtype.VarcharOID, pgtype.VarcharArrayOID},
	"bpchar": {pgtype.BPCharOID, pgtype.BPCharArrayOID}, "bytea": {pgtype.ByteaOID, pgtype.ByteaArrayOID}, "uuid": {pgtype.UUIDOID, pgtype.UUIDArrayOID},
	"json": {pgtype.JSONOID, pgtype.JSONArrayOID}, "jsonb": {pgtype.JSONBOID, pgtype.JSONBArrayOID}, "date": {pgtype.DateOID, pgtype.DateArrayOID},
	"time": {pgtype.TimeOID, pgtype.TimeArrayOID}, "timestamp": {pgtype.TimestampOID, pgtype.TimestampArrayOID},
	"timestamptz": {pgtype.TimestamptzOID, pgtype.TimestamptzArrayOID}, "interval": {pgtype.IntervalOID, pgtype.IntervalArrayOID},
}

// newCopyArrays returns nil where rows cannot go in arrays, or not at all, which whoever sends them otherwise says and records.
func newCopyArrays(ctx context.Context, t *nativeTx, text string, ahead bool) *copyArrays {
	if _, err := tenant.FromContext(ctx); err != nil {
		return nil
	}
	c := t.held.conn
	session, ok := c.session.(*pgSession)
	if !ok {
		return nil
	}
	plan, err := c.db.planRows(ctx, text, 1)
	if err != nil {
		return nil
	}
	a := &copyArrays{ctx: ctx, tx: t, text: text, ahead: ahead, types: session.conn.TypeMap(), params: plan.Params}
	a.args, a.columns, a.sealed = make([]driver.NamedValue, plan.NumInput), make([]*copyColumn, plan.NumInput), make([]array, len(plan.Params))
	for i := range a.columns {
		a.args[i].Ordinal, a.columns[i] = i+1, &copyColumn{}
	}
	for _, p := range plan.Params {
		if p.Source != sqlplan.FromCaller {
			continue
		}
		column := a.columns[p.Caller-1]
		column.oid, column.sealed, column.json = elementTypes[p.Element].element, p.Use != sqlplan.AsIs, column.json || c.sealsJSON(p)
		if column.oid == 0 {
			return nil
		}
	}
	for _, t := range plan.Tenants {
		if t.Caller == 0 {
			return nil
		}
		a.columns[t.Caller-1].tenant = true
	}
	return a
}

// add takes a row, or returns false and leaves it where a value of it goes into no array. Nothing of the row's memory is referred to afterwards.
// The connection's types are used for it, which are another's once the transaction has ended.
func (a *copyArrays) add(row []any) (taken bool, err error) {
	err = a.tx.run(func(*conn) error {
		taken = a.take(row)
		return nil
	})
	return taken, err
}

func (a *copyArrays) take(row []any) bool {
	for i, column := range a.columns {
		column.before, column.hadNull = len(column.array.elements), column.array.null
		if a.addValue(i, row[i]) {
			continue
		}
		for _, column := range a.columns[:i+1] {
			column.array.elements, column.array.null = column.array.elements[:column.before], column.hadNull
			column.kept = column.kept[:min(len(column.kept), a.rows)]
		}
		return false
	}
	a.rows++
	for i, column := range a.columns {
		a.size += len(column.array.elements) - column.before
		if column.sealed {
			a.size += sizeOf(column.kept[a.rows-1])
		}
		a.args[i].Value = nil
	}
	return true
}

func (a *copyArrays) addValue(i int, v any) bool {
	switch v.(type) {
	case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID, pgx.QueryRewriter:
		return false
	}
	column := a.columns[i]
	if !column.tenant && !column.sealed {
		return column.array.encode(a.types, column.oid, v)
	}
	a.args[i].Value = v
	if a.tx.held.conn.basicArg(a.args, i+1, column.json) != nil {
		return false
	}
	v = a.args[i].Value
	if column.tenant {
		return sameTenant(v, a.tx.tx.id.String())
	}
	if b, ok := v.([]byte); ok {
		v = bytes.Clone(b)
	}
	column.kept = append(column.kept, v)
	return true
}

// sizeOf is about how many bytes a value that is kept takes when it is sealed.
func sizeOf(v driver.Value) int {
	const overhead = 64
	switch v := v.(type) {
	case string:
		return overhead + len(v)
	case []byte:
		return overhead + len(v)
	}
	return overhead
}

// drainFull sends the rows where there are enough for a statement.
func (a *copyArrays) drainFull() error {
	if a.rows < maxCopyRows && a.size < maxCopyBytes {
		return nil
	}
	return a.flush()
}

// drain sends what is left, and returns how many rows were stored in all.
func (a *copyArrays) drain() (int64, error) {
	if a.rows > 0 {
		if err := a.flush(); err != nil {
			return 0, err
		}
	}
	if err := a.tx.run(a.settle); err != nil {
		return 0, err
	}
	return a.stored, nil
}

// flush sends the rows. The answer to those before is read only when these are sealed.
func (a *copyArrays) flush() error {
	return a.tx.run(func(c *conn) error {
		ctx, reported := c.db.telemetry.Statement(a.ctx)
		access, params, err := c.admitRows(ctx, reported, a)
		if err != nil {
			reported.End(ctx, outcomeOf(err))
			if serr := a.settle(c); serr != nil {
				err = errors.Join(serr, err)
			}
			return err
		}
		if err := a.settle(c); err != nil {
			if ferr := c.failed(ctx, access, errCopyUnsent); ferr != errCopyUnsent {
				err = errors.Join(err, ferr)
			}
			return err
		}
		if a.sent, err = c.sendRows(ctx, access, params); err != nil {
			return err
		}
		a.reset()
		if a.ahead {
			return nil
		}
		return a.settle(c)
	})
}

var errCopyUnsent = errors.New("sqldb: rows before these could not be stored")

// settle reads the answer to what was sent, if it was not read yet.
func (a *copyArrays) settle(c *conn) error {
	sent := a.sent
	if sent == nil {
		return nil
	}
	a.sent = nil
	n, err := c.answered(sent)
	a.stored += n
	return err
}

// abandon leaves no answer unread. The transaction is rolled back by whoever calls it.
func (a *copyArrays) abandon() { a.tx.run(a.settle) }

func (a *copyArrays) reset() {
	for _, column := range a.columns {
		column.array.reset()
		clear(column.kept)
		column.kept = column.kept[:0]
	}
	for i := range a.args {
		a.args[i].Value = nil
	}
	a.rows, a.size = 0, 0
}

// rowParams are the parameters of an INSERT of many rows as they are sent.
type rowParams struct {
	values  [][]byte
	oids    []uint32
	formats []int16
}

// admitRows does for rows what admit does for a statement's arguments.
func (c *conn) admitRows(ctx context.Context, reported *telemetry.Access, rows *copyArrays) (*access, *rowParams, error) {
	if _, err := tenant.FromContext(ctx); err != nil {
		return nil, nil, c.refuse(ctx, err)
	}
	plan, err := c.db.planRows(ctx, rows.text, 1)
	if err != nil {
		return nil, nil, c.refuse(ctx, err)
	}
	c.db.describe(reported, plan)
	if err := c.checkTx(ctx); err != nil {
		return nil, nil, err
	}
	pass, err := c.pass(ctx, reported, plan)
	if err != nil {
		return nil, nil, err
	}
	a := &access{plan: plan, id: pass.Tenant(), pass: pass, tx: c.tx}
	if versions := len(pass.Keys().IndexKeyIDs()); versions > 1 {
		if plan, err = c.db.planRows(ctx, rows.text, versions); err != nil {
			return nil, nil, c.failed(ctx, a, err)
		}
		a.plan = plan
	}
	params, err := c.db.bindRows(a, rows)
	if err != nil {
		return nil, nil, c.failed(ctx, a, err)
	}
	c.db.planned.Barriers(a.plan.Barriers)
	return a, params, nil
}

// bindRows makes the database's parameters out of the rows.
func (d *database) bindRows(a *access, rows *copyArrays) (*rowParams, error) {
	n := len(a.plan.Params)
	if n != len(rows.sealed) {
		return nil, errors.New("sqldb: the plan of an INSERT of many rows changed")
	}
	params := &rowParams{make([][]byte, n), make([]uint32, n), make([]int16, n)}
	for i, p := range a.plan.Params {
		if p.Source == sqlplan.FromTenant {
			id, err := d.param(a.pass, p, nil)
			if err != nil {
				return nil, fmt.Errorf("sqldb: parameter %s: %w", describe(p), err)
			}
			params.values[i], params.formats[i] = []byte(id.(string)), pgtype.TextFormatCode
			continue
		}
		column, types := rows.columns[p.Caller-1], elementTypes[p.Element]
		params.oids[i], params.formats[i] = types.array, pgtype.BinaryFormatCode
		if p.Use == sqlplan.AsIs {
			params.values[i] = column.array.finish(types.element, rows.rows)
			continue
		}
		made := &rows.sealed[i]
		made.reset()
		for _, v := range column.kept {
			rows.args[p.Caller-1].Value = v
			stored, err := d.param(a.pass, p, rows.args)
			if err != nil {
				return nil, fmt.Errorf("sqldb: parameter %s: %w", describe(p), err)
			}
			b, ok := stored.([]byte)
			if !ok && stored != nil {
				return nil, fmt.Errorf("sqldb: parameter %s: what would be stored is not sealed", describe(p))
			}
			made.append(b)
		}
		params.values[i] = made.finish(types.element, rows.rows)
	}
	if len(a.plan.Unique) == 0 {
		return params, nil
	}
	for row := range rows.rows {
		for i, column := range rows.columns {
			if column.sealed {
				rows.args[i].Value = column.kept[row]
			}
		}
		values, err := d.onceOf(a, rows.args)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			v.of += row * len(a.plan.Unique)
			a.once = append(a.once, v)
		}
	}
	inLooks(a.once)
	return params, nil
}

// sentRows is an INSERT whose answer was not read yet.
type sentRows struct {
	ctx    context.Context
	access *access
	span   telemetry.Span
	answer *pgconn.ResultReader
}

func (c *conn) sendRows(ctx context.Context, a *access, params *rowParams) (*sentRows, error) {
	sending, span := c.db.telemetry.Send(ctx)
	s := &sentRows{ctx: ctx, access: a, span: span}
	err := c.send(sending, a)
	if err == nil {
		s.answer, err = c.session.(*pgSession).sendRows(sending, a.id, a.plan.SQL, params)
	}
	if err != nil {
		span.End(gate.Class(err))
		return nil, c.failed(ctx, a, err)
	}
	return s, nil
}

// answered reads the database's answer, and records it.
func (c *conn) answered(s *sentRows) (int64, error) {
	n, err := c.session.(*pgSession).sentRows(s.answer)
	if a := s.access; err == nil && len(a.once) > 0 {
		if err = c.onlyOnce(s.ctx, a); err != nil {
			c.doubt(a) // the write stands in the transaction, which nobody may commit
		}
	}
	s.span.End(gate.Class(err))
	result, err := c.ran(s.ctx, s.access, n, err)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected() // it waits until the intent is in the trail
}

// array is one of PostgreSQL's in binary form, of one dimension: https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/arrayfuncs.c
// (array_recv).
type array struct {
	elements []byte // with room for the header before them
	null     bool
}

const arrayHeader = 5 * 4

// room makes space for the length of the next element.
func (a *array) room() {
	if len(a.elements) == 0 {
		a.elements = append(a.elements, make([]byte, arrayHeader)...)
	}
	a.elements = append(a.elements, 0xff, 0xff, 0xff, 0xff) // NULL's
}

// append appends an element, of which nil is NULL.
func (a *array) append(v []byte) {
	a.room()
	if v == nil {
		a.null = true
		return
	}
	at := len(a.elements)
	a.elements = append(a.elements, v...)
	a.setLength(at)
}

func (a *array) setLength(at int) {
	binary.BigEndian.PutUint32(a.elements[at-4:], uint32(len(a.elements)-at))
}

// encode appends a value in the format that pgx sends it in, or returns false where that is not its type's binary form. Of texts and
// JSON that form is the text. What it leaves behind then is the caller's to remove.
func (a *array) encode(m *pgtype.Map, oid uint32, v any) bool {
	format := m.FormatCodeForOID(oid)
	switch v.(type) {
	case string, *string:
		format = pgtype.TextFormatCode
	}
	a.room()
	at, buf := len(a.elements), a.elements
	if format == pgtype.TextFormatCode {
		switch oid {
		case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.JSONOID:
		case pgtype.JSONBOID:
			buf = append(buf, 1) // the form's version
		default:
			return false
		}
	}
	buf, err := m.Encode(oid, format, v, buf)
	switch {
	case err != nil:
		return false
	case buf == nil:
		a.null = true
		return true
	}
	a.elements = buf
	a.setLength(at)
	return true
}

// finish returns the array. It is good until the next call of a method.
func (a *array) finish(element uint32, length int) []byte {
	header := a.elements[:0]
	header = binary.BigEndian.AppendUint32(header, 1) // dimensions
	if a.null {
		header = binary.BigEndian.AppendUint32(header, 1)
	} else {
		header = binary.BigEndian.AppendUint32(header, 0)
	}
	header = binary.BigEndian.AppendUint32(header, element)
	header = binary.BigEndian.AppendUint32(header, uint32(length))
	binary.BigEndian.AppendUint32(header, 1) // the first index
	return a.elements
}

// reset empties the array. The memory of one that was unusually large is not kept.
func (a *array) reset() {
	if a.null = false; cap(a.elements) > 2*maxCopyBytes {
		a.elements = nil
	}
	a.elements = a.elements[:0]
}
