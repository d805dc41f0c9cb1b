package sqlplan

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// ctx is where an expression stands.
type ctx struct {
	scope *scope
	// final tells that the expression is computed for selected rows alone: the statement's own output, and the values
	// that a write stores.
	final bool
}

func kindOf(n *pg.Node) string {
	return strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", n.GetNode()), "*pg_query.Node_"), "pg_query.")
}

// mayRaise notes something that may fail for some values. Where a foreign row could reach it, the plan gets a fence.
func (p *planner) mayRaise(in ctx) {
	if !in.final {
		p.raises = true
	}
}

func (p *planner) exprs(nodes []*pg.Node, in ctx) {
	for i := range nodes {
		nodes[i] = p.expr(nodes[i], in)
	}
}

func (p *planner) optional(n *pg.Node, in ctx) *pg.Node {
	if n == nil {
		return nil
	}
	return p.expr(n, in)
}

// expr plans an expression over plain values: a sealed column in it is refused, but for the uses that are found
// before: comparison for equality and IS NULL. It returns what stands in the expression's place.
func (p *planner) expr(n *pg.Node, in ctx) *pg.Node {
	switch e := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		v := p.resolve(e.ColumnRef, in.scope)
		if v.sealed {
			refuse("expression over a sealed column", v.table+"."+v.column.column, e.ColumnRef.Location,
				"sealed columns can be stored, fetched, tested with IS NULL and, when searchable, compared for equality with a parameter")
		}
		return p.use(v)
	case *pg.Node_ParamRef:
		return p.caller(e.ParamRef, "")
	case *pg.Node_AConst:
		return p.literal(n, e.AConst)
	case *pg.Node_AExpr:
		return p.operation(n, e.AExpr, in)
	case *pg.Node_BoolExpr:
		p.exprs(e.BoolExpr.Args, in)
		return n
	case *pg.Node_NullTest:
		p.nullTest(e.NullTest, in)
		return n
	case *pg.Node_BooleanTest:
		if p.lite && (e.BooleanTest.Booltesttype == pg.BoolTestType_IS_UNKNOWN || e.BooleanTest.Booltesttype == pg.BoolTestType_IS_NOT_UNKNOWN) {
			refuse("unsupported in SQLite", "IS UNKNOWN", e.BooleanTest.Location, "use IS NULL")
		}
		e.BooleanTest.Arg = p.expr(e.BooleanTest.Arg, in)
		return n
	case *pg.Node_SubLink:
		p.subLink(e.SubLink, in)
		return n
	case *pg.Node_FuncCall:
		p.call(e.FuncCall, in)
		return n
	case *pg.Node_TypeCast:
		p.cast(e.TypeCast, in)
		return n
	case *pg.Node_CaseExpr:
		p.chosen(caseResults(e.CaseExpr), in)
		for _, w := range e.CaseExpr.Args {
			p.compared(e.CaseExpr.Arg, w.GetCaseWhen().Expr, in)
		}
		e.CaseExpr.Arg = p.optional(e.CaseExpr.Arg, in)
		for _, w := range e.CaseExpr.Args {
			when := w.GetCaseWhen()
			when.Expr, when.Result = p.expr(when.Expr, in), p.expr(when.Result, in)
		}
		e.CaseExpr.Defresult = p.optional(e.CaseExpr.Defresult, in)
		return n
	case *pg.Node_CoalesceExpr:
		if p.lite && len(e.CoalesceExpr.Args) < 2 {
			return p.expr(e.CoalesceExpr.Args[0], in)
		}
		p.chosen(e.CoalesceExpr.Args, in)
		p.exprs(e.CoalesceExpr.Args, in)
		return n
	case *pg.Node_MinMaxExpr:
		if p.lite {
			refuse("unsupported in SQLite", e.MinMaxExpr.Op.String()[3:], e.MinMaxExpr.Location, "use CASE")
		}
		p.chosen(e.MinMaxExpr.Args, in)
		p.exprs(e.MinMaxExpr.Args, in)
		return n
	case *pg.Node_AArrayExpr:
		if p.lite {
			refuse("unsupported in SQLite", "ARRAY", e.AArrayExpr.Location, "use IN (…)")
		}
		if f := p.family(n, in.scope); f == unknown && p.common(e.AArrayExpr.Elements, in.scope) != adapts {
			p.mayRaise(in) // converted elements, or nested arrays of different lengths
		}
		p.exprs(e.AArrayExpr.Elements, in)
		return n
	case *pg.Node_SqlvalueFunction:
		p.sqlValue(e.SqlvalueFunction)
		return n
	case *pg.Node_AIndirection:
		p.subscript(e.AIndirection, in)
		return n
	case *pg.Node_CollateClause:
		p.collate(e.CollateClause, in)
		return n
	case *pg.Node_GroupingFunc:
		if p.lite {
			refuse("unsupported in SQLite", "GROUPING", e.GroupingFunc.Location, "send a statement for each grouping")
		}
		p.exprs(e.GroupingFunc.Args, in)
		return n
	case *pg.Node_MergeSupportFunc: // merge_action(), which the database admits in MERGE alone
		return n
	case *pg.Node_RowExpr:
		refuse("row value", "ROW", e.RowExpr.Location, "compare rows with rows, such as (a, b) < ($1, $2); select columns one by one")
	case *pg.Node_SetToDefault:
		refuse("DEFAULT inside an expression", "DEFAULT", e.SetToDefault.Location, "write DEFAULT as a whole value")
	}
	refuse("unsupported expression", kindOf(n), -1, "use another form; the package documentation lists what is supported")
	return nil
}

