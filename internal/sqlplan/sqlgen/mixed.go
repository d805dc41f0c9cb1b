package sqlgen

import (
	"fmt"
	"time"
)

// mixed writes a parameter of a kind with any cast or none, often one that the statement has elsewhere with another.
func (g *gen) mixed(k Kind) string {
	n := -1
	for i, p := range g.params {
		if p.kind == k && g.chance(1, 2) {
			n = i
		}
	}
	if n < 0 {
		g.bind(g.goValue(k), param{k, false})
		n = len(g.args) - 1
	}
	casts := map[Kind][]string{
		Int: {"bigint", "integer", "numeric"}, Text: {"text", "varchar"}, Bool: {"boolean"}, Numeric: {"numeric", "float8"},
		Time: {"timestamptz", "timestamp", "date"},
	}[k]
	if i := g.IntN(len(casts) + 1); i > 0 {
		return fmt.Sprintf("$%d::%s", n+1, casts[i-1])
	}
	return fmt.Sprintf("$%d", n+1)
}

// goValue returns a value of a kind as one of the types that an application has it in.
func (g *gen) goValue(k Kind) any {
	v := Value(g.Rand, k)
	var other any
	switch v := v.(type) {
	case int64:
		other = []any{int32(v), int(v), fmt.Sprint(v), float64(v)}[g.IntN(4)]
	case bool:
		other = fmt.Sprint(v)
	case time.Time:
		other = v.Format(time.RFC3339)
	}
	if other != nil && g.chance(1, 3) {
		return other
	}
	return v
}
