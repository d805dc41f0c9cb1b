package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/closest"
)

// writeTarget returns the relation that a write changes, and puts its name into the schema.
func (p *planner) writeTarget(rv *pg.RangeVar) (*relation, *pg.RangeVar) {
	t := p.table(rv)
	if t.Shared {
		refuse("write to a shared table", t.Name, rv.Location, "change reference data on a connection that is not guarded")
	}
	r := &relation{name: t.Relation(), base: t, target: true, columns: p.columnsOf(t)}
	if rv.Alias != nil {
		r.name, r.aliased = rv.Alias.Aliasname, true
		if len(rv.Alias.Colnames) > 0 {
			refuse("column aliases", r.name, rv.Location, "leave them out")
		}
	}
	if p.same(r.name, "excluded") {
		refuse("alias excluded", r.name, rv.Location, "choose another alias")
	}
	name := r.name
	if p.lite {
		name = t.Name // an UPDATE or DELETE cannot have an alias there
	}
	r.alias = p.unique(name)
	return r, p.qualified(t, r.alias)
}

// writable returns the column that a write may set.
func (p *planner) writable(t *Table, name string, position int32, seen map[string]bool) *Column {
	c := p.columnNamed(t, name)
	switch {
	case c == nil || c.Index:
		hint := "name a declared column; index columns are written by the library"
		if like := closest.To(name, columnNames(p.columnsOf(t))); like != "" {
			hint = "did you mean " + like + "? " + hint
		}
		refuse("unknown column", t.Name+"."+name, position, hint+"; a column that was added since the database was opened is known once it is opened again")
	case c.Name == t.TenantColumn:
		refuse("write to the tenant column", t.Name+"."+name, position, "leave it out; the library writes it")
	case c.Generated:
		refuse("write to a generated column", t.Name+"."+name, position, "leave it out")
	case seen[c.Name]:
		refuse("column named twice", t.Name+"."+name, position, "set each column once")
	}
	seen[c.Name] = true
	p.touch(&column{table: t.Name, column: c.Name, sealed: c.Sealed})
	return c
}

// columnNamed returns a table's column as the database finds it, or nil.
func (p *planner) columnNamed(t *Table, name string) *Column {
	for i := range t.Columns {
		if p.same(t.Columns[i].Name, name) {
			return &t.Columns[i]
		}
	}
	return nil
}

// stored is one column's new value, and its blind index where it has one.
type stored struct {
	column string
	value  *pg.Node
}

// store plans the value that a write gives a column: for a sealed one, a parameter, a literal, NULL or DEFAULT.
func (p *planner) store(t *Table, c *Column, n *pg.Node, in ctx) []stored {
	if def := n.GetSetToDefault(); def != nil {
		if c.Sealed && c.HasDefault {
			refuse("DEFAULT for a sealed column", t.Name+"."+c.Name, def.Location, "bind the value as a parameter")
		}
		return c.both(n, &pg.Node{Node: &pg.Node_SetToDefault{SetToDefault: &pg.SetToDefault{}}})
	}
	if !c.Sealed {
		return []stored{{c.Name, p.expr(n, in).node}}
	}
	param, ok := p.sealedValue(n, t.Name, c.Name)
	if !ok {
		position := int32(-1)
		if call := n.GetFuncCall(); call != nil {
			position = call.Location
		}
		refuse("sealed column set from an expression", t.Name+"."+c.Name, position, "set it from a parameter or a literal, without a cast")
	}
	if param == nil {
		return c.both(n, nullConst())
	}
	p.settlePlain(param, c)
	value := p.param(*param, "")
	if c.IndexColumn == "" {
		return []stored{{c.Name, value}}
	}
	param.Use, param.IndexVersion = Index, 0
	p.admittedOnce(t, c, *param)
	return c.both(value, p.param(*param, ""))
}

// admittedOnce notes a value that a unique key admits once, where several index keys live: the database compares index
// values of one key.
func (p *planner) admittedOnce(t *Table, c *Column, param Param) {
	if p.cat.IndexVersions == 1 || slices.Contains(p.once, param) {
		return
	}
	if slices.ContainsFunc(t.Once, func(key UniqueKey) bool { return slices.Contains(key.Columns, c.IndexColumn) }) {
		p.once = append(p.once, param)
	}
}

