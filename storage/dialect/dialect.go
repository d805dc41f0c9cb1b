// Package dialect names the kinds of SQL that are spoken to databases, for the packages that open one: storage/sqldb,
// keys/sqlstore and audit/sink/sqltable. It stands below all of them.
package dialect

// Dialect is what a database speaks. The zero value is none.
type Dialect string

// The dialects. What a package needs of an engine's version, and which engines speak PostgreSQL's besides it, is in
// that package's documentation.
const (
	PostgreSQL Dialect = "postgresql"
	SQLite     Dialect = "sqlite"
)
