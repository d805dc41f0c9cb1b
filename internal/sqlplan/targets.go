package sqlplan

import (
	"strconv"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

func itoa(i int) string { return strconv.Itoa(i) }

// selection is one SELECT while it is planned.
type selection struct {
	p     *planner
	s     *pg.SelectStmt
	scope *scope
	level *level
	out   []column
	setop bool // ORDER BY sees the output alone
	// ordinals are those of the outputs that were looked for by their names, which are the same for all clauses.
	ordinals map[string]int
	// sealedGroups are the sealed columns in GROUP BY; sets tells that it has GROUPING SETS, ROLLUP or CUBE.
	sealedGroups []groupedSealed
	sets         bool
}

// in is the place of the selection's expressions in a clause.
func (q *selection) in(c clause) ctx { return ctx{scope: q.scope, clause: c} }

// targets plans the select list: * is expanded, names are made explicit.
func (q *selection) targets() {
	q.s.TargetList, q.out = q.p.targets(q.s.TargetList, q.in(clauseTarget))
}

// targets plans a select list or RETURNING list.
func (p *planner) targets(items []*pg.Node, in ctx) (planned []*pg.Node, out []column) {
	for _, n := range items {
		t := n.GetResTarget()
		if ref := t.Val.GetColumnRef(); ref != nil && isStar(ref) {
			columns := p.star(ref, in.scope)
			selected(len(out)+len(columns), t.Location)
			p.visible(len(columns))
			for _, v := range columns {
				e := p.use(&v)
				in.scope.level.note(e)
				planned, out = append(planned, p.named(v.name, e.node, t.Location)), append(out, output(e, v.name))
			}
			continue
		}
		name := t.Name
		if name == "" {
			name, _ = figureName(t.Val)
		}
		var e expr
		if v := p.bare(t.Val, in.scope); v != nil {
			e = p.use(v)
			in.scope.level.note(e)
		} else {
			e = p.expr(t.Val, in)
		}
		t.Val = e.node
		planned, out = append(planned, p.named(name, t.Val, t.Location)), append(out, output(e, name))
		selected(len(out), t.Location)
	}
	if len(planned) == 0 {
		refuse("empty select list", "", -1, "select a column or 1")
	}
	return planned, out
}

// selected refuses a select list of too many columns.
func selected(n int, position int32) {
	if n > maxColumns {
		refuse("statement over the limit of columns", "", position, "select at most "+itoa(maxColumns)+" columns")
	}
}

// output is the column that an expression becomes. A literal has found its type by then.
func output(e expr, name string) column {
	c := column{typ: settledOutput(e.typ)}
	if e.column != nil {
		c = e.column.column
	}
	c.name, c.as, c.total = name, "", e.total
	return c
}

// bare returns what an expression refers to when it is nothing but a column reference.
func (p *planner) bare(n *pg.Node, s *scope) *visible {
	ref := n.GetColumnRef()
	if ref == nil {
		return nil
	}
	return p.resolve(ref, s)
}

// named gives an output its name where the database would find another one.
func (p *planner) named(name string, val *pg.Node, position int32) *pg.Node {
	explicit := name
	if !p.lite {
		if ref := val.GetColumnRef(); ref != nil {
			if fields, _ := names(ref.Fields); fields[len(fields)-1] == name {
				explicit = ""
			}
		} else if name == "?column?" {
			explicit = ""
		}
	}
	n := target(explicit, val)
	n.GetResTarget().Location = position
	return n
}

func isStar(ref *pg.ColumnRef) bool {
	return len(ref.Fields) > 0 && ref.Fields[len(ref.Fields)-1].GetAStar() != nil
}

// star expands * and t.* to the visible columns.
func (p *planner) star(ref *pg.ColumnRef, s *scope) []visible {
	qualifier, ok := names(ref.Fields[:len(ref.Fields)-1])
	switch {
	case !ok || len(qualifier) > 2:
		refuse("unsupported construct", "*", ref.Location, "write * or table.*")
	case len(qualifier) == 0:
		if len(s.relations) == 0 {
			refuse("* without FROM", "*", ref.Location, "name the columns")
		}
		p.unambiguous(s.columns, ref.Location)
		return s.columns
	}
	// t.* of a relation around this query is legal SQL; it is expanded like one of this query.
	r := p.relationOf(s, qualifier)
	if r == nil {
		refuse("unknown table", qualifier[len(qualifier)-1]+".*", ref.Location, "name a table or an alias of FROM")
	}
	columns := show(r).columns
	p.unambiguous(columns, ref.Location)
	return columns
}

// unambiguous refuses * for SQLite where it takes two columns of one relation for one, as it has no column aliases.
func (p *planner) unambiguous(columns []visible, position int32) {
	seen := map[[2]string]bool{}
	for _, v := range columns {
		key := [2]string{v.rel.alias, foldASCII(v.name)}
		if p.lite && seen[key] {
			refuse("ambiguous column", v.name, position, "give the columns of the subquery different names")
		}
		seen[key] = true
	}
}

// clauses plans everything of a SELECT that follows WHERE, but LIMIT.
func (q *selection) clauses() {
	if q.s.HavingClause != nil {
		q.s.HavingClause = q.p.having(q.s.HavingClause, q.in(clauseHaving))
	}
	q.order()
	q.group()
	q.distinct()
	for _, n := range q.s.WindowClause {
		q.p.window(n.GetWindowDef(), q.in(clauseWindow))
	}
	q.dependent()
}

// distinct plans DISTINCT.
func (q *selection) distinct() {
	if len(q.s.DistinctClause) == 0 {
		return
	}
	// A plain DISTINCT is a list of one empty node.
	on := len(q.s.DistinctClause) > 1 || q.s.DistinctClause[0].GetNode() != nil
	if !on {
		q.distinctSealed()
		return
	}
	if q.p.lite {
		refuse("unsupported in SQLite", "DISTINCT ON", -1, "use GROUP BY or a window function")
	}
	for i, n := range q.s.DistinctClause {
		q.s.DistinctClause[i] = q.item(n, "DISTINCT ON", false).node
	}
}

func (q *selection) refuseSealed(reason string, c column, position int32) {
	if c.sealed {
		refuse(reason, c.table+"."+c.column, position, "equal values have different ciphertexts; use a plain column")
	}
}

// group plans GROUP BY.
func (q *selection) group() {
	var items []*pg.Node
	for _, n := range q.s.GroupClause {
		if row := implicitRow(n); row != nil { // GROUP BY (a, b) is GROUP BY a, b
			items = append(items, row.Args...)
		} else {
			items = append(items, n)
		}
	}
	q.groupItems(items)
	q.s.GroupClause = items
	q.checkGrouped()
}

// groupItems plans items of GROUP BY or of a grouping set in place.
func (q *selection) groupItems(items []*pg.Node) {
	for i, n := range items {
		if set := n.GetGroupingSet(); set != nil {
			q.sets = true
			// Grouping sets make NULL of a column. PostgreSQL 17 does not see that when it knows the column to be constant, as
			// the tenant predicate tells it of the tenant's, and then leaves it out of ORDER BY. Behind a barrier it does not know.
			for _, r := range q.scope.relations {
				q.p.barrier(r)
			}
			q.groupItems(set.Content)
		} else if row := implicitRow(n); row != nil {
			q.p.mark(row)
			q.groupItems(row.Args)
		} else {
			items[i] = q.item(n, "GROUP BY", true).node
		}
	}
}

// implicitRow returns the row that n is when it is written (a, b), without ROW.
func implicitRow(n *pg.Node) *pg.RowExpr {
	if row := n.GetRowExpr(); row != nil && row.RowFormat == pg.CoercionForm_COERCE_IMPLICIT_CAST {
		return row
	}
	return nil
}

// order plans ORDER BY.
func (q *selection) order() {
	for _, n := range q.s.SortClause {
		by := n.GetSortBy()
		e := q.item(by.Node, "ORDER BY", false)
		by.Node = e.node
		q.p.nulls(by, e)
	}
}

// item plans an item of GROUP BY, ORDER BY or DISTINCT ON: an ordinal, an output's name, or an expression over the
// input. GROUP BY prefers an input column to an output of the same name, the others prefer the output. A name of an
// output becomes its ordinal.
func (q *selection) item(n *pg.Node, clause string, inputFirst bool) expr {
	ordinal := func(i int, n *pg.Node) expr { return expr{node: n, column: &visible{column: q.out[i-1]}} }
	if c, ok := isConst(n); ok {
		i, isInt := c.Val.(*pg.A_Const_Ival)
		if !isInt || i.Ival.Ival < 1 || int(i.Ival.Ival) > len(q.out) {
			refuse(clause+" a constant", "", c.Location, "use the ordinal of an output column")
		}
		q.sealedItem(clause, q.out[i.Ival.Ival-1], int(i.Ival.Ival), c.Location)
		return ordinal(int(i.Ival.Ival), n)
	}
	if ref := n.GetColumnRef(); ref != nil && len(ref.Fields) == 1 {
		name := ref.Fields[0].GetString_().GetSval()
		if !inputFirst || q.p.local(q.scope, name, ref.Location) == nil {
			if i := q.output(name, clause, ref.Location); i > 0 {
				q.sealedItem(clause, q.out[i-1], i, ref.Location)
				return ordinal(i, intConst(int32(i)))
			}
		}
	}
	if q.setop {
		refuse(clause+" an expression of a set operation", "", -1, "order by an output column")
	}
	if v := q.p.bare(n, q.scope); v != nil && v.sealed {
		if clause != "GROUP BY" {
			q.refuseSealed(clause+" a sealed column", v.column, n.GetColumnRef().Location)
		}
		grouped := groupedSealed{v.column, q.p.use(v).node, n.GetColumnRef().Location}
		q.sealedGroups = append(q.sealedGroups, grouped)
		return expr{node: grouped.node}
	}
	if n.GetRowExpr() != nil && clause == "ORDER BY" {
		return q.p.row(n, q.in(clauseOrder))
	}
	return q.p.expr(n, q.in(clauseOf[clause]))
}

var clauseOf = map[string]clause{"GROUP BY": clauseGroup, "ORDER BY": clauseOrder, "DISTINCT ON": clauseOrder}

// sealedItem refuses an item that is an output with a sealed column, but in GROUP BY, where the other items decide.
func (q *selection) sealedItem(clause string, c column, ordinal int, position int32) {
	if !c.sealed {
		return
	}
	if clause != "GROUP BY" {
		q.refuseSealed(clause+" a sealed column", c, position)
	}
	q.sealedGroups = append(q.sealedGroups, groupedSealed{c, q.s.TargetList[ordinal-1].GetResTarget().Val, position})
}

// output returns the ordinal of the output of that name, 0 when there is none.
func (q *selection) output(name, clause string, position int32) int {
	if ordinal, ok := q.ordinals[name]; ok {
		return ordinal
	}
	ordinal := q.search(name, clause, position)
	if q.ordinals == nil {
		q.ordinals = map[string]int{}
	}
	q.ordinals[name] = ordinal
	return ordinal
}

func (q *selection) search(name, clause string, position int32) int {
	ordinal := 0
	for i, c := range q.out {
		if !q.p.same(c.name, name) {
			continue
		}
		if ordinal > 0 && !q.setop && proto.Equal(q.s.TargetList[ordinal-1].GetResTarget().Val, q.s.TargetList[i].GetResTarget().Val) {
			continue // the same twice
		}
		if ordinal > 0 {
			refuse("ambiguous column", clause+" "+name, position, "give the outputs different names, or use an ordinal")
		}
		ordinal = i + 1
	}
	return ordinal
}

// dependent adds to GROUP BY the columns that depend on a grouped primary key. The database knows the dependency for
// a table, and no longer for the derived table that stands for it. The tenant column is constant and need not be named.
func (q *selection) dependent() {
	if len(q.s.GroupClause) == 0 || q.sets { // a grouping set may lack the key
		return
	}
	grouped := q.grouped()
	for _, r := range q.scope.relations {
		if r.base == nil || len(r.base.PrimaryKey) == 0 || !r.keyIn(grouped) {
			continue
		}
		for _, name := range r.used {
			if !grouped[[2]string{r.alias, name}] {
				grouped[[2]string{r.alias, name}] = true
				q.s.GroupClause = append(q.s.GroupClause, q.p.columnRef(r.alias, name))
			}
		}
	}
}

// keyIn tells whether the relation's primary key, without the tenant column unless that is the key, is grouped by.
func (r *relation) keyIn(grouped shown) bool {
	for _, key := range r.base.PrimaryKey {
		if key == r.base.TenantColumn && len(r.base.PrimaryKey) > 1 {
			continue
		}
		found := false
		for _, c := range r.columns {
			found = found || c.column == key && grouped[[2]string{r.alias, c.name}]
		}
		if !found {
			return false
		}
	}
	return true
}
