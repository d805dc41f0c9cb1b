package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// operatorName checks an operator and returns its symbol.
func (p *planner) operatorName(nodes []*pg.Node, position int32, in ctx) string {
	fields, ok := names(nodes)
	if !ok || len(fields) != 1 {
		refuse("operator not in the allowlist", "OPERATOR()", position, "write the operator without a schema")
	}
	op, ok := findOperator(fields[0], p.lite)
	if !ok {
		refuse("operator not in the allowlist", fields[0], position, "use another form; the package documentation lists the operators")
	}
	if op.raises {
		p.mayRaise(in)
	}
	return fields[0]
}

// operation plans an operator and what the grammar writes like one: IN, LIKE, BETWEEN, IS DISTINCT FROM and so on.
func (p *planner) operation(n *pg.Node, e *pg.A_Expr, in ctx) *pg.Node {
	if sealed := p.sealedOperation(e, in); sealed != nil {
		return sealed
	}
	p.mark(e)
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP:
		if op := p.operatorName(e.Name, e.Location, in); contains(regexOperators, op) {
			p.regex(e)
		} else if e.Lexpr == nil && op != "-" && op != "+" {
			refuse("operator not in the allowlist", "prefix "+op, e.Location, "use another form")
		} else {
			p.textSearch(op, e.Lexpr, e.Rexpr, e.Location, in)
			p.converted(op, e, in)
		}
		if e.Lexpr != nil {
			e.Lexpr = p.rowOrExpr(e.Lexpr, in)
		}
		e.Rexpr = p.rowOrExpr(e.Rexpr, in)
		if e.Lexpr != nil && rowWidth(e.Lexpr) != rowWidth(e.Rexpr) {
			refuse("rows of different lengths", "", e.Location, "compare rows of the same length")
		}
	case pg.A_Expr_Kind_AEXPR_OP_ANY, pg.A_Expr_Kind_AEXPR_OP_ALL:
		if p.lite {
			refuse("unsupported in SQLite", "ANY or ALL of an array", e.Location, "use IN (…)")
		}
		if fields, _ := names(e.Name); len(fields) == 1 && contains("~~ !~~ ~~* !~~*", fields[0]) {
			p.likeAny(e, in)
			return n
		}
		if op := p.operatorName(e.Name, e.Location, in); contains(regexOperators, op) {
			refuse("operator not in the allowlist", op+" ANY or ALL", e.Location, "compare with one regular expression")
		} else {
			p.textSearch(op, e.Lexpr, nil, e.Location, in)
		}
		if array := p.family(e.Rexpr, in.scope); array != adapts && !alike(p.family(e.Lexpr, in.scope)+"[]", array) {
			p.arrayOf(e, in)
		}
		e.Lexpr, e.Rexpr = p.expr(e.Lexpr, in), p.expr(e.Rexpr, in)
	case pg.A_Expr_Kind_AEXPR_IN:
		for _, item := range e.Rexpr.GetList().GetItems() {
			p.compared(e.Lexpr, item, in)
		}
		if e.Lexpr.GetRowExpr() == nil {
			p.chosen(append([]*pg.Node{e.Lexpr}, e.Rexpr.GetList().GetItems()...), in)
		}
		e.Lexpr = p.rowOrExpr(e.Lexpr, in)
		p.rows(e.Rexpr.GetList().GetItems(), rowWidth(e.Lexpr), e, in)
	case pg.A_Expr_Kind_AEXPR_DISTINCT, pg.A_Expr_Kind_AEXPR_NOT_DISTINCT, pg.A_Expr_Kind_AEXPR_NULLIF:
		p.compared(e.Lexpr, e.Rexpr, in)
		e.Lexpr, e.Rexpr = p.expr(e.Lexpr, in), p.expr(e.Rexpr, in)
	case pg.A_Expr_Kind_AEXPR_LIKE, pg.A_Expr_Kind_AEXPR_ILIKE:
		p.like(e, in)
	case pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN, pg.A_Expr_Kind_AEXPR_BETWEEN_SYM, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM:
		if p.lite && e.Kind != pg.A_Expr_Kind_AEXPR_BETWEEN && e.Kind != pg.A_Expr_Kind_AEXPR_NOT_BETWEEN {
			refuse("unsupported in SQLite", "BETWEEN SYMMETRIC", e.Location, "use BETWEEN")
		}
		for _, bound := range e.Rexpr.GetList().GetItems() {
			p.compared(e.Lexpr, bound, in)
		}
		e.Lexpr = p.expr(e.Lexpr, in)
		p.exprs(e.Rexpr.GetList().GetItems(), in)
	default:
		refuse("operator not in the allowlist", e.Kind.String()[len("AEXPR_"):], e.Location, "use LIKE or another form")
	}
	return n
}

