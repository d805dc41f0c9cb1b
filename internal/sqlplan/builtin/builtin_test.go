package builtin

import (
	"slices"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for name, want := range map[string]Type{
		"int": "int4", "INTEGER": "int4", "smallint[]": "int2[]", "integer[][]": "int4[]", "bigint": "int8", "double precision": "float8",
		"character varying(10)": "varchar", "character(3)[]": "bpchar[]", "numeric(10,2)": "numeric", "timestamp(3) with time zone": "timestamptz",
		"timestamp without time zone": "timestamp", "time with time zone": "timetz", "interval day to second": "interval", "bit varying(5)": "varbit",
		"uuid": "uuid", "citext": "citext", "tstzrange": "tstzrange", " text ": "text",
		"": Unknown, "?": Unknown, "[]": Unknown, "mood": Unknown, "regclass": Unknown, "xml": Unknown, "anyelement": Unknown, `"char"`: Unknown, "enum:mood": Unknown,
	} {
		if got := Canonical(name); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestOperator(t *testing.T) {
	for _, c := range []struct {
		left    Type
		name    string
		right   Type
		returns Type
		total   bool
	}{
		{"text", "=", "text", "bool", true}, {"text", "<", Adapts, "bool", true}, {Adapts, "=", Adapts, "bool", true},
		{"int4", "=", "int8", "bool", true}, {"int4", "=", "numeric", "bool", true}, {"int8", "<", "float8", "bool", true},
		{"numeric", "=", "float8", "bool", false}, {"json", "=", "json", "bool", false}, {"tsquery", "=", "tsquery", "bool", false},
		{"date", "<", "timestamptz", "bool", true}, {"enum:mood", "=", Adapts, "bool", true}, {"enum:mood", "=", "enum:other", "bool", false},
		{"json[]", "=", "json[]", "bool", false}, {"text[]", "=", Adapts, "bool", true}, {"text[]", "=", "int4[]", "bool", false},
		{"text", "=", Unknown, "bool", false}, {Unknown, "=", Unknown, "bool", false}, {Unknown, "=", Adapts, "bool", false},
		{"jsonb", "->", Adapts, "jsonb", true}, {"jsonb", "->>", "text", "text", true}, {"jsonb", "->>", "int2", "text", true},
		{"json", "->>", "text", "text", false}, {"jsonb", "#>>", Adapts, "text", true}, {"jsonb", "?", Adapts, "bool", true},
		{"jsonb", "@>", "jsonb", "bool", false}, {"jsonb", "@>", Adapts, "bool", false}, {"tsvector", "@@", "tsquery", "bool", false},
		{"text[]", "@>", Adapts, "bool", true}, {"text[]", "&&", "text[]", "bool", true}, {"json[]", "@>", "json[]", "bool", false},
		{"citext[]", "@>", "citext[]", "bool", false}, {"citext[]", "=", "citext[]", "bool", true}, {"text[]", "@>", "int4[]", Unknown, false},
		{"int4range", "@>", "int4", "bool", true}, {"int4range", "@>", "int8", Unknown, false}, {"int4", "<@", "int4multirange", "bool", true},
		{"int4", "+", "int8", "int8", false}, {"int4", "+", Adapts, "int4", false}, {"int4", "^", "int4", "float8", false}, {"numeric", "^", "int4", "numeric", false},
		{"timestamptz", "-", Adapts, "interval", false}, {"timestamptz", "-", "interval", "timestamptz", false}, {"date", "+", "int4", "date", false},
		{"int4", "&", "int8", "int8", true}, {"int8", "<<", Adapts, "int8", true}, {"varchar", "||", Adapts, "text", false},
		{"varchar", "~~", Adapts, "bool", true}, {"varchar", "~", Adapts, "bool", false}, {"int4", "~~", "text", Unknown, false},
		{Nothing, "-", "float8", "float8", true}, {Nothing, "-", "int4", "int4", false}, {Nothing, "+", Adapts, Unknown, false},
		{Adapts, "||", Adapts, Unknown, false},
	} {
		returns, total, allowed := Operator(PostgreSQL, c.name, c.left, c.right)
		if returns != c.returns || total != c.total || !allowed {
			t.Errorf("%s %s %s = %q, total %v, allowed %v; want %q, %v", c.left, c.name, c.right, returns, total, allowed, c.returns, c.total)
		}
	}
}

// What nobody judged is not total, and what nobody allowed is refused.
func TestUnknownIsNotTotal(t *testing.T) {
	for _, name := range []string{"@?", "@-@", "~=", "|/", "!!", "*<>", "!", "", "OPERATOR", "~<~"} {
		if _, total, allowed := Operator(PostgreSQL, name, "text", "text"); total || allowed {
			t.Errorf("the operator %q is allowed", name)
		}
	}
	for _, left := range []Type{"jsonb", Unknown, Adapts} {
		if _, _, allowed := Operator(PostgreSQL, "@@", left, Adapts); allowed {
			t.Errorf("@@ of %q is allowed", left)
		}
	}
	for _, name := range strings.Fields("-> ~ @@") {
		if _, _, allowed := Operator(PostgreSQL, name, Nothing, "jsonb"); allowed {
			t.Errorf("the prefix operator %q is allowed", name)
		}
	}
	for _, name := range strings.Fields("pg_sleep set_config current_setting lo_import dblink pg_notify nextval query_to_xml table_to_xml to_regclass" +
		" has_table_privilege pg_read_file row_to_json version pg_advisory_lock ts_stat txid_status setseed int4pl") {
		for _, e := range []Engine{PostgreSQL, SQLite} {
			if f, ok := Function(e, name, []Type{Adapts}); ok || f.Total {
				t.Errorf("%s is allowed", name)
			}
		}
	}
	for op := range signs[PostgreSQL] {
		for _, types := range [][2]Type{{Unknown, Unknown}, {Unknown, Adapts}, {Adapts, Unknown}, {Unknown, "text"}, {"int4", Unknown}, {"domain", "domain"}, {"enum:a", "enum:b"}} {
			if _, total, _ := Operator(PostgreSQL, string(op), types[0], types[1]); total {
				t.Errorf("%s %s %s is total", types[0], op, types[1])
			}
		}
	}
	for name, fn := range functions[PostgreSQL] {
		for n := range 4 {
			args := slices.Repeat([]Type{Unknown}, n)
			if f, _ := Function(PostgreSQL, name, args); f.Total && n > 0 && name != "count" {
				t.Errorf("%s of %d unknown types is total", name, n)
			}
			args = slices.Repeat([]Type{"text"}, 9)
			if f, _ := Function(PostgreSQL, name, args); f.Total && !slices.ContainsFunc(fn.signatures, func(s signature) bool { return s.variadic }) {
				t.Errorf("%s of nine arguments is total", name)
			}
		}
	}
	if Cast(Unknown, "text") || Cast("text", Unknown) || Cast(Adapts, "text") || Cast("domain", "domain") || Cast("text", "int4") {
		t.Error("a cast of what is not known is total")
	}
}

func TestFunction(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    string
		returns Type
		total   bool
	}{
		{"lower", "text", "text", true}, {"lower", "varchar", "text", true}, {"lower", "", "text", true}, {"lower", "int4range", "int4", true},
		{"ceil", "float8", "float8", true}, {"ceil", "numeric", "numeric", false}, {"ceil", "int4", "float8", true}, {"ceil", "", "?", false},
		{"length", "text", "int4", true}, {"length", "lseg", "?", false}, {"length", "bytea,text", "int4", false}, {"abs", "int4", "int4", false},
		{"now", "-", "timestamptz", true}, {"array_length", "text[],int4", "int4", true}, {"unnest", "text[]", "text", true}, {"unnest", "", "?", false},
		{"jsonb_extract_path", "jsonb,text,varchar,", "jsonb", true}, {"sum", "int4", "int8", true}, {"sum", "numeric", "numeric", false},
		{"max", "varchar", "text", true}, {"max", "enum:mood", "enum:mood", true}, {"enum_range", "enum:mood", "enum:mood[]", false},
		{"count", "?", "int8", true}, {"left", "text,int2", "text", true}, {"lag", "date", "date", true}, {"lag", "date,int4,date", "?", false},
		{"range_agg", "tsrange", "tsmultirange", false}, {"to_char", "?,?", "text", false},
	} {
		var args []Type
		for a := range strings.SplitSeq(c.args, ",") {
			args = append(args, Type(a))
		}
		if c.args == "-" {
			args = nil
		}
		f, ok := Function(PostgreSQL, c.name, args)
		if !ok || f.Returns != c.returns || f.Total != c.total {
			t.Errorf("%s(%s) = %+v, %v; want %s, %v", c.name, c.args, f, ok, c.returns, c.total)
		}
	}
	if f, _ := Function(PostgreSQL, "jsonb_each", []Type{"jsonb"}); f.Kind != SetReturning || strings.Join(f.Columns, " ") != "key value" {
		t.Errorf("jsonb_each is %+v", f)
	}
	if f, _ := Function(PostgreSQL, "rank", nil); f.Kind != Window || !f.Both {
		t.Errorf("rank is %+v", f)
	}
	if f, _ := Function(PostgreSQL, "txid_current", nil); !f.Volatile || f.Total {
		t.Errorf("txid_current is %+v", f)
	}
	if f, _ := Function(SQLite, "lower", []Type{Unknown}); !f.Total {
		t.Errorf("lower of SQLite is %+v", f)
	}
}

func TestCommon(t *testing.T) {
	for types, want := range map[string]struct {
		t     Type
		total bool
	}{
		"int2,int8,int4": {"int8", true}, "int4,numeric": {"numeric", true}, "int4,float8,int8": {"float8", true}, "numeric,float8": {"float8", false},
		"text,varchar": {"text", true}, "bpchar,text": {"bpchar", true}, "date,timestamptz": {"timestamptz", false}, "int4,text": {"?", false},
		",": {"", true}, ",int4": {"int4", true}, "?,int4": {"?", false}, "enum:a,enum:a,": {"enum:a", true}, "enum:a,enum:b": {"?", false},
		"jsonb,json": {"?", false}, "int4[],int4[]": {"int4[]", true},
	} {
		var list []Type
		for each := range strings.SplitSeq(types, ",") {
			list = append(list, Type(each))
		}
		if got, total := Common(list...); got != want.t || total != want.total {
			t.Errorf("Common(%s) = %q, %v; want %q, %v", types, got, total, want.t, want.total)
		}
	}
}

func TestDepth(t *testing.T) {
	for json, want := range map[string]int{
		`1`: 0, `[]`: 1, `{"a": [1, {"b": 2}]}`: 3, `"[[["`: 0, `["]]]", ["\"]]", []]]`: 3, `[[[`: 3, `]]][[`: 0, ``: 0,
	} {
		if got := Depth(json); got != want {
			t.Errorf("Depth(%s) = %d, want %d", json, got, want)
		}
	}
}

// Each type that a signature names is one of the catalogue's, and each function has facts of one kind.
func TestTables(t *testing.T) {
	valid := func(typ Type) bool {
		return known[typ] || polymorphic[typ] || isArray(typ) && known[Element(typ)] || typ == anyEnum+arraySuffix
	}
	for e, all := range functions {
		for name, fn := range all {
			for _, s := range fn.signatures {
				for _, a := range s.args {
					if a != anyType && !valid(a) {
						t.Errorf("%s takes %q", name, a)
					}
				}
				if s.returns != Unknown && !valid(s.returns) {
					t.Errorf("%s returns %q", name, s.returns)
				}
				if e == PostgreSQL && s.total && slices.Contains(s.args, anyType) && name != "count" {
					t.Errorf("%s is total for anything", name)
				}
			}
		}
	}
	for name, list := range operatorTable {
		if !signs[PostgreSQL][Type(name)] {
			t.Errorf("%s is in the table and not allowed", name)
		}
		for _, s := range list {
			if s.args[0] != Nothing && !valid(s.args[0]) || !valid(s.args[1]) || !valid(s.returns) {
				t.Errorf("%v %s", s, name)
			}
		}
	}
	for c := range implicit {
		if !known[c.from] || !known[c.to] {
			t.Errorf("conversion %v", c)
		}
	}
	for c := range casts {
		if !known[c.from] || !known[c.to] {
			t.Errorf("cast %v", c)
		}
	}
}

func TestRequires(t *testing.T) {
	for _, c := range []struct {
		left  Type
		name  string
		right Type
		want  Bound
	}{
		{"jsonb", "@>", "jsonb", Nesting}, {"jsonb", "<@", Adapts, Nesting}, {Adapts, "@>", "jsonb", Nesting}, {Adapts, "@>", Adapts, Unbounded},
		{"jsonb", "@>", Unknown, Unbounded}, {"jsonb", "?", "text", Unbounded}, {"tsvector", "@@", "tsquery", Length}, {"tsvector", "@@", Adapts, Length},
		{Adapts, "@@", "tsvector", Length}, {"text", "@@", "tsquery", Unbounded}, {"tsvector", "@@", "text", Unbounded}, {"tsquery", "@@", "tsquery", Unbounded},
	} {
		if got := Requires(c.name, c.left, c.right); got != c.want {
			t.Errorf("Requires(%s, %q, %q) = %v, want %v", c.name, c.left, c.right, got, c.want)
		}
	}
}
