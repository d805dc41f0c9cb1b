package builtin

import "strings"

type Engine uint8

const (
	PostgreSQL Engine = iota + 1
	SQLite
)

type Type string

const (
	Adapts  Type = ""
	Unknown Type = "?"
	None    Type = "-"
)

type Kind uint8

const (
	Scalar Kind = iota + 1
	Aggregate
	Window
	Ordered
	SetReturning
)

type Facts struct {
	Kind     Kind
	Both     bool
	Returns  Type
	Total    bool
	Volatile bool
	Columns  []string
}

var canon = map[string]Type{
	"smallint": "int2", "integer": "int4", "bigint": "int8", "int2": "int2", "int4": "int4", "int8": "int8", "int": "int4",
	"text": "text", "character varying": "varchar", "varchar": "varchar", "character": "bpchar", "bpchar": "bpchar", "char": "bpchar",
	"boolean": "bool", "bool": "bool", "numeric": "numeric", "real": "float4", "double precision": "float8", "float4": "float4",
	"float8": "float8", "date": "date", "timestamp without time zone": "timestamp", "timestamp": "timestamp",
	"timestamp with time zone": "timestamptz", "timestamptz": "timestamptz", "time without time zone": "time", "time": "time",
	"uuid": "uuid", "jsonb": "jsonb", "json": "json", "bytea": "bytea", "interval": "interval", "tsvector": "tsvector", "tsquery": "tsquery",
	"citext": "citext",
}

func Canonical(name string) Type {
	name, array := strings.CutSuffix(strings.ToLower(name), "[]")
	if base, rest, modified := strings.Cut(name, "("); modified {
		_, after, _ := strings.Cut(rest, ")")
		name = strings.TrimSpace(base) + after
	}
	f := canon[name]
	if f == "" {
		if strings.HasPrefix(name, "enum:") {
			f = Type(name)
		} else {
			return Unknown
		}
	}
	if array {
		f += "[]"
	}
	return f
}

func fam(t Type) string {
	switch t {
	case "int2", "int4", "int8":
		return "int"
	case "text", "varchar", "bpchar":
		return "text"
	case "float4", "float8":
		return "float8"
	case "date", "timestamp", "timestamptz":
		return "dt"
	}
	return string(t)
}

func alike(a, b Type) bool {
	if a == Unknown || b == Unknown {
		return false
	}
	if a == Adapts || b == Adapts {
		return true
	}
	x, y := fam(a), fam(b)
	w := func(x, y string) bool { return x == "int" && (y == "numeric" || y == "float8") }
	return x == y || w(x, y) || w(y, x)
}

func has(list, w string) bool {
	for x := range strings.FieldsSeq(list) {
		if x == w {
			return true
		}
	}
	return false
}

func Operator(e Engine, name string, l, r Type) (Type, bool, bool) {
	if e == SQLite {
		switch {
		case has("= <> < > <= >= + - * / % & | << >>", name):
			return Unknown, true, true
		case has("|| -> ->>", name):
			return Unknown, false, true
		}
		return Unknown, false, false
	}
	o := l
	if o == Adapts {
		o = r
	}
	switch {
	case has("= <> < > <= >=", name):
		return "bool", alike(l, r), true
	case has("@> <@ && -|-", name):
		return "bool", alike(l, r) && (strings.HasSuffix(string(o), "[]") || o == "jsonb"), true
	case has("? ?| ?&", name):
		return "bool", l == "jsonb", true
	case name == "@@":
		return "bool", (l == "tsvector" || l == "tsquery") && (r == Adapts || r == "tsvector" || r == "tsquery"), true
	case has("->> #>>", name):
		return "text", l == "jsonb", true
	case has("-> #>", name):
		return l, l == "jsonb", true
	case has("~~ !~~ ~~* !~~*", name):
		return "bool", fam(o) == "text", true
	case has("~ ~* !~ !~*", name):
		return "bool", false, true
	case has("+ - * / % || & | # << >> ^", name):
		if has("+ -", name) && fam(l) == "dt" && r == "interval" {
			return l, false, true
		}
		if l == "date" && fam(r) == "int" && has("+ -", name) {
			return "date", false, true
		}
		if l == "interval" && name == "*" {
			return "interval", false, true
		}
		if has("+ - * / %", name) && (fam(l) == "int" || l == Adapts) && (fam(r) == "int" || r == Adapts) {
			t, _ := Common(l, r)
			return t, false, true
		}
		return Unknown, false, true
	}
	return Unknown, false, false
}

