package sqldb

import (
	"slices"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// offboardStep is tables that are emptied one after the other, or together by one statement, after some of their columns were
// made NULL.
type offboardStep struct {
	cuts     []offboardCut
	tables   []*sqlplan.Table
	together bool
}

// offboardCut is a column that ties the rows of tables in a circle, and may be NULL.
type offboardCut struct {
	table  *sqlplan.Table
	column string
}

// offboardSteps orders the tenants' tables so that rows go before the rows that they refer to. Tables whose foreign keys form
// a circle are one step.
func offboardSteps(cat *sqlplan.Catalog) []offboardStep {
	var names []string
	for _, name := range sortedKeys(cat.Tables) {
		if !cat.Tables[name].Shared {
			names = append(names, name)
		}
	}
	all := func(name string) (to []string) {
		for _, ref := range cat.Tables[name].References {
			to = append(to, ref.Table)
		}
		return to
	}
	var steps []offboardStep
	for _, circle := range circles(names, all) {
		if len(circle) == 1 && !slices.Contains(all(circle[0]), circle[0]) {
			steps = append(steps, offboardStep{tables: []*sqlplan.Table{cat.Tables[circle[0]]}})
			continue
		}
		steps = append(steps, open(cat, circle)...)
	}
	return steps
}

// open opens a circle: its foreign keys that can be cut are, and what is left is ordered again.
func open(cat *sqlplan.Catalog, circle []string) []offboardStep {
	var cuts []offboardCut
	left := map[string][]string{}
	for _, name := range circle {
		t := cat.Tables[name]
		for _, ref := range t.References {
			if !slices.Contains(circle, ref.Table) {
				continue
			}
			if column := cuttable(t, ref); column == "" {
				left[name] = append(left[name], ref.Table)
			} else if cut := (offboardCut{t, column}); !slices.Contains(cuts, cut) {
				cuts = append(cuts, cut)
			}
		}
	}
	var steps []offboardStep
	for _, part := range circles(circle, func(name string) []string { return left[name] }) {
		step := offboardStep{together: len(part) > 1 || slices.Contains(left[part[0]], part[0])}
		for _, name := range part {
			step.tables = append(step.tables, cat.Tables[name])
		}
		steps = append(steps, step)
	}
	steps[0].cuts = cuts
	return steps
}

// cuttable returns a column of a foreign key that may be NULL, whereupon the row refers to nothing; or "".
func cuttable(t *sqlplan.Table, ref sqlplan.Reference) string {
	if ref.Full {
		return "" // the tenant column is not NULL, and all or none must be
	}
	for _, name := range ref.Columns {
		for _, c := range t.Columns {
			if c.Name == name && !c.NotNull && !c.Generated && c.Name != t.TenantColumn && !slices.Contains(t.PrimaryKey, c.Name) {
				return name
			}
		}
	}
	return ""
}

// circles returns the strongly connected components of a graph, each before those that it leads to: Tarjan, Depth-first search
// and linear graph algorithms, 1972, whose algorithm yields them the other way round.
func circles(names []string, to func(string) []string) [][]string {
	var (
		out     [][]string
		stack   []string
		index   = map[string]int{}
		low     = map[string]int{}
		onStack = map[string]bool{}
		visit   func(string)
	)
	visit = func(v string) {
		index[v] = len(index) + 1
		low[v] = index[v]
		stack, onStack[v] = append(stack, v), true
		for _, w := range to(v) {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if onStack[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		part := slices.Clone(stack[at:])
		for _, w := range part {
			onStack[w] = false
		}
		stack = stack[:at]
		slices.Sort(part)
		out = append(out, part)
	}
	for _, name := range names {
		if index[name] == 0 {
			visit(name)
		}
	}
	slices.Reverse(out)
	return out
}
