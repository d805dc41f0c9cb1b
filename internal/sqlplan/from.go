package sqlplan

import (
	"maps"
	"slices"
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
	if c.pending != "" {
		refuse(c.pending, c.name, rv.Location, pendingHints[c.pending])
	}
	c.used = true
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

// rangeFunction plans a function in FROM.
func (p *planner) rangeFunction(f *pg.RangeFunction, left fragment, outer *scope, ctes *cte) fragment {
	p.mark(f)
	if p.lite {
		refuse("unsupported in SQLite", "function in FROM", -1, "use a join, or a recursive query of WITH")
	}
	if len(f.Functions) != 1 {
		refuse("unsupported clause", "ROWS FROM", -1, "join the functions")
	}
	items := f.Functions[0].GetList().GetItems() // the function and a list of columns, which only records need
	call := items[0].GetFuncCall()
	if call == nil {
		refuse("unsupported item in FROM", kindOf(items[0]), -1, "use tables, subqueries, functions and joins")
	}
	fields, ok := names(call.Funcname)
	name := fields[len(fields)-1]
	columns, known := relationFunctions[name]
	if !ok || !known || len(fields) == 2 && fields[0] != "pg_catalog" || len(fields) > 2 {
		refuse("function in FROM not in the allowlist", strings.Join(fields, "."), call.Location,
			"use one of "+strings.Join(slices.Sorted(maps.Keys(relationFunctions)), ", "))
	}
	if call.Over != nil || call.AggStar || call.AggDistinct || call.AggFilter != nil || call.AggOrder != nil || call.AggWithinGroup || len(call.Args) == 0 {
		refuse("aggregate's clause on a function that is none", name, call.Location, "leave it out")
	}
	call.Funcname = strs("pg_catalog", name)
	if name == "unnest" && len(call.Args) > 1 {
		call.Funcname = strs(name) // one of several arrays is a syntax of its own, of which no other function comes in the way
	}
	p.mark(call)
	p.raises = true
	p.exprs(call.Args, ctx{scope: &scope{fragment: left, parent: outer, ctes: ctes}})
	r := &relation{name: name}
	for c := range strings.FieldsSeq(columns) {
		r.columns = append(r.columns, column{name: c, family: unknown})
	}
	if columns == "" {
		r.columns = []column{{name: name, family: unknown}}
		if f.Alias != nil && (name != "unnest" || len(call.Args) == 1) {
			r.columns[0].name = f.Alias.Aliasname
		}
	}
	for name == "unnest" && len(r.columns) < len(call.Args) {
		r.columns = append(r.columns, column{name: name, family: unknown})
	}
	if f.Ordinality {
		r.columns = append(r.columns, column{name: "ordinality", family: "int"})
	}
	if f.Alias != nil {
		r.name, r.aliased = f.Alias.Aliasname, true
		r.columns = p.renamed(r.columns, p.aliasColumns(f.Alias, -1), r.name, -1)
	}
	r.alias = p.unique(r.name)
	f.Alias = &pg.Alias{Aliasname: r.alias}
	for _, c := range r.columns {
		f.Alias.Colnames = append(f.Alias.Colnames, str(c.name))
	}
	return show(r)
}
