package sqlplan

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// from plans the items of a FROM or USING clause in place.
func (p *planner) from(items []*pg.Node, outer *scope, ctes *cte) fragment {
	var all fragment
	for i := range items {
		var f fragment
		items[i], f = p.fromItem(items[i], all, outer, ctes)
		all = p.combine(all, f)
	}
	return all
}

// combine joins what two pieces of FROM show. A name stands for one relation.
func (p *planner) combine(a, b fragment) fragment {
	for _, r := range b.relations {
		for _, q := range a.relations {
			if r.name == q.name {
				refuse("relation named twice in FROM", r.name, -1, "give each occurrence its own alias")
			}
		}
	}
	return a.plus(b)
}

// fromItem plans one item. left is what a LATERAL item may refer to.
func (p *planner) fromItem(n *pg.Node, left fragment, outer *scope, ctes *cte) (*pg.Node, fragment) {
	switch item := n.GetNode().(type) {
	case *pg.Node_RangeVar:
		return p.rangeVar(item.RangeVar, ctes)
	case *pg.Node_JoinExpr:
		return n, p.join(item.JoinExpr, left, outer, ctes)
	case *pg.Node_RangeSubselect:
		return n, p.subquery(item.RangeSubselect, left, outer, ctes)
	case *pg.Node_RangeFunction:
		return n, p.rangeFunction(item.RangeFunction, left, outer, ctes)
	}
	refuse("unsupported item in FROM", kindOf(n), -1, "use tables, subqueries and joins")
	return nil, fragment{}
}

// rangeVar plans a name in FROM: a common table expression or a table.
func (p *planner) rangeVar(rv *pg.RangeVar, ctes *cte) (*pg.Node, fragment) {
	p.mark(rv)
	p.plainly(rv)
	if rv.Schemaname == "" {
		if c := ctes.find(rv.Relname); c != nil {
			return p.cteReference(rv, c)
		}
	}
	t := p.table(rv)
	r := &relation{name: t.Name, base: t}
	var colnames []string
	if rv.Alias != nil {
		r.name, r.aliased = rv.Alias.Aliasname, true
		colnames = p.aliasColumns(rv.Alias, rv.Location)
	}
	r.alias = p.unique(r.name)
	n := p.scopedTable(r, colnames, rv.Location)
	return n, show(r)
}

func (p *planner) cteReference(rv *pg.RangeVar, c *cte) (*pg.Node, fragment) {
	r := &relation{name: c.name}
	var colnames []string
	if rv.Alias != nil {
		r.name = rv.Alias.Aliasname
		colnames = p.aliasColumns(rv.Alias, rv.Location)
	}
	if len(colnames) > 0 && p.lite {
		refuse("column aliases", r.name, rv.Location, "name the columns in the WITH query; SQLite has no column aliases")
	}
	r.alias = p.unique(r.name)
	r.columns = p.renamed(c.columns, colnames, r.name, rv.Location)
	rv.Relname = c.alias
	rv.Alias = &pg.Alias{Aliasname: r.alias, Colnames: strs(colnames...)}
	return &pg.Node{Node: &pg.Node_RangeVar{RangeVar: rv}}, show(r)
}

// table finds the declared table that a name means.
func (p *planner) table(rv *pg.RangeVar) *Table {
	t := p.cat.Tables[rv.Relname]
	if t == nil || rv.Schemaname != "" && (t.Schema == "" || rv.Schemaname != t.Schema) {
		construct := rv.Relname
		if rv.Schemaname != "" {
			construct = rv.Schemaname + "." + rv.Relname
		}
		refuse("unknown table", construct, rv.Location, "declare the table in the schema, and name it as the database does")
	}
	p.plainly(rv)
	p.tables[t.Name] = true
	return t
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
	rv := &pg.RangeVar{Schemaname: schema, Relname: t.Name, Inh: true, Relpersistence: "p", Alias: &pg.Alias{Aliasname: alias}}
	p.mark(rv)
	return rv
}

// scopedTable builds (SELECT columns FROM schema.table AS alias WHERE the tenant's) AS alias. It is the one place
// where a table is read.
func (p *planner) scopedTable(r *relation, colnames []string, position int32) *pg.Node {
	s := newSelect()
	p.mark(s)
	for _, c := range r.base.Columns {
		if !c.Index {
			r.columns = append(r.columns, column{name: c.Name, table: r.base.Name, column: c.Name, sealed: c.Sealed, family: familyOf(c.Type)})
		}
	}
	original := r.columns
	r.columns = p.renamed(r.columns, colnames, r.name, position)
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
		p.scoped = append(p.scoped, s)
	}
	r.derived = s
	sub := &pg.RangeSubselect{Subquery: selectNode(s), Alias: &pg.Alias{Aliasname: r.alias}}
	p.mark(sub)
	return &pg.Node{Node: &pg.Node_RangeSubselect{RangeSubselect: sub}}
}

