package sqlgen

import "fmt"

// json writes a value in SQL's own syntax for JSON, which PostgreSQL has since 16 and 17, or nothing.
func (g *gen) json(k Kind, sc *scope, depth int) string {
	if g.s.Lite || g.s.Before17 {
		return ""
	}
	e := func() string { return g.expr(g.kind(), sc, depth-1) }
	object := func() string {
		return fmt.Sprintf("JSON_OBJECT('a': %s, 'b' VALUE %s%s RETURNING jsonb)", e(), e(), g.one("", " ABSENT ON NULL"))
	}
	switch k {
	case Text:
		return g.oneOf(
			func() string { return fmt.Sprintf("JSON_OBJECT('a': %s RETURNING text)", e()) },
			func() string { return fmt.Sprintf("JSON_ARRAY(%s, %s NULL ON NULL RETURNING text)", e(), e()) },
			func() string { return fmt.Sprintf("JSON_SERIALIZE(JSON_SCALAR(%s) RETURNING text)", e()) },
			func() string { return fmt.Sprintf("JSON_VALUE(%s, '$.a')", object()) },
			func() string { return "JSON_SERIALIZE(JSON('[1, {}]') RETURNING text)" },
			func() string { return g.jsonArray(k, sc) },
		)
	case Int:
		return fmt.Sprintf("JSON_VALUE(%s, '$.b' RETURNING bigint DEFAULT %s ON EMPTY NULL ON ERROR)", object(), g.expr(Int, sc, depth-1))
	case Bool:
		return g.oneOf(
			func() string { return fmt.Sprintf("coalesce(%s IS JSON, false)", g.expr(Text, sc, depth-1)) },
			func() string {
				return fmt.Sprintf("JSON_EXISTS(%s, '$.a ? (@ == $x)' PASSING %s AS x)", object(), g.expr(Int, sc, depth-1))
			},
		)
	}
	return ""
}

// jsonArray writes an array of what a query returns.
func (g *gen) jsonArray(k Kind, sc *scope) string {
	return g.subquery(sc, func(inner *scope) string {
		from := g.from(inner)
		return fmt.Sprintf("JSON_ARRAY(SELECT %s FROM %s%s ORDER BY 1 RETURNING text)", g.leaf(k, inner), from, g.where(inner, 0))
	})
}