// converted notes operators that are total for some types alone: comparisons without a conversion, and those of jsonb.
func (p *planner) converted(op string, e *pg.A_Expr, in ctx) {
	switch {
	case contains("= <> < > <= >=", op):
		p.compared(e.Lexpr, e.Rexpr, in)
	case !p.lite && contains("-> ->> #> #>> @> <@ ? ?| ?& &&", op):
		// The text of a json may hold an escape that no text can hold.
		if e.Lexpr == nil || p.family(e.Lexpr, in.scope) != "jsonb" {
			p.mayRaise(in)
		}
	}
}

// textSearch admits @@ for full text search alone. PostgreSQL tries that of jsonb, and @?, on the column's statistics
// while it plans the statement, and a path that compares times with a zone and times without fails for some values.
// The functions of the same meaning are not tried.
func (p *planner) textSearch(op string, left, right *pg.Node, position int32, in ctx) {
	if op != "@@" {
		return
	}
	for i, n := range []*pg.Node{left, right} {
		if n == nil || n.GetRowExpr() != nil {
			continue
		}
		if f := p.family(n, in.scope); f == "tsvector" || f == "tsquery" || i == 0 && f == "text" {
			return
		}
	}
	refuse("operator not in the allowlist", "@@", position, "use jsonb_path_match for jsonb; for full text search say to_tsvector, to_tsquery or ::tsquery")
}

// arrayOf notes a comparison with an array whose elements may have to be converted.
func (p *planner) arrayOf(e *pg.A_Expr, in ctx) {
	if array := e.Rexpr.GetAArrayExpr(); array != nil {
		p.chosen(append([]*pg.Node{e.Lexpr}, array.Elements...), in)
		return
	}
	p.mayRaise(in)
}

func (p *planner) rows(items []*pg.Node, width int, e *pg.A_Expr, in ctx) {
	for i := range items {
		if rowWidth(items[i]) != width {
			refuse("rows of different lengths", "IN", e.Location, "compare rows of the same length")
		}
		items[i] = p.rowOrExpr(items[i], in)
	}
	if width > 1 && p.lite {
		refuse("unsupported in SQLite", "IN with a list of rows", e.Location, "write (a, b) IN (VALUES …) as a join, or use OR")
	}
}

