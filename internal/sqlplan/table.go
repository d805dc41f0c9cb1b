package sqlplan

import (
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/closest"
	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// table finds the declared table that a name means.
func (p *planner) table(rv *pg.RangeVar) *Table {
	t := p.find(rv.Schemaname, rv.Relname)
	if t == nil {
		construct := rv.Relname
		if rv.Schemaname != "" {
			construct = rv.Schemaname + "." + rv.Relname
		}
		hint := "declare the table in the schema, and name it as the database does"
		if like := p.likeTable(rv); like != "" {
			hint = "did you mean " + like + "? otherwise " + hint
		}
		if !p.lite && (rv.Schemaname == "information_schema" || rv.Schemaname == "pg_catalog" || strings.HasPrefix(rv.Relname, "pg_")) {
			hint = "the catalogs tell of all tenants; read them on a connection that is not guarded"
		}
		refuse("unknown table", construct, rv.Location, hint)
	}
	p.plainly(rv)
	p.tables[t.Name] = true
	return t
}

// find returns the table that a name means, with a schema or without, which then is the default one whatever the
// connection's search path is; or nil.
func (p *planner) find(schema, name string) *Table {
	if schema == "" {
		t := p.tableNamed(name)
		if t != nil && !p.same(t.Relation(), name) {
			return nil // the name has a dot in it
		}
		return t
	}
	for _, key := range []string{schema + "." + name, name} {
		if t := p.cat.Tables[key]; t != nil && t.Schema == schema && t.Relation() == name {
			return t
		}
	}
	return nil
}

// likeTable returns the name of a table that a name may have been meant for.
func (p *planner) likeTable(rv *pg.RangeVar) string {
	all := slices.Sorted(maps.Keys(p.cat.Tables))
	for _, name := range all {
		if p.cat.Tables[name].Relation() == rv.Relname {
			return name
		}
	}
	return closest.To(rv.Relname, all)
}

func (p *planner) tableNamed(name string) *Table {
	if t := p.cat.Tables[name]; t != nil || !p.lite {
		return t
	}
	for other, t := range p.cat.Tables { // no two of a database differ in case alone
		if p.same(other, name) {
			return t
		}
	}
	return nil
}

// columnsOf are the columns of a table that statements may name, and their types.
func (p *planner) columnsOf(t *Table) []column {
	out := make([]column, 0, len(t.Columns))
	for _, c := range t.Columns {
		if !c.Index {
			out = append(out, column{name: c.Name, table: t.Name, column: c.Name, sealed: c.Sealed, typ: p.typeOfColumn(c), total: true, notNull: c.NotNull})
		}
	}
	return out
}

func (p *planner) typeOfColumn(c Column) builtin.Type {
	switch {
	case p.lite || c.Collated:
		return builtin.Unknown
	case c.Enum:
		return builtin.Type("enum:" + c.Type)
	}
	return builtin.Canonical(c.Type)
}

func (p *planner) plainly(rv *pg.RangeVar) {
	if rv.Relpersistence != "p" {
		refuse("unsupported clause", "TEMPORARY", rv.Location, "leave it out")
	}
	if !rv.Inh {
		refuse("unsupported clause", "ONLY", rv.Location, "leave it out; tenants are not kept in child tables")
	}
}

// qualified names the table in its schema: main in SQLite, where a temporary table of the same name would win.
func (p *planner) qualified(t *Table, alias string) *pg.RangeVar {
	schema := t.Schema
	if p.lite {
		schema = "main"
	}
	rv := &pg.RangeVar{Schemaname: schema, Relname: t.Relation(), Inh: true, Relpersistence: "p", Alias: &pg.Alias{Aliasname: alias}}
	p.mark(rv)
	return rv
}

// scopedTable builds (SELECT columns FROM schema.table AS alias WHERE the tenant's) AS alias. It is the one place
// where a table is read.
func (p *planner) scopedTable(r *relation, colnames []string, position int32) *pg.Node {
	s := newSelect()
	p.mark(s)
	original := p.columnsOf(r.base)
	r.columns = p.renamed(original, colnames, r.name, position)
	for i, c := range r.columns {
		name := ""
		if p.lite || c.name != original[i].name {
			name = c.name
		}
		s.TargetList = append(s.TargetList, target(name, p.columnRef(r.alias, original[i].name)))
	}
	s.FromClause = []*pg.Node{{Node: &pg.Node_RangeVar{RangeVar: p.qualified(r.base, r.alias)}}}
	if !r.base.Shared {
		s.WhereClause = p.scopedTo(r.base, r.alias)
	}
	r.query = s
	sub := &pg.RangeSubselect{Subquery: selectNode(s), Alias: &pg.Alias{Aliasname: r.alias}}
	p.mark(sub)
	return &pg.Node{Node: &pg.Node_RangeSubselect{RangeSubselect: sub}}
}

// index returns a reference to the blind index column of a relation's sealed column. A derived table shows it only
// where it is needed, and never to *.
func (p *planner) index(r *relation, c *Column) *pg.Node {
	if r.target {
		r.used = append(r.used, c.IndexColumn)
		return p.columnRef(r.alias, c.IndexColumn)
	}
	name, ok := r.exposed[c.IndexColumn]
	if !ok {
		name = c.IndexColumn
		for r.has(name) {
			name += "_index"
		}
		if r.exposed == nil {
			r.exposed = map[string]string{}
		}
		r.exposed[c.IndexColumn] = name
		as := ""
		if p.lite || name != c.IndexColumn {
			as = name
		}
		r.query.TargetList = append(r.query.TargetList, target(as, p.columnRef(r.alias, c.IndexColumn)))
	}
	r.used = append(r.used, name)
	return p.columnRef(r.alias, name)
}

// has tells whether a relation shows a column of that name, whatever the case.
func (r *relation) has(name string) bool {
	for _, c := range r.columns {
		if strings.EqualFold(c.name, name) {
			return true
		}
	}
	for _, shown := range r.exposed {
		if strings.EqualFold(shown, name) {
			return true
		}
	}
	return false
}
