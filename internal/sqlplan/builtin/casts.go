package builtin

import "strings"

// casts are the types that a value of a type is cast to without fail, by the type that it has. An infinite interval is no
// time, and jsonb may be nested deeper than the parser of json has stack for. Each type that is known
// casts to itself, and to text but for those of noText.
var casts = parseCasts(`
bool: int4
int2: int4 int8 numeric float4 float8
int4: int8 numeric float4 float8 bool
int8: numeric float4 float8
float4: float8 numeric
float8: numeric
time: interval
timestamp: date time
timestamptz: date time timetz
timetz: time
macaddr: macaddr8
cidr: inet
inet: cidr
bit: varbit
int4range: int4multirange
int8range: int8multirange
numrange: nummultirange
tsrange: tsmultirange
tstzrange: tstzmultirange
daterange: datemultirange
`)

func parseCasts(table string) map[conversion]bool {
	all := map[conversion]bool{}
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		from, to, _ := strings.Cut(line, ":")
		for t := range strings.FieldsSeq(to) {
			all[conversion{Type(from), Type(t)}] = true
		}
	}
	return all
}

// noText are types whose text takes a recursion as deep as the value, which the stack may not hold.
var noText = set("tsquery jsonpath")

// Cast tells whether PostgreSQL's explicit cast between two types, without modifier, fails for no value. A cast of a
// literal or parameter is its type's input and does fail, but before it meets a row; it is not for this function to judge.
func Cast(from, to Type) bool {
	element := from
	if isArray(from) {
		element = Element(from)
	}
	if !known[element] && !isEnum(element) {
		return false
	}
	switch {
	case from == to:
		return true
	case among("text varchar", to):
		return !noText[element]
	}
	return casts[conversion{from, to}]
}
