package sqldb

import (
	"encoding/hex"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// literal turns a literal of the statement, such as ORMs write that bind nothing, into the Go value that it means for
// a sealed column, as PostgreSQL would read it for a column of that type. A spelling that depends on the session's
// settings, such as a time without its offset from UTC, is left for sealing to refuse, and so is what does not fit.
func (c Column) literal(v any) any {
	switch c.logical {
	case envelope.Bytes:
		return bytesLiteral(v)
	case envelope.Int:
		if s, ok := v.(string); ok {
			if i, err := strconv.ParseInt(s, 10, 64); err == nil {
				return i
			}
		}
	case envelope.Float:
		return floatLiteral(v)
	case envelope.Bool:
		if s, ok := v.(string); ok && (s == "true" || s == "false") {
			return s == "true"
		}
	case envelope.Time:
		if s, ok := v.(string); ok {
			if t, ok := timestamp(s); ok {
				return t
			}
		}
	case envelope.Date:
		// The day as it is written: PostgreSQL drops the time of day and its offset without converting.
		if s, ok := v.(string); ok {
			if _, ok := timestamp(s); ok {
				return s[:len(time.DateOnly)]
			}
		}
	}
	return v
}

// bytesLiteral reads bytea's hexadecimal form: https://www.postgresql.org/docs/current/datatype-binary.html
func bytesLiteral(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	digits, ok := strings.CutPrefix(s, `\x`)
	if !ok {
		return v // the escape form differs from the bytes it looks like
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return v
	}
	return b
}

// floatLiteral gives an integer, and a number of more digits than a float64 holds, the nearest float64.
func floatLiteral(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case string:
		switch v {
		case "NaN", "Infinity", "-Infinity":
		default:
			if _, ok := new(big.Float).SetString(v); !ok || strings.ContainsAny(v, "xXpP_iI") {
				return v
			}
		}
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	}
	return v
}

// timestamp reads a time that names its offset from UTC.
func timestamp(s string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999Z07:00:00", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07", time.RFC3339Nano} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
