package builtin

import "strings"

const (
	comparisons    = "= <> < > <= >="
	likeOperators  = "~~ !~~ ~~* !~~*"
	regexOperators = "~ ~* !~ !~*"
)

// signs are the operators that statements may use, for some types.
var signs = map[Engine]map[Type]bool{
	PostgreSQL: set(comparisons + " " + likeOperators + " " + regexOperators +
		" + - * / % ^ || -> ->> #> #>> #- @> <@ ? ?| ?& && -|- &< &> <<= >>= ^@ @@ <-> & | # << >>"),
	SQLite: set(comparisons + " + - * / % || -> ->> & | << >>"),
}

// prefixes are the operators that may stand before their only operand.
var prefixes = map[Engine]map[Type]bool{
	PostgreSQL: set("+ -"),
	SQLite:     set("+ -"),
}

// operators are what operators other than comparisons do in PostgreSQL, with a line for each: left operator right type.
// Integers and intervals overflow, and so do times that are moved; numbers divide by zero; arrays and JSON may not fit.
const operators = `
text ~~ text bool total
text !~~ text bool total
text ~~* text bool total
text !~~* text bool total
bpchar ~~ text bool total
bpchar !~~ text bool total
bpchar ~~* text bool total
bpchar !~~* text bool total
citext ~~ citext bool total
citext !~~ citext bool total
citext ~~* citext bool total
citext !~~* citext bool total
citext ~~ text bool total
citext !~~ text bool total
citext ~~* text bool total
citext !~~* text bool total
text ~ text bool
text ~* text bool
text !~ text bool
text !~* text bool
text ^@ text bool total
- + int2 int2 total
- + int4 int4 total
- + int8 int8 total
- + numeric numeric total
- + float4 float4 total
- + float8 float8 total
- - int2 int2
- - int4 int4
- - int8 int8
- - numeric numeric total
- - float4 float4 total
- - float8 float8 total
- - interval interval
int2 & int2 int2 total
int4 & int4 int4 total
int8 & int8 int8 total
bit & bit bit
inet & inet inet
int2 | int2 int2 total
int4 | int4 int4 total
int8 | int8 int8 total
bit | bit bit
inet | inet inet
int2 # int2 int2 total
int4 # int4 int4 total
int8 # int8 int8 total
bit # bit bit
int2 << int4 int2 total
int4 << int4 int4 total
int8 << int4 int8 total
int2 >> int4 int2 total
int4 >> int4 int4 total
int8 >> int4 int8 total
inet << inet bool total
inet >> inet bool total
inet <<= inet bool total
inet >>= inet bool total
inet && inet bool total
inet + int8 inet
int8 + inet inet
inet - int8 inet
inet - inet int8
date + int4 date
int4 + date date
date - int4 date
date - date int4
date + interval timestamp
interval + date timestamp
date - interval timestamp
date + time timestamp
time + date timestamp
date + timetz timestamptz
timetz + date timestamptz
timestamp + interval timestamp
interval + timestamp timestamp
timestamp - interval timestamp
timestamp - timestamp interval
timestamptz + interval timestamptz
interval + timestamptz timestamptz
timestamptz - interval timestamptz
timestamptz - timestamptz interval
time + interval time
interval + time time
time - interval time
time - time interval
timetz + interval timetz
interval + timetz timetz
timetz - interval timetz
interval + interval interval
interval - interval interval
interval * float8 interval
float8 * interval interval
interval / float8 interval
text || text text
jsonb || jsonb jsonb
bytea || bytea bytea
varbit || varbit varbit
tsvector || tsvector tsvector
tsquery || tsquery tsquery
tsquery && tsquery tsquery
tsquery <-> tsquery tsquery
anyarray || anyarray anyarray
anyarray || anyelement anyarray
anyelement || anyarray anyarray
jsonb -> text jsonb total
jsonb -> int4 jsonb total
jsonb ->> text text total
jsonb ->> int4 text total
jsonb #> text[] jsonb total
jsonb #>> text[] text total
jsonb #- text[] jsonb
jsonb - text jsonb
jsonb - int4 jsonb
jsonb - text[] jsonb
json -> text json
json -> int4 json
json ->> text text
json ->> int4 text
json #> text[] json
json #>> text[] text
jsonb ? text bool total
jsonb ?| text[] bool total
jsonb ?& text[] bool total
jsonb @> jsonb bool
jsonb <@ jsonb bool
tsquery @> tsquery bool
tsquery <@ tsquery bool
tsvector @@ tsquery bool
tsquery @@ tsvector bool
text @@ tsquery bool
text @@ text bool
anyarray @> anyarray bool total
anyarray <@ anyarray bool total
anyarray && anyarray bool total
anyrange @> anyelement bool total
anyrange @> anyrange bool total
anyrange @> anymultirange bool total
anymultirange @> anyelement bool total
anymultirange @> anyrange bool total
anymultirange @> anymultirange bool total
anyelement <@ anyrange bool total
anyelement <@ anymultirange bool total
anyrange <@ anyrange bool total
anyrange <@ anymultirange bool total
anymultirange <@ anyrange bool total
anymultirange <@ anymultirange bool total
anyrange && anyrange bool total
anyrange && anymultirange bool total
anymultirange && anyrange bool total
anymultirange && anymultirange bool total
anyrange -|- anyrange bool total
anyrange -|- anymultirange bool total
anymultirange -|- anyrange bool total
anymultirange -|- anymultirange bool total
anyrange << anyrange bool total
anyrange << anymultirange bool total
anymultirange << anyrange bool total
anymultirange << anymultirange bool total
anyrange >> anyrange bool total
anyrange >> anymultirange bool total
anymultirange >> anyrange bool total
anymultirange >> anymultirange bool total
anyrange &< anyrange bool total
anyrange &< anymultirange bool total
anymultirange &< anyrange bool total
anymultirange &< anymultirange bool total
anyrange &> anyrange bool total
anyrange &> anymultirange bool total
anymultirange &> anyrange bool total
anymultirange &> anymultirange bool total
anyrange + anyrange anyrange
anyrange * anyrange anyrange
anyrange - anyrange anyrange
anymultirange + anymultirange anymultirange
anymultirange * anymultirange anymultirange
anymultirange - anymultirange anymultirange
`

