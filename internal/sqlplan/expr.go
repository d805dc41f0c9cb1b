package sqlplan

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

func kindOf(n *pg.Node) string {
	return strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", n.GetNode()), "*pg_query.Node_"), "pg_query.")
}

// expr plans an expression over plain values: a sealed column in it is refused, but for the uses that are found
// before: comparison for equality and IS NULL. What is known of the result goes to the query that it stands in, unless it is
// a part of another expression.
func (p *planner) expr(n *pg.Node, in ctx) expr {
	if p.visits++; p.visits%1000 == 0 {
		p.interrupted()
	}
	e := p.expression(n, in)
	if !in.part {
		in.scope.level.note(e)
	}
	return e
}

func (p *planner) expression(n *pg.Node, in ctx) expr {
	whole := in
	in = in.inside()
	switch e := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		v := p.resolve(e.ColumnRef, in.scope)
		if v.sealed {
			refuse("expression over a sealed column", v.table+"."+v.column.column, e.ColumnRef.Location,
				"sealed columns can be stored, fetched, tested with IS NULL and, when searchable, compared for equality with a parameter")
		}
		return p.use(v)
	case *pg.Node_ParamRef:
		return p.parameter(e.ParamRef, whole.operand)
	case *pg.Node_AConst:
		return p.literal(n, e.AConst)
	case *pg.Node_AExpr:
		return p.operation(n, e.AExpr, in)
	case *pg.Node_BoolExpr:
		return p.logic(n, e.BoolExpr, in)
	case *pg.Node_NullTest:
		return p.nullTest(n, e.NullTest, in)
	case *pg.Node_BooleanTest:
		arg := p.expr(e.BooleanTest.Arg, in)
		e.BooleanTest.Arg = arg.node
		return p.strict(n, "bool", p.totalBool(arg), arg)
	case *pg.Node_SubLink:
		return p.subLink(n, e.SubLink, in, whole.whole)
	case *pg.Node_FuncCall:
		return p.call(n, e.FuncCall, in)
	case *pg.Node_TypeCast:
		return p.cast(n, e.TypeCast, in)
	case *pg.Node_CaseExpr:
		return p.caseOf(n, e.CaseExpr, in)
	case *pg.Node_CoalesceExpr:
		if p.lite && len(e.CoalesceExpr.Args) < 2 {
			return p.expr(e.CoalesceExpr.Args[0], in)
		}
		return p.chosen(n, p.exprs(e.CoalesceExpr.Args, in.lazily())...)
	case *pg.Node_MinMaxExpr:
		args := p.exprs(e.MinMaxExpr.Args, in)
		made := p.chosen(n, args...)
		for _, arg := range args { // they are compared with one another
			made.total = made.total && p.compared("=", arg, args[0]).total
		}
		return made
	case *pg.Node_AArrayExpr:
		return p.array(n, e.AArrayExpr, in)
	case *pg.Node_SqlvalueFunction:
		return p.sqlValue(n, e.SqlvalueFunction)
	case *pg.Node_AIndirection:
		return p.subscript(n, e.AIndirection, in)
	case *pg.Node_CollateClause:
		return p.collate(n, e.CollateClause, in)
	case *pg.Node_GroupingFunc:
		return expr{node: n, typ: "int4", aggregate: true}.with(p.exprs(e.GroupingFunc.Args, in)...)
	case *pg.Node_MergeSupportFunc: // merge_action(), which the database admits in MERGE alone
		return expr{node: n, typ: "text"}
	case *pg.Node_RowExpr:
		refuse("row value", "ROW", e.RowExpr.Location, "compare rows with rows, such as (a, b) < ($1, $2); select columns one by one")
	case *pg.Node_SetToDefault:
		refuse("DEFAULT inside an expression", "DEFAULT", e.SetToDefault.Location, "write DEFAULT as a whole value")
	}
	if e := p.json(n, in); e != nil {
		return *e
	}
	refuse("unsupported expression", kindOf(n), -1, "use another form; the documentation of package sqldb lists what is supported")
	return expr{}
}

