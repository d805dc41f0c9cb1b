package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// insert plans an INSERT in place. ctes are those of the statement around it.
func (p *planner) insert(s *pg.InsertStmt, l *level, ctes *cte, kind withQueries) []column {
	r, rv := p.writeTarget(s.Relation)
	r.depth = l.depth
	s.Relation = rv
	ctes = p.with(s.WithClause, l, nil, ctes, kind)
	t := r.base
	columns := p.insertTargets(t, s.Cols)
	sel := s.SelectStmt.GetSelectStmt()
	switch {
	case sel == nil: // DEFAULT VALUES
		s.SelectStmt = p.rowsOf(t, nil, []*pg.Node{list(nil)}, l, ctes)
	case len(columns) == 0:
		refuse("INSERT without a list of columns", t.Name, -1, "name the columns")
	case len(sel.ValuesLists) > 0:
		p.plainValues(sel)
		inner := p.with(sel.WithClause, l, nil, ctes, readsAlone) // the values see it; ON CONFLICT and RETURNING do not
		with := sel.WithClause
		s.SelectStmt = p.rowsOf(t, columns, sel.ValuesLists, l, inner)
		s.SelectStmt.GetSelectStmt().WithClause = with
	default:
		sel = p.insertSelect(t, columns, sel, l, ctes)
		s.SelectStmt = selectNode(sel)
		if p.lite && s.OnConflictClause != nil && sel.WhereClause == nil {
			sel.WhereClause = boolConst(true) // or SQLite would read ON CONFLICT as a join's ON
		}
	}
	s.Cols = p.insertColumns(t, columns)
	if s.OnConflictClause != nil {
		p.onConflict(s.OnConflictClause, r, l, ctes)
	}
	return p.returning(&s.ReturningList, &scope{fragment: show(r), ctes: ctes, level: l}, r)
}

// insertTargets returns the columns that an INSERT names.
func (p *planner) insertTargets(t *Table, items []*pg.Node) []*Column {
	var columns []*Column
	seen := map[string]bool{}
	for _, n := range items {
		res := n.GetResTarget()
		columns = append(columns, p.writable(t, res.Name, res.Location, seen))
	}
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Sealed && c.HasDefault && !seen[c.Name] {
			refuse("default of a sealed column", t.Name+"."+c.Name, -1, "name the column and bind its value; remove the default from the table")
		}
	}
	return columns
}

// insertColumns is the plan's column list: each with its index column behind it, the tenant column last.
func (p *planner) insertColumns(t *Table, columns []*Column) []*pg.Node {
	var out []*pg.Node
	for _, c := range columns {
		out = append(out, target(c.Name, nil))
		if c.IndexColumn != "" {
			out = append(out, target(c.IndexColumn, nil))
		}
	}
	return append(out, target(t.TenantColumn, nil))
}

func (p *planner) plainValues(sel *pg.SelectStmt) {
	if len(sel.SortClause) > 0 || sel.LimitCount != nil || sel.LimitOffset != nil || len(sel.LockingClause) > 0 {
		refuse("unsupported clause", "VALUES with ORDER BY or LIMIT", -1, "leave it out")
	}
}

// rowsOf plans the rows of VALUES for the columns that insertColumns names.
func (p *planner) rowsOf(t *Table, columns []*Column, rows []*pg.Node, l *level, ctes *cte) *pg.Node {
	in := ctx{scope: &scope{ctes: ctes, level: l}, clause: clauseValues}
	for _, row := range rows {
		l := row.GetList()
		l.Items = p.row(t, columns, l.Items, in)
	}
	s := newSelect()
	s.ValuesLists = rows
	p.mark(s)
	return selectNode(s)
}

// row plans one row of values for the columns that insertColumns names.
func (p *planner) row(t *Table, columns []*Column, items []*pg.Node, in ctx) []*pg.Node {
	if len(items) != len(columns) {
		refuse("INSERT with a different number of values than columns", t.Name, -1, "give each column a value")
	}
	var values []*pg.Node
	for i, c := range columns {
		for _, s := range p.store(t, c, items[i], in) {
			values = append(values, s.value)
		}
	}
	return append(values, p.tenant(t, true))
}

