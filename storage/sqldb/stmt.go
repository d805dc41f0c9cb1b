package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// stmt is a prepared statement: its text, which is planned and gated anew each time for whoever executes it. The plan
// comes from the cache, and the engine keeps what the server prepared.
type stmt struct {
	conn *conn
	text string
}

// PrepareContext implements driver.ConnPrepareContext. It reads no data and so needs no tenant in ctx.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if _, err := c.db.plan(ctx, query, 1); err != nil {
		if _, terr := tenant.FromContext(ctx); terr == nil {
			return nil, c.refuse(ctx, err)
		}
		return nil, err
	}
	return &stmt{c, query}, nil
}

// Prepare implements driver.Conn.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (s *stmt) Close() error { return nil }

// NumInput lets the connection count the arguments itself.
func (s *stmt) NumInput() int { return -1 }

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.text, args)
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.text, args)
}

// CheckNamedValue implements driver.NamedValueChecker as the connection does.
func (s *stmt) CheckNamedValue(v *driver.NamedValue) error { return s.conn.CheckNamedValue(v) }

var errNoContext = errors.New("sqldb: use the call that takes a context: the tenant is in it")

func (s *stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, errNoContext }
func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, errNoContext }

// CheckNamedValue implements driver.NamedValueChecker: values become int64, float64, bool, []byte, string, time.Time
// or nil, through driver.Valuer where they have one. PostgreSQL takes slices of basic values as arrays too. A method of the application's that
// panics, or ends its goroutine, is an error to database/sql, which would not take the connection back; a [Pool] does.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if c.db.native || returns(v.Value) {
		return c.convert(v)
	}
	broke, err := apart.Call(func() error { return c.convert(v) })
	if broke != "" {
		return fmt.Errorf("sqldb: the method Value of parameter $%d of type %T %s", v.Ordinal, v.Value, broke)
	}
	return err
}

// returns tells values whose conversion calls no method of the application's.
func returns(v any) bool {
	switch v.(type) {
	case uuid.UUID, uuid.NullUUID, sql.NullString, sql.NullInt64, sql.NullInt32, sql.NullInt16, sql.NullByte, sql.NullFloat64, sql.NullBool, sql.NullTime:
		return true
	case driver.Valuer:
		return false
	}
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Pointer {
		return true
	}
	kind := t.Elem().Kind() // what it points to is converted in its place
	return kind != reflect.Pointer && kind != reflect.Interface
}

func (c *conn) convert(v *driver.NamedValue) error {
	if v.Name != "" {
		return fmt.Errorf("sqldb: named parameters are not supported; use $%d for the one at that place", v.Ordinal)
	}
	converted, err := driver.DefaultParameterConverter.ConvertValue(v.Value)
	if valuer, ok := converted.(driver.Valuer); ok && err == nil && !isBasic(converted) {
		// A type with the methods of a decimal comes back as it was, whatever other methods it has.
		converted, err = valuer.Value()
	}
	if err == nil && isBasic(converted) {
		v.Value = converted
		return nil
	}
	if _, valuer := v.Value.(driver.Valuer); !valuer && c.db.engine.dialect() == dialect.PostgreSQL {
		if list, ok := plainList(v.Value); ok {
			v.Value = list
			return nil
		}
	}
	return fmt.Errorf("sqldb: parameter $%d of type %T cannot be converted to a database value", v.Ordinal, v.Value)
}

// checkArgs has every argument converted. Database/sql has done so already; who calls the connection that (*sql.Conn).Raw
// hands out has not, and could pass what pgx takes for an option.
func (c *conn) checkArgs(plan *sqlplan.Plan, args []driver.NamedValue) error {
	if c.db.native {
		return c.checkNative(plan, args)
	}
	for i := range args {
		if isPlain(args[i].Value) && args[i].Name == "" {
			continue
		}
		if err := c.CheckNamedValue(&args[i]); err != nil {
			return err
		}
	}
	return nil
}

// isPlain tells whether a value is of a type that CheckNamedValue makes.
func isPlain(v driver.Value) bool {
	switch v.(type) {
	case []string, []bool, []int64, []float64, []time.Time, [][]byte, []*string, []*bool, []*int64, []*float64, []*time.Time:
		return true
	}
	return isBasic(v)
}

// isBasic is driver.IsValue without the decimals, which are of any type that has their methods.
func isBasic(v driver.Value) bool {
	switch v.(type) {
	case nil, int64, float64, bool, []byte, string, time.Time:
		return true
	}
	return false
}

// plainList returns a copy of a slice or array of basic values, for PostgreSQL's arrays, or of bytes. The copy has none of
// the original's methods and is of no type of pgx's: pgx takes some types of arguments for options, and one kind of them
// may even replace the statement.
func plainList(value any) (any, bool) {
	v := reflect.ValueOf(value)
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return nil, false
	}
	if v.Kind() == reflect.Slice && v.IsNil() {
		return nil, true
	}
	switch elem := v.Type().Elem(); {
	case elem.Kind() == reflect.Pointer:
		return plainPointers(v, elem.Elem())
	case elem.Kind() == reflect.Uint8:
		return plain(v, func(e reflect.Value) byte { return byte(e.Uint()) }), true
	case elem.Kind() == reflect.String:
		return plain(v, reflect.Value.String), true
	case elem.Kind() == reflect.Bool:
		return plain(v, reflect.Value.Bool), true
	case elem.Kind() >= reflect.Int && elem.Kind() <= reflect.Int64:
		return plain(v, reflect.Value.Int), true
	case elem.Kind() == reflect.Float32 || elem.Kind() == reflect.Float64:
		return plain(v, reflect.Value.Float), true
	case elem == reflect.TypeFor[time.Time]():
		return plain(v, func(e reflect.Value) time.Time { return e.Interface().(time.Time) }), true
	case elem == reflect.TypeFor[[]byte]():
		return plain(v, func(e reflect.Value) []byte { return bytes.Clone(e.Bytes()) }), true
	}
	return nil, false
}

// plainPointers is plainList for pointers, of which nil is NULL.
func plainPointers(v reflect.Value, elem reflect.Type) (any, bool) {
	switch {
	case elem.Kind() == reflect.String:
		return plain(v, pointer(reflect.Value.String)), true
	case elem.Kind() == reflect.Bool:
		return plain(v, pointer(reflect.Value.Bool)), true
	case elem.Kind() >= reflect.Int && elem.Kind() <= reflect.Int64:
		return plain(v, pointer(reflect.Value.Int)), true
	case elem.Kind() == reflect.Float32 || elem.Kind() == reflect.Float64:
		return plain(v, pointer(reflect.Value.Float)), true
	case elem == reflect.TypeFor[time.Time]():
		return plain(v, pointer(func(e reflect.Value) time.Time { return e.Interface().(time.Time) })), true
	}
	return nil, false
}

func pointer[T any](get func(reflect.Value) T) func(reflect.Value) *T {
	return func(v reflect.Value) *T {
		if v.IsNil() {
			return nil
		}
		value := get(v.Elem())
		return &value
	}
}

func plain[T any](v reflect.Value, get func(reflect.Value) T) []T {
	out := make([]T, v.Len())
	for i := range out {
		out[i] = get(v.Index(i))
	}
	return out
}
