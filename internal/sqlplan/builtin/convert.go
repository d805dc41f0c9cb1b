package builtin

// conversion is a cast that PostgreSQL makes without being asked.
type conversion struct{ from, to Type }

// preferred costs less than other: PostgreSQL prefers a type of each category.
const (
	binary    = 1 // the same value under another name
	preferred = 2
	other     = 3
	catchAll  = 8 // of a signature that takes anything
	far       = 9 // from a type that is not known
)

// implicit are the conversions of pg_cast with castcontext 'i', among the types of the catalogue.
var implicit = map[conversion]struct {
	cost  int
	total bool
}{
	{"int2", "int4"}: {other, true}, {"int2", "int8"}: {other, true}, {"int2", "numeric"}: {other, true},
	{"int2", "float4"}: {other, true}, {"int2", "float8"}: {preferred, true},
	{"int4", "int8"}: {other, true}, {"int4", "numeric"}: {other, true}, {"int4", "float4"}: {other, true}, {"int4", "float8"}: {preferred, true},
	{"int8", "numeric"}: {other, true}, {"int8", "float4"}: {other, true}, {"int8", "float8"}: {preferred, true},
	{"numeric", "float4"}: {other, false}, {"numeric", "float8"}: {preferred, false}, {"float4", "float8"}: {preferred, true},
	{"varchar", "text"}: {binary, true}, {"bpchar", "text"}: {preferred, true}, {"citext", "text"}: {preferred, true},
	{"varchar", "bpchar"}: {other, true}, {"bpchar", "varchar"}: {other, true}, {"text", "varchar"}: {other, true}, {"text", "bpchar"}: {other, true},
	{"citext", "varchar"}: {other, true},
	{"date", "timestamp"}: {other, false}, {"date", "timestamptz"}: {preferred, false}, {"timestamp", "timestamptz"}: {preferred, false},
	{"time", "timetz"}: {other, false},
	{"cidr", "inet"}:   {binary, true}, {"macaddr", "macaddr8"}: {other, true}, {"macaddr8", "macaddr"}: {other, false},
	{"bit", "varbit"}: {binary, true}, {"varbit", "bit"}: {other, false},
}

// convert tells at which cost a value becomes one of another type without being asked, and whether that is total.
func convert(from, to Type) (cost int, total, ok bool) {
	switch {
	case from == to || from == Adapts:
		return 0, true, true
	case from == Unknown:
		return far, false, true
	}
	c, ok := implicit[conversion{from, to}]
	return c.cost, c.total, ok
}
