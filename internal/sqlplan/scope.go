package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// column is one column of a relation or of a query's result.
type column struct {
	name string
	// table and column are where the value comes from, unchanged; empty for a computed value.
	table, column string
	sealed        bool
	// hidden tells that the database does not report the origin.
	hidden bool
	family string // see family.go
}

// relation is one thing in FROM, or the target of a write.
type relation struct {
	name    string // what the statement calls it
	alias   string // what the plan calls it
	base    *Table // the table it is; nil for a subquery, a CTE or a function
	aliased bool   // the statement gave it an alias, so that the table's name is hidden
	columns []column
	// derived is the scoped query that stands for base; nil for the target of a write, whose columns all are there.
	derived *pg.SelectStmt
	// exposed maps index columns that derived shows to the names it shows them under.
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

func (f fragment) plus(g fragment) fragment {
	return fragment{
		relations: append(f.relations[:len(f.relations):len(f.relations)], g.relations...),
		columns:   append(f.columns[:len(f.columns):len(f.columns)], g.columns...),
	}
}

// scope is where names are looked up: a query's FROM, then that of the query around it.
type scope struct {
	fragment
	parent *scope
	ctes   *cte
}

// show makes a fragment of one relation.
func show(r *relation) fragment {
	f := fragment{relations: []*relation{r}}
	for _, c := range r.columns {
		f.columns = append(f.columns, visible{column: c, rel: r})
	}
	return f
}

// local looks an unqualified name up in one scope alone.
func (s *scope) local(name string, position int32) *visible {
	var found *visible
	for i := range s.columns {
		if s.columns[i].name != name {
			continue
		}
		if found != nil {
			refuse("ambiguous column", name, position, "qualify it with its table")
		}
		found = &s.columns[i]
	}
	return found
}

// resolve returns what a column reference means, by PostgreSQL's rules.
func (p *planner) resolve(ref *pg.ColumnRef, s *scope) *visible {
	fields, ok := names(ref.Fields)
	if !ok {
		refuse("* inside an expression", "*", ref.Location, "name the columns")
	}
	switch len(fields) {
	case 1:
		for ; s != nil; s = s.parent {
			if v := s.local(fields[0], ref.Location); v != nil {
				return v
			}
		}
	case 2, 3:
		if r := s.relation(fields[:len(fields)-1]); r != nil {
			return r.lookup(fields[len(fields)-1], ref.Location)
		}
	}
	refuse("unknown column", strings.Join(fields, "."), ref.Location,
		"name a column of the declared tables in FROM; whole rows, system columns and index columns cannot be named")
	return nil
}

// relation finds a relation by its qualifier: a name, or a schema and a name.
func (s *scope) relation(qualifier []string) *relation {
	name := qualifier[len(qualifier)-1]
	for ; s != nil; s = s.parent {
		for _, r := range s.relations {
			if r.name != name {
				continue
			}
			if len(qualifier) == 1 || r.base != nil && !r.aliased && r.base.Schema != "" && r.base.Schema == qualifier[0] {
				return r
			}
		}
	}
	return nil
}

func (r *relation) lookup(name string, position int32) *visible {
	var found *visible
	for i := range r.columns {
		if r.columns[i].name == name {
			if found != nil {
				refuse("ambiguous column", r.name+"."+name, position, "give the columns of the subquery different names")
			}
			found = &visible{column: r.columns[i], rel: r}
		}
	}
	if found == nil {
		refuse("unknown column", r.name+"."+name, position,
			"name a declared column; whole rows, system columns and index columns cannot be named")
	}
	return found
}

// use records the use of a column and returns the expression that stands for it.
func (p *planner) use(v *visible) *pg.Node {
	p.touch(&v.column)
	v.rel.used = append(v.rel.used, v.name)
	ref := p.columnRef(v.rel.alias, v.name)
	if v.full == nil {
		return ref
	}
	return &pg.Node{Node: &pg.Node_CoalesceExpr{CoalesceExpr: &pg.CoalesceExpr{Args: []*pg.Node{ref, p.use(v.full)}}}}
}
