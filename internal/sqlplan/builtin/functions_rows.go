package builtin

// aggregateFunctions are aggregates and window functions. Sums of integers are wider than what they sum.
const aggregateFunctions = `
count() int8 total aggregate
count(any) int8 total
min(int2) int2 total aggregate
min(int4) int4 total
min(int8) int8 total
min(numeric) numeric total
min(float4) float4 total
min(float8) float8 total
min(text) text total
min(bpchar) bpchar total
min(date) date total
min(time) time total
min(timetz) timetz total
min(timestamp) timestamp total
min(timestamptz) timestamptz total
min(interval) interval total
min(inet) inet total
min(anyenum) anyenum total
min(anyarray) anyarray
max(int2) int2 total aggregate
max(int4) int4 total
max(int8) int8 total
max(numeric) numeric total
max(float4) float4 total
max(float8) float8 total
max(text) text total
max(bpchar) bpchar total
max(date) date total
max(time) time total
max(timetz) timetz total
max(timestamp) timestamp total
max(timestamptz) timestamptz total
max(interval) interval total
max(inet) inet total
max(anyenum) anyenum total
max(anyarray) anyarray
sum(int2) int8 total aggregate
sum(int4) int8 total
sum(int8) numeric total
sum(numeric) numeric
sum(float4) float4
sum(float8) float8
sum(interval) interval
avg(int2) numeric total aggregate
avg(int4) numeric total
avg(int8) numeric total
avg(numeric) numeric
avg(float4) float8
avg(float8) float8
avg(interval) interval
bool_and(bool) bool total aggregate
bool_or(bool) bool total aggregate
every(bool) bool total aggregate
bit_and(int2) int2 total aggregate
bit_and(int4) int4 total
bit_and(int8) int8 total
bit_and(bit) bit
bit_or(int2) int2 total aggregate
bit_or(int4) int4 total
bit_or(int8) int8 total
bit_or(bit) bit
bit_xor(int2) int2 total aggregate
bit_xor(int4) int4 total
bit_xor(int8) int8 total
bit_xor(bit) bit
any_value(anyelement) anyelement aggregate
string_agg(text,text) text aggregate
string_agg(bytea,bytea) bytea
array_agg(...) ? aggregate
json_agg(...) json aggregate
jsonb_agg(...) jsonb aggregate
json_agg_strict(...) json aggregate
jsonb_agg_strict(...) jsonb aggregate
json_object_agg(...) json aggregate
jsonb_object_agg(...) jsonb aggregate
json_object_agg_strict(...) json aggregate
jsonb_object_agg_strict(...) jsonb aggregate
json_object_agg_unique(...) json aggregate
jsonb_object_agg_unique(...) jsonb aggregate
json_object_agg_unique_strict(...) json aggregate
jsonb_object_agg_unique_strict(...) jsonb aggregate
stddev(int2) numeric aggregate
stddev(int4) numeric
stddev(int8) numeric
stddev(numeric) numeric
stddev(float4) float8
stddev(float8) float8
stddev_pop(int2) numeric aggregate
stddev_pop(int4) numeric
stddev_pop(int8) numeric
stddev_pop(numeric) numeric
stddev_pop(float4) float8
stddev_pop(float8) float8
stddev_samp(int2) numeric aggregate
stddev_samp(int4) numeric
stddev_samp(int8) numeric
stddev_samp(numeric) numeric
stddev_samp(float4) float8
stddev_samp(float8) float8
variance(int2) numeric aggregate
variance(int4) numeric
variance(int8) numeric
variance(numeric) numeric
variance(float4) float8
variance(float8) float8
var_pop(int2) numeric aggregate
var_pop(int4) numeric
var_pop(int8) numeric
var_pop(numeric) numeric
var_pop(float4) float8
var_pop(float8) float8
var_samp(int2) numeric aggregate
var_samp(int4) numeric
var_samp(int8) numeric
var_samp(numeric) numeric
var_samp(float4) float8
var_samp(float8) float8
corr(...) float8 aggregate
covar_pop(...) float8 aggregate
covar_samp(...) float8 aggregate
regr_avgx(...) float8 aggregate
regr_avgy(...) float8 aggregate
regr_count(...) int8 aggregate
regr_intercept(...) float8 aggregate
regr_r2(...) float8 aggregate
regr_slope(...) float8 aggregate
regr_sxx(...) float8 aggregate
regr_sxy(...) float8 aggregate
regr_syy(...) float8 aggregate
range_agg(anyrange) anymultirange aggregate
range_agg(anymultirange) anymultirange
range_intersect_agg(anyrange) anyrange aggregate
range_intersect_agg(anymultirange) anymultirange
percentile_cont(...) ? ordered
percentile_disc(...) ? ordered
mode(...) ? ordered
row_number() int8 total window
ntile(int4) int4 window
lag(anyelement) anyelement total window
lag(anyelement,int4) anyelement total
lag(...) ?
lead(anyelement) anyelement total window
lead(anyelement,int4) anyelement total
lead(...) ?
first_value(anyelement) anyelement total window
last_value(anyelement) anyelement total window
nth_value(anyelement,int4) anyelement window
rank() int8 total window both
rank(...) int8
dense_rank() int8 total window both
dense_rank(...) int8
percent_rank() float8 total window both
percent_rank(...) float8
cume_dist() float8 total window both
cume_dist(...) float8
`

// setFunctions return rows. Those of JSON fail for what is not of the right shape.
const setFunctions = `
generate_series(int4,int4) int4 set
generate_series(int4,int4,int4) int4
generate_series(int8,int8) int8
generate_series(int8,int8,int8) int8
generate_series(numeric,numeric) numeric
generate_series(numeric,numeric,numeric) numeric
generate_series(timestamp,timestamp,interval) timestamp
generate_series(timestamptz,timestamptz,interval) timestamptz
generate_series(timestamptz,timestamptz,interval,text) timestamptz
generate_subscripts(...) int4 set
unnest(anyarray) anyelement total set
unnest(anymultirange) anyrange
unnest(...) ?
string_to_table(...) text set
regexp_split_to_table(...) text set
regexp_matches(...) text[] set
jsonb_array_elements(jsonb) jsonb set columns:value
jsonb_array_elements_text(jsonb) text set columns:value
json_array_elements(json) json set columns:value
json_array_elements_text(json) text set columns:value
jsonb_each(jsonb) ? set columns:key,value
jsonb_each_text(jsonb) ? set columns:key,value
json_each(json) ? set columns:key,value
json_each_text(json) ? set columns:key,value
jsonb_object_keys(jsonb) text set
json_object_keys(json) text set
jsonb_path_query(...) jsonb set
jsonb_path_query_tz(...) jsonb set
json_to_record(json) ? set definition
json_to_recordset(json) ? set definition
jsonb_to_record(jsonb) ? set definition
jsonb_to_recordset(jsonb) ? set definition
`
