package builtin

import "strings"

// Engine is the database that a fact is about.
type Engine uint8

const (
	PostgreSQL Engine = iota + 1
	SQLite
)

// Type is the name of a type in pg_catalog, such as int8, timestamptz or varchar. An array's is its element's
// and "[]", that of an enumeration is "enum:" and its name, and "citext" is the type of that extension.
type Type string

const (
	Adapts  Type = ""  // a literal or parameter without a cast: it takes the type that is wanted of it
	Unknown Type = "?" // anything
	Nothing Type = "-" // the left operand of a prefix operator
)

// Types of signatures alone. Those that name a kind of type stand for the same type wherever they stand.
const (
	anyType    Type = "any"
	anyElement Type = "anyelement"
	anyArray   Type = "anyarray"
	anyRange   Type = "anyrange"
	anyMulti   Type = "anymultirange"
	anyEnum    Type = "anyenum"
)

var polymorphic = set("anyelement anyarray anyrange anymultirange anyenum")

const (
	enumPrefix   = "enum:"
	arraySuffix  = "[]"
	variadicMark = "..."
)

// scalars are the types that the catalogue knows, but for enumerations and arrays.
const scalars = "bool int2 int4 int8 numeric float4 float8 text varchar bpchar citext date time timetz timestamp timestamptz" +
	" interval uuid json jsonb jsonpath bytea tsvector tsquery inet cidr macaddr macaddr8 bit varbit" +
	" int4range int8range numrange tsrange tstzrange daterange" +
	" int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange"

var known = set(scalars)

// spellings are the other names that SQL has for types.
var spellings = map[string]Type{
	"smallint": "int2", "integer": "int4", "int": "int4", "bigint": "int8", "real": "float4", "double precision": "float8",
	"float": "float8", "decimal": "numeric", "dec": "numeric", "boolean": "bool", "character varying": "varchar",
	"char varying": "varchar", "character": "bpchar", "char": "bpchar",
	"timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
	"time without time zone": "time", "time with time zone": "timetz", "bit varying": "varbit",
}

// Canonical returns the type that the catalog or a cast names, such as "character varying(10)" or "integer[]".
// It is [Unknown] where the name is none of the listed; "char" in quotation marks is another type.
func Canonical(name string) Type {
	name, array := strings.CutSuffix(strings.ToLower(strings.TrimSpace(name)), arraySuffix)
	for array && strings.HasSuffix(name, arraySuffix) {
		name = strings.TrimSuffix(name, arraySuffix)
	}
	if base, rest, modified := strings.Cut(name, "("); modified { // timestamp(3) with time zone
		_, after, _ := strings.Cut(rest, ")")
		name = strings.TrimSpace(base) + after
	}
	if fields := strings.Fields(name); len(fields) > 0 && fields[0] == "interval" { // interval day to second
		name = "interval"
	}
	t, found := spellings[name]
	switch {
	case !found && !known[Type(name)]:
		return Unknown
	case !found:
		t = Type(name)
	}
	if array {
		return t + arraySuffix
	}
	return t
}

// Array returns the type of an array of a type.
func Array(element Type) Type {
	if element == Unknown || element == Adapts || isArray(element) {
		return Unknown // an array of arrays has the type of its elements, which may have different lengths
	}
	return element + arraySuffix
}

// Element returns the type of an array's elements.
func Element(array Type) Type {
	if !isArray(array) {
		return Unknown
	}
	return array[:len(array)-len(arraySuffix)]
}

func isArray(t Type) bool { return strings.HasSuffix(string(t), arraySuffix) }

func isEnum(t Type) bool { return strings.HasPrefix(string(t), enumPrefix) && !isArray(t) }

// subtypes are the types of what is in a range, and of multiranges their ranges.
var subtypes = map[Type]Type{
	"int4range": "int4", "int8range": "int8", "numrange": "numeric", "tsrange": "timestamp", "tstzrange": "timestamptz", "daterange": "date",
}

func rangeOf(multi Type) Type {
	base, ok := strings.CutSuffix(string(multi), "multirange")
	if !ok || base == "any" {
		return Unknown
	}
	return Type(base + "range")
}

func multiOf(r Type) Type { return Type(strings.TrimSuffix(string(r), "range") + "multirange") }

func set(names string) map[Type]bool {
	m := map[Type]bool{}
	for name := range strings.FieldsSeq(names) {
		m[Type(name)] = true
	}
	return m
}
