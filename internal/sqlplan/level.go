package sqlplan

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// expr is a planned expression: what stands in the tree, and what is known of it. The zero value knows nothing: it may
// fail. Only total.go says otherwise.
type expr struct {
	node *pg.Node
	typ  builtin.Type
	// total tells that it fails for no row, whatever the values in it, so that it may meet rows of any tenant.
	total bool
	// volatile tells that it has to be computed for each row.
	volatile bool
	// aggregate tells that it holds an aggregate of the query that it stands in.
	aggregate bool
	// near tells that it is about the current time: see total.go.
	near int
	// rels are the relations whose rows it reads: of its query, and of those around it.
	rels relset
	// column is set where it is nothing but a column, param where it is nothing but a parameter of the caller's.
	column *visible
	param  int
}

// with adds what is known of the parts of an expression. It does not make it total.
func (e expr) with(parts ...expr) expr {
	for _, part := range parts {
		e.rels = e.rels.plus(part.rels)
		e.volatile = e.volatile || part.volatile
		e.aggregate = e.aggregate || part.aggregate
	}
	return e
}

// relset is a set of relations. There are few.
type relset []*relation

func (s relset) has(r *relation) bool {
	for _, q := range s {
		if q == r {
			return true
		}
	}
	return false
}

// at tells whether one of them stands in a query of that depth.
func (s relset) at(depth int) bool {
	for _, r := range s {
		if r.depth == depth {
			return true
		}
	}
	return false
}

func (s relset) plus(t relset) relset {
	has := s.has
	if len(s)*len(t) > 1000 {
		in := make(map[*relation]bool, len(s))
		for _, r := range s {
			in[r] = true
		}
		has = func(r *relation) bool { return in[r] }
	}
	all := s[:len(s):len(s)] // others may share what is behind it
	for _, r := range t {
		if !has(r) {
			all = append(all, r)
		}
	}
	return all
}

// until returns the relations that are no deeper than depth.
func (s relset) until(depth int) relset {
	var out relset
	for _, r := range s {
		if r.depth <= depth {
			out = append(out, r)
		}
	}
	return out
}

// level is one query or write, and what is known of all that stands in it.
type level struct {
	depth int
	// fails tells that something in it may fail for some row, guarded or not. So whoever evaluates it may fail too, and
	// whether it is evaluated must not depend on a foreign row.
	fails    bool
	volatile bool
	rels     relset // relations that its expressions read, its own and outer ones
	pre      *prelude
}

func newLevel(outer *scope) *level {
	l := &level{}
	if outer != nil {
		l.depth = outer.level.depth + 1
	}
	return l
}

// note takes an expression of the query into account.
func (l *level) note(e expr) {
	l.fails = l.fails || !e.total
	l.volatile = l.volatile || e.volatile
	l.rels = l.rels.plus(e.rels)
}

// contains takes a query into account that stands in this one's FROM or WITH.
func (l *level) contains(inner *level) {
	l.fails = l.fails || inner.fails
	l.volatile = l.volatile || inner.volatile
	l.rels = l.rels.plus(inner.rels.until(min(l.depth, inner.depth-1)))
}

// clause is where an expression stands.
type clause uint8

const (
	clauseWhere clause = iota + 1
	clauseOn
	clauseHaving
	clauseTarget // of SELECT
	clauseGroup
	clauseOrder
	clauseWindow
	clauseLimit
	clauseFrom // a function's arguments
	clauseValues
	clauseRow // the only row of an INSERT's VALUES, which PostgreSQL plans like a select list
	clauseSet
	clauseReturning
	clauseMerge // the condition of a WHEN
)

// ctx is the place of an expression.
type ctx struct {
	scope  *scope
	clause clause
	// part tells that the expression is a part of another, which takes it into account. Without it, the query does.
	part bool
	// operand tells that an operator is around a parameter, and finds its type.
	operand bool
	// full tells the condition of a FULL JOIN, which PostgreSQL must recognise as comparisons.
	full bool
	// whole tells that the expression is a part of a condition that AND joins to others, of which a join can be made.
	whole bool
	// pre takes what depends on no row, in places that are evaluated whenever their condition is.
	pre *prelude
}

// inside is the place of a part of the expression at in that is evaluated whenever the expression is.
func (in ctx) inside() ctx {
	in.part, in.operand, in.whole = true, false, false
	return in
}

// lazily is the place of a part that may not be evaluated although the expression is.
func (in ctx) lazily() ctx {
	in = in.inside()
	in.pre = nil
	return in
}
