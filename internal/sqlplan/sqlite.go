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
