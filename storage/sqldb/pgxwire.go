package sqldb

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// A [Pool] hands values out in the wire format, for pgx's types to decode as they do without a guard. A sealed column's value is
// opened and put in the wire format of its logical type, and its column is described as one of that type.

// wireRows is a cursor that has the values of its current row in the wire format.
type wireRows interface {
	// wire returns the current row's values, nil for NULL. They are good until the next call of next or close.
	wire() [][]byte
	fields() []pgconn.FieldDescription
}

// nativeCursor is a result set of PostgreSQL's whose values stay in the wire format: next fills in nothing.
type nativeCursor struct{ *pgCursor }

func (c *nativeCursor) next([]driver.Value) error         { return c.advance() }
func (c *nativeCursor) wire() [][]byte                    { return c.rows.RawValues() }
func (c *nativeCursor) fields() []pgconn.FieldDescription { return c.rows.FieldDescriptions() }

// bytesOnTheWire tells whether a column comes as bytea in binary form, as the ciphertexts of sealed columns do.
func bytesOnTheWire(f pgconn.FieldDescription) bool {
	return f.DataTypeOID == pgtype.ByteaOID && f.Format == pgtype.BinaryFormatCode
}

// keptWire is what keptRows has of a nativeCursor.
type keptWire struct {
	described []pgconn.FieldDescription
	rows      [][][]byte
	current   [][]byte
	room      wireRoom
}

// wireRoom is where values are that came in a connection's buffer. The buffer is used again for whatever comes next, on connections of
// other tenants too; the room never is, so that what an application keeps of a row for longer than pgx allows stays what it was.
type wireRoom struct {
	free []byte
	size int // of the piece of memory that free is the rest of
}

// maxRoom bounds how much memory one kept value holds on to.
const maxRoom = 16 << 10

// keep copies a value, of which nil is NULL.
func (r *wireRoom) keep(v []byte) []byte {
	if len(v) == 0 || len(v) > maxRoom/4 {
		return bytes.Clone(v)
	}
	if len(v) > len(r.free) {
		r.size = min(max(2*r.size, 4*len(v), 64), maxRoom)
		r.free = make([]byte, r.size)
	}
	kept := r.free[:len(v):len(v)]
	r.free = r.free[len(v):]
	copy(kept, v)
	return kept
}

// keepWire copies the current row of a nativeCursor, and tells whether cur is one.
func (k *keptRows) keepWire(cur cursor) bool {
	if k.native == nil {
		return false
	}
	row := slices.Clone(cur.(wireRows).wire())
	for i := range row {
		row[i] = k.native.room.keep(row[i])
	}
	k.native.rows = append(k.native.rows, row)
	return true
}

// keptNative is keptRows with values in the wire format.
type keptNative struct{ *keptRows }

func (k keptNative) next([]driver.Value) error {
	if len(k.native.rows) == 0 {
		return io.EOF
	}
	k.native.current, k.native.rows = k.native.rows[0], k.native.rows[1:]
	return nil
}

func (k keptNative) wire() [][]byte                    { return k.native.current }
func (k keptNative) fields() []pgconn.FieldDescription { return k.native.described }

// logicalOIDs are the types that opened values have for pgx.
var logicalOIDs = map[envelope.Logical]uint32{
	envelope.Text: pgtype.TextOID, envelope.Bytes: pgtype.ByteaOID, envelope.Int: pgtype.Int8OID, envelope.Float: pgtype.Float8OID,
	envelope.Bool: pgtype.BoolOID, envelope.Time: pgtype.TimestamptzOID, envelope.Date: pgtype.DateOID, envelope.Numeric: pgtype.NumericOID,
	envelope.JSON: pgtype.JSONOID, envelope.UUID: pgtype.UUIDOID,
}

// openedField describes a sealed column as one of its logical type.
func openedField(f pgconn.FieldDescription, logical envelope.Logical) pgconn.FieldDescription {
	f.DataTypeOID, f.DataTypeSize, f.TypeModifier, f.Format = logicalOIDs[logical], -1, -1, pgtype.TextFormatCode
	switch logical {
	case envelope.Bytes, envelope.Int, envelope.Float, envelope.Bool:
		f.Format = pgtype.BinaryFormatCode
	}
	return f
}

// timeText is how PostgreSQL writes an instant in UTC. The nanoseconds of an opened one are in it, which the binary form has no place for.
const timeText = "2006-01-02 15:04:05.999999999-07"

// wireValue puts an opened value in the format that openedField says.
func wireValue(logical envelope.Logical, v driver.Value) ([]byte, error) {
	switch v := v.(type) {
	case string: // text, and the canonical texts of numbers and UUIDs
		return []byte(v), nil
	case []byte:
		return v, nil
	case int64:
		return binary.BigEndian.AppendUint64(nil, uint64(v)), nil
	case float64:
		return binary.BigEndian.AppendUint64(nil, math.Float64bits(v)), nil
	case bool:
		if v {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	case time.Time:
		layout := timeText
		if logical == envelope.Date {
			layout = time.DateOnly
		}
		return v.UTC().AppendFormat(nil, layout), nil // years are 1 to 9999 in what is sealed
	}
	return nil, fmt.Errorf("sqldb: an opened value of type %T has no wire format", v)
}
