package builtin

// OfCitext tells whether the extension citext has a function of this name of its own, in the schema that it was made in. It
// ignores case, which PostgreSQL's own of the name, on the argument's text, does not: citext 1.6, of PostgreSQL 13 to 17.
func OfCitext(name string) bool {
	return contains("min max regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table"+
		" strpos replace split_part translate", name)
}
