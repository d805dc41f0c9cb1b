package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// operatorName checks an operator and returns its symbol.
func (p *planner) operatorName(nodes []*pg.Node, position int32) string {
	fields, ok := names(nodes)
	if !ok || len(fields) != 1 {
		refuse("operator not in the allowlist", "OPERATOR()", position, "write the operator without a schema")
	}
	if _, _, allowed := builtin.Operator(p.engine, fields[0], builtin.Adapts, builtin.Adapts); !allowed && (fields[0] != "@@" || p.lite) {
		hint := "use another form; the documentation of package sqldb lists the operators"
		if fields[0] == "@?" {
			hint = "write jsonb_path_exists(value, path, '{}', true)"
		}
		refuse("operator not in the allowlist", fields[0], position, hint)
	}
	return fields[0]
}

// comparisons are the operators whose operands have one type, which a parameter takes from the other side.
var comparisons = []string{"=", "<>", "<", ">", "<=", ">="}

// operation plans an operator and what the grammar writes like one: IN, LIKE, BETWEEN, IS DISTINCT FROM and so on.
func (p *planner) operation(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	if made, ok := p.isNew(e, in); ok {
		return made
	}
	if sealed, ok := p.sealedOperation(e, in); ok {
		return sealed
	}
	p.mark(e)
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP:
		return p.binary(n, e, in)
	case pg.A_Expr_Kind_AEXPR_OP_ANY, pg.A_Expr_Kind_AEXPR_OP_ALL:
		return p.anyOf(n, e, in)
	case pg.A_Expr_Kind_AEXPR_IN:
		return p.in(n, e, in)
	case pg.A_Expr_Kind_AEXPR_DISTINCT, pg.A_Expr_Kind_AEXPR_NOT_DISTINCT, pg.A_Expr_Kind_AEXPR_NULLIF:
		return p.distinctOrNullIf(n, e, in)
	case pg.A_Expr_Kind_AEXPR_LIKE, pg.A_Expr_Kind_AEXPR_ILIKE:
		return p.like(n, e, in)
	case pg.A_Expr_Kind_AEXPR_SIMILAR:
		return p.similar(n, e, in)
	case pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN, pg.A_Expr_Kind_AEXPR_BETWEEN_SYM, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM:
		return p.between(n, e, in)
	}
	refuse("operator not in the allowlist", e.Kind.String()[len("AEXPR_"):], e.Location, "use LIKE or another form")
	return expr{}
}

// binary plans an operator with one or two operands, which may be rows.
func (p *planner) binary(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	op := p.operatorName(e.Name, e.Location)
	if e.Lexpr == nil {
		return p.prefix(n, e, op, in)
	}
	if contains(regexOperators, op) {
		p.regex(e)
	}
	var left, right []expr
	e.Lexpr, left = p.operands(e.Lexpr, in)
	e.Rexpr, right = p.operands(e.Rexpr, in)
	if len(left) != len(right) {
		refuse("rows of different lengths", "", e.Location, "compare rows of the same length")
	}
	p.textSearch(op, left, right, e.Location)
	within := len(left) == 1 && p.within(op, left[0], right[0])
	if everything := slices.Concat(left, right); readsRows(everything) {
		e.Lexpr, left = p.precomputed(e.Lexpr, left, in)
		e.Rexpr, right = p.precomputed(e.Rexpr, right, in)
	}
	typ, total := builtin.Type("bool"), true
	for i := range left {
		var t bool
		typ, t = p.operator(op, left[i], right[i])
		total = total && (t || within)
	}
	if len(left) > 1 {
		return p.strict(n, "bool", total, slices.Concat(left, right)...)
	}
	near := p.moved(op, left[0], right[0])
	made := p.strict(n, typ, total || near > 0, left[0], right[0])
	made.near = near
	return made
}

// operator returns the type of what an operator returns, and whether it is total.
func (p *planner) operator(op string, left, right expr) (builtin.Type, bool) {
	if slices.Contains(comparisons, op) {
		p.settle(left, right)
		p.settle(right, left)
		_, total, _ := builtin.Operator(p.engine, op, literally(left, right), literally(right, left))
		return "bool", total
	}
	p.unsettle(left, right)
	typ, total, _ := builtin.Operator(p.engine, op, left.typ, right.typ)
	return typ, total
}