// insertSelect plans INSERT … SELECT, which stores plain values in plain columns, and returns the query with the
// tenant's value as a further column. A set operation, DISTINCT or grouping sets, whose rows that column must have no part in
// telling apart, go into a subquery.
func (p *planner) insertSelect(t *Table, columns []*Column, sel *pg.SelectStmt, l *level, ctes *cte) *pg.SelectStmt {
	for _, n := range sel.WithClause.GetCtes() {
		if e := n.GetCommonTableExpr(); e.GetCtequery().GetSelectStmt() == nil {
			refuse("write inside the WITH of a subquery", e.GetCtename(), e.GetLocation(), "move it to the WITH of the statement itself")
		}
	}
	q := p.selectStmt(sel, &scope{ctes: ctes, level: l}, ctes, readsAlone, nil)
	l.contains(q.level)
	out := q.columns
	if len(out) != len(columns) {
		refuse("INSERT with a different number of values than columns", t.Name, -1, "select a value for each column")
	}
	for i, c := range columns {
		if c.Sealed || out[i].sealed {
			refuse("copy between sealed columns", t.Name+"."+c.Name, -1, "fetch the values and insert them as parameters; they are sealed anew for their place")
		}
	}
	if sel.Op != pg.SetOperation_SETOP_NONE || len(sel.DistinctClause) > 0 {
		sel = p.wrapped(sel, out)
	}
	sel.TargetList = append(sel.TargetList, target("", p.tenant(t, true)))
	return sel
}

// onConflict plans ON CONFLICT. The conflicting row is the tenant's own, because the key that conflicts includes the
// tenant column.
func (p *planner) onConflict(c *pg.OnConflictClause, r *relation, l *level, ctes *cte) {
	t := r.base
	if c.Infer == nil {
		p.everyKeyScoped(t, c)
		return
	}
	var key []string
	for _, n := range c.Infer.IndexElems {
		e := n.GetIndexElem()
		key = append(key, p.keyColumn(t, e.GetName(), c.Infer.Location))
	}
	if !slices.Contains(key, t.TenantColumn) {
		key = append(key, t.TenantColumn)
	}
	if !t.isKey(key) {
		refuse("ON CONFLICT on columns that are no key", t.Name, c.Infer.Location, "name the columns of a primary key or a unique constraint")
	}
	c.Infer.IndexElems = nil
	for _, name := range key {
		c.Infer.IndexElems = append(c.Infer.IndexElems, &pg.Node{Node: &pg.Node_IndexElem{IndexElem: &pg.IndexElem{
			Name: name, Ordering: pg.SortByDir_SORTBY_DEFAULT, NullsOrdering: pg.SortByNulls_SORTBY_NULLS_DEFAULT}}})
	}
	if c.Action != pg.OnConflictAction_ONCONFLICT_UPDATE {
		return
	}
	excluded := &relation{name: "excluded", alias: "excluded", base: t, aliased: true, target: true, behind: true, depth: l.depth, columns: r.columns}
	sc := &scope{fragment: show(r).plus(show(excluded)), ctes: ctes, level: l}
	if p.lite { // where a name alone is the target's; PostgreSQL finds it ambiguous
		sc.columns = show(r).columns
	}
	c.TargetList = p.assignments(r, c.TargetList, excluded, ctx{scope: sc, clause: clauseSet})
	// The key includes the tenant column; the predicate holds should the database compare it otherwise than byte by byte.
	c.WhereClause = p.where(c.WhereClause, r, ctx{scope: sc, clause: clauseWhere})
}

// everyKeyScoped admits ON CONFLICT DO NOTHING without a key where no key can conflict with another tenant's row.
func (p *planner) everyKeyScoped(t *Table, c *pg.OnConflictClause) {
	if c.Action != pg.OnConflictAction_ONCONFLICT_NOTHING {
		refuse("ON CONFLICT DO UPDATE without a key", t.Name, c.Location, "name the columns of a primary key or a unique constraint")
	}
	for _, key := range append([][]string{t.PrimaryKey}, t.UniqueKeys...) {
		if len(key) > 0 && !slices.Contains(key, t.TenantColumn) {
			refuse("ON CONFLICT on a table with a key across tenants", t.Name, c.Location, "add the tenant column to every key of the table")
		}
	}
}

// keyColumn returns the column that stands in a key for the one that ON CONFLICT names: for a searchable sealed
// column, its blind index.
func (p *planner) keyColumn(t *Table, name string, position int32) string {
	c := p.columnNamed(t, name)
	if c == nil || c.Index {
		refuse("unknown column", t.Name+"."+name, position, "name a declared column")
	}
	p.touch(&column{table: t.Name, column: c.Name, sealed: c.Sealed})
	if !c.Sealed {
		return c.Name
	}
	if c.IndexColumn == "" {
		refuse("ON CONFLICT on a sealed column that is not searchable", t.Name+"."+name, position, "declare it Searchable and make a key of its index column")
	}
	if p.cat.IndexVersions != 1 {
		refuse("ON CONFLICT on a sealed column during a rotation of its index key", t.Name+"."+name, position, "wait for the rotation to end")
	}
	return c.IndexColumn
}

// isKey tells whether the columns, in any order, are a primary or unique key.
func (t *Table) isKey(columns []string) bool {
	same := func(key []string) bool {
		a, b := slices.Sorted(slices.Values(key)), slices.Sorted(slices.Values(columns))
		return len(key) > 0 && slices.Equal(a, b)
	}
	return same(t.PrimaryKey) || slices.ContainsFunc(t.UniqueKeys, same)
}