// index returns a reference to the blind index column of a relation's sealed column. A derived table shows it only
// where it is needed, and never to *.
func (p *planner) index(r *relation, c *Column) *pg.Node {
	if r.derived == nil {
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
		r.derived.TargetList = append(r.derived.TargetList, target(as, p.columnRef(r.alias, c.IndexColumn)))
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

func (p *planner) aliasColumns(a *pg.Alias, position int32) []string {
	colnames, ok := names(a.Colnames)
	if !ok {
		refuse("unsupported column alias", a.Aliasname, position, "name the columns plainly")
	}
	return colnames
}

// renamed applies a list of column aliases, which may be shorter than the columns.
func (p *planner) renamed(columns []column, colnames []string, relation string, position int32) []column {
	if len(colnames) > len(columns) {
		refuse("more column aliases than columns", relation, position, "name at most as many columns as there are")
	}
	out := append([]column(nil), columns...)
	for i, name := range colnames {
		out[i].name = name
	}
	return out
}

// subquery plans a query in FROM.
func (p *planner) subquery(sub *pg.RangeSubselect, left fragment, outer *scope, ctes *cte) fragment {
	p.mark(sub)
	if sub.Alias == nil {
		refuse("subquery in FROM without an alias", "", -1, "give it an alias")
	}
	if sub.Lateral {
		if p.lite {
			refuse("unsupported in SQLite", "LATERAL", -1, "use a join or a scalar subquery")
		}
		outer = &scope{fragment: left, parent: outer, ctes: ctes}
	}
	columns := p.query(sub.Subquery, outer, ctes)
	r := &relation{name: sub.Alias.Aliasname, aliased: true}
	colnames := p.aliasColumns(sub.Alias, -1)
	if len(colnames) > 0 && p.lite {
		refuse("column aliases", r.name, -1, "name the columns inside the subquery; SQLite has no column aliases")
	}
	r.columns = p.renamed(columns, colnames, r.name, -1)
	r.alias = p.unique(r.name)
	sub.Alias = &pg.Alias{Aliasname: r.alias, Colnames: strs(colnames...)}
	return show(r)
}

// rangeFunction plans generate_series and unnest in FROM: one function, one column.
func (p *planner) rangeFunction(f *pg.RangeFunction, left fragment, outer *scope, ctes *cte) fragment {
	p.mark(f)
	bad := func() {
		refuse("function in FROM", "", -1, "only "+strings.ReplaceAll(relationFunctions, " ", " and ")+" with one column are supported")
	}
	if p.lite || len(f.Functions) != 1 {
		bad()
	}
	items := f.Functions[0].GetList().GetItems()
	if len(items) == 0 || items[0].GetFuncCall() == nil {
		bad()
	}
	call := items[0].GetFuncCall()
	fields, ok := names(call.Funcname)
	if !ok || !contains(relationFunctions, fields[len(fields)-1]) || len(fields) == 2 && fields[0] != "pg_catalog" || len(fields) > 2 ||
		call.Over != nil || call.AggStar || call.AggDistinct || call.AggFilter != nil || call.AggOrder != nil {
		bad()
	}
	if len(call.Args) < 1 || len(call.Args) > 3 || fields[len(fields)-1] == "unnest" && len(call.Args) != 1 {
		bad()
	}
	name := fields[len(fields)-1]
	call.Funcname = strs("pg_catalog", name)
	p.mark(call)
	p.raises = true
	in := ctx{scope: &scope{fragment: left, parent: outer, ctes: ctes}}
	p.exprs(call.Args, in)
	r := &relation{name: name, columns: []column{{name: name, family: unknown}}}
	if f.Alias != nil {
		r.name, r.aliased = f.Alias.Aliasname, true
		r.columns[0].name = r.name
		r.columns = p.renamed(r.columns, p.aliasColumns(f.Alias, -1), r.name, -1)
	}
	r.alias = p.unique(r.name)
	f.Alias = &pg.Alias{Aliasname: r.alias, Colnames: strs(r.columns[0].name)}
	return show(r)
}

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
