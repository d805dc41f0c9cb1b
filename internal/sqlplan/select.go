package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// planned is a query that was planned: what it returns, and what is known of it.
type planned struct {
	columns []column
	level   *level
}

// query plans a nested query. pre is the prelude of the query around it, where that may take what depends on no row here.
func (p *planner) query(n *pg.Node, outer *scope, ctes *cte, pre *prelude) planned {
	s := n.GetSelectStmt()
	if s == nil {
		refuse("unsupported subquery", kindOf(n), -1, "use SELECT or VALUES")
	}
	return p.selectStmt(s, outer, ctes, readsAlone, pre)
}

// selectStmt plans a SELECT, VALUES or set operation in place, in the order in which PostgreSQL analyses it and so finds the
// types of parameters. kind says what the queries of its WITH may be.
func (p *planner) selectStmt(s *pg.SelectStmt, outer *scope, ctes *cte, kind withQueries, pre *prelude) planned {
	p.mark(s)
	l := newLevel(outer)
	ctes = p.with(s.WithClause, l, outer, ctes, kind)
	switch {
	case s.Op != pg.SetOperation_SETOP_NONE:
		return planned{p.setOperation(s, l, outer, ctes), l}
	case len(s.ValuesLists) > 0:
		return planned{p.values(s, l, outer, ctes), l}
	}
	own := p.newPrelude(l)
	if l.pre = pre; pre == nil || s.WithClause != nil {
		l.pre = own
	}
	q := &selection{p: p, s: s, level: l}
	q.scope = &scope{fragment: p.from(s.FromClause, l, outer, ctes), parent: outer, ctes: ctes, level: l}
	unused(q.scope.relations, nil)
	q.targets()
	used := make([][]string, len(q.scope.relations))
	for i, r := range q.scope.relations {
		used[i] = r.used
	}
	where := q.in(clauseWhere)
	where.pre = l.pre
	s.WhereClause = p.condition(s.WhereClause, where)
	unused(q.scope.relations, used)
	q.clauses()
	p.limits(s, l, ctes)
	p.locking(s, q.scope.fragment, l)
	if l.pre == own {
		s.FromClause = own.before(s.FromClause)
	}
	return planned{q.out, l}
}

// unused forgets which columns were used since: what only FROM and WHERE use need not be grouped.
func unused(relations []*relation, used [][]string) {
	for i, r := range relations {
		if r.used = nil; used != nil {
			r.used = used[i]
		}
	}
}

// setOperation plans UNION, INTERSECT and EXCEPT.
func (p *planner) setOperation(s *pg.SelectStmt, l *level, outer *scope, ctes *cte) []column {
	if p.lite && s.All && s.Op != pg.SetOperation_SETOP_UNION {
		refuse("unsupported in SQLite", setOperator(s)+" ALL", -1, "leave out ALL")
	}
	in := &scope{parent: outer, ctes: ctes, level: l}
	left := p.selectStmt(s.Larg, in, ctes, readsAlone, nil)
	right := p.selectStmt(s.Rarg, in, ctes, readsAlone, nil)
	l.contains(left.level)
	l.contains(right.level)
	return p.combined(s, l, left, right, ctes)
}

// combined plans what a set operation makes of its two parts, which are planned.
func (p *planner) combined(s *pg.SelectStmt, l *level, left, right planned, ctes *cte) []column {
	op := setOperator(s)
	if p.lite {
		s.Larg, s.Rarg = p.liteArm(s.Larg, left.columns), p.liteArm(s.Rarg, right.columns)
	}
	if len(left.columns) != len(right.columns) {
		refuse(op+" of different numbers of columns", "", -1, "select the same columns on both sides")
	}
	q := &selection{p: p, s: s, level: l, setop: true, scope: &scope{ctes: ctes, level: l}}
	for i, a := range left.columns {
		b := right.columns[i]
		for _, c := range []column{a, b} {
			if c.sealed {
				refuse(op+" of a sealed column", c.table+"."+c.column, -1, "fetch the parts in separate statements")
			}
		}
		typ, total := p.common(a.typ, b.typ)
		l.fails = l.fails || !total
		q.out = append(q.out, column{name: a.name, hidden: true, typ: typ, total: total && a.total && b.total})
	}
	if len(s.LockingClause) > 0 {
		refuse("unsupported clause", "FOR UPDATE with "+op, -1, "lock in a statement of its own")
	}
	q.order()
	p.limits(s, l, ctes)
	return q.out
}

