// Package builtin says what the operators, functions and casts of PostgreSQL and SQLite are: which of
// them statements may use, what they return, and which are total. It knows nothing of plans.
//
// # What total means
//
// An expression is total if it fails for no values of its operands' types, including the conversions
// that PostgreSQL makes without being asked, and if nobody can make it take absurdly long. Only what is
// total may meet a row of another tenant: a failure, and even a timeout, would tell of that row.
// So whatever is not listed is not total and has an unknown type. Signatures are judged one by one:
// ceil(float8) is total, ceil(numeric) overflows.
//
// Each entry that says "total" is established by testing: a server is asked for every combination of poisonous values of
// its types (poison_test.go). Each test run does so for the types that an operator or function is declared for, with rows.
// With conversions, parameters and literals too, in several time zones, and with values of the greatest size:
//
//	go test ./internal/sqlplan/builtin -run Total -catalogue -timeout 0
//
// # What total does not cover
//
//   - Values larger than [MaxValue]. lower() reserves four bytes for each byte of a text, btrim() eight, and
//     the text of a jsonb may be six times as long, which fails where it passes PostgreSQL's limit of 1 GiB.
//   - Operators that total operands bring to their knees are total within a bound; see [Requires].
//   - Collations. PostgreSQL decides while it runs, once it meets a row, that two columns of different
//     collations have no common one, and that a nondeterministic collation is none for LIKE, starts_with
//     or a regular expression. So a column of another collation than the database's or "C" should be of
//     type [Unknown].
//   - Domains, whose constraints may be any expression: they are of type [Unknown] too.
//
// # Adding an entry
//
// Add a line to the table of its kind (functions_*.go, operators.go, casts.go). If it is total, the tests
// demand poisonous values for each type that it names. A new function must read no table, setting or
// file, have no effect beyond its result, and run no text as SQL; names_test.go has what does. If an index evaluates it, the
// tests ask in which list of leakproof.go it is.
package builtin

// MaxValue is the size in bytes of the largest value for which the facts about total expressions hold.
const MaxValue = 16 << 20
