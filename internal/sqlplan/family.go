package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// PostgreSQL converts operands of different types without being asked, and some of those conversions fail for some
// values: a numeric beyond a float8's range, a date beyond a timestamp's. A comparison is total, failing for no value,
// only when no such conversion can be in it. So the planner follows the types as far as it must: a family is a set of
// types that are compared with one another without a conversion that may fail.
//
// The families are the names of types in pg_catalog, but "int" for all integers and "text" for all character types;
// an array's family is its element's and "[]". Two are special.
const (
	adapts  = ""  // a literal or a parameter without a cast: it takes the other operand's type when it is planned
	unknown = "?" // anything may be converted to anything
)

var families = map[string]string{
	"smallint": "int", "integer": "int", "bigint": "int", "int2": "int", "int4": "int", "int8": "int", "int": "int",
	"text": "text", "character varying": "text", "varchar": "text", "character": "text", "bpchar": "text", "char": "text",
	"boolean": "bool", "bool": "bool", "numeric": "numeric", "real": "float8", "double precision": "float8", "float4": "float8",
	"float8": "float8", "date": "date", "timestamp without time zone": "timestamp", "timestamp": "timestamp",
	"timestamp with time zone": "timestamptz", "timestamptz": "timestamptz", "time without time zone": "time", "time": "time",
	"uuid": "uuid", "jsonb": "jsonb", "json": "json", "bytea": "bytea", "interval": "interval", "tsvector": "tsvector", "tsquery": "tsquery",
}

// functionFamilies are the families of what some functions return.
var functionFamilies = map[string]string{
	"text":        "lower upper ltrim rtrim btrim left right reverse initcap md5 translate concat concat_ws jsonb_typeof",
	"int":         "length char_length character_length octet_length bit_length strpos position ascii array_length cardinality count",
	"bool":        "starts_with isfinite bool_and bool_or every",
	"timestamptz": "now transaction_timestamp statement_timestamp clock_timestamp",
	"uuid":        "gen_random_uuid",
	"tsvector":    "to_tsvector setweight strip",
	"tsquery":     "to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery tsquery_phrase",
}

// familyOf returns the family of a type as the catalog or a cast names it.
func familyOf(name string) string {
	name, array := strings.CutSuffix(strings.ToLower(name), "[]")
	if base, rest, modified := strings.Cut(name, "("); modified { // numeric(10,2), timestamp(3) with time zone
		_, after, _ := strings.Cut(rest, ")")
		name = strings.TrimSpace(base) + after
	}
	f := families[name]
	if f == "" {
		return unknown
	}
	if array {
		f += "[]"
	}
	return f
}

// outputFamily returns the family of an expression as another query sees it: a literal has found its type by then.
func (p *planner) outputFamily(n *pg.Node, s *scope) string {
	f := p.family(n, s)
	if f != adapts {
		return f
	}
	if c, ok := isConst(n); ok {
		switch c.Val.(type) {
		case *pg.A_Const_Ival:
			return "int"
		case *pg.A_Const_Sval:
			return "text"
		case *pg.A_Const_Boolval:
			return "bool"
		}
	}
	return unknown
}

// widest returns the family of two that are set together, one above the other.
func widest(a, b string) string {
	switch {
	case !alike(a, b):
		return unknown
	case a == "int":
		return b
	}
	return a
}

