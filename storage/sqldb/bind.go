package sqldb

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// bind makes the database's parameters out of the caller's.
func (d *database) bind(pass *gate.Pass, plan *sqlplan.Plan, args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(plan.Params))
	for i, p := range plan.Params {
		v, err := d.param(pass, p, args)
		if err != nil {
			return nil, fmt.Errorf("sqldb: parameter %s: %w", describe(p), err)
		}
		values[i] = v
	}
	return values, nil
}

func describe(p sqlplan.Param) string {
	where := ""
	if p.Column != "" {
		where = " for " + p.Table + "." + p.Column
	}
	if p.Source == sqlplan.FromCaller {
		return fmt.Sprintf("$%d%s", p.Caller, where)
	}
	return "of the statement" + where
}

func (d *database) param(pass *gate.Pass, p sqlplan.Param, args []driver.NamedValue) (driver.Value, error) {
	var v driver.Value
	switch p.Source {
	case sqlplan.FromTenant:
		id, err := canonicalTenant(pass.Tenant().String(), p.TenantType)
		if number, ok := id.(int64); ok && d.native {
			// A text goes past the types of a connection, which an application can reach and replace at any time.
			return strconv.FormatInt(number, 10), err
		}
		return id, err
	case sqlplan.FromCaller:
		if p.Caller < 1 || p.Caller > len(args) {
			return nil, errors.New("the plan asks for a parameter that was not given")
		}
		v = args[p.Caller-1].Value
	case sqlplan.FromConst:
		v = p.Const
	default:
		return nil, errors.New("the plan has a parameter of an unknown source")
	}
	switch p.Use {
	case sqlplan.AsIs:
		if b, ok := v.([]byte); ok && isChecked(p) {
			v = bytes.Clone(b) // what is checked is sent, whoever writes to the caller's memory meanwhile
		}
		return v, check(p, v)
	case sqlplan.Seal, sqlplan.Index:
	default:
		return nil, errors.New("the plan has a parameter of an unknown use")
	}
	if v == nil {
		return nil, nil
	}
	column, ok := d.schema[p.Table].Sealed[p.Column]
	if !ok {
		return nil, errors.New("the plan seals a column that is not declared as sealed")
	}
	if p.Source == sqlplan.FromConst && !p.Array {
		v = column.literal(v)
	}
	p.Table = d.bound[p.Table]
	if p.Use == sqlplan.Seal {
		return envelope.SealField(pass.Keys().Data(), pass.Tenant(), p.Table, p.Column, column.logical, v)
	}
	if p.Array {
		return column.indexArray(pass, p, v)
	}
	return column.blindIndex(pass, p, v)
}

// isChecked tells whether a statement is sent with a value only if check admits it.
func isChecked(p sqlplan.Param) bool { return p.Pattern || p.Head || p.Count || p.Nesting || p.Query }

// check refuses what the database would refuse only once some row's value, whoever's, asked for it.
func check(p sqlplan.Param, v driver.Value) error {
	if v == nil {
		return nil
	}
	if p.Pattern || p.Head {
		if err := checkPattern(v, p.Pattern); err != nil {
			return err
		}
	}
	if p.Count {
		if err := checkCount(v); err != nil {
			return err
		}
	}
	text, isText := textOf(v)
	switch {
	case !isText:
		return nil // the database takes no other value for JSON or a query, or converts it to a short one
	case p.Nesting && sqlplan.Depth(text) > sqlplan.MaxNesting:
		return fmt.Errorf("JSON in a search is nested at most %d deep", sqlplan.MaxNesting)
	case p.Query && !sqlplan.ShortWords(text):
		return fmt.Errorf("a search query has at most %d bytes, and words of at most %d", sqlplan.MaxQuery, sqlplan.MaxWord)
	}
	return nil
}

func textOf(v driver.Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

func checkPattern(v driver.Value, tail bool) error {
	text, isText := textOf(v)
	switch {
	case !isText:
		return fmt.Errorf("a LIKE pattern must be a string, not a %T", v)
	case len(text) > sqlplan.MaxPattern:
		return fmt.Errorf("a LIKE pattern has at most %d bytes", sqlplan.MaxPattern)
	case tail && sqlplan.LoneEscape(text):
		return errors.New(`the LIKE pattern ends in a lone backslash; double it`)
	}
	return nil
}

// checkCount admits what LIMIT and OFFSET take.
func checkCount(v driver.Value) error {
	n := int64(-1)
	switch v := v.(type) {
	case int64:
		n = v
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			n = int64(v)
		}
	case string:
		if i, err := strconv.ParseInt(v, 10, 64); err == nil {
			n = i
		}
	}
	if n < 0 {
		return errors.New("a number of rows for LIMIT or OFFSET, or a length for substr, must be an integer that is not below zero")
	}
	return nil
}

// blindIndex returns the index value of v under the index key that p names, in the table that p gives as it is bound.
func (c Column) blindIndex(pass *gate.Pass, p sqlplan.Param, v driver.Value) (driver.Value, error) {
	if !c.searchable {
		return nil, errors.New("the plan searches a column that is not declared as searchable")
	}
	var room [128]byte
	canonical, err := c.canonical(room[:0], v)
	if err != nil {
		return nil, err
	}
	ids := pass.Keys().IndexKeyIDs()
	if len(ids) == 0 {
		return nil, errors.New("the tenant has no index key")
	}
	// A plan made for more versions than the tenant has tries some of them twice.
	id := ids[min(p.IndexVersion, len(ids)-1)]
	return envelope.BlindIndex(pass.Keys().Index(), id, pass.Tenant(), p.Table, p.Column, canonical)
}

// canonical appends to dst what the index of v is computed of: the encoded value, of texts that of the normalised one.
func (c Column) canonical(dst []byte, v driver.Value) ([]byte, error) {
	out, err := envelope.AppendValue(dst, c.logical, v)
	if err != nil || c.logical != envelope.Text {
		return out, err
	}
	text, ok := v.(string)
	if !ok {
		text = string(out[len(dst)+1:])
	}
	if normal := c.normalise(text); normal != text {
		return envelope.AppendValue(dst, c.logical, normal)
	}
	return out, nil
}
