package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// join plans a join.
func (f *from) join(j *pg.JoinExpr, left fragment, spine bool) fragment {
	p := f.p
	p.mark(j)
	switch j.Jointype {
	case pg.JoinType_JOIN_INNER, pg.JoinType_JOIN_LEFT, pg.JoinType_JOIN_RIGHT, pg.JoinType_JOIN_FULL:
	default:
		refuse("unsupported join", j.Jointype.String(), -1, "use INNER, LEFT, RIGHT, FULL or CROSS JOIN")
	}
	var l, r fragment
	j.Larg, l = f.item(j.Larg, left, spine)
	j.Rarg, r = f.item(j.Rarg, fragment{}.plus(left).plus(l), false)
	if j.Jointype != pg.JoinType_JOIN_INNER && j.Jointype != pg.JoinType_JOIN_LEFT {
		l = l.nullable()
	}
	if j.Jointype != pg.JoinType_JOIN_INNER && j.Jointype != pg.JoinType_JOIN_RIGHT {
		r = r.nullable()
	}
	both := fragment{}.plus(l).plus(r)
	if len(j.UsingClause) > 0 {
		return f.using(j, l, r, both)
	}
	in := ctx{scope: f.lateral(both), clause: clauseOn, full: j.Jointype == pg.JoinType_JOIN_FULL}
	if spine {
		in.pre = f.level.pre
	}
	j.Quals = p.condition(j.Quals, in)
	return both
}

// using merges the columns that USING names: they come first, once, and the others after them.
func (f *from) using(j *pg.JoinExpr, l, r, both fragment) fragment {
	p := f.p
	columns, ok := names(j.UsingClause)
	if !ok {
		refuse("unsupported clause", "USING", -1, "name columns plainly")
	}
	merged := map[string]bool{}
	var out []visible
	onLeft, onRight := &scope{fragment: l}, &scope{fragment: r}
	for _, name := range columns {
		a, b := p.local(onLeft, name, -1), p.local(onRight, name, -1)
		if a == nil || b == nil || merged[a.name] {
			refuse("unknown column", "USING ("+name+")", -1, "name columns that both sides have, each once")
		}
		if a.sealed || b.sealed {
			refuse("sealed column in USING", name, -1, "write JOIN … ON a.column = b.column")
		}
		merged[a.name], merged[b.name] = true, true
		v := *a
		switch j.Jointype {
		case pg.JoinType_JOIN_RIGHT:
			v = *b
		case pg.JoinType_JOIN_FULL:
			v.full = b
			v.table, v.column.column, v.hidden = "", "", true
		}
		out = append(out, v)
		f.equated(a, b)
	}
	for _, v := range both.columns {
		if !merged[v.name] {
			out = append(out, v)
		}
	}
	return fragment{relations: both.relations, columns: out}
}

// equated takes the comparison that USING means into account. It cannot stand behind a guard, so where it may fail both
// sides get a barrier.
func (f *from) equated(a, b *visible) {
	e := f.p.compared("=", f.p.use(a), f.p.use(b))
	f.level.note(e)
	if !e.total {
		for _, r := range e.rels {
			f.p.barrier(r)
		}
	}
}
