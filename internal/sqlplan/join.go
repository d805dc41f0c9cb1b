package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// join plans a join.
func (p *planner) join(j *pg.JoinExpr, left fragment, outer *scope, ctes *cte) fragment {
	p.mark(j)
	switch j.Jointype {
	case pg.JoinType_JOIN_INNER, pg.JoinType_JOIN_LEFT, pg.JoinType_JOIN_RIGHT, pg.JoinType_JOIN_FULL:
	default:
		refuse("unsupported join", j.Jointype.String(), -1, "use INNER, LEFT, RIGHT, FULL or CROSS JOIN")
	}
	var l, r fragment
	j.Larg, l = p.fromItem(j.Larg, left, outer, ctes)
	j.Rarg, r = p.fromItem(j.Rarg, left.plus(l), outer, ctes)
	both := p.combine(l, r)
	if len(j.UsingClause) > 0 {
		return p.using(j, l, r, both)
	}
	if j.Quals != nil {
		j.Quals = p.expr(j.Quals, ctx{scope: &scope{fragment: both, parent: outer, ctes: ctes}})
	}
	return both
}

// using merges the columns that USING names: they come first, once, and the others after them.
func (p *planner) using(j *pg.JoinExpr, l, r, both fragment) fragment {
	columns, ok := names(j.UsingClause)
	if !ok {
		refuse("unsupported clause", "USING", -1, "name columns plainly")
	}
	merged := map[string]bool{}
	var out []visible
	for _, name := range columns {
		a, b := (&scope{fragment: l}).local(name, -1), (&scope{fragment: r}).local(name, -1)
		if a == nil || b == nil || merged[name] {
			refuse("unknown column", "USING ("+name+")", -1, "name columns that both sides have, each once")
		}
		if a.sealed || b.sealed {
			refuse("sealed column in USING", name, -1, "write JOIN … ON a.column = b.column")
		}
		p.touch(&a.column)
		p.touch(&b.column)
		if !p.lite && !alike(a.family, b.family) {
			p.raises = true
		}
		merged[name] = true
		v := *a
		switch j.Jointype {
		case pg.JoinType_JOIN_RIGHT:
			v = *b
		case pg.JoinType_JOIN_FULL:
			v.full = b
			v.table, v.column.column, v.hidden, v.family = "", "", true, unknown
		}
		out = append(out, v)
	}
	for _, v := range both.columns {
		if !merged[v.name] {
			out = append(out, v)
		}
	}
	return fragment{relations: both.relations, columns: out}
}
