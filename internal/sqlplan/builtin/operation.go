package builtin

import "strings"

func contains(list, word string) bool { return strings.Contains(" "+list+" ", " "+word+" ") }

// operation finds an operator of PostgreSQL that is no comparison.
func operation(name string, left, right Type) match {
	if left == Adapts && right == Adapts {
		return match{returns: Unknown}
	}
	if m, ok := arithmetic(name, left, right); ok {
		return m
	}
	if one := soleType(left, right); one != "" { // PostgreSQL first takes a literal for one of the other operand's type
		for _, s := range operatorTable[name] {
			if m, ok := s.fit([]Type{one, one}); ok && m.exact {
				m.total = m.total && elementsCompare(name, one, one)
				return m
			}
		}
	}
	m, _ := choose(operatorTable[name], []Type{left, right})
	m.total = m.total && elementsCompare(name, left, right)
	return m
}

// soleType returns the type of one operand where the other is a literal or parameter.
func soleType(left, right Type) Type {
	switch {
	case left == Nothing || left == Unknown || right == Unknown:
		return ""
	case left == Adapts:
		return right
	case right == Adapts:
		return left
	}
	return ""
}

// elementsCompare tells whether an operator of arrays or ranges is total for the elements that these have. @>, <@ and && compare
// each element of an array with each, which takes too long for citext, whose case is folded at each comparison. For ranges of
// numeric the planner makes a float8 of a bound, which may be out of range.
func elementsCompare(name string, left, right Type) bool {
	for _, t := range []Type{left, right} {
		if among("numrange nummultirange", t) {
			return false
		}
		if isArray(t) && contains("@> <@ &&", name) && (Element(t) == "citext" || !comparable(t, t)) {
			return false
		}
	}
	return true
}

const (
	integers   = "int2 int4 int8"
	floats     = "float4 float8"
	numbers    = "int2 int4 int8 numeric float4 float8"
	characters = "text varchar bpchar citext"
	instants   = "date timestamp timestamptz"
	addresses  = "inet cidr"
)

func among(types string, each ...Type) bool {
	for _, t := range each {
		if t == "" || !contains(types, string(t)) {
			return false
		}
	}
	return true
}

// arithmetic tells the type of a number's arithmetic, which overflows.
func arithmetic(name string, left, right Type) (match, bool) {
	if one := soleType(left, right); one != "" {
		left, right = one, one
	}
	if !contains("+ - * / % ^", name) || !among(numbers, left, right) {
		return match{}, false
	}
	m := match{returns: wider(left, right)}
	switch {
	case name == "^" && m.returns != "numeric":
		m.returns = "float8"
	case name == "%" && among(floats, m.returns):
		m.returns = Unknown
	}
	return m, true
}

// wider returns the type that an operator has for two types of numbers.
func wider(a, b Type) Type {
	switch {
	case a == b:
		return a
	case among(floats, a) || among(floats, b):
		return "float8"
	case strings.Index(numbers, string(a)) < strings.Index(numbers, string(b)):
		return b
	}
	return a
}

// comparable tells whether = and its kind fail for no values of two types. PostgreSQL has operators between integers, between
// dates and times, and between texts, but it makes a float8 of a numeric that meets one.
func comparable(left, right Type) bool {
	switch {
	case left == Adapts && right == Adapts:
		return true
	case left == Adapts:
		left = right
	case right == Adapts:
		right = left
	}
	switch {
	case left == right && isArray(left):
		return comparable(Element(left), Element(left))
	case left == right:
		return ordered[left] || isEnum(left)
	case among(numbers, left, right):
		return left != "numeric" && right != "numeric" || !among(floats, left) && !among(floats, right)
	}
	return among(characters, left, right) || among(instants, left, right) || among(addresses, left, right)
}

// Injective tells whether a value of one type is equal to one value of another at most: 2^53 and 2^53+1 are equal to one
// float8, two local times to one instant, and a text and its upper case to one citext.
func Injective(of, to Type) bool {
	switch {
	case to == Adapts:
		return true
	case of == to:
		return of != Unknown
	case among(integers+" numeric", of):
		return among(integers+" numeric", to)
	}
	return among("text varchar", of, to)
}

// ordered are the types that are compared without fail. The comparison of tsquery recurses into both.
var ordered = set("bool int2 int4 int8 numeric float4 float8 text varchar bpchar citext date time timetz timestamp timestamptz" +
	" interval uuid jsonb bytea tsvector inet cidr macaddr macaddr8 bit varbit" +
	" int4range int8range numrange tsrange tstzrange daterange" +
	" int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange")
