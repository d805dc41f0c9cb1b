package sqlplan

import (
	"slices"
	"strings"
)

// builtin is a set of built-in functions that statements may call. They read no table, no setting and no file, have
// no effect, and are no way to run text as SQL.
type builtin struct {
	engines string // p PostgreSQL, s SQLite
	// raises tells that some argument makes the function fail, so that it must not see a row before the tenant
	// predicate has; see the package documentation on errors as an oracle.
	raises bool
	// aggregates take DISTINCT, ORDER BY, FILTER and OVER; window functions need OVER; ordered ones WITHIN GROUP.
	aggregate, window, ordered bool
	names                      string
}

var builtins = []builtin{
	// Text. Those that are not total raise, such as for a negative length or a text over 1 GB.
	{engines: "ps", names: "lower upper length ltrim rtrim"},
	{engines: "p", names: "btrim char_length character_length octet_length bit_length left right reverse" +
		" starts_with initcap md5 ascii"},
	{engines: "p", raises: true, names: "strpos position substr substring replace translate concat concat_ws lpad rpad repeat split_part overlay chr format to_char" +
		" to_number to_date to_timestamp regexp_replace regexp_match regexp_count regexp_like string_to_array" +
		" array_to_string encode decode sha224 sha256 sha384 sha512 normalize to_hex regexp_substr regexp_instr unistr quote_literal"},
	{engines: "s", names: "trim substr substring instr unicode char"},
	{engines: "s", raises: true, names: "replace hex quote"}, // over SQLite's limit of a value's length
	// Numbers.
	{engines: "ps", raises: true, names: "abs round"},
	{engines: "ps", names: "floor ceil ceiling sign random"},
	{engines: "p", raises: true, names: "trunc mod power pow sqrt cbrt ln log log10 exp div gcd lcm factorial width_bucket" +
		" scale min_scale trim_scale pi degrees radians sin cos tan asin acos atan atan2"},
	// Times.
	{engines: "p", names: "now transaction_timestamp statement_timestamp clock_timestamp isfinite"},
	{engines: "p", raises: true, names: "date_trunc date_part extract age make_date make_time make_timestamp" +
		" make_timestamptz make_interval justify_days justify_hours justify_interval timezone date_bin overlaps"},
	{engines: "s", names: "date time datetime julianday strftime unixepoch"},
	// Identifiers, arrays.
	{engines: "p", names: "gen_random_uuid array_length cardinality array_upper array_lower array_ndims"},
	{engines: "p", raises: true, names: "array_append array_prepend array_cat array_remove array_replace array_position array_positions" +
		" trim_array array_fill num_nulls num_nonnulls"},
	// Ranges; lower and upper are above.
	{engines: "p", names: "isempty lower_inc upper_inc lower_inf upper_inf"},
	{engines: "p", raises: true, names: "int4range int8range numrange daterange tsrange tstzrange range_merge"},
	// JSON.
	{engines: "p", names: "jsonb_typeof json_typeof jsonb_extract_path jsonb_extract_path_text"},
	{engines: "p", raises: true, names: "jsonb_array_length json_array_length jsonb_build_object jsonb_build_array json_extract_path json_extract_path_text" +
		" json_build_object json_build_array jsonb_set jsonb_insert jsonb_set_lax to_jsonb to_json jsonb_strip_nulls" +
		" json_strip_nulls array_to_json jsonb_pretty jsonb_object json_object jsonb_path_exists jsonb_path_match jsonb_path_query_array" +
		" jsonb_path_query_first"},
	{engines: "s", raises: true, names: "json json_extract json_array_length json_type json_array json_object json_valid json_set"},
	// Full text.
	{engines: "p", raises: true, names: "to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery" +
		" ts_rank ts_rank_cd ts_headline setweight numnode querytree strip tsquery_phrase"},
	{engines: "s", names: "ifnull iif typeof"},
	// Aggregates and window functions see selected rows only.
	{engines: "ps", aggregate: true, names: "count min max avg sum string_agg"},
	{engines: "p", aggregate: true, names: "bool_and bool_or every array_agg json_agg jsonb_agg json_object_agg" +
		" jsonb_object_agg stddev stddev_pop stddev_samp variance var_pop var_samp bit_and bit_or any_value"},
	{engines: "s", aggregate: true, names: "group_concat total json_group_array json_group_object"},
	{engines: "p", aggregate: true, names: "corr covar_pop covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2" +
		" regr_slope regr_sxx regr_sxy regr_syy bit_xor range_agg range_intersect_agg"},
	{engines: "ps", window: true, names: "row_number ntile lag lead first_value last_value nth_value"},
	{engines: "p", window: true, ordered: true, names: "rank dense_rank percent_rank cume_dist"},
	{engines: "s", window: true, names: "rank dense_rank percent_rank cume_dist"},
	{engines: "p", ordered: true, names: "percentile_cont percentile_disc mode"},
}

// relationFunctions may stand in FROM, with the columns that they have there. Where the list is empty, it is one column,
// named like the function or its alias.
var relationFunctions = map[string]string{
	"generate_series": "", "generate_subscripts": "", "unnest": "", "string_to_table": "", "regexp_split_to_table": "", "regexp_matches": "",
	"jsonb_array_elements": "value", "jsonb_array_elements_text": "value", "jsonb_each": "key value", "jsonb_each_text": "key value",
	"json_array_elements": "value", "json_array_elements_text": "value", "json_each": "key value", "json_each_text": "key value",
	"jsonb_object_keys": "", "json_object_keys": "", "jsonb_path_query": "",
}

// findBuiltin returns the set that a function belongs to on an engine.
func findBuiltin(name string, lite bool) (builtin, bool) {
	engine := "p"
	if lite {
		engine = "s"
	}
	i := slices.IndexFunc(builtins, func(b builtin) bool {
		return strings.Contains(b.engines, engine) && contains(b.names, name)
	})
	if i < 0 {
		return builtin{}, false
	}
	return builtins[i], true
}

// operator is a binary or prefix operator that statements may use.
type operator struct {
	names   string
	engines string
	raises  bool
}

var operators = []operator{
	{names: "= <> < > <= >=", engines: "ps"},
	{names: "+ - * / %", engines: "p", raises: true}, // overflow, division by zero
	{names: "+ - * / %", engines: "s"},               // SQLite yields a float or NULL
	{names: "||", engines: "ps", raises: true},       // values too long; arrays and JSON of shapes that do not fit
	{names: "-> ->> #> #>>", engines: "p"},
	{names: "@> <@ ? ?| ?& && -|-", engines: "p", raises: true}, // they take longer the more of their operands is alike
	{names: "-> ->>", engines: "s", raises: true},               // malformed JSON
	{names: "~ ~* !~ !~* @@ & | # << >>", engines: "p", raises: true},
	{names: "& | << >>", engines: "s"},
}

func findOperator(name string, lite bool) (operator, bool) {
	engine := "p"
	if lite {
		engine = "s"
	}
	i := slices.IndexFunc(operators, func(o operator) bool {
		return strings.Contains(o.engines, engine) && contains(o.names, name)
	})
	if i < 0 {
		return operator{}, false
	}
	return operators[i], true
}

// types are the types that a cast may name, by the name in pg_catalog. Their input functions read no catalog, which
// those of regclass and its like do.
const types = "bool int2 int4 int8 float4 float8 numeric text varchar bpchar date time timetz timestamp timestamptz" +
	" interval uuid json jsonb bytea jsonpath inet cidr macaddr macaddr8 bit varbit tsvector tsquery" +
	" int4range int8range numrange daterange tsrange tstzrange"
