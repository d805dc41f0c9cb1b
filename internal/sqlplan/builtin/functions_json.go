package builtin

// jsonFunctions are those of json and jsonb. What makes a jsonb nests as deep as its arguments do together, and fails where
// that is deeper than the stack; the text of a json may hold an escape that no text can hold.
const jsonFunctions = `
jsonb_typeof(jsonb) text total
json_typeof(json) text total
jsonb_extract_path(jsonb,text...) jsonb total
jsonb_extract_path_text(jsonb,text...) text total
json_extract_path(...) json
json_extract_path_text(...) text
jsonb_array_length(jsonb) int4
json_array_length(json) int4
jsonb_build_object(...) jsonb
jsonb_build_array(...) jsonb
json_build_object(...) json
json_build_array(...) json
jsonb_object(...) jsonb
json_object(...) json
jsonb_set(...) jsonb
jsonb_set_lax(...) jsonb
jsonb_insert(...) jsonb
to_jsonb(...) jsonb
to_json(...) json
array_to_json(...) json
jsonb_strip_nulls(...) jsonb
json_strip_nulls(...) json
jsonb_pretty(...) text
jsonb_path_exists(...) bool
jsonb_path_match(...) bool
jsonb_path_query_array(...) jsonb
jsonb_path_query_first(...) jsonb
jsonb_path_exists_tz(...) bool
jsonb_path_match_tz(...) bool
jsonb_path_query_array_tz(...) jsonb
jsonb_path_query_first_tz(...) jsonb
`