var operatorTable = parseOperators(operators)

func parseOperators(table string) map[string][]signature {
	all := map[string][]signature{}
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		f := strings.Fields(line)
		all[f[1]] = append(all[f[1]], parseSignature(f[0]+","+f[2], f[3], len(f) > 4 && f[4] == "total"))
	}
	return all
}

// Operator says what `left name right` is; left is [Nothing] for a prefix operator. allowed tells that statements may use
// the operator. It is total as [Facts] are: conversions of operands are part of it. The patterns of LIKE are no part:
// they must neither come from a row nor end in a lone backslash.
func Operator(e Engine, name string, left, right Type) (returns Type, total, allowed bool) {
	if left == Nothing && !prefixes[e][Type(name)] || !signs[e][Type(name)] {
		return Unknown, false, false
	}
	if e == SQLite {
		return Unknown, liteTotal[Type(name)], true
	}
	switch {
	case name == "@@" && !fullText(left, right):
		return Unknown, false, false
	case strings.Contains(" "+comparisons+" ", " "+name+" "):
		return "bool", comparable(left, right), true
	}
	m := operation(name, left, right)
	return m.returns, m.total, true
}

// liteTotal are the operators that fail for no value in SQLite, where arithmetic yields a float or NULL.
var liteTotal = set(comparisons + " + - * / % & | << >>")

// fullText admits @@ for full text search alone. PostgreSQL tries that of jsonb on the column's statistics while it plans the
// statement, and a path that compares times with and without a zone fails for some values.
func fullText(left, right Type) bool {
	of := func(t Type) bool { return t == "tsvector" || t == "tsquery" }
	return of(left) || of(right) || left == "text" || left == "varchar" || left == "bpchar" || left == "citext"
}
