package sqlplan

import (
	"cmp"
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/strongroom-go/strongroom/internal/sqlplan/builtin"
)

// MaxRelations is the most relations that a statement may name. PostgreSQL itself takes long for a few hundred.
const MaxRelations = 1000

// MaxVisible is the most columns that a statement's relations, its * and its whole rows may have together. A query that selects
// all columns of two others has as many as both, so that a short statement comes to millions.
const MaxVisible = 100_000

// from is the FROM or USING clause of a query while it is planned.
type from struct {
	p     *planner
	level *level
	outer *scope
	ctes  *cte
	// named are the names of relations that were met, as the database tells them apart.
	named map[string]bool
}

// from plans the items of a FROM or USING clause in place. Before are relations that the statement has already.
func (p *planner) from(items []*pg.Node, l *level, outer *scope, ctes *cte, before ...*relation) fragment {
	f := &from{p: p, level: l, outer: outer, ctes: ctes, named: map[string]bool{}}
	var all fragment
	for _, r := range before {
		f.name(r)
		all = all.plus(show(r))
	}
	for i := range items {
		var item fragment
		items[i], item = f.item(items[i], all, i == 0 && leftDeep(items[0]))
		all = all.plus(item)
	}
	return all
}

// name takes a relation into FROM. A name stands for one relation.
func (f *from) name(r *relation) {
	r.depth = f.level.depth
	name := r.name
	if f.p.lite {
		name = foldASCII(name)
	}
	if f.named[name] {
		refuse("relation named twice in FROM", r.name, -1, "give each occurrence its own alias")
	}
	f.named[name] = true
}

// lateral is the scope of an item that may refer to those to its left.
func (f *from) lateral(left fragment) *scope {
	return &scope{fragment: left, parent: f.outer, ctes: f.ctes, level: f.level}
}

// item plans one item. left is what a LATERAL item may refer to; spine tells that a prelude at the very left of FROM is seen
// by the item's conditions.
func (f *from) item(n *pg.Node, left fragment, spine bool) (*pg.Node, fragment) {
	p := f.p
	p.relations++
	if p.relations > MaxRelations {
		refuse("statement over the limit of relations", "", -1, fmt.Sprintf("name at most %d tables and subqueries in a statement", MaxRelations))
	}
	p.interrupted()
	switch item := n.GetNode().(type) {
	case *pg.Node_RangeVar:
		n, r := f.rangeVar(item.RangeVar)
		f.name(r)
		p.visible(len(r.columns))
		return n, show(r)
	case *pg.Node_JoinExpr:
		return n, f.join(item.JoinExpr, left, spine)
	case *pg.Node_RangeSubselect:
		r := f.subquery(item.RangeSubselect, left)
		f.name(r)
		p.visible(len(r.columns))
		return n, show(r)
	case *pg.Node_RangeFunction:
		r := f.function(item.RangeFunction, left)
		f.name(r)
		p.visible(len(r.columns))
		return n, show(r)
	}
	refuse("unsupported item in FROM", kindOf(n), -1, "use tables, subqueries and joins")
	return nil, fragment{}
}

// visible counts columns that become visible, or are written out.
func (p *planner) visible(n int) {
	if p.shown += n; p.shown > MaxVisible {
		refuse("statement over the limit of columns", "", -1, fmt.Sprintf("name the columns that you need in place of * and of whole rows: those of all relations, of * and of whole rows may be %d together", MaxVisible))
	}
}

// rangeVar plans a name in FROM: a common table expression or a table.
func (f *from) rangeVar(rv *pg.RangeVar) (*pg.Node, *relation) {
	p := f.p
	p.mark(rv)
	if rv.Schemaname == "" {
		if c := p.findCTE(f.ctes, rv.Relname); c != nil {
			return f.cteReference(rv, c)
		}
	}
	t := p.table(rv)
	r := &relation{name: t.Relation(), base: t}
	if p.lite {
		r.name = rv.Relname
	}
	var colnames []string
	if rv.Alias != nil {
		r.name, r.aliased = rv.Alias.Aliasname, true
		colnames = p.aliasColumns(rv.Alias, rv.Location)
	}
	r.alias = p.unique(r.name)
	return p.scopedTable(r, colnames, rv.Location), r
}

