package sqldb

import (
	"math/big"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// A source of rows may use the memory of one row again for the next, as long as a value has been encoded before the source is asked for
// more: pgx encodes at once. What is to be encoded later is copied first.

// ownMemory returns a value that stays what it is whatever becomes of the memory that v refers to. Of a value that cannot be copied, such as
// a map or a struct with pointers in it, it returns false.
func ownMemory(v any) (any, bool) {
	if v == nil {
		return nil, true
	}
	if n, ok := v.(pgtype.Numeric); ok {
		if n.Int != nil {
			n.Int = new(big.Int).Set(n.Int)
		}
		return n, true
	}
	own, ok := ownValue(reflect.ValueOf(v))
	if !ok {
		return v, false
	}
	return own.Interface(), true
}

func ownValue(v reflect.Value) (reflect.Value, bool) {
	switch t := v.Type(); t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v, true
		}
		elem, ok := ownValue(v.Elem())
		if !ok {
			return v, false
		}
		own := reflect.New(t.Elem())
		own.Elem().Set(elem)
		return own.Convert(t), true
	case reflect.Slice:
		if v.IsNil() || !isConstant(t.Elem()) {
			return v, v.IsNil()
		}
		own := reflect.MakeSlice(t, v.Len(), v.Len())
		reflect.Copy(own, v)
		return own, true
	default:
		return v, isConstant(t)
	}
}

// isConstant tells whether a value of a type refers to no memory that could be written to.
func isConstant(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16,
		reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	case reflect.Array:
		return isConstant(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return true // its location is never written to
		}
		for i := range t.NumField() {
			if !isConstant(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return false
}
