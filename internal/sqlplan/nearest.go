package sqlplan

import (
	"slices"

	"github.com/strongroom-go/strongroom/internal/closest"
)

func columnNames(columns []column) []string {
	out := make([]string, 0, len(columns))
	for _, c := range columns {
		out = append(out, c.name)
	}
	slices.Sort(out)
	return out
}

// nearest returns the column in scope that a mistyped name is closest to.
func (p *planner) nearest(name string, s *scope) string {
	var all []string
	for ; s != nil; s = s.parent {
		for _, v := range s.columns {
			all = append(all, v.name)
		}
	}
	slices.Sort(all)
	return closest.To(name, all)
}
