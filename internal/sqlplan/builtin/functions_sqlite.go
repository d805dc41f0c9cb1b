package builtin

// sqliteFunctions are SQLite's, which convert their arguments and know no types. Those that are not total fail for values
// over SQLite's limit of a length, for integers that overflow, or for malformed JSON. Names that have a total form for some
// number of arguments list that alone as total.
const sqliteFunctions = `
lower(any) ? total
upper(any) ? total
length(any) ? total
trim(any) ? total
trim(any,any) ?
ltrim(any) ? total
ltrim(any,any) ?
rtrim(any) ? total
rtrim(any,any) ?
substr(any,any) ?
substr(any,any,any) ?
substring(any,any) ?
substring(any,any,any) ?
instr(any,any) ?
unicode(any) ? total
char(...) ?
replace(...) ?
hex(...) ?
quote(...) ?
abs(any) ?
round(any) ?
round(any,any) ?
floor(any) ? total
ceil(any) ? total
ceiling(any) ? total
sign(any) ? total
random() ? total volatile
date(any) ? total
date(...) ?
time(any) ? total
time(...) ?
datetime(any) ? total
datetime(...) ?
julianday(any) ? total
julianday(...) ?
strftime(...) ?
unixepoch(any) ? total
unixepoch(...) ?
json(...) ?
json_extract(...) ?
json_array_length(...) ?
json_type(...) ?
json_array(...) ?
json_object(...) ?
json_valid(...) ?
json_set(...) ?
ifnull(any,any) ? total
iif(any,any,any) ? total
typeof(any) ? total
count() ? total aggregate
count(any) ? total
min(any) ? total aggregate
max(any) ? total aggregate
avg(any) ? total aggregate
sum(any) ? aggregate
total(any) ? total aggregate
string_agg(...) ? aggregate
group_concat(...) ? aggregate
json_group_array(...) ? aggregate
json_group_object(...) ? aggregate
row_number() ? total window
ntile(any) ? window
lag(...) ? window
lead(...) ? window
first_value(any) ? total window
last_value(any) ? total window
nth_value(any,any) ? window
rank() ? total window
dense_rank() ? total window
percent_rank() ? total window
cume_dist() ? total window
`