// family returns the family of an expression that is not planned yet.
func (p *planner) family(n *pg.Node, s *scope) string {
	switch e := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		return p.resolve(e.ColumnRef, s).family
	case *pg.Node_ParamRef, *pg.Node_AConst:
		return adapts
	case *pg.Node_TypeCast:
		fields, _ := names(e.TypeCast.TypeName.GetNames())
		if len(fields) == 1 || len(fields) == 2 && fields[0] == "pg_catalog" { // and no declared type of another schema
			return familyOf(fields[len(fields)-1] + strings.Repeat("[]", min(1, len(e.TypeCast.TypeName.ArrayBounds))))
		}
	case *pg.Node_FuncCall:
		fields, _ := names(e.FuncCall.Funcname)
		for family, functions := range functionFamilies {
			if len(fields) > 0 && contains(functions, fields[len(fields)-1]) {
				return family
			}
		}
	case *pg.Node_BoolExpr, *pg.Node_NullTest, *pg.Node_BooleanTest:
		return "bool"
	case *pg.Node_AExpr:
		return p.operationFamily(e.AExpr, s)
	case *pg.Node_SubLink:
		if targets := e.SubLink.Subselect.GetSelectStmt().GetTargetList(); e.SubLink.SubLinkType == pg.SubLinkType_EXPR_SUBLINK && len(targets) == 1 {
			if call := targets[0].GetResTarget().GetVal(); call.GetFuncCall() != nil { // whose family depends on no scope
				return p.family(call, nil)
			}
		}
		if t := e.SubLink.SubLinkType; t == pg.SubLinkType_EXISTS_SUBLINK || t == pg.SubLinkType_ANY_SUBLINK || t == pg.SubLinkType_ALL_SUBLINK {
			return "bool"
		}
	case *pg.Node_CollateClause:
		return p.family(e.CollateClause.Arg, s)
	case *pg.Node_GroupingFunc:
		return "int"
	case *pg.Node_MergeSupportFunc:
		return "text"
	case *pg.Node_CoalesceExpr:
		return p.common(e.CoalesceExpr.Args, s)
	case *pg.Node_MinMaxExpr:
		return p.common(e.MinMaxExpr.Args, s)
	case *pg.Node_CaseExpr:
		return p.common(caseResults(e.CaseExpr), s)
	case *pg.Node_AArrayExpr:
		if f := p.common(e.AArrayExpr.Elements, s); f != unknown && f != adapts && !strings.HasSuffix(f, "[]") {
			return f + "[]"
		}
	case *pg.Node_SqlvalueFunction:
		switch e.SqlvalueFunction.Op {
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE:
			return "date"
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N:
			return "timestamptz"
		}
	}
	return unknown
}

func (p *planner) operationFamily(e *pg.A_Expr, s *scope) string {
	op, _ := names(e.Name)
	switch {
	case e.Kind == pg.A_Expr_Kind_AEXPR_NULLIF:
		return p.family(e.Lexpr, s)
	case e.Kind != pg.A_Expr_Kind_AEXPR_OP:
		return "bool"
	case len(op) == 1 && contains("= <> < > <= >= @> <@ ? ?| ?& && ~ ~* !~ !~* @@", op[0]):
		return "bool"
	case len(op) == 1 && contains("->> #>>", op[0]):
		return "text"
	case len(op) == 1 && contains("-> #>", op[0]) && e.Lexpr != nil:
		return p.family(e.Lexpr, s)
	}
	return unknown
}

func caseResults(c *pg.CaseExpr) []*pg.Node {
	var results []*pg.Node
	for _, w := range c.Args {
		results = append(results, w.GetCaseWhen().Result)
	}
	if c.Defresult != nil {
		results = append(results, c.Defresult)
	}
	return results
}

// common returns the family of a choice among expressions, unknown where one may have to be converted.
func (p *planner) common(nodes []*pg.Node, s *scope) string {
	result := adapts
	for _, n := range nodes {
		f := p.family(n, s)
		switch {
		case !alike(result, f):
			return unknown
		case result == adapts || result == "int" && f != adapts:
			result = f
		}
	}
	return result
}

// alike tells whether values of two families are compared without a conversion that may fail. Integers become numeric
// or float8 without fail.
func alike(a, b string) bool {
	if a == adapts || b == adapts {
		return true
	}
	wider := func(x, y string) bool { return x == "int" && (y == "numeric" || y == "float8") }
	return a != unknown && a == b || wider(a, b) || wider(b, a)
}

// compared notes a comparison that may have to convert an operand. SQLite converts without fail.
func (p *planner) compared(a, b *pg.Node, in ctx) {
	if p.lite || a == nil || b == nil {
		return
	}
	left, right := a.GetRowExpr(), b.GetRowExpr()
	if left != nil && right != nil && len(left.Args) == len(right.Args) {
		for i := range left.Args {
			p.compared(left.Args[i], right.Args[i], in)
		}
		return
	}
	if !alike(p.family(a, in.scope), p.family(b, in.scope)) {
		p.mayRaise(in)
	}
}

// chosen notes a choice among expressions, one of which may have to be converted.
func (p *planner) chosen(nodes []*pg.Node, in ctx) {
	if !p.lite && p.common(nodes, in.scope) == unknown {
		p.mayRaise(in)
	}
}
