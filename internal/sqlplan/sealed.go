package sqlplan

import (
	"math/big"
	"strconv"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// sealedOperation plans an operator with a sealed column on a side: equality through the blind index. Ok is false where
// there is none. Index values are compared byte by byte, which fails for none.
func (p *planner) sealedOperation(e *pg.A_Expr, in ctx) (made expr, ok bool) {
	left, right := p.sealedSide(e.Lexpr, in), p.sealedSide(e.Rexpr, in)
	if left == nil && right == nil {
		return expr{}, false
	}
	made = expr{typ: "bool", total: true}
	for _, v := range []*visible{left, right} {
		if v != nil {
			made.rels = made.rels.plus(relset{v.rel})
			made.total = made.total && (v.total || v.rel.behind)
		}
	}
	made.node = p.sealedComparison(e, left, right)
	return made, true
}

func (p *planner) sealedComparison(e *pg.A_Expr, left, right *visible) *pg.Node {
	op, _ := names(e.Name)
	equality := len(op) == 1 && (op[0] == "=" || op[0] == "<>")
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP, pg.A_Expr_Kind_AEXPR_DISTINCT, pg.A_Expr_Kind_AEXPR_NOT_DISTINCT:
	case pg.A_Expr_Kind_AEXPR_OP_ANY:
		equality = equality && op[0] == "="
	case pg.A_Expr_Kind_AEXPR_IN:
	default:
		equality = false
	}
	v, other := left, e.Rexpr
	if v == nil {
		v, other = right, e.Lexpr
	}
	if !equality {
		refuse("comparison of a sealed column other than equality", v.table+"."+v.column.column, e.Location,
			"only =, <>, IN, = ANY and IS [NOT] DISTINCT FROM work on sealed columns, and only when they are searchable")
	}
	c := p.searchable(v, e.Location)
	if left != nil && right != nil {
		return p.sealedJoin(e, left, right)
	}
	p.touch(&v.column)
	values := []*pg.Node{other}
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_IN:
		values = other.GetList().GetItems()
	case pg.A_Expr_Kind_AEXPR_OP_ANY:
		array := other.GetAArrayExpr()
		if array == nil || len(array.Elements) == 0 {
			return p.searchArray(e, v, c, other)
		}
		values = array.Elements
	}
	return p.search(e, v, c, values, op[0] == "<>")
}

// sealedSide returns the sealed column that n is, or nil.
func (p *planner) sealedSide(n *pg.Node, in ctx) *visible {
	if n.GetColumnRef() == nil {
		return nil
	}
	if v := p.bare(n, in.scope); v.sealed {
		return v
	}
	return nil
}

// searchable returns the column when it has a blind index that can be reached here.
func (p *planner) searchable(v *visible, position int32) *Column {
	c := p.cat.Tables[v.table].column(v.column.column)
	if c.IndexColumn == "" {
		refuse("comparison of a sealed column that is not searchable", v.table+"."+c.Name, position, "declare it Searchable, or filter in the application")
	}
	if v.rel.base == nil {
		refuse("comparison of a sealed column outside the query that reads its table", v.table+"."+c.Name, position,
			"put the condition into the subquery")
	}
	return c
}

// search compares a blind index with the index values of params and literals, one for each live key.
func (p *planner) search(e *pg.A_Expr, v *visible, c *Column, values []*pg.Node, not bool) *pg.Node {
	var params []*pg.Node
	for _, value := range values {
		for version := range p.cat.IndexVersions {
			param, ok := p.sealedValue(value, v.table, c.Name)
			if !ok {
				refuse("sealed column compared with an expression", v.table+"."+c.Name, e.Location, "compare it with a parameter or a literal")
			}
			if param == nil {
				refuse("sealed column compared with NULL", v.table+"."+c.Name, e.Location, "use IS NULL or IS NOT NULL")
			}
			p.settlePlain(param, c)
			param.Use, param.IndexVersion = Index, version
			params = append(params, p.param(*param, ""))
		}
	}
	if len(params) == 0 {
		refuse("empty list", "IN", e.Location, "name a value")
	}
	switch {
	case e.Kind == pg.A_Expr_Kind_AEXPR_DISTINCT || e.Kind == pg.A_Expr_Kind_AEXPR_NOT_DISTINCT:
		return p.distinctFrom(e.Kind, v, c, params)
	case len(params) == 1 && not:
		return p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, "<>", p.index(v.rel, c), params[0]))
	case len(params) == 1:
		return p.made(eq(p.index(v.rel, c), params[0]))
	case not:
		return p.made(opExpr(pg.A_Expr_Kind_AEXPR_IN, "<>", p.index(v.rel, c), list(params)))
	}
	return p.made(opExpr(pg.A_Expr_Kind_AEXPR_IN, "=", p.index(v.rel, c), list(params)))
}

