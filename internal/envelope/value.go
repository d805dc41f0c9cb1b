package envelope

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// Logical is the type of a sealed column's values: what the application declared, and the first byte of each
// plaintext. Equal values of a type have equal encodings, but for JSON.
type Logical byte

// The logical types. Each comment gives what follows the type byte, and the Go type that [ParseValue] returns.
const (
	Text    Logical = 1  // valid UTF-8; string
	Bytes   Logical = 2  // the bytes; []byte
	Int     Logical = 3  // big-endian two's complement in 8 bytes; int64
	Float   Logical = 4  // big-endian IEEE 754 binary64, -0 as 0, NaN as 0x7ff8000000000000; float64
	Bool    Logical = 5  // 0 or 1; bool
	Time    Logical = 6  // seconds since 1970 (8 bytes, big-endian, two's complement), nanoseconds (4); time.Time in UTC
	Date    Logical = 7  // days since 1970-01-01 (4 bytes, big-endian, two's complement); time.Time, midnight UTC
	Numeric Logical = 8  // shortest decimal notation without exponent; string
	JSON    Logical = 9  // valid JSON text, as it was given; []byte
	UUID    Logical = 10 // 16 bytes; string of 36 lower-case characters
)

var logicalNames = [...]string{Text: "text", Bytes: "bytes", Int: "int", Float: "float", Bool: "bool", Time: "time", Date: "date", Numeric: "numeric", JSON: "json", UUID: "uuid"}

// String returns the type's name, or its number where it has none.
func (l Logical) String() string {
	if l >= Text && l <= UUID {
		return logicalNames[l]
	}
	return fmt.Sprintf("logical type %d", byte(l))
}

// ErrValue is wrapped by every error about a Go value that does not fit its column's logical type. Such errors name
// Go types and never repeat the value.
var ErrValue = errors.New("the value does not fit the column's type")

// MaxValueSize is the longest encoded value, in bytes: 1 GiB less a little, what PostgreSQL stores in one field.
const MaxValueSize = 1<<30 - 1<<10

// AppendValue appends the type byte and the encoding of v, which must be a type that fits: string for text, numeric,
// JSON, UUID, date ("2006-01-02") and time (RFC 3339); []byte for bytes, text, JSON, and UUID (16 bytes); integers for
// int, numeric and, as 0 or 1, bool; float64 or float32 for float and numeric; bool for bool; time.Time for time and
// date; [16]byte for UUID. Types defined from these and driver.Valuer are for the caller to resolve. The error
// wraps [ErrValue].
func AppendValue(dst []byte, l Logical, v any) ([]byte, error) {
	start := len(dst)
	out, err := appendBody(append(dst, byte(l)), l, v)
	if err == nil && len(out)-start > MaxValueSize {
		err = fmt.Errorf("it has more than %d bytes", MaxValueSize)
	}
	if err != nil {
		return dst, fmt.Errorf("%w: a %T as %s: %w", ErrValue, v, l, err)
	}
	return out, nil
}

var errKind = errors.New("this Go type is not accepted")

func appendBody(dst []byte, l Logical, v any) ([]byte, error) {
	switch l {
	case Text:
		return appendText(dst, v)
	case Bytes:
		if b, ok := v.([]byte); ok {
			return append(dst, b...), nil
		}
	case Int:
		if i, ok, err := integer(v); ok || err != nil {
			return binary.BigEndian.AppendUint64(dst, uint64(i)), err
		}
	case Float:
		if f, ok := float(v); ok {
			return binary.BigEndian.AppendUint64(dst, floatBits(f)), nil
		}
	case Bool:
		return appendBool(dst, v)
	case Time:
		return appendTime(dst, v)
	case Date:
		return appendDate(dst, v)
	case Numeric:
		return appendNumeric(dst, v)
	case JSON:
		return appendJSON(dst, v)
	case UUID:
		return appendUUID(dst, v)
	default:
		return nil, errors.New("no such logical type")
	}
	return nil, errKind
}

