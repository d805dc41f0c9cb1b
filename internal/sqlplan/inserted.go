package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// inserted is what an INSERT, or that of a MERGE, writes: the columns that the statement names without the tenant's, which
// the plan writes itself. A value that the statement gives for the tenant column must be the tenant: a parameter or a
// literal is compared when the statement runs, and the tenant column of a row that was read through a plan is right.
type inserted struct {
	p       *planner
	table   *Table
	columns []*Column
	// tenantAt is where the statement has the tenant column among its own, or -1.
	tenantAt int
	named    map[string]bool
}

// insertTargets returns what a list of columns names.
func (p *planner) insertTargets(t *Table, items []*pg.Node) *inserted {
	p.fires(t)
	into := &inserted{p: p, table: t, tenantAt: -1, named: map[string]bool{}}
	for i, n := range items {
		res := n.GetResTarget()
		if c := p.columnNamed(t, res.Name); c != nil && c.Name == t.TenantColumn {
			if into.tenantAt >= 0 {
				refuse("column named twice", t.Name+"."+c.Name, res.Location, "set each column once")
			}
			into.tenantAt = i
			continue
		}
		into.columns = append(into.columns, p.writable(t, res.Name, res.Location, into.named))
	}
	into.defaults()
	return into
}

// defaults refuses what the database would store in the clear.
func (into *inserted) defaults() {
	for _, c := range into.table.Columns {
		if c.Sealed && c.HasDefault && !into.named[c.Name] {
			refuse("default of a sealed column", into.table.Name+"."+c.Name, -1, "name the column and bind its value; remove the default from the table")
		}
	}
}

// all names every column, with or without the tenant's, for a statement that names none and gives that many values.
func (into *inserted) all(values int) {
	t := into.table
	var columns []*Column
	tenantAt := -1
	for i := range t.Columns {
		switch c := &t.Columns[i]; {
		case c.Index:
		case c.Generated:
			refuse("INSERT without a list of columns", t.Name, -1, "name the columns; the table has a generated one")
		case c.Name == t.TenantColumn:
			tenantAt = len(columns)
		default:
			columns = append(columns, c)
		}
	}
	switch {
	case values == len(columns)+1 && tenantAt >= 0:
		into.tenantAt = tenantAt
	case values != len(columns):
		refuse("INSERT without a list of columns", t.Name, -1, "name the columns, or give a value for each")
	}
	into.columns = columns
	for _, c := range columns {
		into.named[c.Name] = true
		into.p.touch(&column{table: t.Name, column: c.Name, sealed: c.Sealed})
	}
}

// list is the plan's column list: each with its index column behind it, the tenant column last.
func (into *inserted) list() []*pg.Node {
	var out []*pg.Node
	for _, c := range into.columns {
		out = append(out, target(c.Name, nil))
		if c.IndexColumn != "" {
			out = append(out, target(c.IndexColumn, nil))
		}
	}
	return append(out, target(into.table.TenantColumn, nil))
}

// row plans one row of values for the columns of list.
func (into *inserted) row(items []*pg.Node, in ctx) []*pg.Node {
	if at := into.tenantAt; at >= 0 && at < len(items) {
		if !into.isTenant(items[at], in.scope) {
			into.refuse(-1)
		}
		items = slices.Delete(slices.Clone(items), at, at+1)
	}
	if len(items) != len(into.columns) {
		refuse("INSERT with a different number of values than columns", into.table.Name, -1, "give each column a value")
	}
	var values []*pg.Node
	for i, c := range into.columns {
		for _, s := range into.p.store(into.table, c, items[i], in) {
			values = append(values, s.value)
		}
	}
	return append(values, into.p.tenant(into.table, true))
}

func (into *inserted) refuse(position int32) {
	refuse("write to the tenant column", into.table.Name+"."+into.table.TenantColumn, position,
		"leave it out, the library writes it; or give the tenant's id as a parameter, or as the tenant column of a table that the statement reads")
}

// given takes the value that a query has for the tenant column out of it, where that is a parameter or a literal.
func (into *inserted) given(sel *pg.SelectStmt) bool {
	at := into.tenantAt
	if at < 0 || sel.Op != pg.SetOperation_SETOP_NONE || len(sel.ValuesLists) > 0 || at >= len(sel.TargetList) {
		return false
	}
	for _, n := range sel.TargetList[:at] {
		if ref := n.GetResTarget().GetVal().GetColumnRef(); ref != nil && isStar(ref) {
			return false // it is not known which one it is
		}
	}
	res := sel.TargetList[at].GetResTarget()
	if res.Val.GetColumnRef() != nil || !into.isTenant(res.Val, nil) {
		return false
	}
	res.Val = nullConst()
	return true
}

// isTenant takes a value for the tenant column, and tells whether it is the tenant or is known to be compared with it.
func (into *inserted) isTenant(n *pg.Node, s *scope) bool {
	p := into.p
	if cast := n.GetTypeCast(); cast != nil && !p.lite && len(cast.TypeName.Typmods) == 0 && len(cast.TypeName.ArrayBounds) == 0 {
		if contains("text varchar uuid int2 int4 int8", p.typeName(cast.TypeName)) {
			n = cast.Arg
		}
	}
	switch e := n.GetNode().(type) {
	case *pg.Node_SetToDefault:
		return true
	case *pg.Node_ParamRef:
		number := p.callerNumber(e.ParamRef)
		p.unsettle(expr{param: number})
		p.tenants = append(p.tenants, TenantValue{Caller: number, Table: into.table.Name})
		return true
	case *pg.Node_AConst:
		if e.AConst.Isnull {
			return false
		}
		p.tenants = append(p.tenants, TenantValue{Const: constant(e.AConst), Table: into.table.Name})
		return true
	case *pg.Node_ColumnRef:
		return s != nil && p.isTenantColumn(p.resolve(e.ColumnRef, s).column)
	}
	return false
}

// isTenantColumn tells whether a column is the tenant column of a table, unchanged.
func (p *planner) isTenantColumn(c column) bool {
	t := p.cat.Tables[c.table]
	return t != nil && !t.Shared && c.column == t.TenantColumn
}