func (f *from) cteReference(rv *pg.RangeVar, c *cte) (*pg.Node, *relation) {
	p := f.p
	p.plainly(rv)
	if c.pending != "" {
		refuse(c.pending, c.name, rv.Location, pendingHints[c.pending])
	}
	c.used = true
	f.level.contains(c.level)
	r := &relation{name: c.name, query: c.query, with: true}
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
	if all := p.distinct(r.columns); all != nil {
		colnames = all
	}
	rv.Relname = c.alias
	rv.Alias = &pg.Alias{Aliasname: r.alias, Colnames: strs(colnames...)}
	return &pg.Node{Node: &pg.Node_RangeVar{RangeVar: rv}}, r
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
	for i := range out {
		out[i].as = ""
	}
	for i, name := range colnames {
		out[i].name = name
	}
	return out
}

// distinct gives columns that share a name names of their own in the plan, and returns the names of all; nil where there are
// none.
func (p *planner) distinct(columns []column) []string {
	seen, again := map[string]bool{}, false
	for _, c := range columns {
		again = again || seen[c.name]
		seen[c.name] = true
	}
	if !again || p.lite {
		return nil
	}
	used, next := map[string]bool{}, map[string]int{}
	all := make([]string, len(columns))
	for i := range columns {
		name := columns[i].name
		for n := max(2, next[name]); used[name] || name != columns[i].name && seen[name]; n++ {
			name = fmt.Sprint(columns[i].name, "_", n)
			next[columns[i].name] = n + 1 // those below are taken
		}
		used[name] = true
		if all[i] = name; name != columns[i].name {
			columns[i].as = name
		}
	}
	return all
}

// subquery plans a query in FROM.
func (f *from) subquery(sub *pg.RangeSubselect, left fragment) *relation {
	p := f.p
	p.mark(sub)
	if sub.Alias == nil {
		refuse("subquery in FROM without an alias", "", -1, "give it an alias")
	}
	outer := f.outer
	if sub.Lateral {
		outer = f.lateral(left)
	} else if outer == nil {
		outer = &scope{ctes: f.ctes, level: f.level}
	} else {
		outer = &scope{parent: outer, ctes: f.ctes, level: f.level}
	}
	q := p.query(sub.Subquery, outer, f.ctes, nil)
	f.level.contains(q.level)
	r := &relation{name: sub.Alias.Aliasname, aliased: true, query: sub.Subquery.GetSelectStmt()}
	colnames := p.aliasColumns(sub.Alias, -1)
	if len(colnames) > 0 && p.lite {
		refuse("column aliases", r.name, -1, "name the columns inside the subquery; SQLite has no column aliases")
	}
	r.columns = p.renamed(q.columns, colnames, r.name, -1)
	if all := p.distinct(r.columns); all != nil {
		colnames = all
	}
	r.alias = p.unique(r.name)
	sub.Alias = &pg.Alias{Aliasname: r.alias, Colnames: strs(colnames...)}
	return r
}

// function plans a function in FROM, or several of ROWS FROM. What it returns depends on rows to its left alone, which have
// left their scans.
func (f *from) function(rf *pg.RangeFunction, left fragment) *relation {
	p := f.p
	p.mark(rf)
	r := &relation{behind: true}
	for _, n := range rf.Functions {
		items := n.GetList().GetItems() // the function and a list of columns, which records need
		call := items[0].GetFuncCall()
		if call == nil {
			refuse("unsupported item in FROM", kindOf(items[0]), -1, "use tables, subqueries, functions and joins")
		}
		definition := rf.Coldeflist
		if len(items) > 1 && items[1].GetList() != nil {
			definition = items[1].GetList().Items
		}
		if len(definition) == 0 && len(rf.Functions) == 1 {
			rf.Coldeflist = p.populated(call)
			definition = rf.Coldeflist
		}
		columns := f.rows(call, definition, left)
		fields, _ := names(call.Funcname)
		if r.name == "" {
			r.name = fields[len(fields)-1]
		}
		if len(rf.Functions) > 1 && columns[0].name == "" {
			columns[0].name = fields[len(fields)-1]
		}
		r.columns = append(r.columns, columns...)
	}
	r.scalar = len(r.columns) == 1 && !rf.Ordinality && len(rf.Coldeflist) == 0
	if rf.Ordinality {
		r.columns = append(r.columns, column{name: "ordinality", typ: "int8", total: true})
	}
	if rf.Alias != nil {
		r.name, r.aliased = rf.Alias.Aliasname, true
		if r.columns[0].name == "" {
			r.columns[0].name = r.name
		}
		r.columns = p.renamed(r.columns, p.aliasColumns(rf.Alias, -1), r.name, -1)
	}
	for i := range r.columns {
		if r.columns[i].name == "" {
			r.columns[i].name = r.name
		}
	}
	r.alias = p.unique(r.name)
	rf.Alias = &pg.Alias{Aliasname: r.alias}
	if len(rf.Coldeflist) > 0 { // which gives the names, of which PostgreSQL takes none twice
		return r
	}
	p.distinct(r.columns)
	for _, c := range r.columns {
		rf.Alias.Colnames = append(rf.Alias.Colnames, str(cmp.Or(c.as, c.name)))
	}
	return r
}