// exprs plans expressions in place.
func (p *planner) exprs(nodes []*pg.Node, in ctx) []expr {
	out := make([]expr, len(nodes))
	for i, n := range nodes {
		out[i] = p.expr(n, in)
		nodes[i] = out[i].node
	}
	return out
}

func (p *planner) optional(n *pg.Node, in ctx) (*pg.Node, expr) {
	if n == nil {
		return nil, expr{total: true}
	}
	e := p.expr(n, in)
	return e.node, e
}

// literal leaves a literal in the text. SQLite has no E” strings, which a backslash would bring.
func (p *planner) literal(n *pg.Node, c *pg.A_Const) expr {
	e := expr{node: n, typ: typeOfLiteral(c), total: true}
	if s, ok := c.Val.(*pg.A_Const_Sval); ok && p.lite && strings.Contains(s.Sval.Sval, `\`) {
		e.node = p.param(Param{Source: FromConst, Const: s.Sval.Sval, Use: AsIs}, "")
	}
	return e
}

// logic plans AND, OR and NOT. PostgreSQL may evaluate only some parts of a list.
func (p *planner) logic(n *pg.Node, b *pg.BoolExpr, in ctx) expr {
	if b.Boolop != pg.BoolExprType_NOT_EXPR {
		in = in.lazily()
	}
	args := p.exprs(b.Args, in)
	total := true
	for _, arg := range args {
		total = total && p.totalBool(arg)
	}
	return p.strict(n, "bool", total, args...)
}

func (p *planner) nullTest(n *pg.Node, t *pg.NullTest, in ctx) expr {
	var arg expr
	if v := p.bare(t.Arg, in.scope); v != nil {
		arg = p.use(v) // a ciphertext is NULL exactly where the value is
	} else if row := t.Arg.GetRowExpr(); row != nil && !p.lite {
		p.mark(row)
		parts := p.exprs(row.Args, in)
		return p.strict(n, "bool", true, parts...)
	} else {
		param := t.Arg.GetParamRef() != nil
		in.operand = param // the test gives a parameter no type
		arg = p.expr(t.Arg, in)
		if param {
			p.untyped[arg.param] = append(p.untyped[arg.param], arg.node)
		}
	}
	t.Arg = arg.node
	// A test of a column is all that costs no more than the tenant predicate. What is computed first, such as lower(note), may
	// fail for a text of hundreds of megabytes, and is evaluated behind the predicate only while it costs more.
	return p.strict(n, "bool", p.lite || arg.column != nil || len(arg.rels) == 0, arg)
}

// caseOf plans CASE in the order in which PostgreSQL analyses it.
func (p *planner) caseOf(n *pg.Node, c *pg.CaseExpr, in ctx) expr {
	in = in.lazily()
	var parts, results []expr
	var arg expr
	simple := c.Arg != nil
	total := true
	if simple {
		arg = p.expr(c.Arg, in)
		c.Arg = arg.node
		parts = append(parts, arg)
	}
	for _, w := range c.Args {
		when := w.GetCaseWhen()
		condition, result := p.expr(when.Expr, in), expr{}
		when.Expr = condition.node
		if simple {
			total = total && p.compared("=", arg, condition).total
		} else {
			total = total && p.totalBool(condition)
		}
		result = p.expr(when.Result, in)
		when.Result = result.node
		parts, results = append(parts, condition), append(results, result)
	}
	if c.Defresult != nil {
		result := p.expr(c.Defresult, in)
		c.Defresult = result.node
		results = append(results, result)
	}
	made := p.chosen(n, results...).with(parts...)
	made.total = made.total && total && allTotal(parts)
	return made
}

func (p *planner) array(n *pg.Node, a *pg.A_ArrayExpr, in ctx) expr {
	if p.lite {
		refuse("unsupported in SQLite", "ARRAY", a.Location, "use IN (…)")
	}
	made := p.chosen(n, p.exprs(a.Elements, in)...)
	switch t := made.typ; {
	case t == builtin.Unknown || strings.HasSuffix(string(t), "[]"):
		made.typ, made.total = builtin.Unknown, false // nested arrays of different lengths
	default:
		made.typ = settledOutput(t) + "[]"
	}
	return made
}

// now is the time of the transaction.
func (p *planner) now(n *pg.Node, typ builtin.Type) expr {
	e := p.strict(n, typ, true)
	e.near = nowIsNear
	return e
}

func (p *planner) sqlValue(n *pg.Node, f *pg.SQLValueFunction) expr {
	p.mark(f)
	switch f.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE:
		return p.now(n, "date")
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP:
		return p.now(n, "timestamptz")
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME:
		return p.strict(n, "timetz", true)
	}
	if p.lite {
		refuse("function not in the allowlist", strings.TrimPrefix(f.Op.String(), "SVFOP_"), f.Location, "bind the value as a parameter")
	}
	switch f.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N:
		return p.now(n, "timestamptz")
	case pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP, pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N:
		return p.now(n, "timestamp")
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME_N:
		return p.strict(n, "timetz", true)
	case pg.SQLValueFunctionOp_SVFOP_LOCALTIME, pg.SQLValueFunctionOp_SVFOP_LOCALTIME_N:
		return p.strict(n, "time", true)
	}
	refuse("function not in the allowlist", strings.TrimPrefix(f.Op.String(), "SVFOP_"), f.Location, "bind the value as a parameter")
	return expr{}
}

// subscript plans a[1], a[1:2] and j['key']. A subscript that is no int4 fails.
func (p *planner) subscript(n *pg.Node, a *pg.A_Indirection, in ctx) expr {
	arg := p.expr(a.Arg, in)
	a.Arg = arg.node
	e := expr{node: n, typ: builtin.Unknown}.with(arg)
	slice := false
	for _, i := range a.Indirection {
		i := i.GetAIndices()
		if i == nil {
			refuse("field of a row", "(…).field", -1, "select the column by its name")
		}
		var lower, upper expr
		i.Lidx, lower = p.optional(i.Lidx, in)
		i.Uidx, upper = p.optional(i.Uidx, in)
		e = e.with(lower, upper)
		slice = slice || i.IsSlice
	}
	if element := elementOf(arg.typ); element != builtin.Unknown && len(a.Indirection) == 1 && !slice {
		e.typ = element
	}
	return e
}

// collate plans COLLATE with a collation of pg_catalog, where PostgreSQL keeps its own. In SQLite C is BINARY.
func (p *planner) collate(n *pg.Node, c *pg.CollateClause, in ctx) expr {
	fields, ok := names(c.Collname)
	if !ok || len(fields) > 2 || len(fields) == 2 && fields[0] != "pg_catalog" {
		refuse("collation not in the allowlist", "COLLATE", c.Location, `use one of PostgreSQL's own, such as "C" or "de-x-icu"`)
	}
	name := fields[len(fields)-1]
	p.mark(c)
	switch {
	case !p.lite:
		c.Collname = strs("pg_catalog", name)
	case contains("C POSIX ucs_basic", name):
		c.Collname = strs("binary")
	default:
		refuse("unsupported in SQLite", "COLLATE "+name, c.Location, `use COLLATE "C"`)
	}
	arg := p.expr(c.Arg, in)
	c.Arg = arg.node
	return expr{node: n, typ: settledOutput(arg.typ)}.with(arg) // how long it takes depends on the texts
}

// row plans a row that is sorted by, or that count(DISTINCT …) tells from others. What it is never leaves the database. Some types
// cannot be compared, which PostgreSQL finds when it meets two rows.
func (p *planner) row(n *pg.Node, in ctx) expr {
	if p.lite {
		refuse("unsupported in SQLite", "a row as a value", n.GetRowExpr().Location, "name its columns one by one")
	}
	p.mark(n.GetRowExpr())
	e := expr{node: n, typ: builtin.Unknown}.with(p.exprs(n.GetRowExpr().Args, in.inside())...)
	if !in.part {
		in.scope.level.note(e)
	}
	return e
}

// operands plans an operand of a comparison, which may be a row, and returns what stands there and the parts.
func (p *planner) operands(n *pg.Node, in ctx) (*pg.Node, []expr) {
	row := n.GetRowExpr()
	in.operand = true
	if row == nil {
		e := p.expr(n, in)
		return e.node, []expr{e}
	}
	p.mark(row)
	return n, p.exprs(row.Args, in)
}
