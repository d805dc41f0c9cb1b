package builtin

// timeFunctions are those of dates and times. What takes the name of a field or a zone fails for an unknown one.
const timeFunctions = `
now() timestamptz total
transaction_timestamp() timestamptz total
statement_timestamp() timestamptz total
clock_timestamp() timestamptz total volatile
timeofday() text volatile
isfinite(date) bool total
isfinite(timestamp) bool total
isfinite(timestamptz) bool total
isfinite(interval) bool total
date_trunc(text,timestamptz) timestamptz
date_trunc(text,timestamptz,text) timestamptz
date_trunc(text,timestamp) timestamp
date_trunc(text,interval) interval
date_part(...) float8
extract(...) numeric
date(timestamptz) date
date(timestamp) date
age(timestamptz) interval
age(timestamp) interval
age(timestamptz,timestamptz) interval
age(timestamp,timestamp) interval
make_date(...) date
make_time(...) time
make_timestamp(...) timestamp
make_timestamptz(...) timestamptz
make_interval(...) interval
justify_days(...) interval
justify_hours(...) interval
justify_interval(...) interval
timezone(text,timestamptz) timestamp
timezone(text,timestamp) timestamptz
timezone(text,timetz) timetz
timezone(interval,timestamptz) timestamp
timezone(interval,timestamp) timestamptz
timezone(interval,timetz) timetz
timezone(timestamptz) timestamp
timezone(timestamp) timestamptz
timezone(timetz) timetz
date_bin(interval,timestamptz,timestamptz) timestamptz
date_bin(interval,timestamp,timestamp) timestamp
date_add(...) timestamptz
date_subtract(...) timestamptz
overlaps(...) bool
to_timestamp(...) timestamptz
to_date(...) date
to_number(...) numeric
`
