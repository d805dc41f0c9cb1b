package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// insert plans an INSERT in place. ctes are those of the statement around it.
func (p *planner) insert(s *pg.InsertStmt, l *level, ctes *cte, kind withQueries) []column {
	r, rv := p.writeTarget(s.Relation)
	r.depth, r.inserted = l.depth, true
	s.Relation = rv
	ctes = p.with(s.WithClause, l, nil, ctes, kind)
	t := r.base
	into := p.insertTargets(t, s.Cols)
	sel := s.SelectStmt.GetSelectStmt()
	switch {
	case sel == nil: // DEFAULT VALUES
		s.SelectStmt = p.rowsOf(into, []*pg.Node{list(nil)}, l, ctes)
	case len(sel.ValuesLists) > 0:
		p.plainValues(sel)
		if len(s.Cols) == 0 {
			into.all(len(sel.ValuesLists[0].GetList().GetItems()))
		}
		inner := p.with(sel.WithClause, l, nil, ctes, readsAlone) // the values see it; ON CONFLICT and RETURNING do not
		with := sel.WithClause
		s.SelectStmt = p.rowsOf(into, sel.ValuesLists, l, inner)
		s.SelectStmt.GetSelectStmt().WithClause = with
	default:
		sel = p.insertSelect(into, len(s.Cols) == 0, sel, l, ctes)
		s.SelectStmt = selectNode(sel)
		if p.lite && s.OnConflictClause != nil && sel.WhereClause == nil {
			sel.WhereClause = boolConst(true) // or SQLite would read ON CONFLICT as a join's ON
		}
	}
	s.Cols = into.list()
	if p.rows {
		p.manyRows(s, t)
	}
	if s.OnConflictClause != nil {
		p.onConflict(s.OnConflictClause, r, l, ctes)
	}
	return p.returning(&s.ReturningList, &scope{fragment: show(r), ctes: ctes, level: l}, r)
}

func (p *planner) plainValues(sel *pg.SelectStmt) {
	if len(sel.SortClause) > 0 || sel.LimitCount != nil || sel.LimitOffset != nil || len(sel.LockingClause) > 0 {
		refuse("unsupported clause", "VALUES with ORDER BY or LIMIT", -1, "leave it out")
	}
}

// rowsOf plans the rows of VALUES for the columns that an INSERT writes.
func (p *planner) rowsOf(into *inserted, rows []*pg.Node, l *level, ctes *cte) *pg.Node {
	in := ctx{scope: &scope{ctes: ctes, level: l}, clause: clauseValues}
	if len(rows) == 1 {
		in.clause = clauseRow
	}
	before := p.multiplied
	for _, row := range rows {
		l := row.GetList()
		l.Items = into.row(l.Items, in)
	}
	if i := slices.IndexFunc(into.columns, func(c *Column) bool { return c.Sealed }); i >= 0 && p.multiplied > before {
		refuse("sealed column beside a function that returns rows", into.table.Name+"."+into.columns[i].Name, -1,
			"insert the rows one by one, each with a value of its own; values are sealed one by one")
	}
	s := newSelect()
	s.ValuesLists = rows
	p.mark(s)
	return selectNode(s)
}

// insertSelect plans INSERT … SELECT, which stores plain values in plain columns, and returns the query with the
// tenant's value as a further column. A set operation, DISTINCT or grouping sets, whose rows that column must have no part in
// telling apart, go into a subquery. Unnamed tells that the statement names no columns.
func (p *planner) insertSelect(into *inserted, unnamed bool, sel *pg.SelectStmt, l *level, ctes *cte) *pg.SelectStmt {
	for _, n := range sel.WithClause.GetCtes() {
		if e := n.GetCommonTableExpr(); e.GetCtequery().GetSelectStmt() == nil {
			refuse("write inside the WITH of a subquery", e.GetCtename(), e.GetLocation(), "move it to the WITH of the statement itself")
		}
	}
	given := into.given(sel)
	q := p.selectStmt(sel, &scope{ctes: ctes, level: l}, ctes, readsAlone, nil)
	l.contains(q.level)
	out := q.columns
	if unnamed {
		into.all(len(out))
	}
	if sel.Op != pg.SetOperation_SETOP_NONE || len(sel.DistinctClause) > 0 {
		sel = p.wrapped(sel, out)
	}
	if at := into.tenantAt; at >= 0 && at < len(out) {
		if !given && !p.isTenantColumn(out[at]) {
			into.refuse(-1)
		}
		out = slices.Delete(slices.Clone(out), at, at+1)
		sel.TargetList = slices.Delete(sel.TargetList, at, at+1)
	}
	if len(out) != len(into.columns) {
		refuse("INSERT with a different number of values than columns", into.table.Name, -1, "select a value for each column")
	}
	for i, c := range into.columns {
		if c.Sealed || out[i].sealed {
			refuse("copy between sealed columns", into.table.Name+"."+c.Name, -1, "fetch the values and insert them as parameters; they are sealed anew for their place")
		}
	}
	sel.TargetList = append(sel.TargetList, target("", p.tenant(into.table, true)))
	return sel
}
