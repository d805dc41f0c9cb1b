package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// query plans a nested query and returns its columns.
func (p *planner) query(n *pg.Node, outer *scope, ctes *cte) []column {
	s := n.GetSelectStmt()
	if s == nil {
		refuse("unsupported subquery", kindOf(n), -1, "use SELECT or VALUES")
	}
	return p.selectStmt(s, outer, ctes, false)
}

// selectStmt plans a SELECT, VALUES or set operation in place. Top tells the statement itself from a nested query.
func (p *planner) selectStmt(s *pg.SelectStmt, outer *scope, ctes *cte, top bool) []column {
	p.mark(s)
	kind := readsAlone
	if top && outer == nil {
		kind = writesToo
	}
	ctes = p.with(s.WithClause, outer, ctes, kind)
	switch {
	case s.Op != pg.SetOperation_SETOP_NONE:
		return p.setOperation(s, outer, ctes, top)
	case len(s.ValuesLists) > 0:
		return p.values(s, outer, ctes)
	}
	q := &selection{p: p, s: s, top: top}
	q.scope = &scope{fragment: p.from(s.FromClause, outer, ctes), parent: outer, ctes: ctes}
	if s.WhereClause != nil {
		s.WhereClause = p.expr(s.WhereClause, q.in(false))
	}
	for _, r := range q.scope.relations {
		r.used = nil // what only WHERE and ON use need not be grouped
	}
	q.targets()
	q.clauses()
	p.limits(s, ctes)
	p.locking(s, q.scope.fragment)
	return q.out
}

// setOperation plans UNION, INTERSECT and EXCEPT.
func (p *planner) setOperation(s *pg.SelectStmt, outer *scope, ctes *cte, top bool) []column {
	op := setOperator(s)
	if p.lite && s.All && s.Op != pg.SetOperation_SETOP_UNION {
		refuse("unsupported in SQLite", op+" ALL", -1, "leave out ALL")
	}
	left := p.selectStmt(s.Larg, outer, ctes, false)
	right := p.selectStmt(s.Rarg, outer, ctes, false)
	return p.combined(s, left, right, ctes, top)
}

// combined plans what a set operation makes of its two parts, which are planned.
func (p *planner) combined(s *pg.SelectStmt, left, right []column, ctes *cte, top bool) []column {
	op := setOperator(s)
	if p.lite {
		s.Larg, s.Rarg = p.liteArm(s.Larg, left), p.liteArm(s.Rarg, right)
	}
	if len(left) != len(right) {
		refuse(op+" of different numbers of columns", "", -1, "select the same columns on both sides")
	}
	q := &selection{p: p, s: s, top: top, setop: true}
	for i := range left {
		for _, c := range []column{left[i], right[i]} {
			if c.sealed {
				refuse(op+" of a sealed column", c.table+"."+c.column, -1, "fetch the parts in separate statements")
			}
		}
		if !p.lite && !alike(left[i].family, right[i].family) {
			p.raises = true
		}
		q.out = append(q.out, column{name: left[i].name, hidden: true, family: widest(left[i].family, right[i].family)})
	}
	if len(s.LockingClause) > 0 {
		refuse("unsupported clause", "FOR UPDATE with "+op, -1, "lock in a statement of its own")
	}
	q.order()
	p.limits(s, ctes)
	return q.out
}

func setOperator(s *pg.SelectStmt) string { return s.Op.String()[len("SETOP_"):] }

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

// values plans a VALUES list that stands for a query.
func (p *planner) values(s *pg.SelectStmt, outer *scope, ctes *cte) []column {
	in := ctx{scope: &scope{parent: outer, ctes: ctes}}
	width := -1
	var families []string
	for _, row := range s.ValuesLists {
		items := row.GetList().GetItems()
		if width >= 0 && len(items) != width || len(items) == 0 {
			refuse("VALUES of different lengths", "", -1, "give every row the same number of values")
		}
		for i, n := range items {
			f := p.outputFamily(n, in.scope)
			if width < 0 {
				families = append(families, f)
			}
			families[i] = widest(families[i], f)
		}
		width = len(items)
		p.exprs(items, in)
	}
	if len(s.LockingClause) > 0 || len(s.SortClause) > 0 && p.lite {
		refuse("unsupported clause", "VALUES with ORDER BY or FOR UPDATE", -1, "put it into a subquery in FROM")
	}
	q := &selection{p: p, s: s, setop: true}
	for i := range width {
		q.out = append(q.out, column{name: "column" + itoa(i+1), family: families[i]})
		if !p.lite && families[i] == unknown {
			p.raises = true
		}
	}
	q.order()
	p.limits(s, ctes)
	return q.out
}

// limits plans LIMIT and OFFSET, which see no columns.
func (p *planner) limits(s *pg.SelectStmt, ctes *cte) {
	in := ctx{scope: &scope{ctes: ctes}, final: true}
	if s.LimitCount != nil {
		if c, ok := isConst(s.LimitCount); ok && c.Isnull {
			s.LimitCount = nil // LIMIT ALL
		} else {
			s.LimitCount = p.expr(s.LimitCount, in)
		}
	}
	if s.LimitOffset != nil {
		s.LimitOffset = p.expr(s.LimitOffset, in)
		if p.lite && s.LimitCount == nil {
			s.LimitCount = intConst(-1) // SQLite has no OFFSET alone
		}
	}
	switch {
	case s.LimitOption == pg.LimitOption_LIMIT_OPTION_WITH_TIES:
		if p.lite {
			refuse("unsupported in SQLite", "WITH TIES", -1, "use LIMIT")
		}
	case s.LimitCount != nil:
		s.LimitOption = pg.LimitOption_LIMIT_OPTION_COUNT
	case s.LimitOffset == nil:
		s.LimitOption = pg.LimitOption_LIMIT_OPTION_DEFAULT
	}
}

// locking plans FOR UPDATE and the like. PostgreSQL carries the lock into a derived table, to the rows of the table
// inside, after the tenant predicate.
func (p *planner) locking(s *pg.SelectStmt, f fragment) {
	for _, n := range s.LockingClause {
		l := n.GetLockingClause()
		if p.lite {
			refuse("unsupported in SQLite", "FOR UPDATE", -1, "leave it out; a write transaction locks the database")
		}
		p.locks = true
		locked := f.relations
		if len(l.LockedRels) > 0 {
			locked = nil
			for _, rel := range l.LockedRels {
				rv := rel.GetRangeVar()
				r := (&scope{fragment: f}).relation([]string{rv.GetRelname()})
				if r == nil || rv.Schemaname != "" || rv.Alias != nil {
					refuse("unknown table", "FOR UPDATE OF "+rv.GetRelname(), rv.GetLocation(), "name an alias of this FROM")
				}
				rv.Relname = r.alias
				p.mark(rv)
				locked = append(locked, r)
			}
		}
		for _, r := range locked {
			if r.base != nil && r.base.Shared {
				refuse("lock on a shared table", r.base.Name, -1, "name the tables to lock: FOR UPDATE OF …")
			}
			if r.base == nil && len(l.LockedRels) == 0 || r.base == nil {
				refuse("lock on a subquery", r.name, -1, "name the tables to lock: FOR UPDATE OF …, or lock inside the subquery")
			}
		}
	}
}
