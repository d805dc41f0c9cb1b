package sqlgen

import "fmt"

// expr writes a value of a kind that cannot fail.
func (g *gen) expr(k Kind, sc *scope, depth int) string {
	if depth <= 0 || g.chance(6, 10) {
		return g.leaf(k, sc)
	}
	if g.s.Failing && g.chance(1, 2) {
		return g.failing(k, sc, depth-1)
	}
	if g.chance(1, 10) {
		if sql := g.json(k, sc, depth); sql != "" {
			return sql
		}
	}
	sub := func() string { return g.expr(k, sc, depth-1) }
	switch g.IntN(6) {
	case 0:
		return fmt.Sprintf("coalesce(%s, %s)", sub(), sub())
	case 1:
		return fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END", g.cond(sc, depth-1), sub(), sub())
	case 2:
		if sql := g.scalar(k, sc); sql != "" {
			return sql
		}
	case 3:
		if k == Int {
			return fmt.Sprintf("(%s %s %s)", sub(), g.one("+", "-", "*"), sub())
		}
		if k == Text {
			return fmt.Sprintf("(%s || %s)", sub(), sub())
		}
		if k == Bool {
			return "(" + g.cond(sc, depth-1) + ")"
		}
		return fmt.Sprintf("greatest(%s, %s)", sub(), sub())
	case 4:
		if k == Int && !g.s.Lite && g.chance(1, 4) {
			return fmt.Sprintf("(%s %% 7)", g.one("hashtext("+g.leaf(Text, sc)+")", "hashtextextended("+g.leaf(Text, sc)+", 1)"))
		}
		if k == Int {
			return fmt.Sprintf("length(%s)", g.expr(Text, sc, depth-1))
		}
		if k == Time {
			return fmt.Sprintf("date(%s)::timestamptz", sub())
		}
		if k == Text && g.s.Lite && g.chance(1, 2) { // '' || x is a text wherever x comes from
			return fmt.Sprintf("json(%s)", g.one("json_object('a', '' || "+sub()+")", "'[' || "+g.expr(Int, sc, depth-1)+" || ']'"))
		}
		if k == Text {
			return g.one("lower", "upper", "ltrim") + "(" + sub() + ")"
		}
	}
	return fmt.Sprintf("nullif(%s, %s)", sub(), sub())
}

func (g *gen) leaf(k Kind, sc *scope) string {
	if g.chance(7, 10) {
		if sql, _, ok := g.pick(sc, func(c col) bool { return c.kind == k && !c.sealed }); ok {
			return sql
		}
	}
	if g.chance(1, 2) {
		return g.param(k, true)
	}
	if k == Int || g.s.Lite {
		return g.literal(k)
	}
	return g.literal(k) + "::" + g.s.typeOf(k)
}

// scalar writes a subquery of one value, or nothing where it would be too deep.
func (g *gen) scalar(k Kind, sc *scope) string {
	return g.subquery(sc, func(inner *scope) string {
		from := g.from(inner)
		value := "count(*)"
		if k != Int || g.chance(1, 2) {
			// Of an inner column, or the aggregate would be one of the query around this.
			sql, _, ok := g.pick(&scope{rels: inner.rels}, func(c col) bool { return c.kind == k && !c.sealed })
			if k == Bool || !ok {
				return ""
			}
			value = fmt.Sprintf("%s(%s)", g.one("min", "max"), sql)
		}
		return fmt.Sprintf("(SELECT %s FROM %s%s)", value, from, g.where(inner, 1))
	})
}

// subquery has a subquery written in a scope of its own, or nothing where it would be too deep or have nothing to read.
func (g *gen) subquery(outer *scope, write func(inner *scope) string) string {
	if g.nested >= 2 || g.nothing() {
		return ""
	}
	g.nested++
	defer func() { g.nested-- }()
	return write(&scope{parent: outer})
}

// cond writes a condition.
func (g *gen) cond(sc *scope, depth int) string {
	if g.s.Failing && g.chance(1, 3) {
		if g.chance(1, 2) {
			if sql := g.tempting(sc); sql != "" {
				return sql
			}
		}
		return g.failing(Bool, sc, depth)
	}
	if depth > 0 {
		switch g.IntN(6) {
		case 0:
			return fmt.Sprintf("(%s AND %s)", g.cond(sc, depth-1), g.cond(sc, depth-1))
		case 1:
			return fmt.Sprintf("(%s OR %s)", g.cond(sc, depth-1), g.cond(sc, depth-1))
		case 2:
			return fmt.Sprintf("NOT (%s)", g.cond(sc, depth-1))
		}
	}
	if g.chance(1, 3) {
		if sql := g.sealedCond(sc); sql != "" {
			return sql
		}
	}
	if g.chance(1, 4) {
		if sql := g.queryCond(sc); sql != "" {
			return sql
		}
	}
	return g.plainCond(sc, depth)
}

