package sqlplan

import pg "github.com/pganalyze/pg_query_go/v6"

// with plans the queries of a WITH clause and returns what is visible after it. A query sees those before it.
//
// Every common table expression gets a name of the planner's making, so that its name can never mean a table to the
// database, nor a table's name a common table expression.
func (p *planner) with(w *pg.WithClause, outer *scope, ctes *cte) *cte {
	if w == nil {
		return ctes
	}
	if w.Recursive {
		refuse("unsupported clause", "WITH RECURSIVE", w.Location, hints["WithClause.recursive"])
	}
	seen := map[string]bool{}
	for _, n := range w.Ctes {
		e := n.GetCommonTableExpr()
		if e == nil || seen[e.Ctename] {
			refuse("query named twice in WITH", e.GetCtename(), w.Location, "give each query its own name")
		}
		seen[e.Ctename] = true
		if e.Ctequery.GetSelectStmt() == nil {
			refuse("write inside WITH", e.Ctename, e.Location, "send the write as a statement of its own")
		}
		columns := p.query(e.Ctequery, outer, ctes)
		colnames, ok := names(e.Aliascolnames)
		if !ok {
			refuse("unsupported column alias", e.Ctename, e.Location, "name the columns plainly")
		}
		if p.lite && len(colnames) > 0 && len(colnames) != len(columns) {
			refuse("column aliases", e.Ctename, e.Location, "name all columns or none")
		}
		columns = p.renamed(columns, colnames, e.Ctename, e.Location)
		ctes = &cte{outer: ctes, name: e.Ctename, alias: p.unique("cte_" + e.Ctename), columns: columns}
		e.Ctename = ctes.alias
	}
	return ctes
}
