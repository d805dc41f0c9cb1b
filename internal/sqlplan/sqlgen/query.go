package sqlgen

import (
	"fmt"
	"slices"
	"strings"
)

// options are what a query must be.
type options struct {
	top   bool
	kinds []Kind // its outputs, plain ones; nil where they are free
}

// output is an item of a select list.
type output struct {
	sql string
	col
}

// named reports whether the output may have that quoted name; one without a name of its own has that of a column in it.
func (o output) named(quoted string) bool {
	if o.name != "" {
		return Quote(o.name) == quoted
	}
	return strings.Contains(o.sql, quoted)
}

// visible returns the common table expressions that can be named: of several of one name the last.
func (g *gen) visible() []rel {
	var out []rel
	if g.setting != nil {
		return nil // one of them may read the table
	}
	for i, c := range g.ctes {
		if c.cols != nil && !slices.ContainsFunc(g.ctes[i+1:], func(later rel) bool { return later.alias == c.alias }) {
			out = append(out, c)
		}
	}
	return out
}

// selectStmt writes a query and returns its columns, whose names differ if it is not the statement itself.
func (g *gen) selectStmt(outer *scope, o options) (string, []col) {
	reach := len(g.ctes)
	defer func() { g.ctes = g.ctes[:reach] }()
	with := ""
	if g.nested < 2 && g.chance(1, 6+8*g.nested) {
		around := outer
		if g.s.Lite { // whose common table expressions see nothing of the query around them
			around = nil
		}
		with = g.with(around, false)
	}
	if g.nested < 2 && g.chance(1, 9) {
		sql, cols := g.setOperation(outer, o)
		return with + sql, cols
	}
	sc := &scope{parent: outer}
	from := g.from(sc)
	where := g.where(sc, g.IntN(3))
	switch n := g.IntN(10); {
	case o.kinds == nil && o.top && n == 0 && !(g.s.Lite && strings.Contains(from, " USING (")): // SQLite orders * otherwise
		return with + "SELECT * FROM " + from + where, nil
	case n <= 2:
		if sql, cols := g.grouped(sc, from, where, o); sql != "" {
			return with + sql, cols
		}
	}
	outs := g.outputs(sc, o)
	distinct := ""
	if g.chance(1, 6) && plain(outs) {
		distinct = "DISTINCT "
		if !g.s.Lite && g.chance(1, 3) { // of equal rows under an order of all outputs any is the first
			first := outs[0].sql
			if slices.ContainsFunc(outs[1:], func(o output) bool { return o.named(first) }) { // which would be meant, or be ambiguous
				first = "1"
			}
			sql := fmt.Sprintf("SELECT DISTINCT ON (%s) %s FROM %s%s ORDER BY %s", first, list(outs), from, where, ordinals(len(outs)))
			if strings.HasPrefix(outs[0].sql, `"`) && strings.HasSuffix(outs[0].sql, `"`) {
				return with + sql, columns(outs)
			}
		}
	}
	sql := "SELECT " + distinct + list(outs) + " FROM " + from + where
	return with + sql + g.order(outs, distinct == "" && o.top, sc), columns(outs)
}

// asRow writes the outputs as one row.
func asRow(outs []output) string {
	var out []string
	for _, o := range outs {
		out = append(out, o.sql)
	}
	return "ROW(" + strings.Join(out, ", ") + ")"
}

func plain(outs []output) bool {
	return !slices.ContainsFunc(outs, func(o output) bool { return o.sealed })
}

func list(outs []output) string {
	var out []string
	for _, o := range outs {
		if o.name != "" {
			o.sql += " AS " + Quote(o.name)
		}
		out = append(out, o.sql)
	}
	return strings.Join(out, ", ")
}

func columns(outs []output) []col {
	var out []col
	for _, o := range outs {
		c := o.col
		c.searchable = false // outside the query that reads its table
		out = append(out, c)
	}
	return out
}

func ordinals(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint(i+1))
	}
	return strings.Join(out, ", ")
}

