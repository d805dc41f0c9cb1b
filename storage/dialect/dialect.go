// Package dialect names the kinds of SQL that are spoken to databases. The packages that open one, storage/sqldb,
// keys/sqlstore and audit/sink/sqltable, give its type and constants under their own names: a value of one is a value of
// the others.
package dialect

// Dialect is what a database speaks. The zero value is none.
type Dialect string

// The dialects. What a package needs of an engine's version, and which engines speak PostgreSQL's besides it, is in
// that package's documentation.
const (
	PostgreSQL Dialect = "postgresql"
	SQLite     Dialect = "sqlite"
)