// ParseValue returns the value that b encodes, as database/sql would give it. Strings and byte slices may share memory
// with b, which must not change afterwards. It accepts exactly what [AppendValue] writes for that type: the type byte
// is l, and the encoding is the canonical one. The error wraps [ErrMalformed].
func ParseValue(l Logical, b []byte) (any, error) {
	if len(b) == 0 || Logical(b[0]) != l {
		return nil, fmt.Errorf("%w: a value that is not of the type %s", ErrMalformed, l)
	}
	v, ok := parseBody(l, b[1:])
	if !ok {
		return nil, fmt.Errorf("%w: a value that is no canonical %s", ErrMalformed, l)
	}
	return v, nil
}

func parseBody(l Logical, b []byte) (any, bool) {
	switch l {
	case Text:
		return stringOf(b), utf8.Valid(b)
	case Bytes:
		return b, true
	case Int:
		if len(b) == 8 {
			return int64(binary.BigEndian.Uint64(b)), true
		}
	case Float:
		if len(b) == 8 {
			bits := binary.BigEndian.Uint64(b)
			f := math.Float64frombits(bits)
			return f, floatBits(f) == bits
		}
	case Bool:
		if len(b) == 1 {
			return b[0] == 1, b[0] <= 1
		}
	case Time:
		return parseTime(b)
	case Date:
		return parseDate(b)
	case Numeric:
		s := stringOf(b)
		canonical, err := canonicalNumeric(nil, s)
		return s, err == nil && string(canonical) == s
	case JSON:
		return b, json.Valid(b)
	case UUID:
		return parseUUID(b)
	}
	return nil, false
}

// BodySize returns how many bytes the encoding of a type's values has behind the type byte: that many, or that many at least.
func BodySize(l Logical) (size int, exact bool) {
	switch l {
	case Int, Float:
		return 8, true
	case Bool:
		return 1, true
	case Time:
		return 12, true
	case Date:
		return 4, true
	case UUID:
		return 16, true
	case Numeric, JSON:
		return 1, false // no number and no JSON text is empty
	}
	return 0, false
}

// floatBits returns the one encoding of f.
func floatBits(f float64) uint64 {
	switch {
	case f == 0:
		return 0
	case f != f:
		return 0x7ff8000000000000
	}
	return math.Float64bits(f)
}

const (
	secondsPerDay = 24 * 60 * 60
	// The years 1 to 9999, which every date notation and database agrees on.
	minSecond = -62135596800
	maxSecond = 253402300799
)

func appendTime(dst []byte, v any) ([]byte, error) {
	t, ok := v.(time.Time)
	if s, isText := v.(string); isText {
		var err error
		if t, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return nil, errors.New("it is no RFC 3339 time")
		}
		ok = true
	}
	if !ok {
		return nil, errKind
	}
	s := t.Unix()
	if s < minSecond || s > maxSecond {
		return nil, errors.New("it is outside the years 1 to 9999")
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(dst, uint64(s)), uint32(t.Nanosecond())), nil
}

func parseTime(b []byte) (any, bool) {
	if len(b) != 12 {
		return nil, false
	}
	s, ns := int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])
	return time.Unix(s, int64(ns)).UTC(), s >= minSecond && s <= maxSecond && ns < 1e9
}

// appendDate takes the day that t shows in its own location.
func appendDate(dst []byte, v any) ([]byte, error) {
	t, ok := v.(time.Time)
	if s, isText := v.(string); isText {
		var err error
		if t, err = time.Parse(time.DateOnly, s); err != nil {
			return nil, errors.New("it is no date of the form 2006-01-02")
		}
		ok = true
	}
	if !ok {
		return nil, errKind
	}
	year, month, day := t.Date()
	s := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()
	if s < minSecond || s > maxSecond {
		return nil, errors.New("it is outside the years 1 to 9999")
	}
	return binary.BigEndian.AppendUint32(dst, uint32(int32(s/secondsPerDay))), nil
}

func parseDate(b []byte) (any, bool) {
	if len(b) != 4 {
		return nil, false
	}
	s := int64(int32(binary.BigEndian.Uint32(b))) * secondsPerDay
	return time.Unix(s, 0).UTC(), s >= minSecond && s <= maxSecond
}