// searchArray compares a blind index with the elements of an array that is one parameter or literal. A cast of it says what the
// caller's array is; what becomes of its elements is for the column's logical type to say.
func (p *planner) searchArray(e *pg.A_Expr, v *visible, c *Column, n *pg.Node) *pg.Node {
	if cast := n.GetTypeCast(); cast != nil && len(cast.TypeName.GetArrayBounds()) == 1 && len(cast.TypeName.GetTypmods()) == 0 {
		p.typeName(cast.TypeName)
		n = cast.Arg
	}
	param, ok := p.sealedValue(n, v.table, c.Name)
	if !ok || p.lite {
		refuse("array compared with a sealed column", v.table+"."+c.Name, e.Location,
			"write IN ($1, $2, …) with the values one by one, or on PostgreSQL = ANY ($1) with the array as a parameter")
	}
	if param == nil {
		refuse("sealed column compared with NULL", v.table+"."+c.Name, e.Location, "use IS NULL or IS NOT NULL")
	}
	param.Use, param.Array = Index, true
	value := p.param(*param, "")
	return p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP_ANY, "=", p.index(v.rel, c), value))
}

// distinctFrom is index IS DISTINCT FROM every one of the parameters, or IS NOT DISTINCT FROM one of them.
func (p *planner) distinctFrom(kind pg.A_Expr_Kind, v *visible, c *Column, params []*pg.Node) *pg.Node {
	var all []*pg.Node
	for _, param := range params {
		all = append(all, p.made(opExpr(kind, "=", p.index(v.rel, c), param)))
	}
	if len(all) == 1 {
		return all[0]
	}
	if kind == pg.A_Expr_Kind_AEXPR_DISTINCT {
		return boolExpr(pg.BoolExprType_AND_EXPR, all...)
	}
	return boolExpr(pg.BoolExprType_OR_EXPR, all...)
}

// sealedJoin compares the same column of two occurrences of its table. While several index keys live, equal values may
// have different index values, so it is refused.
func (p *planner) sealedJoin(e *pg.A_Expr, left, right *visible) *pg.Node {
	name := left.table + "." + left.column.column
	if left.table != right.table || left.column.column != right.column.column {
		refuse("comparison of two different sealed columns", name, e.Location, "only the same column of the same table can be joined")
	}
	if p.cat.IndexVersions != 1 {
		refuse("join on a sealed column during a rotation of its index key", name, e.Location, "wait for the rotation to end, or join in the application")
	}
	c := p.searchable(left, e.Location)
	p.searchable(right, e.Location)
	p.touch(&left.column)
	e.Lexpr, e.Rexpr = p.index(left.rel, c), p.index(right.rel, c)
	p.mark(e)
	return &pg.Node{Node: &pg.Node_AExpr{AExpr: e}}
}

// sealedValue describes a parameter or a literal that is bound for a sealed column. It is nil for NULL; ok is false
// for anything else than these.
func (p *planner) sealedValue(n *pg.Node, table, column string) (param *Param, ok bool) {
	if ref := n.GetParamRef(); ref != nil {
		return &Param{Source: FromCaller, Caller: p.callerNumber(ref), Use: Seal, Table: table, Column: column}, true
	}
	c, ok := isConst(n)
	if !ok {
		return nil, false
	}
	if c.Isnull {
		return nil, true
	}
	return &Param{Source: FromConst, Const: constant(c), Use: Seal, Table: table, Column: column}, true
}

// constant is a literal's value. A number that neither int64 nor float64 holds exactly stays a text.
func constant(c *pg.A_Const) any {
	switch v := c.Val.(type) {
	case *pg.A_Const_Ival:
		return int64(v.Ival.GetIval())
	case *pg.A_Const_Boolval:
		return v.Boolval.GetBoolval()
	case *pg.A_Const_Sval:
		return v.Sval.GetSval()
	case *pg.A_Const_Fval:
		text := v.Fval.GetFval()
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
		return float(text)
	}
	refuse("unsupported literal", "", c.Location, "bind the value as a parameter")
	return nil
}

// float returns text as a float64 when the shortest text of that float64 is the same number.
func float(text string) any {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f == 0 || len(text) > 40 { // 1e-999999999 parses as 0, and would be a huge fraction
		return text
	}
	want, ok := new(big.Rat).SetString(text)
	got, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	if !ok || got == nil || want.Cmp(got) != 0 {
		return text
	}
	return f
}
