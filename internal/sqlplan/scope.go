package sqlplan

import (
	"cmp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/closest"
	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// column is one column of a relation or of a query's result.
type column struct {
	name string
	// as is what the plan calls it, where another column of its relation has the same name.
	as string
	// table and column are where the value comes from, unchanged; empty for a computed value.
	table, column string
	sealed        bool
	// hidden tells that the database does not report the origin.
	hidden bool
	typ    builtin.Type
	// total tells that computing the value fails for no row. A column that is stored is.
	total bool
	// notNull tells that it is never NULL.
	notNull bool
}

// relation is one thing in FROM, or the target of a write.
type relation struct {
	name    string // what the statement calls it
	alias   string // what the plan calls it
	base    *Table // the table it is; nil for a subquery, a CTE or a function
	aliased bool   // the statement gave it an alias, so that the table's name is hidden
	columns []column
	// depth is how many queries are around the one that it stands in.
	depth int
	// target tells the target of a write, which is no derived table and is not filtered yet where conditions are.
	target bool
	// inserted tells the target of an INSERT.
	inserted bool
	// behind tells that its rows were released by a barrier: all of them are the tenant's.
	behind bool
	// with tells a query of WITH, into which no lock of the query that reads it reaches.
	with bool
	// scalar tells a function whose alias means its only column.
	scalar bool
	// query is the query that stands for the relation in the plan: the scoped one of a base table, a subquery, a CTE's. It is
	// nil where there is none to put a barrier on.
	query *pg.SelectStmt
	// exposed maps index columns that a scoped query shows to the names it shows them under.
	exposed map[string]string
	// used are the columns that were referred to, for GROUP BY a primary key.
	used []string
}

// visible is a column that an unqualified name may mean: of one relation, or merged by USING.
type visible struct {
	column
	rel *relation
	// full is the other side of a column merged by a FULL JOIN, whose value is COALESCE(rel's, full's).
	full *visible
}

// fragment is what a piece of FROM shows.
type fragment struct {
	relations []*relation
	columns   []visible
}

// plus joins what two pieces show. Pieces to the left are never changed by it, but may share their memory.
func (f fragment) plus(g fragment) fragment {
	return fragment{append(f.relations, g.relations...), append(f.columns, g.columns...)}
}

// scope is where names are looked up: a query's FROM, then that of the query around it.
type scope struct {
	fragment
	parent *scope
	ctes   *cte
	level  *level

	lookups int              // of unqualified names
	named   map[string][]int // the columns of each name, folded; nil until that is worth its while
}

// nullable is what a piece of FROM shows where an outer join may have no row of it.
func (f fragment) nullable() fragment {
	columns := slices.Clone(f.columns)
	for i := range columns {
		columns[i].notNull = false
	}
	for _, r := range f.relations {
		r.columns = slices.Clone(r.columns)
		for i := range r.columns {
			r.columns[i].notNull = false
		}
	}
	return fragment{f.relations, columns}
}

// show makes a fragment of one relation.
func show(r *relation) fragment {
	f := fragment{relations: []*relation{r}, columns: make([]visible, len(r.columns))}
	for i, c := range r.columns {
		f.columns[i] = visible{column: c, rel: r}
	}
	return f
}

// same tells whether the database takes two names for one: SQLite folds the case of ASCII letters.
func (p *planner) same(a, b string) bool {
	if a == b || !p.lite || len(a) != len(b) {
		return a == b
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

func foldByte(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// folded is the same for names that the database takes for one.
func (p *planner) folded(name string) string {
	if p.lite {
		return foldASCII(name)
	}
	return name
}

// searched is after how many lookups a scope has an index: a statement may look up ten thousand names among a hundred
// thousand columns.
const searched = 8

// local looks an unqualified name up in one scope alone.
func (p *planner) local(s *scope, name string, position int32) *visible {
	if s.lookups++; s.lookups > searched {
		if s.named == nil {
			s.named = map[string][]int{}
			for i := range s.columns {
				folded := p.folded(s.columns[i].name)
				s.named[folded] = append(s.named[folded], i)
			}
		}
		switch at := s.named[p.folded(name)]; len(at) {
		case 0:
			return nil
		case 1:
			return &s.columns[at[0]]
		}
		refuseAmbiguous(name, position)
	}
	var found *visible
	for i := range s.columns {
		if !p.same(s.columns[i].name, name) {
			continue
		}
		if found != nil {
			refuseAmbiguous(name, position)
		}
		found = &s.columns[i]
	}
	return found
}

func refuseAmbiguous(name string, position int32) {
	refuse("ambiguous column", name, position, "qualify it with its table")
}

// resolve returns what a column reference means, by the database's rules.
func (p *planner) resolve(ref *pg.ColumnRef, s *scope) *visible {
	fields, ok := names(ref.Fields)
	if !ok {
		refuse("* inside an expression", "*", ref.Location, "name the columns")
	}
	switch len(fields) {
	case 1:
		for in := s; in != nil; in = in.parent {
			if v := p.local(in, fields[0], ref.Location); v != nil {
				return v
			}
		}
		// The alias of a function in FROM that returns one value means that value.
		if r := p.relationOf(s, fields); r != nil && r.scalar && len(r.columns) == 1 {
			return &visible{column: r.columns[0], rel: r}
		}
	case 2, 3:
		if r := p.relationOf(s, fields[:len(fields)-1]); r != nil {
			return p.lookup(r, fields[len(fields)-1], ref.Location)
		}
	}
	p.refuseNoColumn(fields, s, ref.Location)
	hint := "name a column of the declared tables in FROM; index columns cannot be named"
	if len(fields) > 1 {
		hint = "name columns by the table or its alias in this FROM; a table that has an alias is known by that alone"
	} else if like := p.nearest(fields[len(fields)-1], s); like != "" {
		hint = "did you mean " + like + "? a column that was added since the database was opened is known once it is opened again"
	}
	refuse("unknown column", strings.Join(fields, "."), ref.Location, hint)
	return nil
}

// refuseNoColumn refuses a name that means something, if no column that a statement can name.
func (p *planner) refuseNoColumn(fields []string, s *scope, position int32) {
	if hint := systemColumns[fields[len(fields)-1]]; hint != "" && !p.lite {
		refuse("system column", strings.Join(fields, "."), position, hint)
	}
	if r := p.relationOf(s, fields); len(fields) == 1 && r != nil {
		refuse("whole row", r.name, position, "name its columns; for JSON write json_agg(x), to_jsonb(x) or row_to_json(x), which may be given a whole row")
	}
}

// relationOf finds a relation by its qualifier: a name, or a schema and a name.
func (p *planner) relationOf(s *scope, qualifier []string) *relation {
	name := qualifier[len(qualifier)-1]
	for ; s != nil; s = s.parent {
		for _, r := range s.relations {
			if !p.same(r.name, name) {
				continue
			}
			if len(qualifier) == 1 || r.base != nil && !r.aliased && r.base.Schema != "" && r.base.Schema == qualifier[0] {
				return r
			}
		}
	}
	return nil
}

func (p *planner) lookup(r *relation, name string, position int32) *visible {
	var found *visible
	for i := range r.columns {
		if p.same(r.columns[i].name, name) {
			if found != nil {
				refuse("ambiguous column", r.name+"."+name, position, "give the columns of the subquery different names")
			}
			found = &visible{column: r.columns[i], rel: r}
		}
	}
	if found == nil {
		if hint := systemColumns[name]; hint != "" && !p.lite {
			refuse("system column", r.name+"."+name, position, hint)
		}
		hint := "name a declared column; index columns cannot be named"
		if r.base != nil {
			hint += "; a column that was added since the database was opened is known once it is opened again"
		}
		if like := closest.To(name, columnNames(r.columns)); like != "" {
			hint = "did you mean " + like + "? " + hint
		}
		refuse("unknown column", r.name+"."+name, position, hint)
	}
	return found
}

// use records the use of a column and returns the expression that stands for it.
func (p *planner) use(v *visible) expr {
	p.touch(&v.column)
	v.rel.used = append(v.rel.used, v.name)
	e := expr{node: p.columnRef(v.rel.alias, cmp.Or(v.as, v.name)), typ: v.typ, total: v.total || v.rel.behind, rels: relset{v.rel}, column: v}
	if v.full == nil {
		return e
	}
	other := p.use(v.full)
	node := &pg.Node{Node: &pg.Node_CoalesceExpr{CoalesceExpr: &pg.CoalesceExpr{Args: []*pg.Node{e.node, other.node}}}}
	return p.chosen(node, e, other)
}
