package sqlplan

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// xmax of a row that an INSERT returns is 0 where the row is new, and not where ON CONFLICT DO UPDATE changed one that was there. What
// else it holds is the number of a transaction, which tells how many there were in all, whoever's: so it is compared with 0,
// in the RETURNING of an INSERT, and is nowhere a value.

// systemColumns are the names that PostgreSQL lets no column have, with what to write instead.
var systemColumns = map[string]string{
	"ctid":     "name rows by their primary key, as in WHERE id IN (SELECT id FROM … LIMIT 1000)",
	"xmax":     "compare it with 0 in the RETURNING of an INSERT, as in RETURNING xmax = 0 AS inserted",
	"xmin":     "the numbers of transactions are those of all tenants; keep a version in a column of the table",
	"cmin":     "keep a version in a column of the table",
	"cmax":     "keep a version in a column of the table",
	"tableoid": "write the table's name as a literal, one for each part of a UNION ALL",
}

// isNew plans the comparison of xmax with 0, also as a text or an integer: xmax = 0, xmax <> 0, xmax::text = '0', xmax::text::bigint > 0.
func (p *planner) isNew(e *pg.A_Expr, in ctx) (made expr, ok bool) {
	if p.lite || in.clause != clauseReturning || e.Kind != pg.A_Expr_Kind_AEXPR_OP {
		return expr{}, false
	}
	op, _ := names(e.Name)
	left, right := e.Lexpr, e.Rexpr
	_, swapped := isConst(left)
	if swapped {
		left, right = right, left
	}
	ref, as := uncast(left)
	r := p.newRow(ref, in.scope)
	if r == nil {
		return expr{}, false
	}
	c, _ := isConst(right)
	zero := c.GetIval() != nil && c.GetIval().Ival == 0
	if as == "text" {
		zero = c.GetSval().GetSval() == "0"
	}
	if op[0] == ">" && as == "integer" && !swapped {
		op = []string{"<>"}
	}
	if len(op) != 1 || !zero || op[0] != "=" && op[0] != "<>" || swapped && as == "" { // integer = xid is no operator of PostgreSQL's

		refuse("system column", "xmax", ref.Location, systemColumns["xmax"])
	}
	node := p.made(opExpr(pg.A_Expr_Kind_AEXPR_OP, op[0], p.columnRef(r.alias, "xmax"), intConst(0)))
	return expr{node: node, typ: "bool", rels: relset{r}}, true
}

// uncast takes the casts away with which xmax is read as a text, and that as an integer.
func uncast(n *pg.Node) (ref *pg.ColumnRef, as string) {
	var casts []string
	for n.GetTypeCast() != nil && len(casts) < 3 {
		t := n.GetTypeCast().TypeName
		fields, _ := names(t.Names)
		if len(fields) == 0 || len(t.ArrayBounds) > 0 || len(t.Typmods) > 0 {
			return nil, ""
		}
		casts, n = append(casts, fields[len(fields)-1]), n.GetTypeCast().Arg
	}
	switch {
	case len(casts) == 0:
		return n.GetColumnRef(), ""
	case len(casts) == 1 && casts[0] == "text":
		return n.GetColumnRef(), "text"
	case len(casts) == 2 && casts[1] == "text" && contains("int4 int8", casts[0]):
		return n.GetColumnRef(), "integer"
	}
	return nil, ""
}

// newRow is the relation whose xmax a reference names, if it is that of a row which an INSERT returns.
func (p *planner) newRow(ref *pg.ColumnRef, s *scope) *relation {
	fields, ok := names(ref.GetFields())
	if !ok || len(fields) == 0 || fields[len(fields)-1] != "xmax" || len(s.relations) == 0 {
		return nil
	}
	r := s.relations[0]
	if len(fields) > 1 {
		r = p.relationOf(s, fields[:len(fields)-1])
	}
	if r == nil || !r.inserted || slices.ContainsFunc(r.columns, func(c column) bool { return c.name == "xmax" }) {
		return nil
	}
	return r
}
