package sqlgen

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Value returns a random value of a kind. There are few, so that values meet.
func Value(r *rand.Rand, k Kind) any {
	switch k {
	case Int:
		return int64(r.IntN(6))
	case Bool:
		return r.IntN(2) == 0
	case Numeric:
		return fmt.Sprintf("%d.%d", r.IntN(4), r.IntN(2)*5)
	case Time:
		return time.Date(2024, 1, r.IntN(4)+1, 0, 0, 0, 0, time.UTC)
	}
	return []string{"a", "b", "n1", "n2", "N1", "a%", "ü", ""}[r.IntN(8)]
}

// Rows returns rows for a table, as values of its columns without the generated ones. They fit the table's keys.
func (t *Table) Rows(r *rand.Rand) [][]any { return t.rowsOf(r, Value) }

func (t *Table) rowsOf(r *rand.Rand, value func(*rand.Rand, Kind) any) [][]any {
	var rows [][]any
	keys := map[string]bool{}
	for range r.IntN(7) {
		var row []any
		key, unique := "", ""
		for _, c := range t.Columns {
			if c.Generated != "" {
				continue
			}
			v := value(r, c.Kind)
			if !c.NotNull && r.IntN(4) == 0 {
				v = nil
			}
			row = append(row, v)
			if len(t.Unique) == 1 && t.Unique[0] == c.Name {
				if v != nil {
					unique = fmt.Sprint("unique ", v)
				}
			} else if t.keyed(c.Name) {
				key += fmt.Sprint(v, "|")
			}
		}
		if keys[key] || unique != "" && keys[unique] {
			continue
		}
		keys[key], keys[unique] = true, true
		rows = append(rows, row)
	}
	return rows
}

// Stored returns the columns that Rows gives values for.
func (t *Table) Stored() []Column {
	var out []Column
	for _, c := range t.Columns {
		if c.Generated == "" {
			out = append(out, c)
		}
	}
	return out
}
