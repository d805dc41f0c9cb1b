package sqlgen

import (
	"fmt"
	"strings"
)

// from writes the items of FROM and puts them into reach.
func (g *gen) from(sc *scope) string {
	first, sql := g.item(sc, sc.parent)
	sc.rels = append(sc.rels, first)
	n := []int{0, 0, 0, 1, 1, 2}[g.IntN(6)]
	if g.nested > 1 {
		n = 0
	}
	comma := n > 0 && g.chance(1, 4)
	for range n {
		around := &scope{rels: sc.rels, parent: sc.parent} // for LATERAL
		right, item := g.item(sc, around)
		if comma {
			sc.rels = append(sc.rels, right)
			sql += ", " + item
			continue
		}
		join := g.one("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN")
		if strings.HasPrefix(item, "LATERAL") && (join == "RIGHT JOIN" || join == "FULL JOIN") {
			join = "LEFT JOIN"
		}
		sc.outer = sc.outer || join != "JOIN" && join != "CROSS JOIN"
		if join == "FULL JOIN" {
			on, ok := g.equality(sc, right)
			if !ok {
				join = "LEFT JOIN"
			} else {
				sc.rels = append(sc.rels, right)
				sql += " FULL JOIN " + item + " ON " + on
				continue
			}
		}
		using := ""
		// SQLite finds the merged column ambiguous in * where more is joined.
		if (n == 1 || !g.s.Lite) && len(sc.rels) == 1 && join != "CROSS JOIN" && g.chance(1, 4) {
			using = common(sc.rels[0], right)
		}
		before := sc.rels
		sc.rels = append(sc.rels[:len(sc.rels):len(sc.rels)], right)
		switch {
		case join == "CROSS JOIN":
			sql += " CROSS JOIN " + item
		case using != "":
			sql += fmt.Sprintf(" %s %s USING (%s)", join, item, Quote(using))
		default:
			on, ok := g.equality(&scope{rels: before}, right)
			joining := g.joining
			g.joining = joining || g.s.Lite
			if !ok || g.chance(1, 4) {
				on = g.cond(sc, 1)
			} else if g.chance(1, 3) {
				on += " AND " + g.cond(sc, 0)
			}
			g.joining = joining
			sql += fmt.Sprintf(" %s %s ON %s", join, item, on)
		}
	}
	return sql
}

// common returns a column that USING can merge: of the same name and kind on both sides, and once on each.
func common(a, b rel) string {
	for _, c := range a.cols {
		for _, d := range b.cols {
			if c.name == d.name && c.kind == d.kind && !c.sealed && !d.sealed {
				return c.name
			}
		}
	}
	return ""
}

// equality writes a condition that a FULL JOIN can have: a column that is in reach equals one of the relation that joins.
func (g *gen) equality(sc *scope, right rel) (string, bool) {
	for range 4 {
		c := right.cols[g.IntN(len(right.cols))]
		if c.sealed && !c.searchable {
			continue
		}
		left, _, ok := g.pickQualified(sc, func(o col) bool {
			return o.kind == c.kind && o.sealed == c.sealed && (!c.sealed || o.searchable && o.origin == c.origin)
		})
		if ok {
			return fmt.Sprintf("%s = %s.%s", left, Quote(right.alias), Quote(c.name)), true
		}
	}
	return "", false
}

// pickQualified picks from this query alone.
func (g *gen) pickQualified(sc *scope, fits func(col) bool) (string, col, bool) {
	var all []string
	var cols []col
	for _, r := range sc.rels {
		for _, c := range r.cols {
			if fits(c) {
				all, cols = append(all, Quote(r.alias)+"."+Quote(c.name)), append(cols, c)
			}
		}
	}
	if len(all) == 0 {
		return "", col{}, false
	}
	i := g.IntN(len(all))
	return all[i], cols[i], true
}

// hidden tells whether a common table expression has a table's name. With its schema a name is of a table alone.
func (g *gen) hidden(t *Table) bool {
	for _, c := range g.ctes {
		if c.alias == t.Name && t.Schema == "" {
			return true
		}
	}
	return false
}

// tables returns the tables that can be named here.
func (g *gen) tables() []*Table {
	var out []*Table
	for _, t := range g.s.Tables {
		if !g.hidden(t) && t != g.setting {
			out = append(out, t)
		}
	}
	return out
}

