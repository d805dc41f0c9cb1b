package sqldb

import (
	"reflect"
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// Column declares a sealed column: what its values are, and whether they can be searched for.
type Column struct {
	logical    envelope.Logical
	searchable bool
	index      string
	fold       bool
	trim       bool
	compat     bool
}

// Text is a column of strings, which must be valid UTF-8. Values are read back as string.
func Text() Column { return Column{logical: envelope.Text} }

// Bytes is a column of byte strings. Values are read back as []byte.
func Bytes() Column { return Column{logical: envelope.Bytes} }

// Int is a column of 64-bit integers. Values are read back as int64.
func Int() Column { return Column{logical: envelope.Int} }

// Float is a column of 64-bit floating-point numbers. Values are read back as float64.
func Float() Column { return Column{logical: envelope.Float} }

// Bool is a column of truth values. Values are read back as bool.
func Bool() Column { return Column{logical: envelope.Bool} }

// Time is a column of instants, kept to the nanosecond. Values are read back as time.Time in UTC.
func Time() Column { return Column{logical: envelope.Time} }

// Date is a column of calendar days. Values are read back as time.Time at midnight UTC; strings have the form 2006-01-02.
func Date() Column { return Column{logical: envelope.Date} }

// Numeric is a column of decimal numbers of any precision. Values are read back as string.
func Numeric() Column { return Column{logical: envelope.Numeric} }

// JSON is a column of JSON texts. Values are read back as []byte.
func JSON() Column { return Column{logical: envelope.JSON} }

// UUID is a column of UUIDs. Values are read back as string in the lower-case form.
func UUID() Column { return Column{logical: envelope.UUID} }

// Searchable returns the column with a blind index in the column named index, so that it can be compared for equality.
// A blind index shows which rows of one tenant hold the same value, and nothing across tenants or columns.
func (c Column) Searchable(index string) Column {
	c.searchable, c.index = true, index
	return c
}

// FoldCase makes searches in a text column ignore case, by Unicode's full case folding.
func (c Column) FoldCase() Column { c.fold = true; return c }

// TrimSpace makes searches in a text column ignore white space at both ends.
func (c Column) TrimSpace() Column { c.trim = true; return c }

// Compatible makes searches in a text column ignore compatibility differences, such as between full-width and ordinary
// letters (Unicode normalisation form KC). Canonical differences (form C) are always ignored.
func (c Column) Compatible() Column { c.compat = true; return c }

// normalise returns the text that a blind index is made of. The stored value stays as it is.
func (c Column) normalise(s string) string {
	if c.trim {
		s = strings.TrimSpace(s)
	}
	form := norm.NFC
	if c.compat {
		form = norm.NFKC
	}
	s = form.String(s)
	if c.fold {
		// Folding can leave what is no longer in the form.
		s = form.String(cases.Fold().String(s))
	}
	return s
}

// typeNames are what ColumnTypes reports for sealed columns, by PostgreSQL's names.
var typeNames = map[envelope.Logical]string{
	envelope.Text: "TEXT", envelope.Bytes: "BYTEA", envelope.Int: "INT8", envelope.Float: "FLOAT8", envelope.Bool: "BOOL",
	envelope.Time: "TIMESTAMPTZ", envelope.Date: "DATE", envelope.Numeric: "NUMERIC", envelope.JSON: "JSON", envelope.UUID: "UUID",
}

var scanTypes = map[envelope.Logical]reflect.Type{
	envelope.Text: reflect.TypeFor[string](), envelope.Bytes: reflect.TypeFor[[]byte](), envelope.Int: reflect.TypeFor[int64](),
	envelope.Float: reflect.TypeFor[float64](), envelope.Bool: reflect.TypeFor[bool](), envelope.Time: reflect.TypeFor[time.Time](),
	envelope.Date: reflect.TypeFor[time.Time](), envelope.Numeric: reflect.TypeFor[string](), envelope.JSON: reflect.TypeFor[[]byte](),
	envelope.UUID: reflect.TypeFor[string](),
}
