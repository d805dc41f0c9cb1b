package builtin

// otherFunctions are those of full text search, networks, UUIDs and transactions. The number of the current transaction
// tells how many there were in all, whoever's.
const otherFunctions = `
gen_random_uuid() uuid total volatile
uuid_extract_timestamp(uuid) timestamptz
uuid_extract_version(uuid) int2
to_tsvector(...) tsvector
array_to_tsvector(...) tsvector
to_tsquery(...) tsquery
plainto_tsquery(...) tsquery
phraseto_tsquery(...) tsquery
websearch_to_tsquery(...) tsquery
tsquery_phrase(...) tsquery
ts_rank(...) float4
ts_rank_cd(...) float4
ts_headline(json,...) json
ts_headline(jsonb,...) jsonb
ts_headline(text,...) text
ts_headline(any,json,...) json
ts_headline(any,jsonb,...) jsonb
ts_headline(any,text,...) text
ts_delete(...) tsvector
ts_filter(...) tsvector
setweight(...) tsvector
tsvector_to_array(tsvector) text[]
numnode(tsquery) int4 total
querytree(...) text
strip(tsvector) tsvector total
host(inet) text total
family(inet) int4 total
masklen(inet) int4 total
netmask(inet) inet total
hostmask(inet) inet total
network(inet) cidr total
broadcast(inet) inet total
inet_same_family(inet,inet) bool total
abbrev(inet) text total
abbrev(cidr) text total
inet_merge(...) cidr
set_masklen(inet,int4) inet
set_masklen(cidr,int4) cidr
macaddr8_set7bit(macaddr8) macaddr8
txid_current() int8 volatile
txid_current_if_assigned() int8 volatile
pg_current_xact_id() ? volatile
pg_current_xact_id_if_assigned() ? volatile
`