func (g *gen) plainCond(sc *scope, depth int) string {
	k := g.kind()
	left := g.leaf(k, sc)
	if sql, _, ok := g.pick(sc, func(c col) bool { return c.kind == k && !c.sealed }); ok {
		left = sql
	}
	right := func() string {
		if depth > 0 && g.chance(1, 3) {
			return g.expr(k, sc, depth-1)
		}
		return g.leaf(k, sc)
	}
	switch n := g.IntN(9); {
	case n == 0:
		return left + g.one(" IS NULL", " IS NOT NULL")
	case n == 1:
		return fmt.Sprintf("%s %s (%s, %s, %s)", left, g.one("IN", "NOT IN"), right(), right(), g.literal(k))
	case n == 2:
		return fmt.Sprintf("%s BETWEEN %s AND %s", left, right(), right())
	case n == 3:
		if g.chance(1, 3) {
			return fmt.Sprintf("(%s, %s) %s (%s, %s)", left, g.leaf(Int, sc), g.one("IS DISTINCT FROM", "IS NOT DISTINCT FROM"), right(), g.leaf(Int, sc))
		}
		return fmt.Sprintf("%s %s %s", left, g.one("IS DISTINCT FROM", "IS NOT DISTINCT FROM"), right())
	case n == 4 && k == Text:
		if g.s.Lite {
			return fmt.Sprintf("%s LIKE %s", left, g.one("'a%'", "'n_'", "'%'"))
		}
		return fmt.Sprintf("%s %s %s", left, g.one("LIKE", "NOT LIKE", "ILIKE"), g.pattern())
	case n == 5:
		return fmt.Sprintf("(%s, %s) %s (%s, %s)", left, g.leaf(Int, sc), g.one("=", "<", ">=", "<>"), right(), g.leaf(Int, sc))
	case n == 6 && !g.s.Lite && k == Int:
		return fmt.Sprintf("%s %s (ARRAY[%s, %s])", left, g.one("= ANY", "<> ALL", "> ALL"), right(), right())
	case n == 7 && k == Bool:
		return left + g.one(" IS TRUE", " IS NOT TRUE", " IS FALSE")
	}
	return fmt.Sprintf("%s %s %s", left, g.one("=", "<>", "<", "<=", ">", ">="), right())
}

// pattern writes what LIKE compares with.
func (g *gen) pattern() string {
	return g.oneOf(
		func() string { return g.param(Text, false) + " || '%'" },
		func() string { return g.param(Text, false) + g.one(" || '%' ESCAPE '!'", " ESCAPE ''") },
		func() string { return "concat('%', " + g.param(Text, true) + ", NULL, '%')" },
		func() string { return "concat(" + g.param(Text, true) + ", " + g.param(Text, true) + ")" },
		func() string { return "coalesce(NULL, " + g.param(Text, false) + ", '%')" },
		func() string { return "'%' || trim(coalesce(" + g.param(Text, true) + ", 'n')) || '_'" },
		func() string { return g.one("lower", "upper") + "(" + g.param(Text, true) + ") || '%'" },
		func() string { return "replace(replace(" + g.param(Text, true) + `, '%', '\%'), 'a', '') || '%'` },
	)
}

// sealedCond writes a condition over a sealed column, or nothing where there is none.
func (g *gen) sealedCond(sc *scope) string {
	if g.chance(1, 3) {
		if sql, _, ok := g.pick(sc, func(c col) bool { return c.sealed }); ok {
			return sql + g.one(" IS NULL", " IS NOT NULL")
		}
		return ""
	}
	sql, c, ok := g.pick(sc, func(c col) bool { return c.sealed && c.searchable })
	if !ok {
		return ""
	}
	value := func() string {
		if g.chance(1, 3) {
			return g.literal(c.kind)
		}
		return g.param(c.kind, false)
	}
	switch n := g.IntN(6); {
	case n == 0:
		return fmt.Sprintf("%s %s (%s, %s)", sql, g.one("IN", "NOT IN"), value(), value())
	case n == 1:
		return fmt.Sprintf("%s %s %s", sql, g.one("IS DISTINCT FROM", "IS NOT DISTINCT FROM"), value())
	case n == 2:
		if other, _, ok := g.pick(sc, func(o col) bool { return o.searchable && o.origin == c.origin }); ok {
			return fmt.Sprintf("%s %s %s", sql, g.one("=", "<>"), other)
		}
	case n == 3 && !g.s.Lite && c.kind == Text:
		v, w := Value(g.Rand, Text).(string), Value(g.Rand, Text).(string)
		return fmt.Sprintf("%s = ANY (%s)", sql, g.bind([]*string{&v, nil, &w}, param{kind: 255}))
	case n == 4:
		return fmt.Sprintf("%s = %s", value(), sql)
	}
	return fmt.Sprintf("%s %s %s", sql, g.one("=", "=", "<>"), value())
}

// queryCond writes IN or EXISTS with a subquery.
func (g *gen) queryCond(sc *scope) string {
	return g.subquery(sc, func(inner *scope) string {
		if g.chance(1, 2) {
			from := g.from(inner)
			return fmt.Sprintf("%s (SELECT %s FROM %s%s)", g.one("EXISTS", "NOT EXISTS"), g.one("1", "1", "2"), from, g.where(inner, 1))
		}
		k := g.kind()
		left := g.leaf(k, sc)
		from := g.from(inner)
		op := "IN"
		if !g.s.Lite {
			op = g.one("IN", "NOT IN", "= ANY", ">= ALL")
		}
		return fmt.Sprintf("%s %s (SELECT %s FROM %s%s)", left, op, g.expr(k, inner, 1), from, g.where(inner, 1))
	})
}

// where writes a WHERE clause, or none.
func (g *gen) where(sc *scope, depth int) string {
	if g.chance(1, 4) {
		return ""
	}
	return " WHERE " + g.cond(sc, depth)
}
