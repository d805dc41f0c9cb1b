package sqlgen

import (
	"fmt"
	"slices"
	"strings"
)

// grouped writes a query with aggregates, or nothing where the outputs asked for cannot be had.
func (g *gen) grouped(sc *scope, from, where string, o options) (string, []col) {
	if o.kinds != nil {
		return "", nil
	}
	var outs []output
	var keys []string
	name := func() string { return fmt.Sprintf("c%d", len(outs)+1) }
	if r := sc.rels[g.IntN(len(sc.rels))]; r.base != nil && g.chance(1, 4) {
		return g.groupedByKey(sc, r, from, where)
	}
	for range g.IntN(3) {
		if sql, c, ok := g.pickQualified(sc, func(c col) bool { return !c.sealed }); ok {
			keys = append(keys, sql)
			outs = append(outs, output{sql, col{name: name(), kind: c.kind}})
		}
	}
	n := len(outs)
	for range g.IntN(2) + 1 {
		sql, k := g.aggregate(sc)
		outs = append(outs, output{sql, col{name: name(), kind: k}})
	}
	sql := "SELECT " + list(outs) + " FROM " + from + where
	if n > 0 {
		all := strings.Join(keys, ", ")
		if g.chance(1, 3) {
			all = ordinals(n)
		}
		if !g.s.Lite {
			sets := g.one(all, all, "ROLLUP ("+all+")", "CUBE ("+all+")", "GROUPING SETS (("+all+"), ("+keys[0]+"), ())", "DISTINCT ROLLUP ("+all+")", "("+strings.Join(keys, ", ")+")")
			// Not of one expression twice: PostgreSQL (15 and 17) then takes both outputs for equal in every row, also where one is
			// NULL for its set, and a merge join on the second loses rows that were ordered by the first.
			if n == 1 || keys[0] != keys[1] {
				all = sets
			}
		}
		sql += " GROUP BY " + all
	}
	if g.chance(1, 4) {
		sql += fmt.Sprintf(" HAVING count(*) %s %d", g.one(">", "<"), g.IntN(3))
	}
	return sql + g.order(outs, false, sc), columns(outs)
}

// groupedByKey groups by a table's primary key, on which the table's other columns depend.
func (g *gen) groupedByKey(sc *scope, r rel, from, where string) (string, []col) {
	var outs []output
	var keys []string
	for _, k := range r.base.wholeKey() {
		keys = append(keys, Quote(r.alias)+"."+Quote(k))
	}
	for i := range g.IntN(3) + 1 {
		c := r.cols[g.IntN(len(r.cols))]
		sql := Quote(r.alias) + "." + Quote(c.name)
		c.name = fmt.Sprintf("c%d", i+1)
		outs = append(outs, output{sql, c})
	}
	sql, k := g.aggregate(sc)
	outs = append(outs, output{sql, col{name: "n", kind: k}})
	return "SELECT " + list(outs) + " FROM " + from + where + " GROUP BY " + strings.Join(keys, ", ") + g.order(outs, false, sc), columns(outs)
}

// aggregate writes one whose value depends on no order.
func (g *gen) aggregate(sc *scope) (string, Kind) {
	filter := ""
	if g.chance(1, 5) {
		filter = " FILTER (WHERE " + g.cond(&scope{rels: sc.rels}, 1) + ")"
	}
	pick := func(fits func(col) bool) (string, Kind, bool) {
		sql, c, ok := g.pickQualified(sc, fits)
		return sql, c.kind, ok
	}
	total := Numeric
	if g.s.Lite {
		total = Int
	}
	switch g.IntN(10) {
	case 8:
		if sql := g.wholeRow(sc); sql != "" {
			return g.one(
				"array_to_json(array_agg("+sql+" ORDER BY to_jsonb("+sql+"))"+filter+")::text",
				"jsonb_agg("+sql+" ORDER BY to_jsonb("+sql+"))"+filter+"::text",
				"min(row_to_json("+sql+")::text)"+filter,
			), Text
		}
	case 9:
		if sql, _, ok := pick(func(c col) bool { return (c.kind == Int || c.kind == Text) && !c.sealed }); ok && !g.s.Lite && !g.s.Before17 {
			return fmt.Sprintf("JSON_ARRAYAGG(%s ORDER BY %s RETURNING text)", sql, sql) + filter, Text
		}
	case 0:
		if sql, _, ok := pick(func(c col) bool { return c.sealed }); ok {
			return "count(" + sql + ")" + filter, Int
		}
	case 1:
		if sql, _, ok := pick(func(c col) bool { return !c.sealed }); ok {
			if other, _, ok := pick(func(c col) bool { return !c.sealed }); ok && !g.s.Lite && g.chance(1, 3) {
				return "count(DISTINCT (" + sql + ", " + other + "))" + filter, Int
			}
			if row := g.wholeRow(sc); row != "" && g.chance(1, 3) {
				return "count(" + g.one("", "DISTINCT ") + row + ")" + filter, Int
			}
			return "count(DISTINCT " + sql + ")" + filter, Int
		}
	case 2, 3:
		if sql, _, ok := pick(func(c col) bool { return c.kind == Int && !c.sealed }); ok {
			return "sum(" + sql + ")" + filter, total
		}
	case 4:
		if sql, k, ok := pick(func(c col) bool { return c.kind != Bool && c.kind != UUID && !c.sealed }); ok {
			return g.one("min", "max") + "(" + sql + ")" + filter, k
		}
	case 5:
		if sql, _, ok := pick(func(c col) bool { return c.kind == Text && !c.sealed }); ok && !g.s.Lite {
			return fmt.Sprintf("string_agg(%s, ',' ORDER BY %s)%s", sql, sql, filter), Text
		}
	case 6:
		if sql, _, ok := pick(func(c col) bool { return c.kind == Int && !c.sealed }); ok && !g.s.Lite {
			return fmt.Sprintf("percentile_disc(0.5) WITHIN GROUP (ORDER BY %s)%s", sql, filter), Int
		}
	case 7:
		if sql, _, ok := pick(func(c col) bool { return c.kind == Bool && !c.sealed }); ok && !g.s.Lite {
			return "bool_or(" + sql + ")" + filter, Bool
		}
	}
	return "count(*)" + filter, Int
}

// wholeRow writes a row of a relation of this query with all that it has, or nothing where there is none without sealed columns.
func (g *gen) wholeRow(sc *scope) string {
	var all []string
	for _, r := range sc.rels {
		if !g.s.Lite && !slices.ContainsFunc(r.cols, func(c col) bool { return c.sealed }) && len(r.cols) > 1 {
			all = append(all, Quote(r.alias), Quote(r.alias)+".*")
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[g.IntN(len(all))]
}