func (p *planner) prefix(n *pg.Node, e *pg.A_Expr, op string, in ctx) expr {
	if op != "-" && op != "+" {
		refuse("operator not in the allowlist", "prefix "+op, e.Location, "use another form")
	}
	right := p.expr(e.Rexpr, in)
	e.Rexpr = right.node
	typ, total, _ := builtin.Operator(p.engine, op, builtin.Nothing, right.typ)
	return p.strict(n, typ, total, right)
}

func readsRows(parts []expr) bool {
	return slices.ContainsFunc(parts, func(e expr) bool { return len(e.rels) > 0 })
}

// precomputed moves operands that may fail and depend on no row into the prelude.
func (p *planner) precomputed(n *pg.Node, parts []expr, in ctx) (*pg.Node, []expr) {
	for i, e := range parts {
		if e.total || !in.pre.takes(e) {
			continue
		}
		parts[i] = in.pre.hoist(e)
		if row := n.GetRowExpr(); row != nil {
			row.Args[i] = parts[i].node
		} else {
			n = parts[i].node
		}
	}
	return n, parts
}

// textSearch admits @@ for full text search alone. PostgreSQL tries that of jsonb, and @?, on the column's statistics
// while it plans the statement, and a path that compares times with a zone and times without fails for some values.
// The functions of the same meaning are not tried.
func (p *planner) textSearch(op string, left, right []expr, position int32) {
	if op != "@@" {
		return
	}
	for i := range left {
		l, r := left[i].typ, builtin.Unknown
		if i < len(right) {
			r = right[i].typ
		}
		if _, _, allowed := builtin.Operator(p.engine, op, l, r); !allowed {
			refuse("operator not in the allowlist", "@@", position, "use jsonb_path_match for jsonb; for full text search say to_tsvector, to_tsquery or ::tsquery")
		}
	}
}

// anyOf plans a comparison with the elements of an array.
func (p *planner) anyOf(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	if p.lite {
		refuse("unsupported in SQLite", "ANY or ALL of an array", e.Location, "use IN (…)")
	}
	if fields, _ := names(e.Name); len(fields) == 1 && contains("~~ !~~ ~~* !~~*", fields[0]) {
		return p.likeAny(n, e, in)
	}
	op := p.operatorName(e.Name, e.Location)
	if contains(regexOperators, op) {
		refuse("operator not in the allowlist", op+" ANY or ALL", e.Location, "compare with one regular expression")
	}
	in.operand = true
	left := p.expr(e.Lexpr, in)
	right := p.expr(e.Rexpr, in)
	e.Lexpr, e.Rexpr = left.node, right.node
	p.textSearch(op, []expr{left}, nil, e.Location)
	element := elementOf(right.typ)
	switch {
	case right.typ == builtin.Adapts:
		element = left.typ // a parameter or a literal becomes an array of the other side's type
		if right.param != 0 {
			p.types[right.param] = builtin.Unknown
		}
	case element != builtin.Unknown:
		p.settle(left, expr{typ: element})
	default:
		p.unsettle(left, right)
	}
	if array := e.Rexpr.GetAArrayExpr(); array != nil && element == "text" && allConst(array.Elements) {
		element = builtin.Adapts // literals, which take the other side's type
	}
	if readsRows([]expr{left, right}) {
		var parts []expr
		e.Lexpr, parts = p.precomputed(e.Lexpr, []expr{left}, in)
		left = parts[0]
		e.Rexpr, parts = p.precomputed(e.Rexpr, []expr{right}, in)
		right = parts[0]
	}
	_, total := p.operator(op, expr{typ: left.typ, total: true}, expr{typ: element, total: true})
	return p.strict(n, "bool", total, left, right)
}

