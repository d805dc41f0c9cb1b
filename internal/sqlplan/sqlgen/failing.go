package sqlgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// random returns a value for a statement to hold.
func (g *gen) random(k Kind) any {
	if g.s.Failing {
		return Tame(g.Rand, k)
	}
	return Value(g.Rand, k)
}

// Tame returns a value on which few of the failing expressions fail.
func Tame(r *rand.Rand, k Kind) any {
	switch k {
	case Int:
		return int64(r.IntN(4) + 1)
	case Text:
		return []string{"1", "2", "3", "1"}[r.IntN(4)]
	case Numeric:
		return fmt.Sprintf("%d.5", r.IntN(3)+1)
	}
	return Value(r, k)
}

// Poison returns a value on which many of them fail.
func Poison(r *rand.Rand, k Kind) any {
	switch k {
	case Int:
		// The double of each fits: generated columns compute it.
		return []int64{0, 0, -1, math.MaxInt64 / 2, math.MinInt64 / 2, math.MaxInt32}[r.IntN(6)]
	case Text:
		return []string{"x", "", `\\`, "{", "%", "1e999", "99999999999999999999", "(", "[1"}[r.IntN(9)]
	case Numeric:
		return []string{"0", "NaN", "-1", "1e400", "Infinity"}[r.IntN(5)]
	case Time:
		return []any{"infinity", "-infinity", time.Date(294000, 1, 1, 0, 0, 0, 0, time.UTC)}[r.IntN(3)]
	}
	return Value(r, k)
}

// TameRows and PoisonRows are as Rows, of such values. Most poison rows have tame values too, so that conditions find them.
func (t *Table) TameRows(r *rand.Rand) [][]any { return t.rowsOf(r, Tame) }

func (t *Table) PoisonRows(r *rand.Rand) [][]any {
	return t.rowsOf(r, func(r *rand.Rand, k Kind) any {
		if r.IntN(2) == 0 {
			return Tame(r, k)
		}
		return Poison(r, k)
	})
}

// failing writes a value of a kind that fails for some values of its parts.
func (g *gen) failing(k Kind, sc *scope, depth int) string {
	e := func(k Kind) string { return g.expr(k, sc, depth-1) }
	if g.chance(1, 8) {
		return g.lazy(k, sc, depth)
	}
	switch k {
	case Int:
		return g.oneOf(
			func() string { return fmt.Sprintf("(%s %s %s)", e(Int), g.one("/", "%"), e(Int)) },
			func() string { return fmt.Sprintf("(%s * 4611686018427387903 / 1000)", e(Int)) },
			func() string { return fmt.Sprintf("abs(%s)", e(Int)) },
			func() string { return fmt.Sprintf("%s::%s::bigint", e(Int), g.one("integer", "smallint")) },
			func() string { return fmt.Sprintf("%s::bigint", e(Text)) },
			func() string { return fmt.Sprintf("%s::bigint", e(Numeric)) },
			func() string { return fmt.Sprintf("length(%s::bpchar)", e(Text)) },
			func() string { return fmt.Sprintf("(ARRAY[1, 2])[%s::integer]::bigint", e(Int)) },
			func() string { return fmt.Sprintf("extract(year FROM %s)::bigint", e(Time)) },
			func() string {
				return fmt.Sprintf("array_length(string_to_array(%s, '1')::numeric[], 1)::bigint", e(Text))
			},
		)
	case Text:
		return g.oneOf(
			func() string { return fmt.Sprintf("chr(%s::integer)", e(Int)) },
			func() string { return fmt.Sprintf("substr(%s, 1, %s::integer)", e(Text), e(Int)) },
			func() string { return fmt.Sprintf("split_part(%s, '1', %s::integer)", e(Text), e(Int)) },
			func() string { return fmt.Sprintf("(%s::jsonb #>> '{}')", e(Text)) },
			func() string { return fmt.Sprintf("to_char(%s, 'YYYY')", e(Time)) },
			func() string { return fmt.Sprintf("%s::numeric::text", e(Text)) },
		)
	case Bool:
		return g.oneOf(
			func() string { return fmt.Sprintf("(%s / %s > 0)", e(Int), e(Int)) },
			func() string { return fmt.Sprintf("(%s::integer = 1)", e(Text)) },
			func() string { return fmt.Sprintf("%s::boolean", e(Text)) },
			func() string { return fmt.Sprintf("(%s + %s > 3)", e(Int), e(Int)) },
			func() string { return fmt.Sprintf("(%s::date = date '2024-01-02')", e(Time)) },
			func() string { return fmt.Sprintf("(%s + interval '1 year' > %s)", e(Time), e(Time)) },
			func() string { return fmt.Sprintf("(1 / %s > %s)", e(Numeric), e(Numeric)) },
			func() string { return fmt.Sprintf("(%s LIKE %s)", e(Text), e(Text)) },
		)
	case Numeric:
		return g.oneOf(
			func() string { return fmt.Sprintf("(%s / %s)", e(Numeric), e(Numeric)) },
			func() string { return fmt.Sprintf("%s(%s)", g.one("sqrt", "ln"), e(Numeric)) },
			func() string { return fmt.Sprintf("%s::numeric", e(Text)) },
			func() string { return fmt.Sprintf("%s::numeric(3, 1)", e(Numeric)) },
			func() string { return fmt.Sprintf("round(%s, %s::integer)", e(Numeric), e(Int)) },
		)
	}
	return g.oneOf(
		func() string { return fmt.Sprintf("(%s + interval '1 day' * %s)", e(Time), e(Int)) },
		func() string { return fmt.Sprintf("(%s - interval '5000 years')", e(Time)) },
		func() string { return fmt.Sprintf("to_timestamp(%s)", e(Int)) },
	)
}

