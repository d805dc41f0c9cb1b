package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// subLink plans a query inside an expression. It may be evaluated for any row that reaches it, so it is total only if
// nothing in it can fail, behind whatever guards. One that reads no row of the query that it stands in is run when the first row
// asks for it, as a whole: how long that takes, which the caller can make long, would tell that a row did. So it counts as one
// that may fail, unless it is quick, or a join is made of it.
func (p *planner) subLink(n *pg.Node, l *pg.SubLink, in ctx, whole bool) expr {
	p.mark(l)
	p.interrupted()
	quick := p.quick(l.Subselect.GetSelectStmt(), in)
	e, q := p.subQuery(n, l, in)
	depth := in.scope.level.depth
	joined := whole && l.SubLinkType == pg.SubLinkType_ANY_SUBLINK && e.rels.at(depth) && !e.volatile
	if !joined && !q.level.rels.at(depth) && !quick() {
		e.total = false
	}
	return e
}

// quick returns whether a query surely takes no time to speak of, to be asked once it is planned: it has no FROM, or finds one
// row by a key, and holds no other query.
func (p *planner) quick(s *pg.SelectStmt, in ctx) func() bool {
	nested := false
	visit(s.ProtoReflect(), func(m protoreflect.Message) {
		q, ok := m.Interface().(*pg.SelectStmt)
		nested = nested || ok && q != s
	})
	switch {
	case s == nil || nested || s.WithClause != nil || len(s.ValuesLists) > 0 || p.returnsRows(selectNode(s)):
		return func() bool { return false }
	case len(s.FromClause) == 0:
		return func() bool { return true }
	}
	return p.byKey(s, in)
}

func (p *planner) subQuery(n *pg.Node, l *pg.SubLink, in ctx) (expr, planned) {
	if l.SubLinkType == pg.SubLinkType_EXISTS_SUBLINK {
		return p.exists(n, l, in)
	}
	var test []expr
	var op string
	switch l.SubLinkType {
	case pg.SubLinkType_EXPR_SUBLINK:
	case pg.SubLinkType_ARRAY_SUBLINK:
	case pg.SubLinkType_ANY_SUBLINK, pg.SubLinkType_ALL_SUBLINK:
		if op = "="; len(l.OperName) > 0 {
			op = p.operatorName(l.OperName, l.Location)
		}
	default:
		refuse("unsupported construct", l.SubLinkType.String(), l.Location, "use EXISTS, IN or a scalar subquery")
	}
	one := p.oneRow(l.Subselect.GetSelectStmt(), in)
	q := p.query(l.Subselect, in.scope, in.scope.ctes, nil)
	for _, c := range q.columns {
		if c.sealed {
			refuse("sealed column from a subquery in an expression", c.table+"."+c.column, l.Location, "fetch it with a join")
		}
	}
	if op != "" {
		l.Testexpr, test = p.operands(l.Testexpr, in)
	}
	if len(q.columns) != max(1, len(test)) {
		refuse("subquery with a wrong number of columns", "", l.Location, "select as many columns as are compared")
	}
	e := p.fromQuery(n, q, in)
	switch {
	case op != "":
		total := p.totalQuery(q)
		for i, c := range q.columns {
			column := expr{typ: c.typ, total: true}
			p.textSearch(op, test[i:i+1], []expr{column}, l.Location)
			_, t := p.operator(op, test[i], column)
			total = total && t
		}
		e.typ, e.total = "bool", total && allTotal(test)
		return e.with(test...), q
	case l.SubLinkType == pg.SubLinkType_ARRAY_SUBLINK:
		e.typ, e.total = q.columns[0].typ+"[]", p.totalQuery(q)
		if q.columns[0].typ == builtin.Unknown || elementOf(q.columns[0].typ) != builtin.Unknown {
			e.typ, e.total = builtin.Unknown, false
		}
	default:
		e.typ, e.total = q.columns[0].typ, p.totalQuery(q) && (one() || p.lite)
	}
	return e, q
}

// exists plans EXISTS. PostgreSQL makes a join of it, so that its conditions may read the prelude of the query around it.
func (p *planner) exists(n *pg.Node, l *pg.SubLink, in ctx) (expr, planned) {
	if s := l.Subselect.GetSelectStmt(); s != nil && s.Op == pg.SetOperation_SETOP_NONE && len(s.TargetList) == 0 && len(s.ValuesLists) == 0 {
		s.TargetList = []*pg.Node{target("", intConst(1))} // EXISTS (SELECT FROM t)
	}
	q := p.query(l.Subselect, in.scope, in.scope.ctes, in.pre)
	e := p.fromQuery(n, q, in)
	e.typ, e.total = "bool", p.totalQuery(q)
	return e, q
}

// fromQuery is an expression that evaluates a query.
func (p *planner) fromQuery(n *pg.Node, q planned, in ctx) expr {
	return expr{node: n, volatile: q.level.volatile, rels: q.level.rels.until(min(in.scope.level.depth, q.level.depth-1))}
}

