package sqldb

import (
	"errors"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	errRaised   = errors.New("sqldb: a trigger of the database refused the statement (its words are withheld, as they can hold values)")
	errComputed = errors.New("sqldb: SQLite could not compute a value of the statement (its words are withheld, as they can hold values); see that JSON paths begin with $, and what else functions are given")
)

// withoutValues withholds what a trigger raised, for RAISE takes any expression for its text, and what a function said while a statement ran, such
// as json_extract of a path that is none, which repeats it: a parameter, or what a row has in a column. What SQLite says of constraints, and before a
// statement runs, is of names.
func withoutValues(err error) error {
	var said *sqlite.Error
	if !errors.As(err, &said) || errors.As(err, new(*unsentError)) {
		return err
	}
	switch code := said.Code(); {
	case code == sqlite3.SQLITE_CONSTRAINT_TRIGGER:
		return errRaised
	case code == sqlite3.SQLITE_CONSTRAINT_FUNCTION, code&0xff == sqlite3.SQLITE_ERROR && !isFixed(said.Error()):
		return errComputed
	}
	return err
}

// isFixed tells words of SQLite's functions that are always the same.
func isFixed(text string) bool {
	for _, words := range []string{
		"malformed JSON", "integer overflow", "LIKE or GLOB pattern too complex", "JSON cannot hold BLOB values", "json_object() labels must be TEXT",
		"argument of ntile must be a positive integer", "second argument to nth_value must be a positive integer",
		"frame starting offset must be a non-negative integer", "frame ending offset must be a non-negative integer",
	} {
		if text == "SQL logic error: "+words+" (1)" {
			return true
		}
	}
	return strings.HasPrefix(text, "SQL logic error (")
}