// like plans LIKE and ILIKE. In PostgreSQL a pattern that ends in a lone escape character fails, but only once a value
// has matched up to there, which would tell foreign values apart one letter at a time, even while the statement is
// planned, against the column's statistics. So the pattern must not depend on a row, and its end must be known to be
// harmless or is checked when it is bound ([Param.Pattern]).
func (p *planner) like(e *pg.A_Expr, in ctx) {
	if p.lite && e.Kind == pg.A_Expr_Kind_AEXPR_ILIKE {
		refuse("unsupported in SQLite", "ILIKE", e.Location, "use LIKE, which ignores the case of ASCII letters in SQLite")
	}
	p.mayRaise(in) // it takes longer the further a value matches the pattern
	e.Lexpr = p.expr(e.Lexpr, in)
	pattern, escape := e.Rexpr, `\`
	if call := pattern.GetFuncCall(); call != nil {
		if fields, _ := names(call.Funcname); len(fields) == 2 && fields[1] == "like_escape" && len(call.Args) == 2 {
			if p.lite {
				refuse("unsupported in SQLite", "ESCAPE", e.Location, "use instr() or substr(), or escape nothing")
			}
			p.mark(call)
			c, ok := isConst(call.Args[1])
			if !ok || len(c.GetSval().GetSval()) != 1 {
				refuse("unsupported clause", "ESCAPE", e.Location, "use one ASCII character as a literal")
			}
			escape = c.GetSval().GetSval()
			call.Args[1] = p.expr(call.Args[1], in)
			call.Args[0] = p.pattern(call.Args[0], escape, e.Location, in)
			return
		}
	}
	e.Rexpr = p.pattern(pattern, escape, e.Location, in)
}

// likeAny plans LIKE ANY and LIKE ALL, with the patterns written one by one.
func (p *planner) likeAny(e *pg.A_Expr, in ctx) {
	array := e.Rexpr.GetAArrayExpr()
	if array == nil || len(array.Elements) == 0 {
		refuse("LIKE ANY of an array that is not written out", "", e.Location, "write LIKE ANY (ARRAY[$1, $2, …])")
	}
	p.mayRaise(in)
	e.Lexpr = p.expr(e.Lexpr, in)
	for i, pattern := range array.Elements {
		array.Elements[i] = p.pattern(pattern, `\`, e.Location, in)
	}
}

// pattern plans a LIKE pattern: a literal, a parameter, or those joined by ||, lower() or upper().
func (p *planner) pattern(n *pg.Node, escape string, position int32, in ctx) *pg.Node {
	if p.lite {
		if c, ok := isConst(n); !ok || len(c.GetSval().GetSval()) > 1000 {
			p.mayRaise(in) // SQLite's LIKE fails for patterns over 50,000 bytes, and for no other
		}
		return p.expr(n, in)
	}
	switch e := n.GetNode().(type) {
	case *pg.Node_AConst:
		s, isString := e.AConst.Val.(*pg.A_Const_Sval)
		if e.AConst.Isnull || isString && !loneEscape(s.Sval.Sval, escape[0]) {
			return n
		}
		refuse("LIKE pattern that ends in its escape character", "", e.AConst.Location, "double the escape character")
	case *pg.Node_ParamRef:
		if escape != `\` {
			refuse("LIKE pattern as a parameter with ESCAPE", "", e.ParamRef.Location, `leave out ESCAPE and escape with \, or append a literal: $1 || '%'`)
		}
		return p.param(Param{Source: FromCaller, Caller: p.callerNumber(e.ParamRef), Use: AsIs, Pattern: true}, "")
	case *pg.Node_TypeCast:
		if name, _ := names(e.TypeCast.TypeName.GetNames()); len(name) > 0 && name[len(name)-1] == "text" && e.TypeCast.Arg.GetParamRef() != nil {
			p.mark(e.TypeCast)
			p.typeName(e.TypeCast.TypeName)
			e.TypeCast.Arg = p.pattern(e.TypeCast.Arg, escape, position, in)
			return n
		}
	case *pg.Node_FuncCall:
		if fields, _ := names(e.FuncCall.Funcname); len(fields) == 1 && (fields[0] == "lower" || fields[0] == "upper") && len(e.FuncCall.Args) == 1 {
			e.FuncCall.Args[0] = p.pattern(e.FuncCall.Args[0], escape, position, in)
			e.FuncCall.Funcname = strs("pg_catalog", fields[0])
			p.mark(e.FuncCall)
			return n
		}
	case *pg.Node_AExpr:
		if name, _ := names(e.AExpr.Name); e.AExpr.Kind == pg.A_Expr_Kind_AEXPR_OP && len(name) == 1 && name[0] == "||" && e.AExpr.Lexpr != nil {
			p.mark(e.AExpr)
			e.AExpr.Rexpr = p.pattern(e.AExpr.Rexpr, escape, position, in)
			if c, ok := isConst(e.AExpr.Rexpr); ok && closes(c.GetSval().GetSval(), escape[0]) {
				e.AExpr.Lexpr = p.patternHead(e.AExpr.Lexpr, position, in)
			} else {
				e.AExpr.Lexpr = p.pattern(e.AExpr.Lexpr, escape, position, in)
			}
			return n
		}
	}
	refuse("LIKE pattern that is not a literal or a parameter", "", position, "compute the pattern in the application and bind it")
	return nil
}

// patternHead plans what stands before a literal end of a pattern: any text, so long as it is the same for all rows.
func (p *planner) patternHead(n *pg.Node, position int32, in ctx) *pg.Node {
	switch e := n.GetNode().(type) {
	case *pg.Node_AConst:
		if e.AConst.GetSval() != nil {
			return n
		}
	case *pg.Node_ParamRef:
		return p.caller(e.ParamRef, "")
	case *pg.Node_FuncCall:
		if fields, _ := names(e.FuncCall.Funcname); len(fields) == 1 && (fields[0] == "lower" || fields[0] == "upper") && len(e.FuncCall.Args) == 1 {
			e.FuncCall.Args[0] = p.patternHead(e.FuncCall.Args[0], position, in)
			e.FuncCall.Funcname = strs("pg_catalog", fields[0])
			p.mark(e.FuncCall)
			return n
		}
	case *pg.Node_TypeCast:
		if e.TypeCast.Arg.GetParamRef() != nil {
			p.cast(e.TypeCast, in)
			return n
		}
	case *pg.Node_AExpr:
		if name, _ := names(e.AExpr.Name); e.AExpr.Kind == pg.A_Expr_Kind_AEXPR_OP && len(name) == 1 && name[0] == "||" && e.AExpr.Lexpr != nil {
			p.mark(e.AExpr)
			e.AExpr.Lexpr, e.AExpr.Rexpr = p.patternHead(e.AExpr.Lexpr, position, in), p.patternHead(e.AExpr.Rexpr, position, in)
			return n
		}
	}
	refuse("LIKE pattern that is not a literal or a parameter", "", position, "compute the pattern in the application and bind it")
	return nil
}

const regexOperators = "~ ~* !~ !~*"

// regex admits regular expressions that are a literal or a parameter. One that comes from a row may be malformed, and
// PostgreSQL tries the column's statistics, with values of all tenants, while it plans the statement.
func (p *planner) regex(e *pg.A_Expr) {
	n := e.Rexpr
	if e.Lexpr == nil {
		refuse("operator not in the allowlist", "prefix ~", e.Location, "use another form")
	}
	if cast := n.GetTypeCast(); cast != nil {
		n = cast.Arg
	}
	if _, ok := isConst(n); !ok && n.GetParamRef() == nil {
		refuse("regular expression that is not a literal or a parameter", "", e.Location, "compute the expression in the application and bind it")
	}
}

// loneEscape tells whether a pattern ends in an escape character that escapes nothing.
func loneEscape(pattern string, escape byte) bool {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == escape {
			i++
			if i == len(pattern) {
				return true
			}
		}
	}
	return false
}

// closes tells whether a pattern that ends in this text is harmless whatever stands before: also where a lone escape
// character before it takes the first character away.
func closes(tail string, escape byte) bool {
	return tail != "" && !loneEscape(tail, escape) && !loneEscape(tail[1:], escape)
}

// LoneEscape tells whether a LIKE pattern ends in a backslash that escapes nothing, which PostgreSQL refuses, but
// only when some value matches up to it. A parameter with [Param.Pattern] must not be bound to such a text.
func LoneEscape(pattern string) bool { return loneEscape(pattern, '\\') }
