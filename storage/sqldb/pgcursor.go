package sqldb

import (
	"bytes"
	"database/sql/driver"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/tenant"
)

// pgCursor is a result set of PostgreSQL's.
type pgCursor struct {
	session *pgSession
	rows    pgx.Rows
	pending *pendingBatch
	decode  []decoder
	// The first row is fetched ahead: errors of execution belong to the query, and columns are known from then on.
	ahead, more bool
	closed      bool
}

// pendingBatch is the batch that set the session's tenant and ran the query.
type pendingBatch struct {
	results pgx.BatchResults
	id      tenant.ID
}

func newPgCursor(s *pgSession, rows pgx.Rows, pending *pendingBatch) (cursor, error) {
	c := &pgCursor{session: s, rows: rows, pending: pending}
	s.reading = true
	c.ahead, c.more = true, rows.Next()
	if err := rows.Err(); err != nil {
		c.close()
		return nil, s.badConn(err)
	}
	if s.native {
		return &nativeCursor{c}, nil
	}
	fields := rows.FieldDescriptions()
	c.decode = make([]decoder, len(fields))
	for i, f := range fields {
		c.decode[i] = newDecoder(s.conn.TypeMap(), f.DataTypeOID, f.Format)
	}
	return c, nil
}

func (c *pgCursor) columns() []string {
	fields := c.rows.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

func (c *pgCursor) origin(i int) (table, column string, known bool) {
	f := c.rows.FieldDescriptions()[i]
	if f.TableOID == 0 {
		return "", "", true
	}
	name, ok := c.session.origins.columns[pgOrigin{f.TableOID, f.TableAttributeNumber}]
	if !ok {
		table, seen := c.session.origins.tables[f.TableOID]
		if !seen {
			table = madeSince
		}
		return table, madeSince, true
	}
	return name.table, name.column, true
}

func (c *pgCursor) databaseType(i int) string {
	oid := c.rows.FieldDescriptions()[i].DataTypeOID
	if t, ok := c.session.conn.TypeMap().TypeForOID(oid); ok {
		return strings.ToUpper(t.Name)
	}
	return strconv.FormatUint(uint64(oid), 10)
}

// advance goes to the next row, or returns io.EOF.
func (c *pgCursor) advance() error {
	if c.closed {
		return errClosed
	}
	more := c.more
	if c.ahead {
		c.ahead = false
	} else {
		more = c.rows.Next()
	}
	if !more {
		if err := c.rows.Err(); err != nil {
			return c.session.lost(err)
		}
		return io.EOF
	}
	return nil
}

func (c *pgCursor) next(dest []driver.Value) error {
	if err := c.advance(); err != nil {
		return err
	}
	for i, raw := range c.rows.RawValues() {
		if raw == nil {
			dest[i] = nil
			continue
		}
		value, err := c.decode[i].decode(c.session.conn.TypeMap(), raw)
		if err != nil {
			return fmt.Errorf("sqldb: result column %d could not be decoded as %s", i+1, c.databaseType(i))
		}
		dest[i] = value
	}
	return nil
}

func (c *pgCursor) close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	c.session.reading = false
	c.rows.Close()
	err := c.rows.Err()
	c.session.tag = c.rows.CommandTag()
	if c.pending != nil {
		if cerr := c.pending.results.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			c.session.remember(c.pending.id)
		}
	}
	return c.session.lost(err)
}

// binaryTypes are what pgx's database/sql driver asks for in binary form; all others it takes as the server's text.
var binaryTypes = []uint32{
	pgtype.BoolOID, pgtype.ByteaOID, pgtype.CIDOID, pgtype.DateOID, pgtype.Float4OID, pgtype.Float8OID, pgtype.Int2OID, pgtype.Int4OID,
	pgtype.Int8OID, pgtype.OIDOID, pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.XIDOID,
}

// lastBuiltin is past the OIDs of PostgreSQL's own types that pgx knows.
const lastBuiltin = 10000

// likeDatabaseSQL has values come as they do from pgx's own database/sql driver: the binary form of an array is no value
// that an application could use, and that of a numeric is decoded without the digits that are zero. A batch has no
// setting for it, so it is made in the types.
func likeDatabaseSQL(m *pgtype.Map) {
	for oid := range uint32(lastBuiltin) {
		if t, ok := m.TypeForOID(oid); ok && !slices.Contains(binaryTypes, oid) && t.Codec.PreferredFormat() != pgtype.TextFormatCode {
			m.RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: textCodec{t.Codec}})
		}
	}
}

type textCodec struct{ pgtype.Codec }

func (textCodec) PreferredFormat() int16 { return pgtype.TextFormatCode }

// decoder is how a column's wire format becomes a driver.Value, copied from the connection's buffer.
type decoder struct {
	form   byte // 't' text, 'b' bytes, 0 what typ makes of it
	typ    *pgtype.Type
	oid    uint32
	format int16
}

func newDecoder(m *pgtype.Map, oid uint32, format int16) decoder {
	switch {
	case oid == pgtype.ByteaOID && format == pgtype.BinaryFormatCode:
		return decoder{form: 'b'}
	case oid == pgtype.TextOID, oid == pgtype.VarcharOID, oid == pgtype.BPCharOID, oid == pgtype.NameOID:
		return decoder{form: 't'}
	}
	if t, ok := m.TypeForOID(oid); ok {
		return decoder{typ: t, oid: oid, format: format}
	}
	if format == pgtype.TextFormatCode {
		return decoder{form: 't'}
	}
	return decoder{form: 'b'}
}

func (d *decoder) decode(m *pgtype.Map, src []byte) (driver.Value, error) {
	switch d.form {
	case 't':
		return string(src), nil
	case 'b':
		return bytes.Clone(src), nil
	}
	v, err := d.typ.Codec.DecodeDatabaseSQLValue(m, d.oid, d.format, src)
	if b, isBytes := v.([]byte); isBytes {
		v = bytes.Clone(b)
	}
	return v, err
}
