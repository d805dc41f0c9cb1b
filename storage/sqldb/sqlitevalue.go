package sqldb

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// storageOf are the storage classes in which SQLite has plaintexts of each type.
var storageOf = map[envelope.Logical]string{
	envelope.Text: "'text'", envelope.Bytes: "'blob'", envelope.Int: "'integer'", envelope.Float: "'real', 'integer'", envelope.Bool: "'integer'",
	envelope.Time: "'text'", envelope.Date: "'text'", envelope.Numeric: "'text', 'integer', 'real'", envelope.JSON: "'text'", envelope.UUID: "'text'",
}

// sqliteTimes are the forms in which times are written to SQLite, which has no type for them: by its own functions, by
// drivers of Go's, and by RFC 3339.
var sqliteTimes = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999 -0700 MST", "2006-01-02 15:04", time.DateOnly}

var errSQLiteTime = errors.New("it is no time in a form that SQLite's functions, drivers or RFC 3339 write")

func parseSQLiteTime(s string) (time.Time, error) {
	s, _, _ = strings.Cut(s, " m=") // what Go's clock adds
	for _, form := range sqliteTimes {
		if t, err := time.ParseInLocation(form, s, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errSQLiteTime
}

// sqlitePlain is a plaintext that a SQLite column holds, as the envelope takes it.
func sqlitePlain(l envelope.Logical, v any) (any, error) {
	switch v := v.(type) {
	case int64:
		switch {
		case l == envelope.Float && !exactFloat(v):
			return nil, fmt.Errorf("%w: a whole number of that size has no exact floating-point form; declare the column as Int", envelope.ErrValue)
		case l == envelope.Float:
			return float64(v), nil
		case l == envelope.Numeric:
			return strconv.FormatInt(v, 10), nil
		case l == envelope.Bool && v == 0 || l == envelope.Bool && v == 1:
			return v == 1, nil
		case l == envelope.Bool:
			return nil, fmt.Errorf("%w: a truth value is 0 or 1", envelope.ErrValue)
		}
	case float64:
		if l == envelope.Numeric {
			return strconv.FormatFloat(v, 'f', -1, 64), nil
		}
	case string:
		if l != envelope.Time && l != envelope.Date {
			break
		}
		t, err := parseSQLiteTime(v)
		if err == nil && l == envelope.Date && t.Hour()+t.Minute()+t.Second()+t.Nanosecond() > 0 {
			err = errors.New("it is a time, and no day")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", envelope.ErrValue, err)
		}
		return t, nil
	}
	return v, nil
}

// exactFloat tells whether a floating-point number is the same as a whole one.
func exactFloat(v int64) bool {
	f := float64(v)
	return f < 1<<63 && int64(f) == v
}

// sqliteStored is a value as a column of plaintexts is given it.
func sqliteStored(l envelope.Logical, v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case time.Time:
		if l == envelope.Date {
			return v.Format(time.DateOnly)
		}
		return v.UTC().Format("2006-01-02 15:04:05.999999999Z07:00")
	case []byte:
		if l == envelope.JSON {
			return string(v)
		}
	}
	return v
}
