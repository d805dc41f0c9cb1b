package sqldb

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// errOption is the answer to what pgx would take for an instruction and not for a value.
var errOption = errors.New("sqldb: query options of pgx (QueryExecMode, QueryResultFormats) and query rewriters other than pgx.NamedArgs and pgx.StrictNamedArgs are not supported; leave them out")

// nativeCall turns a call of pgx's form into a statement and its arguments. Names are replaced by places before anything is planned.
func nativeCall(ctx context.Context, query string, args []any) (string, []driver.NamedValue, error) {
	if len(args) > 0 {
		switch named := args[0].(type) {
		case pgx.NamedArgs, pgx.StrictNamedArgs:
			if len(args) > 1 {
				return "", nil, errors.New("sqldb: named arguments stand alone; put the others into the map")
			}
			var err error
			if query, args, err = named.(pgx.QueryRewriter).RewriteQuery(ctx, nil, query, args[1:]); err != nil {
				return "", nil, fmt.Errorf("sqldb: named arguments: %w", err)
			}
		}
	}
	values := make([]driver.NamedValue, len(args))
	for i, v := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return query, values, nil
}

// checkNative makes an argument the value that is checked, sealed or searched for, where the statement does one of these with it, so that what is
// checked is what is sent. All others are pgx's to encode, and of any type that it or the application has an encoding for.
func (c *conn) checkNative(plan *sqlplan.Plan, args []driver.NamedValue) error {
	for i := range args {
		switch args[i].Value.(type) {
		case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID, pgx.QueryRewriter:
			return errOption
		}
	}
	for _, p := range plan.Params {
		if p.Source == sqlplan.FromCaller && (p.Use != sqlplan.AsIs || isChecked(p)) {
			if err := c.basicArg(args, p.Caller, p.Nesting || c.sealsJSON(p)); err != nil {
				return err
			}
		}
	}
	for _, t := range plan.Tenants {
		if t.Caller > 0 {
			if err := c.basicArg(args, t.Caller, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *conn) sealsJSON(p sqlplan.Param) bool {
	return p.Column != "" && p.Use == sqlplan.Seal && c.db.schema[p.Table].Sealed[p.Column].logical == envelope.JSON
}

// basicArg converts the argument at a place, counted from 1, as database/sql would; and beyond that 16 bytes, which pgx takes for a
// UUID, and for JSON what encoding/json takes.
func (c *conn) basicArg(args []driver.NamedValue, place int, isJSON bool) error {
	if place > len(args) {
		return nil // the number is checked elsewhere
	}
	arg := &args[place-1]
	switch {
	case isJSON && isList(arg.Value):
		return jsonArg(arg)
	case isPlain(arg.Value):
		return nil
	}
	if id, ok := arg.Value.([16]byte); ok {
		arg.Value = uuid.UUID(id).String()
		return nil
	}
	err := c.CheckNamedValue(arg)
	if err != nil && isJSON {
		return jsonArg(arg)
	}
	return err
}

func jsonArg(arg *driver.NamedValue) error {
	text, err := json.Marshal(arg.Value)
	if err != nil { // which may hold the value
		return fmt.Errorf("sqldb: parameter $%d of type %T cannot be written as JSON", arg.Ordinal, arg.Value)
	}
	arg.Value = string(text)
	return nil
}

// isList tells a slice or an array of anything but bytes, which JSON has a form for.
func isList(value any) bool {
	if _, own := value.(driver.Valuer); own || value == nil {
		return false
	}
	t := reflect.TypeOf(value)
	return (t.Kind() == reflect.Slice && !reflect.ValueOf(value).IsNil() || t.Kind() == reflect.Array) && t.Elem().Kind() != reflect.Uint8
}
