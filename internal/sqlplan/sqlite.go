package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// liteArm puts an arm of a set operation that has clauses of its own or is a set operation into a subquery: SQLite has
// no parentheses around arms, and no precedence among them.
func (p *planner) liteArm(arm *pg.SelectStmt, columns []column) *pg.SelectStmt {
	if arm.Op == pg.SetOperation_SETOP_NONE && len(arm.SortClause) == 0 && arm.LimitCount == nil && arm.LimitOffset == nil && arm.WithClause == nil {
		return arm
	}
	return p.wrapped(arm, columns)
}

// wrapped returns a query of all columns of a planned query.
func (p *planner) wrapped(query *pg.SelectStmt, columns []column) *pg.SelectStmt {
	s, alias := newSelect(), &pg.Alias{Aliasname: p.unique("part")}
	seen := map[string]bool{}
	for i, c := range columns {
		name := c.name
		if p.lite { // which has no column aliases
			if seen[strings.ToLower(name)] {
				refuse("ambiguous column", name, -1, "give the outputs of the query different names")
			}
			seen[strings.ToLower(name)] = true
		} else {
			name = "column" + itoa(i+1)
			alias.Colnames = append(alias.Colnames, str(name))
		}
		s.TargetList = append(s.TargetList, p.named(c.name, p.columnRef(alias.Aliasname, name), 0))
	}
	sub := &pg.RangeSubselect{Subquery: selectNode(query), Alias: alias}
	p.mark(s)
	p.mark(sub)
	s.FromClause = []*pg.Node{{Node: &pg.Node_RangeSubselect{RangeSubselect: sub}}}
	return s
}

// nulls writes where ORDER BY puts NULL. SQLite takes it for the least of all, PostgreSQL for the greatest. An index serves the
// first such column still, and no further one: so a column that is never NULL is left as it is.
func (p *planner) nulls(by *pg.SortBy, e expr) {
	if !p.lite || by.SortbyNulls != pg.SortByNulls_SORTBY_NULLS_DEFAULT || e.column != nil && e.column.notNull {
		return
	}
	by.SortbyNulls = pg.SortByNulls_SORTBY_NULLS_LAST
	if by.SortbyDir == pg.SortByDir_SORTBY_DESC {
		by.SortbyNulls = pg.SortByNulls_SORTBY_NULLS_FIRST
	}
}

// substring rewrites substr. PostgreSQL counts the positions before the first, which hold nothing, and fails for a length below
// zero; SQLite counts from the end, and backwards.
func (p *planner) substring(f *pg.FuncCall, args []expr, name string) {
	if len(args) < 2 || len(args) > 3 {
		return
	}
	for i, arg := range args[1:] {
		c, literal := isConst(arg.node)
		if c.GetSval() != nil || name == "substring" && i == 0 && arg.param > 0 && (len(args) == 2 || args[2].param > 0) {
			refuse("unsupported in SQLite", "regular expression", f.Location, "use substr for positions, and LIKE, or match in the application")
		}
		if i == 1 && literal && c.GetIval() != nil && c.GetIval().Ival < 0 {
			refuse("negative length", name, f.Location, "give a length of zero or more")
		}
		if arg.volatile {
			refuse("unsupported in SQLite", name+" with a random position", f.Location, "compute the position in the application")
		}
	}
	start := args[1].node
	first := start
	c, literal := isConst(start)
	positive := literal && (c.Isnull || c.GetIval() != nil && c.GetIval().Ival > 0)
	if !positive {
		first = p.liteCall("max", start, intConst(1))
		f.Args[1] = first
	}
	if len(args) == 2 {
		return
	}
	length := args[2].node
	if !p.totalCount(args[2]) { // there is no other way to fail than an overflow
		fails := p.liteCall("abs", &pg.Node{Node: &pg.Node_AConst{AConst: &pg.A_Const{Val: &pg.A_Const_Fval{Fval: &pg.Float{Fval: "-9223372036854775808"}}}}})
		length = caseWhen(p.liteOp("<", length, intConst(0)), fails, length)
	}
	if !positive {
		end := p.liteOp("-", p.liteOp("+", start, args[2].node), intConst(1))
		length = p.liteCall("max", p.liteCall("min", length, end), intConst(0))
	}
	f.Args[2] = length
}

func (p *planner) liteOp(op string, left, right *pg.Node) *pg.Node {
	n := opExpr(pg.A_Expr_Kind_AEXPR_OP, op, left, right)
	p.mark(n.GetAExpr())
	return n
}

// liteCall is a call of a function of SQLite's.
func (p *planner) liteCall(name string, args ...*pg.Node) *pg.Node {
	call := &pg.FuncCall{Funcname: strs(name), Args: args, Funcformat: pg.CoercionForm_COERCE_EXPLICIT_CALL}
	p.mark(call)
	return &pg.Node{Node: &pg.Node_FuncCall{FuncCall: call}}
}
