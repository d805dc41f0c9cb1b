package sqlplan

import pg "github.com/pganalyze/pg_query_go/v6"

// cte is a common table expression; outer is the list of those visible before it.
type cte struct {
	outer   *cte
	name    string
	alias   string // what the plan calls it
	columns []column
	query   *pg.SelectStmt // the query, where a barrier can be put on it: not for writes and recursion
	level   *level         // what is known of the query
	// pending says why the query cannot be referred to yet, or at all; empty where it can.
	pending string
	used    bool // it was referred to
}

const (
	pendingOrder     = "reference to a query of WITH RECURSIVE that comes later"
	pendingSelf      = "reference of a query to itself outside the second part of a UNION"
	pendingReturning = "reference to a write in WITH that returns nothing"
)

var pendingHints = map[string]string{
	pendingOrder:     "put the query before the one that reads it",
	pendingSelf:      "write the query as first rows UNION [ALL] rows that follow from them, and name it in the second part alone",
	pendingReturning: "add RETURNING to it",
}

// ctePrefix begins the plan's names of common table expressions. No table should be called so: if the planner and the
// database ever disagreed about where a name ends, the database would find nothing of it.
const ctePrefix = "strongroom_cte_"

func (p *planner) findCTE(c *cte, name string) *cte {
	for ; c != nil; c = c.outer {
		if p.same(c.name, name) {
			return c
		}
	}
	return nil
}

// withQueries says what the queries of a WITH clause may be.
type withQueries bool

const (
	readsAlone withQueries = false
	writesToo  withQueries = true // PostgreSQL takes writes in the WITH of the statement itself alone
)

// with plans the queries of a WITH clause and returns what is visible after it. A query sees those before it; after
// RECURSIVE the names of all of them hide what is outside, and a query may read itself.
//
// Every common table expression gets a name of the planner's making, so that its name can never mean a table to the
// database, nor a table's name a common table expression.
func (p *planner) with(w *pg.WithClause, l *level, outer *scope, ctes *cte, kind withQueries) *cte {
	if w == nil {
		return ctes
	}
	var all []*cte
	seen := map[string]bool{}
	for _, n := range w.Ctes {
		e := n.GetCommonTableExpr()
		name := e.GetCtename()
		if p.lite {
			name = foldASCII(name)
		}
		if e == nil || seen[name] {
			refuse("query named twice in WITH", e.GetCtename(), w.Location, "give each query its own name")
		}
		seen[name] = true
		all = append(all, &cte{name: e.Ctename, pending: pendingOrder})
	}
	// The queries are within the one that has them: what they read of it is as deep as it is.
	outer = &scope{parent: outer, ctes: ctes, level: l}
	if w.Recursive {
		for _, c := range all {
			c.outer, ctes = ctes, c
		}
	}
	for i, n := range w.Ctes {
		e, c := n.GetCommonTableExpr(), all[i]
		c.alias = p.unique(ctePrefix + e.Ctename)
		if w.Recursive {
			c.pending = pendingSelf
		}
		colnames, ok := names(e.Aliascolnames)
		if !ok {
			refuse("unsupported column alias", e.Ctename, e.Location, "name the columns plainly")
		}
		columns := p.withQuery(e, c, colnames, outer, ctes, kind)
		if p.lite && len(colnames) > 0 && len(colnames) != len(columns) {
			refuse("column aliases", e.Ctename, e.Location, "name all columns or none")
		}
		c.columns, c.pending = p.renamed(columns, colnames, e.Ctename, e.Location), ""
		if columns == nil {
			c.pending = pendingReturning
		}
		if !w.Recursive {
			c.outer, ctes = ctes, c
		}
		e.Ctename = c.alias
		l.contains(c.level)
	}
	return ctes
}

// withQuery plans one query of a WITH clause. Its columns are nil where it returns none.
func (p *planner) withQuery(e *pg.CommonTableExpr, c *cte, colnames []string, outer *scope, ctes *cte, kind withQueries) []column {
	s := e.Ctequery.GetSelectStmt()
	if s != nil {
		if c.pending == pendingSelf && s.Op == pg.SetOperation_SETOP_UNION {
			return p.recursive(s, c, colnames, outer, ctes)
		}
		q := p.selectStmt(s, outer, ctes, readsAlone, nil)
		c.level, c.query = q.level, s
		return q.columns
	}
	switch {
	case p.lite:
		refuse("unsupported in SQLite", "write inside WITH", e.Location, "send the write as a statement of its own")
	case kind != writesToo:
		refuse("write inside the WITH of a subquery", e.Ctename, e.Location, "move it to the WITH of the statement itself")
	}
	p.nested = true
	c.level = &level{depth: outer.level.depth + 1, fails: true, volatile: true} // whoever reads it has it written
	return p.write(e.Ctequery, outer, ctes, readsAlone)
}

// recursive plans a UNION whose second part may read the query itself, by its name. What is read that way has the names
// and types of the first part's columns, and the database reports no origin for it. Its rows were computed before, so that
// no condition on them reaches the first part.
func (p *planner) recursive(s *pg.SelectStmt, self *cte, colnames []string, outer *scope, ctes *cte) []column {
	p.mark(s)
	l := newLevel(outer)
	l.fails, self.level = true, l // that it ends is not known
	ctes = p.with(s.WithClause, l, outer, ctes, readsAlone)
	in := &scope{parent: outer, ctes: ctes, level: l}
	left := p.selectStmt(s.Larg, in, ctes, readsAlone, nil)
	for _, c := range p.renamed(left.columns, colnames, self.name, -1) {
		c.hidden, c.total, c.notNull = true, true, false
		self.columns = append(self.columns, c)
	}
	self.pending = ""
	right := p.selectStmt(s.Rarg, in, ctes, readsAlone, nil)
	self.pending = pendingSelf // for ORDER BY and LIMIT
	if self.used && (len(s.SortClause) > 0 || s.LimitCount != nil || s.LimitOffset != nil) {
		refuse("unsupported clause", "ORDER BY or LIMIT of a recursive query", -1, "put it into the query that reads it")
	}
	l.contains(left.level)
	l.contains(right.level)
	if !self.used {
		self.query = s // PostgreSQL takes it for an ordinary query
	}
	return p.combined(s, l, left, right, ctes)
}