// oneRow returns whether a query surely has at most one row, to be asked once it is planned: LIMIT 1, an aggregate without
// GROUP BY, no FROM, or one table of which WHERE names a whole key.
func (p *planner) oneRow(s *pg.SelectStmt, in ctx) func() bool {
	yes, no := func() bool { return true }, func() bool { return false }
	if s == nil {
		return no
	}
	if c, ok := isConst(s.LimitCount); ok && c.GetIval() != nil && c.GetIval().Ival <= 1 && s.LimitOption != pg.LimitOption_LIMIT_OPTION_WITH_TIES {
		return yes
	}
	if s.Op != pg.SetOperation_SETOP_NONE || len(s.GroupClause) > 0 || len(s.TargetList) != 1 || p.returnsRows(s.TargetList[0]) {
		return no
	}
	if p.aggregates(s.TargetList[0].GetResTarget().GetVal()) {
		return yes
	}
	return p.byKey(s, in)
}

// byKey returns whether a query reads one table of which WHERE names a whole key.
func (p *planner) byKey(s *pg.SelectStmt, in ctx) func() bool {
	if len(s.FromClause) == 1 && len(s.ValuesLists) == 0 && s.WithClause == nil {
		if rv := s.FromClause[0].GetRangeVar(); rv != nil && (rv.Schemaname != "" || p.findCTE(in.scope.ctes, rv.Relname) == nil) {
			return p.wholeKey(rv, s.WhereClause, in)
		}
	}
	return func() bool { return false }
}

// aggregates tells whether an expression is an aggregate.
func (p *planner) aggregates(n *pg.Node) bool {
	if c := n.GetCoalesceExpr(); c != nil && len(c.Args) > 0 {
		return p.aggregates(c.Args[0])
	}
	call := n.GetFuncCall()
	if call == nil || call.Over != nil {
		return false
	}
	fields, _ := names(call.Funcname)
	facts, known := builtin.Function(p.engine, fields[len(fields)-1], nil)
	return known && facts.Kind == builtin.Aggregate && (len(fields) == 1 || fields[0] == "pg_catalog")
}

// returnsRows tells whether a function that may return several rows is called somewhere in a select list.
func (p *planner) returnsRows(n *pg.Node) bool {
	found := false
	visit(n.ProtoReflect(), func(m protoreflect.Message) {
		if call, ok := m.Interface().(*pg.FuncCall); ok {
			fields, _ := names(call.Funcname)
			facts, known := builtin.Function(p.engine, fields[len(fields)-1], nil)
			found = found || !known || facts.Kind == builtin.SetReturning
		}
	})
	return found
}

// wholeKey returns whether a condition compares every column of a key of the table with what is one value for all rows of
// the table: a literal, a parameter or a column of another table. The tenant column is always compared. It is to be asked once
// the types of parameters are found: two keys may be equal to one value of another type, as bigints are to a float.
func (p *planner) wholeKey(rv *pg.RangeVar, where *pg.Node, in ctx) func() bool {
	t := p.find(rv.Schemaname, rv.Relname)
	if t == nil || t.Inherited || where == nil {
		return func() bool { return false }
	}
	name := rv.Relname
	if rv.Alias != nil {
		if name = rv.Alias.Aliasname; len(rv.Alias.Colnames) > 0 {
			return func() bool { return false }
		}
	}
	given := map[string][]func() builtin.Type{}
	for _, part := range conjuncts(where) {
		e := part.GetAExpr()
		if op, _ := names(e.GetName()); e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || len(op) != 1 || op[0] != "=" {
			continue
		}
		for _, sides := range [][2]*pg.Node{{e.Lexpr, e.Rexpr}, {e.Rexpr, e.Lexpr}} {
			fields, ok := names(sides[0].GetColumnRef().GetFields())
			if !ok || len(fields) == 0 || len(fields) == 2 && fields[0] != name || len(fields) > 2 {
				continue
			}
			if typ := p.oneValue(sides[1], name, in); typ != nil {
				given[fields[len(fields)-1]] = append(given[fields[len(fields)-1]], typ)
			}
		}
	}
	return func() bool {
		return slices.ContainsFunc(append([][]string{t.PrimaryKey}, t.UniqueKeys...), func(key []string) bool {
			return len(key) > 0 && !slices.ContainsFunc(key, func(column string) bool { return !p.oneKey(t, column, given[column]) })
		})
	}
}

// oneKey tells whether a column of a key is equal to one value alone, of one of the types.
func (p *planner) oneKey(t *Table, column string, types []func() builtin.Type) bool {
	c := t.column(column)
	switch {
	case c == nil || c.Sealed || c.Index:
		return false
	case column == t.TenantColumn && !t.Shared:
		return true
	}
	own := p.typeOfColumn(*c)
	return slices.ContainsFunc(types, func(typ func() builtin.Type) bool { return builtin.Injective(own, typ()) })
}

// oneValue returns the type of an expression that is the same for all rows of the relation of that name: a literal, a
// parameter, or a column that is said to be another's. It is nil for any other.
func (p *planner) oneValue(n *pg.Node, name string, in ctx) func() builtin.Type {
	if c, literal := isConst(n); literal {
		return func() builtin.Type { return typeOfLiteral(c) }
	}
	if ref := n.GetParamRef(); ref != nil {
		number := int(ref.Number)
		return func() builtin.Type { return p.types[number] }
	}
	fields, ok := names(n.GetColumnRef().GetFields())
	if !ok || len(fields) != 2 || fields[0] == name {
		return nil
	}
	typ := p.resolve(n.GetColumnRef(), in.scope).typ
	return func() builtin.Type { return typ }
}
