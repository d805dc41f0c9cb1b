package builtin

// textFunctions are those of texts, bytea and bit strings. None that may make its result longer than its arguments together
// is total. What searches a text or replaces in it takes longer the more of it is alike.
const textFunctions = `
lower(text) text total
upper(text) text total
initcap(text) text total
length(text) int4 total
length(bpchar) int4 total
length(bytea) int4 total
length(tsvector) int4 total
length(bit) int4 total
length(any,any) int4
char_length(text) int4 total
char_length(bpchar) int4 total
character_length(text) int4 total
character_length(bpchar) int4 total
octet_length(text) int4 total
octet_length(bpchar) int4 total
octet_length(bytea) int4 total
octet_length(bit) int4 total
bit_length(...) int4
bit_count(bytea) int8 total
bit_count(bit) int8 total
ltrim(text) text total
ltrim(text,text) text
ltrim(bytea,bytea) bytea
rtrim(text) text total
rtrim(text,text) text
rtrim(bytea,bytea) bytea
btrim(text) text total
btrim(text,text) text
btrim(bytea,bytea) bytea
left(text,int4) text total
right(text,int4) text total
reverse(text) text total
starts_with(text,text) bool total
md5(...) text
hashtext(text) int4
hashtextextended(text,int8) int8
ascii(text) int4 total
chr(...) text
strpos(...) int4
position(...) int4
substr(text,int4) text total
substr(text,int4,int4) text
substr(bytea,int4) bytea
substr(bytea,int4,int4) bytea
substring(text,int4) text total
substring(text,int4,int4) text
substring(text,text) text
substring(text,text,text) text
substring(bytea,int4) bytea
substring(bytea,int4,int4) bytea
substring(bit,int4) bit
substring(bit,int4,int4) bit
replace(...) text
translate(...) text
concat(...) text
concat_ws(...) text
lpad(...) text
rpad(...) text
repeat(...) text
split_part(...) text
overlay(text,text,int4) text
overlay(text,text,int4,int4) text
overlay(bytea,bytea,int4) bytea
overlay(bytea,bytea,int4,int4) bytea
format(...) text
to_char(...) text
to_ascii(...) text
normalize(...) text
is_normalized(...) bool
unicode_assigned(...) bool
unistr(...) text
quote_literal(...) text
quote_nullable(...) text
quote_ident(...) text
parse_ident(...) text[]
regexp_replace(...) text
regexp_match(...) text[]
regexp_count(...) int4
regexp_like(...) bool
regexp_substr(...) text
regexp_instr(...) int4
regexp_split_to_array(...) text[]
string_to_array(...) text[]
array_to_string(...) text
encode(...) text
decode(...) bytea
convert_from(...) text
convert_to(...) bytea
sha224(bytea) bytea total
sha256(bytea) bytea total
sha384(bytea) bytea total
sha512(bytea) bytea total
get_bit(...) int4
get_byte(...) int4
set_bit(...) ?
set_byte(...) bytea
to_hex(...) text
to_bin(...) text
to_oct(...) text
`