// rows plans one function and returns its columns; one that has no name of its own gets the relation's.
func (f *from) rows(call *pg.FuncCall, definition []*pg.Node, left fragment) []column {
	p := f.p
	fields, _ := names(call.Funcname)
	in := ctx{scope: f.lateral(left), clause: clauseFrom}
	several := len(call.Args) > 1 && (len(fields) == 1 && fields[0] == "unnest" || len(fields) == 2 && fields[0] == "pg_catalog" && fields[1] == "unnest")
	if several && len(definition) == 0 {
		// Several arrays are a syntax of their own, of which no other function comes in the way.
		p.mark(call)
		call.Funcname = strs("unnest")
		var columns []column
		for i := range call.Args {
			arg := p.expr(call.Args[i], in)
			call.Args[i] = arg.node
			columns = append(columns, column{name: "unnest", typ: elementOf(arg.typ), total: true})
		}
		return columns
	}
	facts := p.rowsFunction(call)
	e := p.expr(&pg.Node{Node: &pg.Node_FuncCall{FuncCall: call}}, in)
	if facts.Kind == 0 {
		p.declaredRows(e)
	}
	if facts.Definition != (len(definition) > 0) {
		refuse("list of columns", fields[len(fields)-1], call.Location, "name columns and types after json_to_recordset and its like, such as AS r(id bigint, name text), and only there")
	}
	if facts.Definition {
		return p.definition(definition)
	}
	if len(facts.Columns) == 0 {
		return []column{{typ: e.typ, total: true}}
	}
	var columns []column
	for _, name := range facts.Columns {
		columns = append(columns, column{name: name, typ: builtin.Unknown, total: true})
	}
	if len(columns) == 1 {
		columns[0].typ = e.typ
	}
	return columns
}

// definition returns the columns that a list of names and types says a record has.
func (p *planner) definition(list []*pg.Node) []column {
	columns := make([]column, len(list))
	for i, n := range list {
		def := n.GetColumnDef()
		columns[i] = column{name: def.Colname, typ: p.typeOf(def.TypeName, p.typeName(def.TypeName)), total: true}
	}
	return columns
}

// declaredRows keeps the rows that a declared function in FROM is called with from being other tenants'. PostgreSQL puts the
// query of a function in SQL in its place and pulls it up, so that what it computes and tests stands among the conditions of the
// relations that its arguments read.
func (p *planner) declaredRows(call expr) {
	for _, r := range call.rels {
		if !r.target { // which PostgreSQL does not let a function in FROM see
			p.barrier(r)
		}
	}
}

// rowsFunction refuses a function that may not stand in FROM.
func (p *planner) rowsFunction(call *pg.FuncCall) builtin.Facts {
	fields, ok := names(call.Funcname)
	name := fields[len(fields)-1]
	facts, known := builtin.Function(p.engine, name, nil)
	if len(fields) == 2 && fields[0] != "pg_catalog" || len(fields) > 2 || !ok || !known {
		if declared := p.declaredFunction(fields); declared {
			return builtin.Facts{}
		}
		refuse("function in FROM not in the allowlist", strings.Join(fields, "."), call.Location,
			"declare the function if it reads no tables, or use one of PostgreSQL's own such as unnest, generate_series or jsonb_array_elements")
	}
	return facts
}

func elementOf(t builtin.Type) builtin.Type {
	if element, ok := strings.CutSuffix(string(t), "[]"); ok {
		return builtin.Type(element)
	}
	return builtin.Unknown
}
