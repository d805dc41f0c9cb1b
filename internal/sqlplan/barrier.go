package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/pgparse"
)

// A condition that is not total must not meet a row before the tenant predicate has: whether it fails would tell of
// foreign rows. PostgreSQL pulls derived tables up and orders the conditions of a scan as it likes. What it keeps, and what
// this file relies on:
//
//   - A condition is evaluated where all relations that it reads are joined, or below, where a relation's rows are scanned
//     with values of rows that are joined already. Rows that leave a scan have passed all of the scan's conditions, the
//     tenant predicate among them. So the only foreign rows that a condition can meet are of relations that it reads.
//   - The results of CASE are evaluated only as its conditions say, but for what is constant, which is folded while the
//     statement is planned, whatever the rows. Statistics are not tried with a CASE.
//   - A subquery with OFFSET is not pulled up, and no condition is pushed into it.
//
// Hence the guard: a condition that may fail stands behind CASE WHEN one of its relations' rows is foreign THEN NULL. Other
// conditions stay as they are, with their indexes. The predicate is written with <>, so that a row that an outer join did
// not find, whose tenant is NULL, is no foreign one.
//
// PostgreSQL joins FULL only by conditions that it knows how to merge or hash by, which a guard is not. SQLite may replace a
// column by the constant that it is compared with, also inside of CASE, so that the guard would say of every row that it is
// the tenant's. There, and for subqueries, which need not show the tenant, the relation gets a barrier.
//
// A condition that reads no relation of its own query, but one around it, is evaluated for each row of a scan if it is
// volatile. SQLite evaluates conditions of ON for each row of the joined table that an index finds, before the tenant
// predicate, whatever they read.

// barrier has a relation's rows filtered before any condition from outside meets them.
func (p *planner) barrier(r *relation) {
	if r.behind {
		return
	}
	r.behind = true
	s := r.query
	if s == nil || s.LimitOffset != nil || s.LimitCount != nil {
		return // it is none that is pulled up
	}
	if p.lite && len(s.ValuesLists) > 0 {
		return // nobody's rows, and no LIMIT may follow them
	}
	p.barriers++
	s.LimitOption = pg.LimitOption_LIMIT_OPTION_COUNT
	s.LimitOffset = intConst(0)
	if p.lite {
		s.LimitCount = intConst(-1)
	}
}

// released returns a condition as it may stand in the plan.
func (p *planner) released(c expr, in ctx) *pg.Node {
	if !c.total && in.pre.takes(c) {
		c = in.pre.hoist(c)
	}
	in.scope.level.note(c)
	if c.total {
		return c.node
	}
	rels := c.rels
	if p.lite && in.clause == clauseOn || (c.volatile || p.lite) && !rels.at(in.scope.level.depth) {
		rels = rels.plus(in.scope.relations) // it is evaluated for each row of whatever is scanned
	}
	var foreign []*pg.Node
	for _, r := range rels {
		switch {
		case r.behind || r.base != nil && r.base.Shared:
		case r.base != nil && !p.lite && (r.target || !in.full):
			foreign = append(foreign, p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "<>", p.columnRef(r.alias, r.base.TenantColumn), p.tenant(r.base, false))))
		case r.target:
			foreign = append(foreign, p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "<>", p.unfolded(r), p.bytewise(p.tenant(r.base, false)))))
		default:
			p.barrier(r)
		}
	}
	p.guards(len(foreign))
	switch len(foreign) {
	case 0:
		return c.node
	case 1:
		return caseWhen(foreign[0], nullConst(), c.node)
	}
	return caseWhen(boolExpr(pg.BoolExprType_OR_EXPR, foreign...), nullConst(), c.node)
}

// maxGuards is more than a plan can have of them, of which each takes six tokens.
const maxGuards = pgparse.MaxTokens / 6

// guards counts comparisons of tenants before they are made: there is one for each relation and each condition that is
// computed for each row, so that a statement of a few KiB comes to millions.
func (p *planner) guards(n int) {
	if p.guarded += n; p.guarded > maxGuards {
		refuse("statement over the limit of tokens", "", -1, "name fewer relations in a FROM whose conditions are computed for each row, such as those with random(), or put such a condition into a subquery")
	}
}

// unfolded is the tenant column of a row, in a form that SQLite does not replace by a constant: it looks into no subquery.
func (p *planner) unfolded(r *relation) *pg.Node {
	s := newSelect()
	s.TargetList = []*pg.Node{target("", p.columnRef(r.alias, r.base.TenantColumn))}
	l := &pg.SubLink{SubLinkType: pg.SubLinkType_EXPR_SUBLINK, Subselect: selectNode(s)}
	p.mark(s)
	p.mark(l)
	return &pg.Node{Node: &pg.Node_SubLink{SubLink: l}}
}

// conditions plans the parts of a condition that are joined by AND, each by itself.
func (p *planner) conditions(n *pg.Node, in ctx) []*pg.Node {
	var out []*pg.Node
	inside := in.inside()
	inside.whole = true
	for _, part := range conjuncts(n) {
		out = append(out, p.released(p.expr(part, inside), in))
	}
	return out
}

// condition plans a condition; nil where there is none.
func (p *planner) condition(n *pg.Node, in ctx) *pg.Node {
	if n == nil {
		return nil
	}
	return all(p.conditions(n, in))
}

// having plans HAVING. PostgreSQL makes a part that holds no aggregate a condition on the rows, before they are grouped;
// SQLite does so too. With an aggregate in it, it stays where it is, and groups are of the tenant's rows.
func (p *planner) having(n *pg.Node, in ctx) *pg.Node {
	var out []*pg.Node
	for _, part := range conjuncts(n) {
		c := p.expr(part, in.inside())
		in.scope.level.note(c)
		if !c.total && !c.aggregate {
			count := &pg.FuncCall{Funcname: p.builtinName("count"), AggStar: true, Funcformat: pg.CoercionForm_COERCE_EXPLICIT_CALL}
			p.mark(count)
			always := p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, ">=", &pg.Node{Node: &pg.Node_FuncCall{FuncCall: count}}, intConst(0)))
			c.node = caseWhen(always, c.node, nil)
		}
		out = append(out, c.node)
	}
	return all(out)
}

// conjuncts takes a condition apart at its outermost ANDs.
func conjuncts(n *pg.Node) []*pg.Node {
	b := n.GetBoolExpr()
	if b == nil || b.Boolop != pg.BoolExprType_AND_EXPR {
		return []*pg.Node{n}
	}
	var out []*pg.Node
	for _, arg := range b.Args {
		out = append(out, conjuncts(arg)...)
	}
	return out
}

// all joins conditions by AND, in the parser's form, where a chain is one node.
func all(parts []*pg.Node) *pg.Node {
	if len(parts) == 1 {
		return parts[0]
	}
	return boolExpr(pg.BoolExprType_AND_EXPR, parts...)
}