func setOperator(s *pg.SelectStmt) string { return s.Op.String()[len("SETOP_"):] }

// values plans a VALUES list that stands for a query.
func (p *planner) values(s *pg.SelectStmt, l *level, outer *scope, ctes *cte) []column {
	in := ctx{scope: &scope{parent: outer, ctes: ctes, level: l}, clause: clauseValues}
	width := -1
	var types []builtin.Type
	totals := []bool{}
	for _, row := range s.ValuesLists {
		items := row.GetList().GetItems()
		if width >= 0 && len(items) != width || len(items) == 0 {
			refuse("VALUES of different lengths", "", -1, "give every row the same number of values")
		}
		for i, n := range items {
			e := p.expr(n, in)
			items[i] = e.node
			if width < 0 {
				types, totals = append(types, e.typ), append(totals, true)
			}
			typ, total := p.common(types[i], e.typ)
			types[i], totals[i] = typ, totals[i] && total && e.total
		}
		width = len(items)
	}
	if len(s.LockingClause) > 0 || len(s.SortClause) > 0 && p.lite {
		refuse("unsupported clause", "VALUES with ORDER BY or FOR UPDATE", -1, "put it into a subquery in FROM")
	}
	q := &selection{p: p, s: s, level: l, setop: true, scope: in.scope}
	for i := range width {
		q.out = append(q.out, column{name: "column" + itoa(i+1), typ: settledOutput(types[i]), total: totals[i]})
		l.fails = l.fails || !totals[i]
	}
	q.order()
	p.limits(s, l, ctes)
	return q.out
}

// limits plans OFFSET and LIMIT, which see no columns. A number below zero fails, and in a subquery that is evaluated when a
// row asks for it the failure would tell of the row: so only what is known not to be one is total.
func (p *planner) limits(s *pg.SelectStmt, l *level, ctes *cte) {
	in := ctx{scope: &scope{ctes: ctes, level: l}, clause: clauseLimit, part: true}
	if s.LimitOffset != nil {
		s.LimitOffset = p.count(s.LimitOffset, in)
	}
	if c, ok := isConst(s.LimitCount); ok && c.Isnull {
		s.LimitCount = nil // LIMIT ALL
	} else if s.LimitCount != nil {
		s.LimitCount = p.count(s.LimitCount, in)
	}
	if p.lite && s.LimitOffset != nil && s.LimitCount == nil {
		s.LimitCount = intConst(-1) // SQLite has no OFFSET alone
	}
	switch {
	case s.LimitOption == pg.LimitOption_LIMIT_OPTION_WITH_TIES: // stays as it is
	case s.LimitCount != nil:
		s.LimitOption = pg.LimitOption_LIMIT_OPTION_COUNT
	case s.LimitOffset == nil:
		s.LimitOption = pg.LimitOption_LIMIT_OPTION_DEFAULT
	}
}

// count plans a number of rows.
func (p *planner) count(n *pg.Node, in ctx) *pg.Node {
	e := p.expr(n, in)
	e.total = p.totalCount(e)
	in.scope.level.note(e)
	return e.node
}

// locking plans FOR UPDATE and the like. PostgreSQL carries the lock into a derived table, to the rows of the table
// inside, after the tenant predicate, and passes over queries of WITH and functions where none is named. A lock that is taken, or cannot be (NOWAIT), tells that the query was evaluated.
func (p *planner) locking(s *pg.SelectStmt, f fragment, of *level) {
	for _, n := range s.LockingClause {
		l := n.GetLockingClause()
		of.fails, of.volatile = true, true
		p.locks = true
		locked, named := f.relations, len(l.LockedRels) > 0
		if named {
			locked = nil
			for _, rel := range l.LockedRels {
				rv := rel.GetRangeVar()
				r := p.relationOf(&scope{fragment: f}, []string{rv.GetRelname()})
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
			if r.base == nil && (named || r.query != nil && !r.with) {
				refuse("lock on a subquery", r.name, -1, "name the tables to lock: FOR UPDATE OF …, or lock inside the subquery")
			}
		}
	}
}
