package builtin

import (
	"slices"
	"strings"
)

// signature is what an operator or function takes and returns.
type signature struct {
	args     []Type
	variadic bool // the last argument comes any number of times
	returns  Type
	total    bool
}

// parseSignature reads "text,int4" as arguments. "..." alone stands for any arguments.
func parseSignature(args, returns string, total bool) signature {
	s := signature{returns: Type(returns), total: total}
	for arg := range strings.SplitSeq(args, ",") {
		if arg == "" {
			continue
		}
		arg, s.variadic = strings.CutSuffix(arg, variadicMark)
		if arg == "" {
			arg = string(anyType)
		}
		s.args = append(s.args, Type(arg))
	}
	return s
}

// match is how well arguments fit a signature.
type match struct {
	cost    int // of conversions; PostgreSQL prefers signatures that need fewer, and then those of preferred types
	total   bool
	returns Type
	texts   bool // each argument that adapts becomes a text
	exact   bool // no argument is converted
}

// fit matches arguments with a signature. Types that stand for a kind of type are bound as they are met.
func (s signature) fit(args []Type) (match, bool) {
	if len(args) != len(s.args) && (!s.variadic || len(args) < len(s.args)-1) {
		return match{}, false
	}
	m := match{total: s.total, texts: true, exact: true}
	bound := binding{}
	for i, from := range args {
		to := s.args[min(i, len(s.args)-1)]
		cost, total, ok := bound.accept(from, to)
		if !ok {
			return match{}, false
		}
		m.cost += cost
		m.total = m.total && total
		m.exact = m.exact && (cost == 0 || polymorphic[to])
		m.texts = m.texts && (from != Adapts || to == "text")
	}
	m.returns = bound.resolve(s.returns)
	m.total = m.total && (m.returns != Unknown || s.returns == Unknown)
	return m, true
}

// binding is what the kinds of a signature stand for in one call. Element is also a range's subtype.
type binding struct{ element Type }

func (b *binding) accept(from, to Type) (cost int, total, ok bool) {
	switch {
	case to == anyType:
		return catchAll, true, true
	case !polymorphic[to]:
		return convert(from, to)
	case from == Adapts && to != anyElement && to != anyEnum: // PostgreSQL takes none for an array or a range
		return 0, false, false
	case from == Adapts: // it may take any type of that kind, or none
		return binary, false, true
	case from == Unknown:
		return far, false, true
	}
	return binary, true, b.bind(from, to)
}

// bind notes what a kind stands for and tells whether that agrees with what was noted before.
func (b *binding) bind(from, to Type) bool {
	element := from
	switch to {
	case anyArray:
		element = Element(from)
	case anyRange:
		element = subtypes[from]
	case anyMulti:
		element = subtypes[rangeOf(from)]
	case anyEnum:
		if !isEnum(from) {
			return false
		}
	}
	if element == Unknown || element == "" || b.element != "" && b.element != element {
		return false
	}
	b.element = element
	return true
}

func (b *binding) resolve(t Type) Type {
	switch {
	case !polymorphic[t] && t != anyEnum+arraySuffix:
		return t
	case b.element == "":
		return Unknown
	}
	switch t {
	case anyArray, anyEnum + arraySuffix:
		return Array(b.element)
	case anyRange, anyMulti:
		for r, element := range subtypes {
			if element == b.element && t == anyRange {
				return r
			} else if element == b.element {
				return multiOf(r)
			}
		}
		return Unknown
	}
	return b.element
}

// choose returns what PostgreSQL chooses among signatures. Where that is not certain, the result is total only if
// it is for each of them, and its type is known only if it is the same.
func choose(signatures []signature, args []Type) (match, bool) {
	var best []match
	for _, s := range signatures {
		m, ok := s.fit(args)
		switch {
		case !ok || len(best) > 0 && m.cost > best[0].cost:
			continue
		case len(best) > 0 && m.cost < best[0].cost:
			best = nil
		}
		best = append(best, m)
	}
	if i := slices.IndexFunc(best, func(m match) bool { return m.texts }); i >= 0 && slices.Contains(args, Adapts) {
		return best[i], true
	}
	if len(best) == 0 {
		return match{returns: Unknown}, false
	}
	for _, m := range best[1:] {
		best[0].total = best[0].total && m.total
		if m.returns != best[0].returns {
			best[0].returns = Unknown
		}
	}
	best[0].total = best[0].total && (len(best) == 1 || best[0].returns != Unknown)
	return best[0], true
}
