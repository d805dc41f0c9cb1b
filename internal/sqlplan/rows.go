package sqlplan

import (
	"context"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// NewRows plans an INSERT of one row of parameters as one of many rows: each parameter that is the caller's becomes an array with a value
// for each row ([Param.Element]), and VALUES a SELECT that unnests them side by side. The text does not depend on how many
// rows there are, and it costs PostgreSQL half of what VALUES of as many rows does, which parses and plans every value. All else of
// the plan is that of the one row, and so is what the trail says of it.
//
// A statement of any other form, or one that writes a column whose type is not among those of [arrayTypes], is refused: it can be sent as
// it is.
func NewRows(ctx context.Context, sql string, cat *Catalog) (*Plan, error) {
	return newPlan(ctx, sql, cat, true)
}

// arrayTypes are the types of which arrays are sent, as the catalog describes them and as pg_catalog names them. An element of an array
// has the binary form that the value has by itself. Others are not: domains, whose constraints are the column's to
// check, types of the application's, of which a client may not know how an array is encoded, and arrays, which unnest would take
// apart.
var arrayTypes = map[string]string{
	"boolean": "bool", "smallint": "int2", "integer": "int4", "bigint": "int8", "real": "float4", "double precision": "float8", "numeric": "numeric",
	"text": "text", "character varying": "varchar", "character": "bpchar", "bytea": "bytea", "uuid": "uuid", "json": "json", "jsonb": "jsonb",
	"date": "date", "time without time zone": "time", "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
	"interval": "interval",
}

// manyRows makes SELECT unnest(…), unnest(…) of the one row of VALUES that an INSERT into t has. All arrays have the same length, and
// so many rows come out, in their order: in a list of results such functions run side by side since PostgreSQL 10. In FROM they
// would each be stored first.
func (p *planner) manyRows(s *pg.InsertStmt, t *Table) {
	rows := s.SelectStmt.GetSelectStmt().GetValuesLists()
	if p.lite || len(rows) != 1 || s.WithClause != nil || s.OnConflictClause != nil || len(s.ReturningList) > 0 || s.SelectStmt.GetSelectStmt().WithClause != nil {
		p.notRows("")
	}
	sel := newSelect()
	p.mark(sel)
	var seen []int32
	for i, value := range rows[0].GetList().GetItems() {
		c, ref := t.column(s.Cols[i].GetResTarget().Name), value.GetParamRef()
		if c == nil || ref == nil || slices.Contains(seen, ref.Number) {
			p.notRows(t.Name)
		}
		seen = append(seen, ref.Number)
		param := &p.params[ref.Number-1]
		if param.Source == FromTenant {
			sel.TargetList = append(sel.TargetList, target("", value))
			continue
		}
		name, ok := arrayTypes[c.Type]
		if !ok || c.Enum || param.Source != FromCaller {
			p.notRows(t.Name + "." + c.Name)
		}
		param.Element = name
		array := p.castTo(value, "_"+name) // the array's own name: that of some elements is written as a type with a length, char as char(1)
		sel.TargetList = append(sel.TargetList, target("", p.builtinCall("unnest", array)))
	}
	if len(seen) < 2 { // no values but the tenant's, and nothing that says how many rows there are
		p.notRows(t.Name)
	}
	s.SelectStmt = selectNode(sel)
}

func (p *planner) notRows(construct string) {
	refuse("INSERT that is not one row of parameters for columns of built-in types", construct, -1, "send it as it is")
}