// literal leaves a literal in the text. SQLite has no E” strings, which a backslash would bring.
func (p *planner) literal(n *pg.Node, c *pg.A_Const) *pg.Node {
	if s, ok := c.Val.(*pg.A_Const_Sval); ok && p.lite && strings.Contains(s.Sval.Sval, `\`) {
		return p.param(Param{Source: FromConst, Const: s.Sval.Sval, Use: AsIs}, "")
	}
	return n
}

func (p *planner) nullTest(t *pg.NullTest, in ctx) {
	if v := p.bare(t.Arg, in.scope); v != nil {
		t.Arg = p.use(v) // a ciphertext is NULL exactly where the value is
		return
	}
	t.Arg = p.expr(t.Arg, in)
}

func (p *planner) sqlValue(f *pg.SQLValueFunction) {
	p.mark(f)
	switch f.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP:
		return
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME_N, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N,
		pg.SQLValueFunctionOp_SVFOP_LOCALTIME, pg.SQLValueFunctionOp_SVFOP_LOCALTIME_N,
		pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP, pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N:
		if !p.lite {
			return
		}
	}
	refuse("function not in the allowlist", strings.TrimPrefix(f.Op.String(), "SVFOP_"), f.Location, "bind the value as a parameter")
}

// subscript plans a[1], a[1:2] and j['key'].
func (p *planner) subscript(a *pg.A_Indirection, in ctx) {
	if p.lite {
		refuse("unsupported in SQLite", "subscript", -1, "use json_extract")
	}
	for _, n := range a.Indirection {
		i := n.GetAIndices()
		if i == nil {
			refuse("field of a row", "(…).field", -1, "select the column by its name")
		}
		i.Lidx, i.Uidx = p.optional(i.Lidx, in), p.optional(i.Uidx, in)
	}
	p.mayRaise(in) // a subscript that is no int4
	a.Arg = p.expr(a.Arg, in)
}

// collate plans COLLATE with a collation of pg_catalog, where PostgreSQL keeps its own. In SQLite C is BINARY.
func (p *planner) collate(c *pg.CollateClause, in ctx) {
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
	p.mayRaise(in) // how long it takes depends on the texts
	c.Arg = p.expr(c.Arg, in)
}

// cast plans a cast to one of the allowed types. A parameter under a cast gets the cast's type when the statement is
// prepared, so that nothing can fail later; it becomes a parameter of its own for that.
func (p *planner) cast(c *pg.TypeCast, in ctx) {
	p.mark(c)
	if p.lite {
		refuse("unsupported in SQLite", "cast", c.Location, "bind a value of the right type")
	}
	name := p.typeName(c.TypeName)
	plain := len(c.TypeName.Typmods) == 0
	if ref := c.Arg.GetParamRef(); ref != nil && plain {
		slot := "::" + name + strings.Repeat("[]", len(c.TypeName.ArrayBounds))
		c.Arg = p.caller(ref, slot)
		return
	}
	// A domain's constraint is checked each time that the literal is evaluated, so declared types may fail later.
	if _, ok := isConst(c.Arg); ok && plain && !p.declaredType(c.TypeName) {
		c.Arg = p.expr(c.Arg, in)
		return
	}
	if name != "text" || len(c.TypeName.ArrayBounds) > 0 {
		p.mayRaise(in)
	}
	c.Arg = p.expr(c.Arg, in)
}

// declaredType tells whether a type that typeName has checked is one of the catalog's, which may be a domain.
func (p *planner) declaredType(t *pg.TypeName) bool {
	fields, _ := names(t.Names)
	return len(fields) != 2 || fields[0] != "pg_catalog" || slices.Contains(p.cat.Types, strings.Join(fields, "."))
}

// typeName checks a type, puts it into pg_catalog, and returns its name there.
func (p *planner) typeName(t *pg.TypeName) string {
	p.mark(t)
	fields, ok := names(t.Names)
	if !ok || len(fields) > 2 || len(fields) == 2 && fields[0] != "pg_catalog" || !contains(types, fields[len(fields)-1]) {
		if name := strings.Join(fields, "."); ok && len(t.Typmods) == 0 && slices.Contains(p.cat.Types, name) {
			return name
		}
		refuse("type not in the allowlist", strings.Join(fields, "."), t.Location, "declare the type if its input reads no tables, or use one of "+strings.ReplaceAll(types, " ", ", "))
	}
	for _, m := range t.Typmods {
		if c, ok := isConst(m); !ok || c.GetIval() == nil && c.Val != nil {
			refuse("unsupported type modifier", fields[len(fields)-1], t.Location, "use a number")
		}
	}
	name := fields[len(fields)-1]
	t.Names = strs("pg_catalog", name)
	return name
}

// subLink plans a query inside an expression.
func (p *planner) subLink(l *pg.SubLink, in ctx) {
	p.mark(l)
	test := l.Testexpr
	columns := p.query(l.Subselect, in.scope, in.scope.ctes)
	if l.SubLinkType == pg.SubLinkType_EXISTS_SUBLINK {
		return
	}
	for _, c := range columns {
		if c.sealed {
			refuse("sealed column from a subquery in an expression", c.table+"."+c.column, l.Location, "fetch it with a join")
		}
	}
	width := 1
	switch l.SubLinkType {
	case pg.SubLinkType_EXPR_SUBLINK:
		if !p.lite && !oneRow(l.Subselect.GetSelectStmt()) {
			p.mayRaise(in) // more than one row
		}
	case pg.SubLinkType_ARRAY_SUBLINK:
		if p.lite {
			refuse("unsupported in SQLite", "ARRAY", l.Location, "use a join")
		}
	case pg.SubLinkType_ANY_SUBLINK, pg.SubLinkType_ALL_SUBLINK:
		op := "="
		if len(l.OperName) > 0 {
			op = p.operatorName(l.OperName, l.Location, in)
			p.textSearch(op, test, nil, l.Location, in)
		}
		if p.lite && (len(l.OperName) > 0 || l.SubLinkType == pg.SubLinkType_ALL_SUBLINK) {
			refuse("unsupported in SQLite", op+" ANY or ALL", l.Location, "use IN, EXISTS, min or max")
		}
		p.comparedWith(test, columns, in)
		width = rowWidth(test)
		l.Testexpr = p.rowOrExpr(test, in)
	default:
		refuse("unsupported construct", l.SubLinkType.String(), l.Location, "use EXISTS, IN or a scalar subquery")
	}
	if len(columns) != width {
		refuse("subquery with a wrong number of columns", "", l.Location, "select as many columns as are compared")
	}
}

// oneRow tells the queries that surely have at most one row: LIMIT 1, and an aggregate without GROUP BY.
func oneRow(s *pg.SelectStmt) bool {
	if c, ok := isConst(s.LimitCount); ok && c.GetIval() != nil && c.GetIval().Ival <= 1 && s.LimitOption != pg.LimitOption_LIMIT_OPTION_WITH_TIES {
		return true
	}
	if s.Op != pg.SetOperation_SETOP_NONE || len(s.GroupClause) > 0 || len(s.TargetList) != 1 {
		return false
	}
	call := s.TargetList[0].GetResTarget().GetVal().GetFuncCall()
	if call == nil || call.Over != nil {
		return false
	}
	fields, _ := names(call.Funcname)
	b, _ := findBuiltin(fields[len(fields)-1], false)
	return b.aggregate
}

// comparedWith notes a comparison of an operand with a subquery's columns that may have to convert a value.
func (p *planner) comparedWith(test *pg.Node, columns []column, in ctx) {
	operands := []*pg.Node{test}
	if row := test.GetRowExpr(); row != nil {
		operands = row.Args
	}
	for i, c := range columns {
		if i < len(operands) && !p.lite && !alike(p.family(operands[i], in.scope), c.family) {
			p.mayRaise(in)
		}
	}
}

func rowWidth(n *pg.Node) int {
	if row := n.GetRowExpr(); row != nil {
		return len(row.Args)
	}
	return 1
}

// rowOrExpr plans an operand of a comparison, which may be a row.
func (p *planner) rowOrExpr(n *pg.Node, in ctx) *pg.Node {
	row := n.GetRowExpr()
	if row == nil {
		return p.expr(n, in)
	}
	p.mark(row)
	if p.lite && row.RowFormat != pg.CoercionForm_COERCE_IMPLICIT_CAST {
		refuse("unsupported in SQLite", "ROW", row.Location, "write (a, b)")
	}
	p.exprs(row.Args, in)
	return n
}
