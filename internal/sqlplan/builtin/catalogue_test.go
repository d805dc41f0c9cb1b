package builtin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// entry is an expression that the catalogue calls total, with %s for each operand.
type entry struct {
	what    string
	format  string
	args    []Type
	returns Type
	tables  map[int]string // of operands that are met with other values than their type's
	// declared entries are of rows whose types the operator or function is declared for. Any other entry consists of
	// conversions, each of which is an entry too, and of a declared one.
	declared bool
}

func (e entry) String() string { return fmt.Sprintf("%s of %q", e.what, e.args) }

// everyType are the types of the catalogue: scalars, an enumeration, and arrays of each.
func everyType() []Type {
	types := slices.Sorted(maps.Keys(known))
	types = append(types, "enum:mood")
	for _, t := range slices.Clone(types) {
		types = append(types, Array(t))
	}
	return types
}

// totalEntries enumerates what the catalogue calls total.
func totalEntries() []entry {
	return slices.Concat(totalOperators(), totalFunctions(), totalCasts(), totalChoices())
}

func totalOperators() []entry {
	var all []entry
	operands := append(everyType(), Adapts)
	for _, op := range slices.Sorted(keysOf(signs[PostgreSQL])) {
		for _, left := range append(slices.Clone(operands), Nothing) {
			for _, right := range operands {
				returns, total, _ := Operator(PostgreSQL, op, left, right)
				if !total || left == Adapts && right == Adapts {
					continue
				}
				e := entry{what: "operator " + op, args: []Type{left, right}, returns: returns, tables: map[int]string{}, declared: declaredOperator(op, left, right)}
				sign := strings.ReplaceAll(op, "%", "%%")
				e.format = "(%s " + sign + " %s)"
				if left == Nothing {
					e.args, e.format = e.args[1:], "("+sign+" %s)"
				}
				if contains(likeOperators, op) {
					if left == Adapts {
						continue // a pattern is no row's
					}
					e.tables[1] = "p_pattern"
				}
				all = append(all, e)
			}
		}
	}
	return all
}

func declaredOperator(op string, left, right Type) bool {
	switch {
	case left == Adapts || right == Adapts:
		return false
	case contains(comparisons, op):
		return left == right || !among(characters, left, right)
	}
	return declared(operatorTable[op], []Type{left, right})
}

// declared tells whether one of the signatures takes just these types.
func declared(signatures []signature, args []Type) bool {
	return !slices.Contains(args, Adapts) && slices.ContainsFunc(signatures, func(s signature) bool {
		m, ok := s.fit(args)
		return ok && m.exact
	})
}

// totalFunctions asks for each total signature with all types that its arguments may have.
func totalFunctions() []entry {
	var all []entry
	for _, name := range Names(PostgreSQL) {
		fn := functions[PostgreSQL][name]
		seen := map[string]bool{}
		for _, s := range fn.signatures {
			if !s.total {
				continue
			}
			for _, args := range s.calls() {
				f, _ := Function(PostgreSQL, name, args)
				if key := fmt.Sprint(args); !f.Total || seen[key] {
					continue
				} else {
					seen[key] = true
				}
				e := entry{what: "function " + name, args: args, returns: f.Returns, format: "pg_catalog." + name + "(" + strings.TrimSuffix(strings.Repeat("%s, ", len(args)), ", ") + ")", declared: declared(fn.signatures, args)}
				if len(args) == 0 && name == "count" {
					e.format = "pg_catalog.count(*)"
				}
				if f.Kind == Window {
					e.format += " OVER ()"
				}
				all = append(all, e)
			}
		}
	}
	return all
}

// calls returns the lists of argument types that fit a signature.
func (s signature) calls() [][]Type {
	wanted := s.args
	if s.variadic {
		wanted = append(slices.Clone(wanted), wanted[len(wanted)-1])
	}
	lists := [][]Type{{}}
	for _, to := range wanted {
		var longer [][]Type
		for _, list := range lists {
			for _, from := range append(everyType(), Adapts) {
				if _, _, ok := new(binding).accept(from, to); ok {
					longer = append(longer, append(slices.Clone(list), from))
				}
			}
		}
		lists = longer
	}
	return lists
}

func totalCasts() []entry {
	var all []entry
	for _, from := range everyType() {
		for _, to := range everyType() {
			if Cast(from, to) {
				all = append(all, entry{what: "cast to " + string(to), args: []Type{from}, returns: to, format: "CAST(%s AS " + sqlType(to) + ")", declared: true})
			}
		}
	}
	return all
}

// totalChoices are those among values of two types.
func totalChoices() []entry {
	var all []entry
	for _, a := range everyType() {
		for _, b := range everyType() {
			if t, total := Common(a, b); total && a != b {
				all = append(all, entry{what: "choice", args: []Type{a, b}, returns: t, format: "COALESCE(%s, %s)", declared: true})
			}
		}
	}
	return all
}