type set struct {
	e    string
	k    Kind
	both bool
	ret  Type
	tot  bool
	vol  bool
	ns   string
}

var sets = []set{
	{"p", Scalar, false, "text", true, false, "lower upper ltrim rtrim btrim left right reverse initcap md5 jsonb_typeof"},
	{"p", Scalar, false, "int4", true, false, "length char_length character_length octet_length bit_length ascii array_length cardinality"},
	{"p", Scalar, false, "timestamptz", true, false, "now transaction_timestamp statement_timestamp"},
	{"p", Scalar, false, "timestamptz", true, true, "clock_timestamp"},
	{"p", Scalar, false, "uuid", true, true, "gen_random_uuid"},
	{"p", Scalar, false, "tsvector", false, false, "to_tsvector setweight strip"},
	{"p", Scalar, false, "tsquery", false, false, "to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery tsquery_phrase"},
	{"p", Scalar, false, "text", false, false, "concat concat_ws translate"},
	{"p", Scalar, false, "int4", false, false, "strpos position"},
	{"p", Scalar, false, "bool", true, false, "starts_with isfinite"},
	{"p", Scalar, false, Unknown, false, true, "random"},
	{"p", Scalar, false, Unknown, false, false, "floor ceil ceiling sign abs round array_upper array_lower array_ndims json_typeof jsonb_extract_path jsonb_extract_path_text isempty lower_inc upper_inc lower_inf upper_inf"},
	{"p", Scalar, false, Unknown, false, false, "substr substring replace lpad rpad repeat split_part overlay chr format to_char" +
		" to_number to_date to_timestamp regexp_replace regexp_match regexp_count regexp_like string_to_array" +
		" array_to_string encode decode sha224 sha256 sha384 sha512 normalize to_hex regexp_substr regexp_instr unistr quote_literal"},
	{"p", Scalar, false, Unknown, false, false, "trunc mod power pow sqrt cbrt ln log log10 exp div gcd lcm factorial width_bucket" +
		" scale min_scale trim_scale pi degrees radians sin cos tan asin acos atan atan2"},
	{"p", Scalar, false, Unknown, false, false, "date_trunc date_part extract age make_date make_time make_timestamp" +
		" make_timestamptz make_interval justify_days justify_hours justify_interval timezone date_bin overlaps"},
	{"p", Scalar, false, Unknown, false, false, "array_append array_prepend array_cat array_remove array_replace array_position array_positions" +
		" trim_array array_fill num_nulls num_nonnulls int4range int8range numrange daterange tsrange tstzrange range_merge"},
	{"p", Scalar, false, Unknown, false, false, "jsonb_array_length json_array_length jsonb_build_object jsonb_build_array json_extract_path json_extract_path_text" +
		" json_build_object json_build_array jsonb_set jsonb_insert jsonb_set_lax to_jsonb to_json jsonb_strip_nulls" +
		" json_strip_nulls array_to_json jsonb_pretty jsonb_object json_object jsonb_path_exists jsonb_path_match jsonb_path_query_array" +
		" jsonb_path_query_first ts_rank ts_rank_cd ts_headline numnode querytree"},
	{"s", Scalar, false, Unknown, true, false, "lower upper length ltrim rtrim trim substr substring unicode char floor ceil ceiling sign date time datetime julianday strftime unixepoch ifnull iif typeof"},
	{"s", Scalar, false, Unknown, true, true, "random"},
	{"s", Scalar, false, Unknown, false, false, "instr replace hex quote abs round json json_extract json_array_length json_type json_array json_object json_valid json_set"},
	{"ps", Aggregate, false, Unknown, true, false, "min max avg sum string_agg"},
	{"ps", Aggregate, false, "int8", true, false, "count"},
	{"p", Aggregate, false, Unknown, false, false, "bool_and bool_or every array_agg json_agg jsonb_agg json_object_agg" +
		" jsonb_object_agg stddev stddev_pop stddev_samp variance var_pop var_samp bit_and bit_or any_value corr covar_pop covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2" +
		" regr_slope regr_sxx regr_sxy regr_syy bit_xor range_agg range_intersect_agg"},
	{"s", Aggregate, false, Unknown, false, false, "group_concat total json_group_array json_group_object"},
	{"ps", Window, false, Unknown, false, false, "row_number ntile lag lead first_value last_value nth_value"},
	{"p", Window, true, Unknown, false, false, "rank dense_rank percent_rank cume_dist"},
	{"s", Window, false, Unknown, false, false, "rank dense_rank percent_rank cume_dist"},
	{"p", Ordered, false, Unknown, false, false, "percentile_cont percentile_disc mode"},
}

