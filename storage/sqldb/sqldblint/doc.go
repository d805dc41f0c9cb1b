// Package sqldblint is a static check for programs that use package sqldb: it reports, before the program runs, constant
// SQL that the guard would refuse, and calls that go past the guard or can never carry a tenant. It is an analyzer of
// golang.org/x/tools/go/analysis; the command in cmd/sqldblint runs it under go vet:
//
//	go build -o bin/sqldblint github.com/strongroom-go/strongroom/storage/sqldb/sqldblint/cmd/sqldblint
//	go vet -vettool=$PWD/bin/sqldblint ./...
//
// In golangci-lint it is a module plugin, of the module in the directory golangci.
//
// # What is reported
//
//   - A statement that is a constant and that the guard would refuse, with the message it has at run time, or that is
//     called with a different number of arguments than it takes. Calls are those of *sql.DB, *sql.Tx, *sql.Conn and
//     *sql.Stmt, also where they are embedded, and of interfaces with methods of the same form, such as sqlc's DBTX.
//   - Calls that can never carry a tenant: those of database/sql without a context, and those with context.Background()
//     or context.TODO() itself as the argument.
//   - In a package that imports sqldb: sql.Open of a PostgreSQL or SQLite driver, sql.OpenDB, and connections that pgx
//     makes by itself. They open the same databases without the guard.
//
// Packages are looked at that import sqldb or, directly or not, a package that declares a [sqldb.Schema]; with the flag
// -schema, all that the command is run on. Test files are skipped without the flag -tests.
//
// A handle is taken for a guarded one unless it is known to come from sql.Open or sql.OpenDB. That is followed through
// the variables, fields, parameters and results of one package: where an unguarded handle comes from another one, a
// directive has to say so.
//
// A line that is meant to be outside the guard says so, with the reason, on the line itself or on the one above:
//
//	//sqldblint:raw the owner's handle runs the migrations
//
// # What can be known
//
// No report on a statement is a guess. The guard reads a table's columns from the database, which the check does not see. So a
// refusal is reported only if the statement is refused whatever the tables' other columns are, on both engines unless
// every call of sqldb.Open names one, and if the reason is none that depends on a column's type, place, default or key.
// A misspelt column is therefore not reported, and a sealed column in ORDER BY is.
//
//   - Without a constant schema in sight (a composite literal of sqldb.Schema, here or in an imported package, whose
//     keys and columns are constants and which nothing changes) only refusals that hold for every schema are reported:
//     syntax errors, several statements, DDL and the like.
//   - With it, also undeclared tables, writes to shared tables, and uses of sealed columns.
//   - Functions and the tenant column are known if the package that declares the schema also calls sqldb.Open, with
//     constant options.
//   - With -schema=FILE, an absolute path to a JSON file with the columns of the tables, everything is known, unknown
//     columns and keys included. columns_postgres.sql prints that file for a PostgreSQL database. See [File].
//
// A refusal that is not reported can still come at run time: statements that are built at run time are not looked at.
package sqldblint
