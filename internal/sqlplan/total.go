package sqlplan

import (
	"regexp"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// This file alone says which expressions are total, failing for no row. All that it does not name may fail, which costs
// the use of an index and never a tenant's secret. The facts about operators, functions and casts are package builtin's,
// where each is established on the servers.

func allTotal(parts []expr) bool {
	for _, e := range parts {
		if !e.total {
			return false
		}
	}
	return true
}

// strict is an expression that fails only where a part of it does, if total says so.
func (p *planner) strict(n *pg.Node, typ builtin.Type, total bool, parts ...expr) expr {
	e := expr{node: n, typ: typ, total: total && allTotal(parts)}
	if p.lite {
		e.typ = builtin.Unknown
	}
	return e.with(parts...)
}

// totalBool tells whether an expression is a truth value without a conversion that may fail. SQLite converts anything.
func (p *planner) totalBool(e expr) bool {
	return p.lite || e.typ == "bool" || e.typ == builtin.Adapts
}

// compared is a comparison of two expressions, and of what an operator makes of them.
func (p *planner) compared(op string, left, right expr) expr {
	_, total := p.operator(op, left, right)
	return expr{typ: "bool", total: total && left.total && right.total}.with(left, right)
}

// literally is the type of an operand. A number that is written out is converted to a float while the statement is planned,
// whatever the rows.
func literally(e, other expr) builtin.Type {
	if _, ok := isConst(e.node); ok && e.typ == "numeric" && strings.HasPrefix(string(other.typ), "float") {
		return builtin.Adapts
	}
	return e.typ
}

// The current time is far from the ends of what a timestamp holds, and so is what comes of it by adding or subtracting
// spans that are written out and shorter than 2,800 years, twice. near is how often that may still be done.
const nowIsNear = 3

// moved tells whether an operator moves the current time by such a span, and how near the result is.
func (p *planner) moved(op string, left, right expr) (near int) {
	if p.lite || op != "+" && op != "-" || left.near < 2 {
		return 0
	}
	switch {
	case right.typ == "interval":
		cast := right.node.GetTypeCast()
		if c, ok := isConst(cast.GetArg()); !ok || len(cast.TypeName.Typmods) > 0 || !shortSpan.MatchString(c.GetSval().GetSval()) {
			return 0
		}
	case left.typ == "date" && right.typ == "int4":
		if c, ok := isConst(right.node); !ok || c.GetIval().GetIval() > 999999 || c.GetIval().GetIval() < -999999 {
			return 0
		}
	default:
		return 0
	}
	return left.near - 1
}

// shortSpan is one number and a unit, which make at most 999,999 days.
var shortSpan = regexp.MustCompile(`^ *-?([0-9]{1,6} *(microsecond|millisecond|second|sec|minute|min|hour|day)s?|[0-9]{1,5} *weeks?|[0-9]{1,4} *(month|mon)s?|[0-9]{1,3} *years?) *$`)

// truncated tells how near the current time is that date_trunc cuts off at a unit that is written out.
func truncated(args []expr) (near int) {
	if len(args) != 2 {
		return 0
	}
	c, ok := isConst(args[0].node)
	if !ok || !contains("microseconds milliseconds second minute hour day week month quarter year", c.GetSval().GetSval()) {
		return 0
	}
	return args[1].near
}

// chosen is one of several expressions, converted to the type that they have in common.
func (p *planner) chosen(n *pg.Node, results ...expr) expr {
	types := make([]builtin.Type, len(results))
	for i, e := range results {
		types[i] = e.typ
	}
	typ, total := p.common(types...)
	e := expr{node: n, typ: settledOutput(typ), total: total && allTotal(results)}.with(results...)
	return e
}

// common returns the type that values of several types are converted to, and whether none of the conversions may fail.
func (p *planner) common(types ...builtin.Type) (builtin.Type, bool) {
	if p.lite {
		return builtin.Unknown, true
	}
	return builtin.Common(types...)
}

// totalCount tells whether a number of rows is none that LIMIT and OFFSET refuse. A parameter is checked when it is bound.
func (p *planner) totalCount(e expr) bool {
	if c, ok := isConst(e.node); ok {
		return c.Isnull || c.GetIval() != nil && c.GetIval().Ival >= 0
	}
	ref := e.node.GetParamRef()
	if cast := e.node.GetTypeCast(); cast != nil && strings.HasPrefix(string(e.typ), "int") {
		ref = cast.Arg.GetParamRef()
	}
	if ref == nil || p.params[ref.Number-1].Source != FromCaller || !e.total {
		return false
	}
	p.params[ref.Number-1].Count = true
	return true
}

// totalQuery tells whether a query of an expression fails for no row, besides what several rows do.
func (p *planner) totalQuery(q planned) bool {
	if q.level.fails {
		return false
	}
	for _, c := range q.columns {
		if !c.total {
			return false
		}
	}
	return true
}

// typeOfLiteral is what a literal has for a type before anything is around it.
func typeOfLiteral(c *pg.A_Const) builtin.Type {
	switch v := c.Val.(type) {
	case *pg.A_Const_Ival:
		return "int4"
	case *pg.A_Const_Boolval:
		return "bool"
	case *pg.A_Const_Fval: // digits without a point are an int8 where they fit one
		if text := v.Fval.Fval; strings.ContainsAny(text, ".eExXoObB_") || len(text) > 18 {
			return "numeric"
		}
		return "int8"
	}
	return builtin.Adapts
}

// settledOutput is the type that what adapts has once nothing is around it that it could adapt to.
func settledOutput(t builtin.Type) builtin.Type {
	if t == builtin.Adapts {
		return "text"
	}
	return t
}
