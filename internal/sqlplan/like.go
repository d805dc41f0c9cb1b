package sqlplan

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// In PostgreSQL a LIKE pattern that ends in a lone escape character fails, but only once a value has matched up to there,
// which would tell foreign values apart one letter at a time, even while the statement is planned, against the column's
// statistics. So a pattern must not depend on a row, and its end must be known to be harmless or is checked when it is
// bound ([Param.Pattern]). A pattern of some 15,000 wildcards passes PostgreSQL's stack depth on a text that is as long.

// MaxPattern is the most bytes of a parameter that is a LIKE pattern or a part of one.
const MaxPattern = 4 << 10

// maxPatternParts bounds how many parameters and literals one pattern is made of for it to be total.
const maxPatternParts = 3

// like plans LIKE and ILIKE.
func (p *planner) like(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	value := p.expr(e.Lexpr, in)
	e.Lexpr = value.node
	l := &likePattern{p: p, in: in, escape: `\`, position: e.Location}
	if call := e.Rexpr.GetFuncCall(); call != nil {
		if fields, _ := names(call.Funcname); len(fields) == 2 && fields[1] == "like_escape" && len(call.Args) == 2 {
			l.escaped(call)
			return l.matched(n, value)
		}
	}
	e.Rexpr = l.tail(e.Rexpr)
	return l.matched(n, value)
}

// likeAny plans LIKE ANY and LIKE ALL, with the patterns written one by one.
func (p *planner) likeAny(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	array := e.Rexpr.GetAArrayExpr()
	if array == nil || len(array.Elements) == 0 {
		refuse("LIKE ANY of an array that is not written out", "", e.Location, "write LIKE ANY (ARRAY[$1, $2, …])")
	}
	value := p.expr(e.Lexpr, in)
	e.Lexpr = value.node
	made := expr{node: n, typ: "bool", total: true}
	operator, _ := names(e.Name)
	folding := strings.HasSuffix(operator[0], "*")
	for i, pattern := range array.Elements {
		l := &likePattern{p: p, in: in, escape: `\`, position: e.Location, folding: folding}
		array.Elements[i] = l.tail(pattern)
		m := l.matched(n, value)
		total := made.total && m.total
		made = made.with(m)
		made.total = total
	}
	return made
}

// similar plans SIMILAR TO, which PostgreSQL makes a regular expression of.
func (p *planner) similar(n *pg.Node, e *pg.A_Expr, in ctx) expr {
	call := e.Rexpr.GetFuncCall()
	fields, _ := names(call.GetFuncname())
	if p.lite || len(fields) != 2 || fields[1] != "similar_to_escape" {
		refuse("operator not in the allowlist", "SIMILAR TO", e.Location, "use LIKE")
	}
	p.mark(call)
	value := p.expr(e.Lexpr, in)
	e.Lexpr = value.node
	for i, arg := range call.Args {
		if _, ok := isConst(arg); !ok && arg.GetParamRef() == nil {
			refuse("pattern that is not a literal or a parameter", "SIMILAR TO", e.Location, "compute the pattern in the application and bind it")
		}
		call.Args[i] = p.expr(arg, in).node
	}
	return expr{node: n, typ: "bool"}.with(value)
}

// likePattern is one pattern while it is planned.
type likePattern struct {
	p        *planner
	in       ctx
	escape   string // one character, or none
	position int32
	parts    int
	replaced int  // by replace()
	folding  bool // the case of letters is ignored
	unknown  bool // it is not known to be bounded
	made     expr // what is known of its parts
}

// matched is a value that is compared with the pattern.
func (l *likePattern) matched(n *pg.Node, value expr) expr {
	_, total, _ := builtin.Operator(l.p.engine, "~~", value.typ, "text")
	if l.p.lite {
		total = true // but for patterns over 50,000 bytes
	}
	if n.GetAExpr().GetKind() == pg.A_Expr_Kind_AEXPR_ILIKE || l.folding {
		total = false // folding the case of a text over 256 MB fails
	}
	return expr{node: n, typ: "bool", total: total && value.total && !l.unknown && l.parts <= maxPatternParts}.with(value, l.made)
}

// escaped plans a pattern with ESCAPE, which the parser makes a call of.
func (l *likePattern) escaped(call *pg.FuncCall) {
	if l.p.lite {
		refuse("unsupported in SQLite", "ESCAPE", l.position, "use instr() or substr(), or escape nothing")
	}
	l.p.mark(call)
	c, ok := isConst(call.Args[1])
	if !ok || c.GetSval() == nil || len(c.GetSval().GetSval()) > 1 {
		refuse("unsupported clause", "ESCAPE", l.position, "use one ASCII character as a literal, or none")
	}
	l.escape = c.GetSval().GetSval()
	call.Args[0] = l.tail(call.Args[0])
}

// tail plans the end of a pattern: a literal, a parameter, or those joined by ||, lower() or upper().
func (l *likePattern) tail(n *pg.Node) *pg.Node {
	p := l.p
	if l.escape == "" {
		return l.head(n)
	}
	if p.lite {
		return l.lite(n)
	}
	switch e := n.GetNode().(type) {
	case *pg.Node_AConst:
		s, isString := e.AConst.Val.(*pg.A_Const_Sval)
		if e.AConst.Isnull || isString && !loneEscape(s.Sval.Sval, l.escape[0]) {
			return l.literal(n, e.AConst)
		}
		refuse("LIKE pattern that ends in its escape character", "", e.AConst.Location, "double the escape character")
	case *pg.Node_ParamRef:
		if l.escape != `\` {
			refuse("LIKE pattern as a parameter with ESCAPE", "", e.ParamRef.Location, `leave out ESCAPE and escape with \, or append a literal: $1 || '%'`)
		}
		return l.param(e.ParamRef, true)
	case *pg.Node_TypeCast:
		if e.TypeCast.Arg.GetParamRef() != nil && l.textCast(e.TypeCast) {
			e.TypeCast.Arg = l.tail(e.TypeCast.Arg)
			return n
		}
	case *pg.Node_FuncCall:
		if l.folds(e.FuncCall) {
			e.FuncCall.Args[0] = l.tail(e.FuncCall.Args[0])
			return n
		}
		if l.concats(e.FuncCall) {
			l.concat(e.FuncCall.Args, l.head, l.tail)
			return n
		}
	case *pg.Node_CoalesceExpr:
		for i, arg := range e.CoalesceExpr.Args {
			e.CoalesceExpr.Args[i] = l.tail(arg)
		}
		return n
	case *pg.Node_AExpr:
		if l.joins(e.AExpr) {
			right := e.AExpr.Rexpr
			if c, ok := isConst(right); ok && closes(c.GetSval().GetSval(), l.escape[0]) {
				e.AExpr.Lexpr = l.head(e.AExpr.Lexpr)
			} else {
				e.AExpr.Lexpr = l.tail(e.AExpr.Lexpr)
			}
			e.AExpr.Rexpr = l.tail(right)
			return n
		}
	}
	l.refuse()
	return nil
}

// head plans what stands before a literal end of a pattern: any text, so long as it is the same for all rows.
func (l *likePattern) head(n *pg.Node) *pg.Node {
	switch e := n.GetNode().(type) {
	case *pg.Node_AConst:
		if e.AConst.GetSval() != nil || e.AConst.Isnull {
			return l.literal(n, e.AConst)
		}
	case *pg.Node_ParamRef:
		return l.param(e.ParamRef, false)
	case *pg.Node_FuncCall:
		if l.folds(e.FuncCall) {
			e.FuncCall.Args[0] = l.head(e.FuncCall.Args[0])
			return n
		}
		if l.concats(e.FuncCall) {
			l.concat(e.FuncCall.Args, l.head, l.head)
			return n
		}
		if l.shortens(e.FuncCall) || l.escapes(e.FuncCall) {
			e.FuncCall.Args[0] = l.head(e.FuncCall.Args[0])
			return n
		}
	case *pg.Node_CoalesceExpr:
		for i, arg := range e.CoalesceExpr.Args {
			e.CoalesceExpr.Args[i] = l.head(arg)
		}
		return n
	case *pg.Node_TypeCast:
		if e.TypeCast.Arg.GetParamRef() != nil && l.textCast(e.TypeCast) {
			e.TypeCast.Arg = l.head(e.TypeCast.Arg)
			return n
		}
	case *pg.Node_AExpr:
		if l.joins(e.AExpr) {
			e.AExpr.Lexpr = l.head(e.AExpr.Lexpr)
			e.AExpr.Rexpr = l.head(e.AExpr.Rexpr)
			return n
		}
	}
	l.refuse()
	return nil
}

// lite plans a pattern for SQLite, whose LIKE fails for patterns over 50,000 bytes and for no other.
func (l *likePattern) lite(n *pg.Node) *pg.Node {
	if ref := n.GetParamRef(); ref != nil {
		return l.param(ref, false)
	}
	e := l.p.expr(n, l.in)
	if c, ok := isConst(n); !ok || len(c.GetSval().GetSval()) > MaxPattern {
		l.unknown = true
	}
	l.made = l.made.with(e)
	return e.node
}

func (l *likePattern) param(ref *pg.ParamRef, tail bool) *pg.Node {
	l.parts++
	return l.p.patternParam(ref, tail && !l.p.lite).node
}

func (l *likePattern) literal(n *pg.Node, c *pg.A_Const) *pg.Node {
	l.parts++
	l.unknown = l.unknown || len(c.GetSval().GetSval()) > MaxPattern
	return n
}

// textCast plans a cast of a parameter to text.
func (l *likePattern) textCast(c *pg.TypeCast) bool {
	fields, _ := names(c.TypeName.GetNames())
	if len(fields) == 0 || !slices.Contains([]string{"text", "varchar"}, fields[len(fields)-1]) || len(c.TypeName.ArrayBounds) > 0 || len(c.TypeName.Typmods) > 0 {
		return false
	}
	l.p.mark(c)
	l.p.typeName(c.TypeName)
	return true
}

// folds plans the name of lower() or upper().
func (l *likePattern) folds(f *pg.FuncCall) bool {
	fields, _ := names(f.Funcname)
	if len(fields) != 1 || fields[0] != "lower" && fields[0] != "upper" || len(f.Args) != 1 {
		return false
	}
	f.Funcname = strs("pg_catalog", fields[0])
	l.p.mark(f)
	return true
}

// concats plans the name of concat(), whose arguments are joined like those of ||, and may be NULL.
func (l *likePattern) concats(f *pg.FuncCall) bool {
	fields, _ := names(f.Funcname)
	if len(fields) != 1 || fields[0] != "concat" || len(f.Args) == 0 || f.FuncVariadic {
		return false
	}
	f.Funcname = strs("pg_catalog", fields[0])
	l.p.mark(f)
	return true
}

// concat plans the arguments of concat(). The end must be a literal that closes whatever stands before it, or each argument be
// checked like an end, since those behind it may be NULL or empty.
func (l *likePattern) concat(args []*pg.Node, head, tail func(*pg.Node) *pg.Node) {
	if c, ok := isConst(args[len(args)-1]); !ok || l.escape == "" || !closes(c.GetSval().GetSval(), l.escape[0]) {
		head = tail
	}
	for i, arg := range args {
		if ref := arg.GetParamRef(); ref != nil { // which takes its type from no argument of concat's
			l.p.unsettle(expr{param: l.p.callerNumber(ref)})
		}
		if i < len(args)-1 {
			args[i] = head(arg)
		} else {
			args[i] = tail(arg)
		}
	}
}

// shortens plans the name of trim() and the like, which take spaces away. What they leave may end in an escape character.
func (l *likePattern) shortens(f *pg.FuncCall) bool {
	fields, _ := names(f.Funcname)
	name := ""
	if len(fields) > 0 {
		name = fields[len(fields)-1]
	}
	if len(fields) > 2 || len(fields) == 2 && fields[0] != "pg_catalog" || !contains("btrim ltrim rtrim", name) || len(f.Args) != 1 {
		return false
	}
	f.Funcname = strs("pg_catalog", name)
	l.p.mark(f)
	return true
}

// maxEscapes is how many times a pattern may be made longer by replace().
const maxEscapes = 4

// escapes plans the name of replace() where it escapes the wildcards of a pattern, or takes a text away: there are no more of them
// than before.
func (l *likePattern) escapes(f *pg.FuncCall) bool {
	fields, _ := names(f.Funcname)
	if len(fields) != 1 || fields[0] != "replace" || len(f.Args) != 3 {
		return false
	}
	from, fromLiteral := isConst(f.Args[1])
	to, toLiteral := isConst(f.Args[2])
	if !fromLiteral || !toLiteral || from.GetSval() == nil || to.GetSval() == nil {
		return false
	}
	old, with := from.GetSval().Sval, to.GetSval().Sval
	if l.replaced++; l.replaced > maxEscapes || with != "" && (!contains(`% _ \`, old) || with != `\`+old) {
		return false
	}
	f.Funcname = strs("pg_catalog", fields[0])
	l.p.mark(f)
	return true
}

func (l *likePattern) joins(e *pg.A_Expr) bool {
	name, _ := names(e.Name)
	if e.Kind != pg.A_Expr_Kind_AEXPR_OP || len(name) != 1 || name[0] != "||" || e.Lexpr == nil {
		return false
	}
	l.p.mark(e)
	return true
}

func (l *likePattern) refuse() {
	refuse("LIKE pattern that is not a literal or a parameter", "", l.position, "compute the pattern in the application and bind it")
}

const regexOperators = "~ ~* !~ !~*"

// regex admits regular expressions that are a literal or a parameter. One that comes from a row may be malformed, and
// PostgreSQL tries the column's statistics, with values of all tenants, while it plans the statement.
func (p *planner) regex(e *pg.A_Expr) {
	n := e.Rexpr
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