// nothing tells that there is nothing to read here.
func (g *gen) nothing() bool { return len(g.tables()) == 0 && len(g.visible()) == 0 }

func relOf(t *Table, alias string) rel {
	r := rel{alias: alias, base: t}
	for i, c := range t.Columns {
		if i == t.TenantAt && !t.Shared() {
			r.cols = append(r.cols, col{name: t.Tenant, kind: t.tenantKind()})
		}
		r.cols = append(r.cols, col{name: c.Name, kind: c.Kind, sealed: c.Sealed, searchable: c.Searchable, origin: t.Name + "." + c.Name})
	}
	if t.TenantAt == len(t.Columns) && !t.Shared() {
		r.cols = append(r.cols, col{name: t.Tenant, kind: t.tenantKind()})
	}
	return r
}

// taken tells which aliases a relation of the query cannot have. In SQLite they are those of the queries around it too: it
// looks for the relations that ON names in what is joined later as well, before it looks further out.
func (g *gen) taken(sc *scope) func(string) bool {
	return func(name string) bool {
		for s := sc; s != nil; s = s.parent {
			if s.has(name) {
				return true
			}
			if !g.s.Lite {
				break
			}
		}
		return false
	}
}

// item writes one item of FROM. around is what a LATERAL one sees.
func (g *gen) item(sc, around *scope) (rel, string) {
	tables := g.tables()
	ctes := g.visible()
	switch n := g.IntN(10); {
	case len(ctes) > 0 && (n < 3 || len(tables) == 0):
		c := ctes[g.IntN(len(ctes))]
		r, sql := rel{alias: c.alias, cols: c.cols, unlocked: true}, Quote(c.alias)
		if g.taken(sc)(c.alias) || g.chance(1, 2) {
			r.alias = g.fresh(g.taken(sc))
			sql += " AS " + Quote(r.alias)
		}
		return r, sql
	case n == 3 && g.nested < 2 || len(tables) == 0:
		g.nested++
		defer func() { g.nested-- }()
		lateral, outer := "", (*scope)(nil)
		if !g.s.Lite && around != nil && len(around.rels) > 0 && g.chance(1, 2) {
			lateral, outer = "LATERAL ", around
		} else if sc.parent != nil {
			outer = sc.parent
		}
		sql, cols := g.selectStmt(outer, options{})
		r := rel{alias: g.fresh(g.taken(sc)), cols: cols}
		return r, fmt.Sprintf("%s(%s) AS %s", lateral, sql, Quote(r.alias))
	case n == 4 && !g.s.Lite:
		return g.rows(sc)
	}
	t := tables[g.IntN(len(tables))]
	alias, sql := t.Name, t.SQL()
	if g.taken(sc)(alias) || g.chance(1, 2) {
		alias = g.fresh(g.taken(sc))
		sql += " AS " + Quote(alias)
	}
	return relOf(t, alias), sql
}

// rows writes an item of FROM that reads no table.
func (g *gen) rows(sc *scope) (rel, string) {
	r := rel{alias: g.fresh(g.taken(sc)), cols: []col{{name: "v", kind: Int}}, unlocked: true}
	as := Quote(r.alias) + ` ("v"`
	switch g.IntN(5) {
	case 4:
		r.cols = append(r.cols, col{name: "w", kind: Text})
		return r, fmt.Sprintf(`jsonb_to_recordset('[{"v": 1, "w": "a"}, {"v": 2}, {}]') AS %s bigint, "w" text)`, as)
	case 0:
		return r, fmt.Sprintf("generate_series(1, %d) AS %s)", g.IntN(3)+1, as)
	case 1:
		r.cols = append(r.cols, col{name: "n", kind: Int})
		return r, fmt.Sprintf(`unnest(ARRAY[%s, 3]) WITH ORDINALITY AS %s, "n")`, g.param(Int, true), as)
	case 2:
		r.cols = append(r.cols, col{name: "w", kind: Text})
		return r, fmt.Sprintf(`unnest(ARRAY[1, 2, 3], ARRAY['a', 'n1']) AS %s, "w")`, as)
	}
	r.cols, r.unlocked = append(r.cols, col{name: "w", kind: Text}), false
	return r, fmt.Sprintf(`(VALUES (%s, %s), (2, 'a'), (3, 'n1')) AS %s, "w")`, g.param(Int, true), g.param(Text, true), as)
}
