package builtin

// arrayFunctions are those of arrays, ranges and enumerations.
const arrayFunctions = `
array_length(anyarray,int4) int4 total
array_upper(anyarray,int4) int4 total
array_lower(anyarray,int4) int4 total
array_ndims(anyarray) int4 total
array_dims(anyarray) text total
cardinality(anyarray) int4 total
array_append(anyarray,anyelement) anyarray
array_append(...) ?
array_prepend(anyelement,anyarray) anyarray
array_prepend(...) ?
array_cat(anyarray,anyarray) anyarray
array_cat(...) ?
array_remove(anyarray,anyelement) anyarray
array_remove(...) ?
array_replace(anyarray,anyelement,anyelement) anyarray
array_replace(...) ?
array_position(...) int4
array_positions(...) int4[]
array_fill(...) ?
array_sample(...) ? volatile
array_shuffle(...) ? volatile
trim_array(anyarray,int4) anyarray
num_nulls(...) int4
num_nonnulls(...) int4
lower(anyrange) anyelement total
upper(anyrange) anyelement total
isempty(anyrange) bool total
lower_inc(anyrange) bool total
upper_inc(anyrange) bool total
lower_inf(anyrange) bool total
upper_inf(anyrange) bool total
lower(anymultirange) anyelement total
upper(anymultirange) anyelement total
isempty(anymultirange) bool total
lower_inc(anymultirange) bool total
upper_inc(anymultirange) bool total
lower_inf(anymultirange) bool total
upper_inf(anymultirange) bool total
range_merge(anyrange,anyrange) anyrange
range_merge(anymultirange) anyrange
int4range(...) int4range
int8range(...) int8range
numrange(...) numrange
daterange(...) daterange
tsrange(...) tsrange
tstzrange(...) tstzrange
multirange(anyrange) anymultirange
int4multirange(...) int4multirange
int8multirange(...) int8multirange
nummultirange(...) nummultirange
datemultirange(...) datemultirange
tsmultirange(...) tsmultirange
tstzmultirange(...) tstzmultirange
enum_first(anyenum) anyenum
enum_last(anyenum) anyenum
enum_range(anyenum) anyenum[]
enum_range(anyenum,anyenum) anyenum[]
`