// both stores a value and, where the column is searchable, its index.
func (c *Column) both(value, index *pg.Node) []stored {
	if c.IndexColumn == "" {
		return []stored{{c.Name, value}}
	}
	return []stored{{c.Name, value}, {c.IndexColumn, index}}
}

// assignments plans the list of SET. Excluded is the row that an INSERT could not insert, nil elsewhere.
func (p *planner) assignments(r *relation, items []*pg.Node, excluded *relation, in ctx) []*pg.Node {
	t := r.base
	seen := map[string]bool{}
	var out []*pg.Node
	for i, n := range items {
		res := n.GetResTarget()
		c := p.writable(t, res.Name, res.Location, seen)
		if m := res.Val.GetMultiAssignRef(); m.GetSource().GetSubLink() != nil {
			p.assignQuery(items, i, in)
			if c.Sealed {
				refuse("sealed column set from an expression", t.Name+"."+c.Name, res.Location, "set it from a parameter or a literal, without a cast")
			}
			out = append(out, target(c.Name, res.Val))
			continue
		}
		var values []stored
		val := assigned(res.Val, res.Location)
		if v := p.copied(val, c, r, excluded, in); v != nil {
			values = c.both(p.use(v).node, nil)
			if c.IndexColumn != "" {
				values[1].value = p.columnRef(v.rel.alias, c.IndexColumn)
			}
		} else {
			values = p.store(t, c, val, in)
		}
		for _, s := range values {
			out = append(out, target(s.column, s.value))
			seen[s.column] = true // a foreign key may refer to an index column
		}
	}
	p.changing(t, seen)
	return out
}

// copied returns the column itself, of the row that is changed or of excluded: the copies that keep a ciphertext where
// it belongs. The first is how ent writes DO NOTHING that is to return the row.
func (p *planner) copied(n *pg.Node, c *Column, target, excluded *relation, in ctx) *visible {
	if !c.Sealed {
		return nil
	}
	v := p.bare(n, in.scope)
	if v == nil || v.rel != target && v.rel != excluded || v.column.column != c.Name {
		return nil
	}
	return v
}

// assignQuery plans the query of (a, b) = (SELECT x, y …) at the first of the columns. The grammar gives every column a copy of
// it, of which only the first is written; the others must be the same.
func (p *planner) assignQuery(items []*pg.Node, i int, in ctx) {
	m := items[i].GetResTarget().Val.GetMultiAssignRef()
	if m.Colno > 1 {
		first := items[max(0, i-int(m.Colno)+1)].GetResTarget().Val.GetMultiAssignRef()
		if first.GetColno() != 1 || first.Ncolumns != m.Ncolumns || !p.marks[first.Source.GetSubLink()] {
			refuse("assignment to a list of columns", "SET (…) =", -1, "assign to the columns one by one")
		}
		m.Source = first.Source
		return
	}
	l := m.Source.GetSubLink()
	p.mark(l)
	if l.SubLinkType != pg.SubLinkType_MULTIEXPR_SUBLINK && l.SubLinkType != pg.SubLinkType_EXPR_SUBLINK || l.Testexpr != nil {
		refuse("assignment to a list of columns", "SET (…) =", l.Location, "assign to the columns one by one")
	}
	q := p.query(l.Subselect, in.scope, in.scope.ctes, nil)
	in.scope.level.contains(q.level)
	in.scope.level.fails = true // more than one row
	if len(q.columns) != int(m.Ncolumns) {
		refuse("subquery with a wrong number of columns", "", l.Location, "select as many columns as are assigned to")
	}
	for _, c := range q.columns {
		if c.sealed {
			refuse("sealed column from a subquery in an expression", c.table+"."+c.column, l.Location, "fetch it and set it from a parameter")
		}
	}
}