// outputs writes the items of a select list.
func (g *gen) outputs(sc *scope, o options) []output {
	var outs []output
	n := len(o.kinds)
	if n == 0 {
		n = g.IntN(3) + 1
	}
	for i := range n {
		name := fmt.Sprintf("c%d", i+1)
		if o.top && g.chance(1, 2) {
			name = "" // the database's own
		}
		if o.kinds == nil && g.chance(1, 3) {
			if sql, c, ok := g.pick(sc, func(c col) bool { return c.sealed }); ok {
				c.name = name
				outs = append(outs, output{sql, c})
				continue
			}
		}
		k := g.kind()
		if o.kinds != nil {
			k = o.kinds[i]
		}
		sql := g.expr(k, sc, g.IntN(3))
		if o.kinds == nil && g.chance(1, 8) {
			sql, k = g.windowed(sc), Numeric
			if g.s.Lite {
				k = Int
			}
		}
		outs = append(outs, output{sql, col{name: name, kind: k}})
	}
	return outs
}

// windowed writes a window function whose value depends on no order of peers, as a numeric.
func (g *gen) windowed(sc *scope) string {
	over := fmt.Sprintf("(PARTITION BY %s ORDER BY %s)", g.leafColumn(sc), g.key(g.leafColumn(sc), g.one("", " DESC")))
	call := g.one("rank()", "dense_rank()", "count(*)", "sum("+g.expr(Int, sc, 0)+")")
	if g.chance(1, 4) {
		over = "()"
		call = "count(*)"
	}
	if g.s.Lite {
		return call + " OVER " + over
	}
	return "(" + call + " OVER " + over + ")::numeric"
}

// leafColumn is a plain column, or a constant where there is none.
func (g *gen) leafColumn(sc *scope) string {
	if sql, _, ok := g.pickQualified(sc, func(c col) bool { return !c.sealed }); ok {
		return sql
	}
	return "1 + 1"
}

// order writes ORDER BY and LIMIT, where it may lock too, or nothing.
func (g *gen) order(outs []output, may bool, sc *scope) string {
	sql := ""
	if plain(outs) && g.chance(1, 3) {
		sql = " ORDER BY " + g.keys(len(outs))
		if may && !g.s.Lite && g.chance(1, 4) {
			sql = " ORDER BY " + asRow(outs) + g.one("", " DESC", " NULLS FIRST") + ", " + g.keys(len(outs))
		}
		if g.chance(1, 2) {
			sql += fmt.Sprintf(" LIMIT %d", g.IntN(4))
			if g.chance(1, 3) {
				sql += fmt.Sprintf(" OFFSET %d", g.IntN(2))
			}
		} else if !g.s.Lite && g.chance(1, 4) {
			sql += fmt.Sprintf(" FETCH FIRST %d ROWS WITH TIES", g.IntN(3)+1)
		}
	} else if g.chance(1, 4) {
		for i, o := range outs {
			if !o.sealed {
				return " ORDER BY " + g.key(fmt.Sprint(i+1), g.one("", " DESC", " NULLS FIRST"))
			}
		}
	}
	if may && !g.s.Lite && sql == "" && g.chance(1, 8) {
		return g.lock(outs, sc)
	}
	return sql
}

// lock writes a lock of the rows that a query reads of the tenants' tables, or nothing where there are none that can be locked.
func (g *gen) lock(outs []output, sc *scope) string {
	if sc.outer || slices.ContainsFunc(outs, func(o output) bool { return strings.Contains(o.sql, "OVER") }) {
		return ""
	}
	named, all := "", true
	for _, r := range sc.rels {
		if r.base != nil && !r.base.Shared() {
			named = Quote(r.alias)
		} else {
			all = all && r.unlocked
		}
	}
	if named == "" {
		return ""
	}
	of := ""
	if !all || g.chance(1, 3) {
		of = " OF " + named
	}
	return g.one(" FOR UPDATE", " FOR SHARE", " FOR NO KEY UPDATE", " FOR KEY SHARE") + of + g.one("", "", " SKIP LOCKED", " NOWAIT")
}