// in plans IN with a list of values or rows. PostgreSQL converts all values to one type.
func (p *planner) in(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	var left []expr
	e.Lexpr, left = p.operands(e.Lexpr, in)
	if len(left) > 1 && p.lite {
		refuse("unsupported in SQLite", "IN with a list of rows", e.Location, "write (a, b) IN (VALUES …) as a join, or use OR")
	}
	items := e.Rexpr.GetList().GetItems()
	rows, types := make([][]expr, len(items)), []builtin.Type{left[0].typ}
	for i := range items {
		var right []expr
		items[i], right = p.operands(items[i], in)
		if len(right) != len(left) {
			refuse("rows of different lengths", "IN", e.Location, "compare rows of the same length")
		}
		if readsRows(left) {
			items[i], right = p.precomputed(items[i], right, in)
		}
		if rows[i] = right; right[0].typ != types[len(types)-1] && right[0].typ != builtin.Adapts {
			types = append(types, right[0].typ)
		}
	}
	parts, total := slices.Clone(left), true
	common := left[0].typ
	if len(left) == 1 {
		common, total = p.common(types...)
	}
	for _, right := range rows {
		if common != left[0].typ {
			p.unsettle(right...)
		}
		for j := range right {
			_, t := p.operator("=", left[j], right[j])
			total = total && t
		}
		parts = merged(parts, right)
	}
	return p.strict(n, "bool", total, parts...)
}

// merged adds expressions to a list, those that say nothing more left out, so that long lists stay cheap.
func merged(parts, more []expr) []expr {
	for _, e := range more {
		if !e.total || e.volatile || e.aggregate || len(e.rels) > 0 {
			parts = append(parts, e)
		}
	}
	return parts
}

func (p *planner) distinctOrNullIf(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	if e.Kind != pg.A_Expr_Kind_AEXPR_NULLIF && (e.Lexpr.GetRowExpr() != nil || e.Rexpr.GetRowExpr() != nil) {
		return p.distinctRows(n, e, in)
	}
	in.operand = true
	left := p.expr(e.Lexpr, in)
	right := p.expr(e.Rexpr, in)
	e.Lexpr, e.Rexpr = left.node, right.node
	_, total := p.operator("=", left, right)
	if e.Kind == pg.A_Expr_Kind_AEXPR_NULLIF {
		typ := left.typ
		if t, _ := p.common(left.typ, right.typ); t != left.typ {
			typ = builtin.Unknown // it is the operator's operand, converted
		}
		return p.strict(n, settledOutput(typ), total, left, right)
	}
	return p.strict(n, "bool", total, left, right)
}

// distinctRows plans (a, b) IS [NOT] DISTINCT FROM (c, d), which PostgreSQL makes comparisons of their fields of.
func (p *planner) distinctRows(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	var left, right []expr
	e.Lexpr, left = p.operands(e.Lexpr, in)
	e.Rexpr, right = p.operands(e.Rexpr, in)
	if e.Lexpr.GetRowExpr() == nil || e.Rexpr.GetRowExpr() == nil || len(left) != len(right) {
		refuse("rows of different lengths", "IS DISTINCT FROM", e.Location, "compare rows of the same length")
	}
	total := true
	for i := range left {
		_, t := p.operator("=", left[i], right[i])
		total = total && t
	}
	return p.strict(n, "bool", total, slices.Concat(left, right)...)
}

func (p *planner) between(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	in.operand = true
	left := p.expr(e.Lexpr, in)
	e.Lexpr = left.node
	parts, total := []expr{left}, true
	bounds := e.Rexpr.GetList().GetItems()
	for i := range bounds {
		bound := []expr{p.expr(bounds[i], in)}
		bounds[i] = bound[0].node
		if readsRows([]expr{left}) {
			bounds[i], bound = p.precomputed(bounds[i], bound, in)
		}
		_, t := p.operator("<=", left, bound[0])
		total = total && t
		parts = append(parts, bound[0])
	}
	return p.strict(n, "bool", total, parts...)
}

func allConst(nodes []*pg.Node) bool {
	return !slices.ContainsFunc(nodes, func(n *pg.Node) bool { _, ok := isConst(n); return !ok })
}
