package sqlgen

import (
	"fmt"
	"slices"
	"strings"
)

// write writes a statement that changes something.
func (g *gen) write() string {
	with := ""
	if g.chance(1, 4) {
		with = g.with(nil, !g.s.Lite)
		if len(g.written) > 0 && g.chance(1, 3) {
			sql, _ := g.selectStmt(nil, options{})
			if !strings.HasPrefix(sql, "WITH") {
				return with + sql
			}
		}
	}
	sql, _ := g.change(g.chance(1, 3), true)
	return with + sql
}

// returningWrite writes a change that returns rows, for WITH.
func (g *gen) returningWrite() (string, []col) { return g.change(true, false) }

// target returns a table that can be written, or nil.
func (g *gen) target() *Table {
	var all []*Table
	for _, t := range g.tables() {
		if !t.Shared() && !slices.Contains(g.written, t) {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil
	}
	t := all[g.IntN(len(all))]
	g.written = append(g.written, g.s.related(t)...)
	return t
}

// change writes one INSERT, UPDATE, DELETE or MERGE, or something else where no table is left.
func (g *gen) change(returns, top bool) (string, []col) {
	t := g.target()
	if t == nil {
		return `SELECT 1 AS "c1"`, []col{{name: "c1", kind: Int}}
	}
	g.nested++ // shallow
	defer func() { g.nested-- }()
	var sql string
	r := relOf(t, t.Name)
	switch n := g.IntN(10); {
	case n < 3:
		sql = g.insert(t)
	case n == 3:
		sql = g.insertSelect(t)
	case n == 4 && !g.s.Lite && len(t.Key) == 1 && !(returns && g.s.Before17):
		sql, r = g.merge(t)
	case n == 5 && len(t.References)+g.s.referring(t) > 0 && !t.Own():
		sql, r = g.rekey(t)
	case n < 8:
		sql, r = g.update(t)
	default:
		sql, r = g.delete(t)
	}
	if !returns {
		return sql, nil
	}
	outs := g.returned(r, top)
	if strings.HasPrefix(sql, "INSERT") && !g.s.Lite && g.chance(1, 4) {
		outs = append(outs, output{strings.ReplaceAll(g.one("@ = 0", "@ <> 0", "(@ = 0) IS TRUE", "@::text::bigint > 0", "'0' = @::text", "CASE WHEN @ = 0 THEN NULL ELSE @ <> 0 END"),
			"@", g.one("xmax", Quote(r.alias)+".xmax")), col{name: "new", kind: Bool}})
	}
	return sql + " RETURNING " + list(outs), columns(outs)
}

// returned writes the items of RETURNING: columns of the target, and expressions over them.
func (g *gen) returned(r rel, top bool) []output {
	var outs []output
	for i := range g.IntN(3) + 1 {
		c := r.cols[g.IntN(len(r.cols))]
		o := output{Quote(r.alias) + "." + Quote(c.name), c}
		if g.s.Lite {
			o.sql = Quote(c.name)
		} else if g.chance(1, 4) {
			joining := g.joining
			g.joining = true
			o = output{g.expr(Int, &scope{rels: []rel{r}}, 1), col{kind: Int}}
			g.joining = joining
		}
		o.name = fmt.Sprintf("c%d", i+1)
		if top && g.chance(1, 3) && !g.s.Lite {
			o.name = ""
		}
		outs = append(outs, o)
	}
	return outs
}

// value writes a value for a column: of a sealed one, a parameter, a literal or NULL.
func (g *gen) value(t *Table, c Column, sc *scope) string {
	if t.reference(c.Name) != nil && g.chance(7, 8) {
		return g.referent(t, c)
	}
	switch n := g.IntN(8); {
	case n == 0 && !c.NotNull:
		return "NULL"
	case n == 1 && !g.s.Lite && !c.NotNull:
		return "DEFAULT"
	case n < 4 && !c.Sealed && sc != nil:
		return g.expr(c.Kind, sc, 1)
	case n < 6:
		return g.param(c.Kind, false)
	}
	return g.literal(c.Kind)
}

// named picks the columns of an INSERT: those that must have a value, and some of the others that fit.
func (g *gen) named(t *Table, fits func(Column) bool) []Column {
	var out []Column
	for _, c := range t.Stored() {
		if c.NotNull || fits(c) && g.chance(2, 3) {
			out = append(out, c)
		}
	}
	return out
}

func namesOf(columns []Column) string {
	var out []string
	for _, c := range columns {
		out = append(out, c.Name)
	}
	return quoted(out)
}

func (g *gen) insert(t *Table) string {
	columns := g.named(t, func(Column) bool { return true })
	var rows []string
	for range []int{1, 1, 1, 2, 3}[g.IntN(5)] {
		var values []string
		for _, c := range columns {
			if !t.Own() && c.Name == t.Key[0] && t.reference(c.Name) == nil { // of a wider range, so that not all conflict
				values = append(values, g.bind(int64(g.IntN(40)), param{kind: 254}))
				continue
			}
			values = append(values, g.value(t, c, &scope{}))
		}
		rows = append(rows, "("+strings.Join(values, ", ")+")")
	}
	if len(rows) == 1 && !g.s.Lite && g.chance(1, 4) {
		g.multiply(t, columns, rows)
	}
	sql := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", t.SQL(), namesOf(columns), strings.Join(rows, ", "))
	return sql + g.onConflict(t)
}

// multiply makes several rows of the only one of VALUES, with another number in some columns of each.
func (g *gen) multiply(t *Table, columns []Column, rows []string) {
	if slices.ContainsFunc(columns, func(c Column) bool { return c.Sealed }) {
		return
	}
	var values []string
	several := false
	for _, c := range columns {
		v := g.value(t, c, &scope{})
		if c.Kind == Int && (!several || g.chance(1, 4)) {
			v, several = g.numbers(), true
		}
		values = append(values, v)
	}
	if several {
		rows[0] = "(" + strings.Join(values, ", ") + ")"
	}
}

// numbers writes what returns several numbers.
func (g *gen) numbers() string {
	return g.oneOf(
		func() string { return fmt.Sprintf("unnest(ARRAY[%d, %d])", 50+g.IntN(20), 70+g.IntN(20)) },
		func() string {
			return "unnest(" + g.bind([]int64{int64(g.IntN(6)), 50 + int64(g.IntN(20)), 70 + int64(g.IntN(20))}, param{kind: 252}) + "::bigint[])"
		},
		func() string { return fmt.Sprintf("generate_series(50, %d) + %s", 48+g.IntN(5), g.param(Int, true)) },
		func() string {
			sql := g.subquery(&scope{}, func(inner *scope) string {
				from := g.from(inner)
				return fmt.Sprintf("unnest(ARRAY(SELECT %s FROM %s%s ORDER BY 1))", g.leaf(Int, inner), from, g.where(inner, 1))
			})
			if sql == "" {
				return "unnest(ARRAY[51, 52, 53])"
			}
			return sql
		},
	)
}

func (g *gen) onConflict(t *Table) string {
	if g.chance(1, 3) {
		return ""
	}
	key := t.wholeKey()
	if t.Unique != nil && g.chance(1, 2) {
		key = t.Unique
	}
	if g.chance(1, 3) {
		return " ON CONFLICT" + g.one("", " ("+quoted(key)+")") + " DO NOTHING"
	}
	target, excluded := relOf(t, t.Name), relOf(t, "excluded")
	sc := &scope{rels: []rel{target, excluded}}
	var set []string
	for _, c := range t.Stored() {
		if t.keyed(c.Name) || g.chance(1, 2) {
			continue
		}
		v := g.value(t, c, sc)
		if g.chance(1, 2) {
			v = "excluded." + Quote(c.Name)
		}
		set = append(set, Quote(c.Name)+" = "+v)
	}
	if len(set) == 0 {
		return " ON CONFLICT (" + quoted(key) + ") DO NOTHING"
	}
	sql := " ON CONFLICT (" + quoted(key) + ") DO UPDATE SET " + strings.Join(set, ", ")
	if g.chance(1, 3) {
		sql += " WHERE " + g.cond(sc, 1)
	}
	return sql
}

func (g *gen) insertSelect(t *Table) string {
	columns := g.named(t, func(c Column) bool { return !c.Sealed && t.reference(c.Name) == nil })
	var kinds []Kind
	for _, c := range columns {
		kinds = append(kinds, c.Kind)
	}
	sql, _ := g.selectStmt(nil, options{kinds: kinds})
	return fmt.Sprintf("INSERT INTO %s (%s) %s", t.SQL(), namesOf(columns), sql)
}

// renamedTarget gives the target of an UPDATE, DELETE or MERGE an alias, or not.
func (g *gen) renamedTarget(t *Table) (rel, string) {
	r, sql := relOf(t, t.Name), t.SQL()
	if g.chance(1, 2) {
		r.alias = g.fresh(func(name string) bool { return name == "excluded" })
		sql += " AS " + Quote(r.alias)
	}
	return r, sql
}

// matched writes an item of FROM whose rows match one of the target's at most, and the condition; or nothing.
func (g *gen) matched(r rel) (item, on string, other rel, ok bool) {
	for _, t := range g.tables() {
		if len(t.Key) != 1 || g.chance(1, 2) {
			continue
		}
		left, _, found := g.pickQualified(&scope{rels: []rel{r}}, func(c col) bool { return c.kind == Int && !c.sealed })
		if !found {
			return "", "", rel{}, false
		}
		other = relOf(t, g.fresh(func(name string) bool { return name == r.alias }))
		return t.SQL() + " AS " + Quote(other.alias), fmt.Sprintf("%s = %s.%s", left, Quote(other.alias), Quote(t.Key[0])), other, true
	}
	return "", "", rel{}, false
}

func (g *gen) update(t *Table) (string, rel) {
	r, sql := g.renamedTarget(t)
	sc := &scope{rels: []rel{r}}
	from, on, other, ok := g.matched(r)
	if ok = ok && g.chance(1, 2); ok {
		sc.rels = append(sc.rels, other)
	}
	sql = "UPDATE " + sql + " SET " + g.assignments(t, r, sc)
	conditions := []string{}
	if ok {
		sql += " FROM " + from
		conditions = append(conditions, on)
	}
	if g.chance(3, 4) || !ok {
		conditions = append(conditions, g.cond(sc, 1))
	}
	return sql + " WHERE " + strings.Join(conditions, " AND "), r
}

// assignments writes the list of SET; there is always one.
func (g *gen) assignments(t *Table, r rel, sc *scope) string {
	if g.s.Lite {
		g.setting = t
		defer func() { g.setting = nil }()
	}
	var set, names, values []string
	for _, c := range t.Stored() {
		if t.keyed(c.Name) || g.chance(1, 2) {
			continue
		}
		v := g.value(t, c, sc)
		if c.Sealed && g.chance(1, 6) {
			v = Quote(r.alias) + "." + Quote(c.Name)
		}
		set = append(set, Quote(c.Name)+" = "+v)
		names, values = append(names, c.Name), append(values, v)
	}
	if sql := g.fromQuery(t, sc); sql != "" {
		return sql
	}
	if len(set) == 0 {
		c := t.Columns[0]
		return fmt.Sprintf("%s = %s.%s", Quote(c.Name), Quote(r.alias), Quote(c.Name))
	}
	if len(set) > 1 && g.chance(1, 4) {
		return fmt.Sprintf("(%s) = (%s)", quoted(names), strings.Join(values, ", "))
	}
	return strings.Join(set, ", ")
}

// fromQuery writes the assignment of a query of one row to several columns, or nothing.
func (g *gen) fromQuery(t *Table, sc *scope) string {
	var names, values []string
	inner := &scope{parent: sc}
	if g.chance(4, 5) || g.nothing() {
		return ""
	}
	from := g.from(inner)
	for _, c := range t.Stored() {
		if t.keyed(c.Name) || c.Sealed || c.Kind == Bool || t.reference(c.Name) != nil {
			continue
		}
		if sql, _, ok := g.pickQualified(&scope{rels: inner.rels}, func(o col) bool { return o.kind == c.Kind && !o.sealed }); ok {
			names, values = append(names, c.Name), append(values, g.one("min", "max")+"("+sql+")")
		}
	}
	if len(names) < 2 {
		return ""
	}
	return fmt.Sprintf("(%s) = (SELECT %s FROM %s%s)", quoted(names), strings.Join(values, ", "), from, g.where(inner, 1))
}

func (g *gen) delete(t *Table) (string, rel) {
	r, sql := g.renamedTarget(t)
	sc := &scope{rels: []rel{r}}
	sql = "DELETE FROM " + sql
	if !g.s.Lite && g.chance(1, 4) {
		using := &scope{}
		item := g.from(using)
		if !using.has(r.alias) {
			sc.rels = append(sc.rels, using.rels...)
			sql += " USING " + item
		}
	}
	return sql + " WHERE " + g.cond(sc, 1), r
}

// merge writes a MERGE whose source has one row for each value that is compared with the target's key.
func (g *gen) merge(t *Table) (string, rel) {
	r, target := g.renamedTarget(t)
	inner := &scope{}
	from := g.from(inner)
	key := g.expr(Int, inner, 0)
	if c, _, ok := g.pickQualified(inner, func(c col) bool { return c.kind == Int && !c.sealed }); ok {
		key = c
	}
	source := rel{alias: g.fresh(func(name string) bool { return name == r.alias }), cols: []col{{name: "k", kind: Int}, {name: "n", kind: Int}}}
	sc := &scope{rels: []rel{r, source}}
	sql := fmt.Sprintf(`MERGE INTO %s USING (SELECT %s AS "k", count(*) AS "n" FROM %s%s GROUP BY 1) AS %s ON %s.%s = %s."k"`, target, key, from,
		g.where(inner, 1), Quote(source.alias), Quote(r.alias), Quote(t.Key[0]), Quote(source.alias))
	if strings.Contains(key, "$") {
		sql = strings.Replace(sql, "GROUP BY 1", "GROUP BY "+key, 1)
	}
	if g.chance(1, 3) {
		sql += " AND " + g.cond(sc, 1)
	}
	deletes := false
	if g.chance(1, 3) {
		action := g.one("DELETE", "DO NOTHING")
		if t.refersTo(t) {
			action = "DO NOTHING" // whether a row may refer to one that is deleted depends on which comes first
		}
		deletes = action == "DELETE"
		sql += " WHEN MATCHED AND " + g.cond(sc, 1) + " THEN " + action
	}
	sql += " WHEN MATCHED THEN UPDATE SET " + g.assignments(t, r, sc)
	if g.chance(2, 3) && !deletes { // whether a key is free again depends on which comes first
		src := &scope{rels: []rel{source}}
		columns := g.named(t, func(Column) bool { return true })
		var values []string
		for _, c := range columns {
			if c.Name == t.Key[0] { // NULL, and what is not the tenant's key because of a further condition, fails or conflicts
				values = append(values, Quote(source.alias)+`."k" + 50`)
				continue
			}
			values = append(values, g.value(t, c, src))
		}
		sql += fmt.Sprintf(` WHEN NOT MATCHED AND %s."k" IS NOT NULL THEN INSERT (%s) VALUES (%s)`, Quote(source.alias), namesOf(columns), strings.Join(values, ", "))
	}
	return sql, r
}
