package sqldb

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// indexArray returns the index values of an array's elements under every live index key. NULL elements stay NULL.
func (c Column) indexArray(pass *gate.Pass, p sqlplan.Param, v driver.Value) (driver.Value, error) {
	elements, err := c.elements(v)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, 0, len(elements))
	for _, e := range elements {
		if e == nil {
			out = append(out, nil)
			continue
		}
		for version := range pass.Keys().IndexKeyIDs() {
			p.IndexVersion = version
			index, err := c.blindIndex(pass, p, e)
			if err != nil {
				return nil, err
			}
			out = append(out, index.([]byte))
		}
	}
	return out, nil
}

// elements takes an array apart: a Go slice, or PostgreSQL's text form, which pq.Array writes.
func (c Column) elements(v driver.Value) ([]driver.Value, error) {
	if text, ok := v.(string); ok {
		var items []*string
		if err := pgtype.NewMap().Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, []byte(text), &items); err != nil {
			return nil, errors.New("the text is no PostgreSQL array") // err would show it
		}
		elements := make([]driver.Value, len(items))
		for i, item := range items {
			if item != nil {
				elements[i] = c.literal(*item)
			}
		}
		return elements, nil
	}
	r := reflect.ValueOf(v)
	if _, isBytes := v.([]byte); isBytes || r.Kind() != reflect.Slice {
		return nil, fmt.Errorf("an array must be a slice or PostgreSQL's text form of one, not a %T", v)
	}
	elements := make([]driver.Value, r.Len())
	for i := range elements {
		var err error
		if elements[i], err = driver.DefaultParameterConverter.ConvertValue(r.Index(i).Interface()); err != nil {
			return nil, fmt.Errorf("an element of the array, of type %s, cannot be converted to a database value", r.Type().Elem())
		}
	}
	return elements, nil
}