// setOperation writes UNION and the like.
func (g *gen) setOperation(outer *scope, o options) (string, []col) {
	kinds := o.kinds
	if kinds == nil {
		for range g.IntN(2) + 1 {
			kinds = append(kinds, g.kind())
		}
	}
	arm := func() (string, []output) {
		sc := &scope{parent: outer}
		from := g.from(sc)
		where := g.where(sc, 1)
		outs := g.outputs(sc, options{kinds: kinds})
		return "SELECT " + list(outs) + " FROM " + from + where, outs
	}
	g.nested++
	left, outs := arm()
	right, _ := arm()
	g.nested--
	ops := []string{"UNION", "UNION ALL", "EXCEPT", "INTERSECT"}
	if !g.s.Lite {
		ops = append(ops, "EXCEPT ALL", "INTERSECT ALL")
	}
	return left + " " + g.one(ops...) + " " + right + g.order(outs, false, nil), columns(outs)
}

// with writes a WITH clause and puts its queries into reach; recursive ones are among them, and in an engine that takes
// them, writes.
func (g *gen) with(outer *scope, writes bool) string {
	recursive := g.chance(1, 3)
	reach := len(g.ctes)
	var parts []string
	n := g.IntN(2) + 1
	var names []string
	for range n {
		names = append(names, g.fresh(func(name string) bool {
			left := func(t *Table) bool { return t.Name != name && !slices.Contains(names, t.Name) }
			return slices.Contains(names, name) || !slices.ContainsFunc(g.tables(), left)
		}))
	}
	if recursive || g.s.Lite { // where the names hide tables in all of the queries
		for _, name := range names {
			g.ctes = append(g.ctes, rel{alias: name})
		}
	}
	var made []rel
	for _, name := range names {
		g.nested++
		var sql string
		var cols []col
		switch {
		case writes && g.chance(2, 3):
			sql, cols = g.returningWrite()
		case recursive && g.chance(2, 3):
			sql, cols = g.recursive(name, outer)
		default:
			sql, cols = g.selectStmt(outer, options{})
		}
		g.nested--
		header := Quote(name)
		if g.chance(1, 3) && !strings.Contains(sql, "s.d + 1 FROM "+Quote(name)) {
			var renamed []string
			for i := range cols {
				cols[i].name = fmt.Sprintf("r%d", i+1)
				renamed = append(renamed, cols[i].name)
			}
			header += " (" + quoted(renamed) + ")"
		}
		if strings.Contains(sql, "RETURNING") {
			parts = append(parts, header+" AS ("+sql+")")
		} else {
			parts = append(parts, header+" AS "+g.one("", "", "MATERIALIZED ", "NOT MATERIALIZED ")+"("+sql+")")
		}
		r := rel{alias: name, cols: cols}
		made = append(made, r)
		g.ctes = append(g.ctes, r) // visible to those after it
	}
	g.ctes = append(g.ctes[:reach], made...)
	keyword := "WITH "
	if recursive {
		keyword = "WITH RECURSIVE "
	}
	return keyword + strings.Join(parts, ", ") + " "
}

// recursive writes a query that reads itself and ends.
func (g *gen) recursive(name string, outer *scope) (string, []col) {
	tables := g.tables()
	if len(tables) == 0 {
		return g.selectStmt(outer, options{})
	}
	t := tables[g.IntN(len(tables))]
	r := relOf(t, g.fresh(func(s string) bool { return s == name }))
	var ints []string
	for _, c := range r.cols {
		if c.kind == Int && !c.sealed {
			ints = append(ints, Quote(r.alias)+"."+Quote(c.name))
		}
	}
	from := t.SQL() + " AS " + Quote(r.alias)
	first := fmt.Sprintf("SELECT %s AS i, 0 AS d FROM %s%s", ints[g.IntN(len(ints))], from, g.where(&scope{rels: []rel{r}}, 1))
	cols := []col{{name: "i", kind: Int}, {name: "d", kind: Int}}
	step := ""
	if g.chance(1, 2) {
		step = fmt.Sprintf("SELECT s.i + 1, s.d + 1 FROM %s AS s WHERE s.d < 3 AND s.i < 9", Quote(name))
	} else {
		step = fmt.Sprintf("SELECT %s, s.d + 1 FROM %s AS s %s %s ON %s = s.i WHERE s.d < 3", ints[g.IntN(len(ints))], Quote(name),
			g.one("JOIN", "LEFT JOIN"), from, ints[g.IntN(len(ints))])
	}
	return first + g.one(" UNION ", " UNION ALL ") + step, cols
}
