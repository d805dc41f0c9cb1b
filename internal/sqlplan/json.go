package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// json plans SQL's own syntax for JSON, of which PostgreSQL 16 has the constructors and IS JSON, 17 the rest. None of it is said
// to be total: values of types that JSON lacks are converted, duplicate keys raise, and paths raise when ERROR ON ERROR asks so.
// It is nil where a node is none of these.
func (p *planner) json(n *pg.Node, in ctx) *expr {
	e := expr{node: n, typ: "json"}
	in = in.inside()
	switch j := n.GetNode().(type) {
	case *pg.Node_JsonObjectConstructor:
		e = p.jsonOutput(e, j.JsonObjectConstructor.Output)
		for _, pair := range j.JsonObjectConstructor.Exprs {
			e = p.jsonPair(e, pair.GetJsonKeyValue(), in)
		}
	case *pg.Node_JsonArrayConstructor:
		e = p.jsonOutput(e, j.JsonArrayConstructor.Output)
		for _, value := range j.JsonArrayConstructor.Exprs {
			e = p.jsonValue(e, value.GetJsonValueExpr(), in)
		}
	case *pg.Node_JsonArrayQueryConstructor:
		e = p.jsonQuery(n, j.JsonArrayQueryConstructor, in)
	case *pg.Node_JsonObjectAgg:
		e = p.jsonPair(e, j.JsonObjectAgg.Arg, in)
		e = p.jsonAggregate(e, j.JsonObjectAgg.Constructor, "JSON_OBJECTAGG", in)
	case *pg.Node_JsonArrayAgg:
		e = p.jsonValue(e, j.JsonArrayAgg.Arg, in)
		e = p.jsonAggregate(e, j.JsonArrayAgg.Constructor, "JSON_ARRAYAGG", in)
	case *pg.Node_JsonParseExpr:
		e = p.jsonOutput(p.jsonValue(e, j.JsonParseExpr.Expr, in), j.JsonParseExpr.Output)
	case *pg.Node_JsonScalarExpr:
		arg := p.expr(j.JsonScalarExpr.Expr, in)
		j.JsonScalarExpr.Expr = arg.node
		e = p.jsonOutput(e.with(arg), j.JsonScalarExpr.Output)
	case *pg.Node_JsonSerializeExpr:
		e.typ = "text"
		e = p.jsonOutput(p.jsonValue(e, j.JsonSerializeExpr.Expr, in), j.JsonSerializeExpr.Output)
	case *pg.Node_JsonIsPredicate:
		e.typ = "bool"
		arg := p.expr(j.JsonIsPredicate.Expr, in)
		j.JsonIsPredicate.Expr = arg.node
		e = e.with(arg)
	case *pg.Node_JsonFuncExpr:
		e = p.jsonFunction(e, j.JsonFuncExpr, in)
	default:
		return nil
	}
	return &e
}

// jsonValue plans a value, or a row, that becomes JSON.
func (p *planner) jsonValue(e expr, v *pg.JsonValueExpr, in ctx) expr {
	arg, ok := p.wholeRow("to_json", v.RawExpr, in)
	if !ok {
		arg = p.expr(v.RawExpr, in)
	}
	v.RawExpr = arg.node
	return e.with(arg)
}

func (p *planner) jsonPair(e expr, pair *pg.JsonKeyValue, in ctx) expr {
	key := p.expr(pair.Key, in)
	pair.Key = key.node
	return p.jsonValue(e.with(key), pair.Value, in)
}

// jsonOutput plans RETURNING, which names the result's type.
func (p *planner) jsonOutput(e expr, out *pg.JsonOutput) expr {
	if out != nil && out.TypeName != nil {
		e.typ = p.typeOf(out.TypeName, p.typeName(out.TypeName))
	}
	return e
}

// jsonAggregate plans what JSON_OBJECTAGG and JSON_ARRAYAGG have in common with other aggregates.
func (p *planner) jsonAggregate(e expr, c *pg.JsonAggConstructor, name string, in ctx) expr {
	e = p.jsonOutput(e, c.Output)
	e.aggregate = e.aggregate || c.Over == nil
	parts := &pg.FuncCall{AggOrder: c.AggOrder, AggFilter: c.AggFilter, Over: c.Over}
	e = e.with(p.callParts(parts, in)...)
	c.AggOrder, c.AggFilter, c.Over = parts.AggOrder, parts.AggFilter, parts.Over
	p.ownAggregate(e, c.Over, name, c.Location, in)
	return e
}

// jsonQuery plans JSON_ARRAY(SELECT …), which is an aggregate over a query of one column.
func (p *planner) jsonQuery(n *pg.Node, j *pg.JsonArrayQueryConstructor, in ctx) expr {
	q := p.query(j.Query, in.scope, in.scope.ctes, nil)
	if len(q.columns) != 1 {
		refuse("subquery with a wrong number of columns", "JSON_ARRAY", j.Location, "select one column")
	}
	if c := q.columns[0]; c.sealed {
		refuse("sealed column from a subquery in an expression", c.table+"."+c.column, j.Location, "fetch it with a join")
	}
	e := p.fromQuery(n, q, in)
	e.typ = "json"
	return p.jsonOutput(e, j.Output)
}

// jsonFunction plans JSON_VALUE, JSON_QUERY and JSON_EXISTS. What DEFAULT gives may not be asked for.
func (p *planner) jsonFunction(e expr, j *pg.JsonFuncExpr, in ctx) expr {
	switch j.Op {
	case pg.JsonExprOp_JSON_EXISTS_OP:
		e.typ = "bool"
	case pg.JsonExprOp_JSON_VALUE_OP:
		e.typ = "text"
	case pg.JsonExprOp_JSON_QUERY_OP:
		e.typ = "jsonb"
	default:
		refuse("unsupported expression", j.Op.String(), j.Location, "use JSON_VALUE, JSON_QUERY or JSON_EXISTS")
	}
	e = p.jsonOutput(p.jsonValue(e, j.ContextItem, in), j.Output)
	path := p.expr(j.Pathspec, in)
	j.Pathspec, e = path.node, e.with(path)
	for _, n := range j.Passing {
		e = p.jsonValue(e, n.GetJsonArgument().Val, in)
	}
	for _, b := range []*pg.JsonBehavior{j.OnEmpty, j.OnError} {
		if b != nil && b.Expr != nil {
			given := p.expr(b.Expr, in.lazily())
			b.Expr, e = given.node, e.with(given)
		}
	}
	return e
}

// jsonName is the name that PostgreSQL gives an output of this syntax, or empty.
func jsonName(n *pg.Node) string {
	switch j := n.GetNode().(type) {
	case *pg.Node_JsonObjectConstructor:
		return "json_object"
	case *pg.Node_JsonArrayConstructor, *pg.Node_JsonArrayQueryConstructor:
		return "json_array"
	case *pg.Node_JsonObjectAgg:
		return "json_objectagg"
	case *pg.Node_JsonArrayAgg:
		return "json_arrayagg"
	case *pg.Node_JsonParseExpr:
		return "json"
	case *pg.Node_JsonScalarExpr:
		return "json_scalar"
	case *pg.Node_JsonSerializeExpr:
		return "json_serialize"
	case *pg.Node_JsonFuncExpr:
		return strings.ToLower(strings.TrimSuffix(j.JsonFuncExpr.Op.String(), "_OP"))
	}
	return ""
}