// lazy writes what fails whatever row there is, in a place that is evaluated only where a row gets there.
func (g *gen) lazy(k Kind, sc *scope, depth int) string {
	fails := g.oneOf(
		func() string { return fmt.Sprintf("(SELECT %s LIMIT -%s)", g.leaf(k, &scope{}), g.param(Int, true)) },
		func() string {
			return fmt.Sprintf("(SELECT %s OFFSET -1 * %s)", g.leaf(k, &scope{}), g.param(Int, true))
		},
		func() string { return g.manyRows(k) },
	)
	if fails == "" {
		return g.leaf(k, sc)
	}
	when := g.cond(sc, depth-1)
	if k == Bool && g.chance(1, 2) {
		return fmt.Sprintf("(%s AND %s)", when, fails)
	}
	return fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END", when, fails, g.leaf(k, sc))
}

// tempting writes a condition that fails on the rows with a poisonous value, and costs no more than a comparison by
// PostgreSQL's reckoning: of the conditions of a scan it evaluates the cheapest first.
func (g *gen) tempting(sc *scope) string {
	column, c, ok := g.pick(sc, func(c col) bool { return !c.sealed && c.kind != Bool && c.kind != Time })
	if !ok {
		return ""
	}
	poisoned := column + " = " + g.bind(Poison(g.Rand, c.kind), param{kind: 253})
	fails := g.one("(SELECT true LIMIT -1)", "EXISTS (SELECT 1 LIMIT -1)", "(SELECT true OFFSET -1)", "(SELECT true FROM (VALUES (1), (2)) AS two)",
		"(SELECT true WHERE 1 / (SELECT 0) > 1)")
	return fmt.Sprintf(g.one("CASE WHEN %s THEN %s ELSE true END", "CASE WHEN %s THEN %s END", "coalesce(nullif(%s, true), %s)"), poisoned, fails)
}

// manyRows writes a subquery of one value that may return several rows, or nothing.
func (g *gen) manyRows(k Kind) string {
	return g.subquery(nil, func(inner *scope) string {
		from := g.from(inner)
		return fmt.Sprintf("(SELECT %s FROM %s%s)", g.leaf(k, inner), from, g.where(inner, 0))
	})
}

// oneOf writes one of some texts. The others are not made: they would bind parameters that nobody names.
func (g *gen) oneOf(texts ...func() string) string { return texts[g.IntN(len(texts))]() }