var srf = map[string]string{
	"generate_series": "", "generate_subscripts": "", "unnest": "", "string_to_table": "", "regexp_split_to_table": "", "regexp_matches": "",
	"jsonb_array_elements": "value", "jsonb_array_elements_text": "value", "jsonb_each": "key value", "jsonb_each_text": "key value",
	"json_array_elements": "value", "json_array_elements_text": "value", "json_each": "key value", "json_each_text": "key value",
	"jsonb_object_keys": "", "json_object_keys": "", "jsonb_path_query": "",
}

func Function(e Engine, name string, args []Type) (Facts, bool) {
	c := map[Engine]string{PostgreSQL: "p", SQLite: "s"}[e]
	for _, s := range sets {
		if strings.Contains(s.e, c) && has(s.ns, name) {
			f := Facts{Kind: s.k, Both: s.both, Returns: s.ret, Total: s.tot, Volatile: s.vol}
			if name == "min" || name == "max" {
				if len(args) == 1 && args[0] != Adapts {
					f.Returns = args[0]
				}
			}
			if s.k == Scalar && len(args) > 1 && name != "ifnull" && name != "iif" {
				f.Total = false
			}
			if name == "length" && e == PostgreSQL && fam(first(args)) != "text" && first(args) != Adapts {
				f.Total = false
			}
			return f, true
		}
	}
	if cols, ok := srf[name]; ok && e == PostgreSQL {
		f := Facts{Kind: SetReturning, Returns: Unknown, Columns: strings.Fields(cols)}
		if name == "unnest" && len(args) == 1 {
			if t, ok := strings.CutSuffix(string(args[0]), "[]"); ok {
				f.Returns, f.Total = Type(t), true
			}
		}
		return f, true
	}
	return Facts{}, false
}

func first(a []Type) Type {
	if len(a) == 0 {
		return Unknown
	}
	return a[0]
}

func Cast(from, to Type) bool {
	if from == to && from != Unknown {
		return true
	}
	return fam(from) == "int" && (to == "int8" || to == "numeric" || to == "float8" || to == "text") && from != "int8" || from == "int8" && (to == "numeric" || to == "text") ||
		fam(from) == "text" && to == "text"
}

func Common(types ...Type) (Type, bool) {
	result := Adapts
	total := true
	for _, t := range types {
		switch {
		case !alike(result, t):
			return Unknown, false
		case result == Adapts:
			result = t
		case t != Adapts && t != result:
			if fam(t) == fam(result) {
				if fam(t) == "dt" || fam(t) == "text" && (t == "bpchar" || result == "bpchar") {
					return Unknown, false
				}
				if fam(t) == "text" {
					result = "text"
				} else if t > result {
					result = t
				}
			} else if fam(result) == "int" {
				result = t
			}
		}
	}
	return result, total
}

func Leakproof() []string { return nil }

func Names(e Engine) []string { return nil }
