package builtin

import "strings"

// Leakproof are the functions, as qualified signatures, that a superuser may mark LEAKPROOF, which PostgreSQL itself has not
// done: what indexes evaluate for an operator that is total. They tell of their operands nothing but what they return,
// whatever these are.
func Leakproof() []string { return qualified(leakproof) }

// KeptOut are functions that indexes evaluate too, and that statements may use as if they failed for no value, but which
// tell whoever runs SQL past the planner more than they return.
func KeptOut() []Kept {
	return []Kept{
		{list: "elements", Functions: qualified(ofElements),
			Why: "fails where comparing what is in an array or range does, which may be of any type"},
		{list: "deep", Functions: qualified(deep),
			Why: "fails where its operands are nested deeper than the stack, once others match"},
	}
}

// Kept are functions that are not leakproof for the same reason.
type Kept struct {
	Functions []string
	Why       string
	list      string
}

func qualified(list string) []string {
	var all []string
	for line := range strings.SplitSeq(strings.TrimSpace(list), "\n") {
		all = append(all, "pg_catalog."+line)
	}
	return all
}

// leakproof functions compare with a conversion that cannot fail, or look for what is there. LIKE and starts_with are not among
// them: no index evaluates them, and a malformed pattern fails once it matches so far.
const leakproof = `
date_eq_timestamp(date, timestamp without time zone)
date_eq_timestamptz(date, timestamp with time zone)
date_ge_timestamp(date, timestamp without time zone)
date_ge_timestamptz(date, timestamp with time zone)
date_gt_timestamp(date, timestamp without time zone)
date_gt_timestamptz(date, timestamp with time zone)
date_le_timestamp(date, timestamp without time zone)
date_le_timestamptz(date, timestamp with time zone)
date_lt_timestamp(date, timestamp without time zone)
date_lt_timestamptz(date, timestamp with time zone)
enum_eq(anyenum, anyenum)
enum_ge(anyenum, anyenum)
enum_gt(anyenum, anyenum)
enum_le(anyenum, anyenum)
enum_lt(anyenum, anyenum)
jsonb_eq(jsonb, jsonb)
jsonb_exists(jsonb, text)
jsonb_exists_all(jsonb, text[])
jsonb_exists_any(jsonb, text[])
jsonb_ge(jsonb, jsonb)
jsonb_gt(jsonb, jsonb)
jsonb_le(jsonb, jsonb)
jsonb_lt(jsonb, jsonb)
network_overlap(inet, inet)
network_sub(inet, inet)
network_subeq(inet, inet)
network_sup(inet, inet)
network_supeq(inet, inet)
numeric_eq(numeric, numeric)
numeric_ge(numeric, numeric)
numeric_gt(numeric, numeric)
numeric_le(numeric, numeric)
numeric_lt(numeric, numeric)
timestamp_eq_date(timestamp without time zone, date)
timestamp_eq_timestamptz(timestamp without time zone, timestamp with time zone)
timestamp_ge_date(timestamp without time zone, date)
timestamp_ge_timestamptz(timestamp without time zone, timestamp with time zone)
timestamp_gt_date(timestamp without time zone, date)
timestamp_gt_timestamptz(timestamp without time zone, timestamp with time zone)
timestamp_le_date(timestamp without time zone, date)
timestamp_le_timestamptz(timestamp without time zone, timestamp with time zone)
timestamp_lt_date(timestamp without time zone, date)
timestamp_lt_timestamptz(timestamp without time zone, timestamp with time zone)
timestamptz_eq_date(timestamp with time zone, date)
timestamptz_eq_timestamp(timestamp with time zone, timestamp without time zone)
timestamptz_ge_date(timestamp with time zone, date)
timestamptz_ge_timestamp(timestamp with time zone, timestamp without time zone)
timestamptz_gt_date(timestamp with time zone, date)
timestamptz_gt_timestamp(timestamp with time zone, timestamp without time zone)
timestamptz_le_date(timestamp with time zone, date)
timestamptz_le_timestamp(timestamp with time zone, timestamp without time zone)
timestamptz_lt_date(timestamp with time zone, date)
timestamptz_lt_timestamp(timestamp with time zone, timestamp without time zone)
tsvector_eq(tsvector, tsvector)
tsvector_ge(tsvector, tsvector)
tsvector_gt(tsvector, tsvector)
tsvector_le(tsvector, tsvector)
tsvector_lt(tsvector, tsvector)
`

// ofElements are functions that call the comparison of another type. That of json[] is missing, and that of tsquery[] recurses.
const ofElements = `
array_eq(anyarray, anyarray)
array_ge(anyarray, anyarray)
array_gt(anyarray, anyarray)
array_le(anyarray, anyarray)
array_lt(anyarray, anyarray)
arraycontained(anyarray, anyarray)
arraycontains(anyarray, anyarray)
arrayoverlap(anyarray, anyarray)
multirange_adjacent_multirange(anymultirange, anymultirange)
multirange_adjacent_range(anymultirange, anyrange)
multirange_after_multirange(anymultirange, anymultirange)
multirange_after_range(anymultirange, anyrange)
multirange_before_multirange(anymultirange, anymultirange)
multirange_before_range(anymultirange, anyrange)
multirange_contained_by_multirange(anymultirange, anymultirange)
multirange_contained_by_range(anymultirange, anyrange)
multirange_contains_elem(anymultirange, anyelement)
multirange_contains_multirange(anymultirange, anymultirange)
multirange_contains_range(anymultirange, anyrange)
multirange_eq(anymultirange, anymultirange)
multirange_ge(anymultirange, anymultirange)
multirange_gt(anymultirange, anymultirange)
multirange_le(anymultirange, anymultirange)
multirange_lt(anymultirange, anymultirange)
multirange_overlaps_multirange(anymultirange, anymultirange)
multirange_overlaps_range(anymultirange, anyrange)
multirange_overleft_multirange(anymultirange, anymultirange)
multirange_overleft_range(anymultirange, anyrange)
multirange_overright_multirange(anymultirange, anymultirange)
multirange_overright_range(anymultirange, anyrange)
range_adjacent(anyrange, anyrange)
range_adjacent_multirange(anyrange, anymultirange)
range_after(anyrange, anyrange)
range_after_multirange(anyrange, anymultirange)
range_before(anyrange, anyrange)
range_before_multirange(anyrange, anymultirange)
range_contained_by(anyrange, anyrange)
range_contained_by_multirange(anyrange, anymultirange)
range_contains(anyrange, anyrange)
range_contains_elem(anyrange, anyelement)
range_contains_multirange(anyrange, anymultirange)
range_eq(anyrange, anyrange)
range_ge(anyrange, anyrange)
range_gt(anyrange, anyrange)
range_le(anyrange, anyrange)
range_lt(anyrange, anyrange)
range_overlaps(anyrange, anyrange)
range_overlaps_multirange(anyrange, anymultirange)
range_overleft(anyrange, anyrange)
range_overleft_multirange(anyrange, anymultirange)
range_overright(anyrange, anyrange)
range_overright_multirange(anyrange, anymultirange)
`

// deep functions recurse: containment into both operands, and search into a query, as far as the words that match so far decide.
const deep = `
jsonb_contains(jsonb, jsonb)
ts_match_vq(tsvector, tsquery)
`