// assigned takes (a, b) = (x, y) apart; anything else on the right of a list of columns is refused.
func assigned(n *pg.Node, position int32) *pg.Node {
	m := n.GetMultiAssignRef()
	if m == nil {
		return n
	}
	row := m.Source.GetRowExpr()
	if row == nil || len(row.Args) != int(m.Ncolumns) || m.Colno < 1 || int(m.Colno) > len(row.Args) {
		refuse("assignment to a list of columns", "SET (…) =", position, "assign to the columns one by one")
	}
	return row.Args[m.Colno-1]
}

// where plans the WHERE of a write and adds the tenant predicate in front.
func (p *planner) where(n *pg.Node, r *relation, in ctx) *pg.Node {
	parts := []*pg.Node{p.scopedTo(r.base, r.alias)}
	if n != nil {
		parts = append(parts, p.conditions(n, in)...)
	}
	return all(parts)
}

// write plans a statement that writes, which is the statement itself or stands in its WITH, and notes what it does.
func (p *planner) write(n *pg.Node, outer *scope, ctes *cte, kind withQueries) []column {
	l := newLevel(outer)
	switch s := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		p.writes = true
		return p.insert(s.InsertStmt, l, ctes, kind)
	case *pg.Node_UpdateStmt:
		p.writes = true
		return p.update(s.UpdateStmt, l, ctes, kind)
	case *pg.Node_DeleteStmt:
		return p.delete(s.DeleteStmt, l, ctes, kind)
	case *pg.Node_MergeStmt:
		return p.merge(s.MergeStmt, l, ctes, kind)
	}
	refuse("unsupported statement", kindOf(n), -1, "use SELECT, INSERT, UPDATE, DELETE or MERGE")
	return nil
}

// update plans an UPDATE in place, in the order in which PostgreSQL analyses it.
func (p *planner) update(s *pg.UpdateStmt, l *level, ctes *cte, kind withQueries) []column {
	r, rv := p.writeTarget(s.Relation) // first, so that it keeps its name
	if p.lite {
		rv.Alias = nil // the deparser leaves out AS, which SQLite wants here
	}
	s.Relation = rv
	ctes = p.with(s.WithClause, l, nil, ctes, kind)
	l.pre = p.newPrelude(l)
	sc := &scope{fragment: p.from(s.FromClause, l, nil, ctes, r), ctes: ctes, level: l}
	s.WhereClause = p.where(s.WhereClause, r, ctx{scope: sc, clause: clauseWhere, pre: l.pre})
	out := p.returning(&s.ReturningList, sc, r)
	s.TargetList = p.assignments(r, s.TargetList, nil, ctx{scope: sc, clause: clauseSet})
	s.FromClause = l.pre.before(s.FromClause)
	return out
}

// delete plans a DELETE in place.
func (p *planner) delete(s *pg.DeleteStmt, l *level, ctes *cte, kind withQueries) []column {
	r, rv := p.writeTarget(s.Relation) // first, so that it keeps its name
	p.deleting(r.base)
	if p.lite {
		rv.Alias = nil // the deparser leaves out AS, which SQLite wants here
	}
	s.Relation = rv
	ctes = p.with(s.WithClause, l, nil, ctes, kind)
	l.pre = p.newPrelude(l)
	sc := &scope{fragment: p.from(s.UsingClause, l, nil, ctes, r), ctes: ctes, level: l}
	s.WhereClause = p.where(s.WhereClause, r, ctx{scope: sc, clause: clauseWhere, pre: l.pre})
	out := p.returning(&s.ReturningList, sc, r)
	s.UsingClause = l.pre.before(s.UsingClause)
	return out
}

// returning plans a RETURNING list. SQLite's sees the target alone, PostgreSQL's everything that was joined too.
func (p *planner) returning(items *[]*pg.Node, sc *scope, r *relation) []column {
	if len(*items) == 0 {
		return nil
	}
	if p.lite {
		sc = &scope{fragment: show(r), ctes: sc.ctes, level: sc.level}
	}
	var out []column
	*items, out = p.targets(*items, ctx{scope: sc, clause: clauseReturning})
	return out
}
