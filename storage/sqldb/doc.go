// Package sqldb opens PostgreSQL and SQLite databases in which every statement runs for exactly one tenant.
//
// [Open] returns a real *sql.DB. Each statement is parsed with PostgreSQL's own grammar and rewritten so that every
// table it names yields the tenant's rows alone; only the rewritten text is sent, and a statement that cannot be proven
// safe is refused with a [*RefusedError]. Columns that the [Schema] declares as sealed are encrypted on the way in and
// opened on the way out with the tenant's own keys; a searchable one can be compared for equality through a blind
// index. On PostgreSQL row-level security is the second layer. Nothing that the database answers is
// released, and no write becomes permanent, before the access is in the audit trail: a read, and a statement of a transaction, is
// sent while its event is on the way there, its rows and COMMIT wait for it, and a statement that writes by itself is sent after
// it. Of a statement that writes in a transaction the number of rows is told at once.
//
// # What to expect
//
// The tenant comes from the context: use QueryContext, ExecContext, BeginTx. A transaction belongs to the tenant that
// began it. A write outside one is over before the first row that it returns is handed out, and its rows are held in memory
// until then; in a transaction they are streamed. A prepared statement runs for whoever executes it. Applications write
// PostgreSQL's SQL with $1, $2, … for SQLite too, as far as SQLite shares it. NULL is sorted as PostgreSQL sorts it: an index
// serves the first column of ORDER BY that may be NULL there, and all that are NOT NULL.
//
// Statements are SELECT, INSERT, UPDATE, DELETE, MERGE and savepoints, with nearly all that PostgreSQL has for them: joins,
// LATERAL, subqueries, WITH (recursive, and with writes in it), set operations, window functions, grouping sets, ordered-set
// aggregates, upserts (also with conditions, expressions and constraints' names), RETURNING, row locks, advisory locks of the
// transaction, which are the tenant's own. Functions and types come from an allowlist, which [Options] extends. Refused, each with
// what to write instead, are other statements, undeclared relations, whole rows but in JSON functions, system columns but xmax = 0 in the
// RETURNING of an INSERT, NATURAL, TABLESAMPLE, WHEN NOT MATCHED BY SOURCE, JSON_TABLE, and XML constructors.
//
// An application that scopes by hand already runs unchanged: a statement may compare and store the tenant column itself. What
// an INSERT or MERGE gives for it must be the tenant that the statement runs for; another value is [storage.ErrIsolation], nothing
// is sent, and an alert is in the audit trail. An UPDATE cannot set it. A table may have a tenant column of its own name and type,
// and of the tenants' own table the key is the tenant, so that each sees its one row:
//
//	sqldb.Schema{"tenants": {TenantColumn: "id"}, "patients": {}}
//
//	CREATE TABLE tenants (id text COLLATE "C" PRIMARY KEY, name text);
//	CREATE TABLE patients (tenant_id text COLLATE "C" NOT NULL REFERENCES tenants (id), id bigint NOT NULL, PRIMARY KEY (tenant_id, id));
//
// Tables of several PostgreSQL schemas are declared and named as in billing.invoices; a name without a schema is one of
// [Options].Schema, whatever the connection's search path is.
//
// What foreign keys do to other tables (ON DELETE and ON UPDATE) is put to the authorizer and recorded with the statement; a table
// that they reach must be declared.
//
// The tables, columns, keys and types are those that the database had when it was opened. What was added since is unknown to
// statements, and a result that comes from what was changed since is [ErrSchemaChanged]: open the database again, before
// the program that needs the change serves. On PostgreSQL a connection may go on for a minute with a statement that it has run
// before, and behind a pooler ([Options].TransactionPooler) for as long as it lasts: the statement names the table and columns, and gets
// what has these names by then, with the tenant's condition on it. Writes are not checked for such changes.
//
// A sealed column can be stored from a parameter or a literal, fetched, tested for NULL and, when searchable, compared
// with =, <>, IN and = ANY. It cannot be ordered by, computed with, matched or copied, nor grouped by unless its row's
// primary key is too. The table, with its schema, and the column are part of what is sealed, so renaming one
// makes old values unreadable.
//
// # The connecting role on PostgreSQL
//
// Row-level security binds SELECT, INSERT, UPDATE and DELETE of a role that is not its table's owner, on the table that is named.
// [Open] therefore refuses a role, with the statement that mends it, which by itself or as a member of another (inherited or by
// SET ROLE) or as everybody
//
//   - is a superuser, or has BYPASSRLS, REPLICATION or CREATEROLE, or is a member of pg_read_server_files,
//     pg_write_server_files, pg_execute_server_program or pg_maintain;
//   - owns a declared table, its schema or the database, or a function that the table's triggers, constraints, defaults, indexes or
//     policies call, or may create in the schemas of its search path;
//   - has another privilege than those four on a declared table: TRUNCATE, REFERENCES, TRIGGER, MAINTAIN and what later versions
//     add, also on columns; or UPDATE on a sequence of one, where USAGE is enough;
//   - may use a partition or an inheriting child by itself that has no row-level security of its own. [Schema.DDL] turns it on for
//     those that are there. A partition that is made later needs ALTER TABLE … ENABLE ROW LEVEL SECURITY, and no policy, or no
//     privileges for the role, which default privileges may give it;
//   - may use a table that a declared one is a partition or child of, which shows its rows: the same goes for it;
//   - may use a view of a declared table whose owner row-level security does not bind and that is not security_invoker, or a
//     materialized view of one; or such a view of a part of it, or of what is above it, without FORCE ROW LEVEL SECURITY; or
//     a table with a rule that reads or changes a declared one as such an owner.
//
// With ALTER ROLE … SET role it is asked for the role that logged in as well. Functions that run with the rights of an owner whom row-level
// security does not bind (SECURITY DEFINER) are found where they are triggers or in [Options].Functions. Not found are others, and
// foreign tables that lead back to the database: revoke EXECUTE, and what is granted, on them.
//
// # Rotation of keys
//
// A value is sealed with the tenant's newest data key, and one that an older key sealed opens as before. Blind indexes are
// searched under every index key that the tenant has, so that a rotation hides no row. [Reseal] moves what is there to the newest
// keys while the application runs; after that the older keys can go:
//
//	err := ring.Rotate(ctx, id, keys.PurposeData, "yearly")
//	report, err := sqldb.Reseal(ctx, db, nil) // for the tenant in ctx; again until nothing is left
//	err = ring.DisableKey(ctx, id, keys.PurposeData, old, "yearly", remaining) // remaining: see keys.Remaining
//	err = ring.DestroyKey(ctx, id, keys.PurposeData, old, "yearly", remaining) // days later
//
// A value that needs a disabled key is [keys.ErrKeyDisabled], and one whose key was destroyed [storage.ErrIsolation]; both name
// the key. Which key it is, is told by the value's first bytes, which nobody has authenticated then: whoever can write to the
// database can make another tenant's value look as if it needed a disabled key. It does not open, and there is no alert.
//
// While a tenant has two index keys a unique key on an index column is kept by the guard: a statement that writes such a column is
// followed, in the same transaction, by a query for the value under each key, and taken back with [ErrDuplicate] where another
// row holds it. A transaction can only be rolled back after that. Such a write costs a query more, and outside a transaction BEGIN
// and COMMIT. ON CONFLICT on such a column, and joins on a searchable one, are refused meanwhile. See [Reseal] for what no
// process can see.
//
// # Moving an existing application in
//
// [Migrate] takes a database with rows, of PostgreSQL or SQLite, from plaintexts and keys of single columns to what [Open] opens, in stages, while
// the application that knows of no guard goes on until the switch. The caller says whose the rows of each table are; every tenant
// has to be provisioned:
//
//	m := sqldb.Migration{DSN: ownerURL, Schema: schema, Guard: guard, Actor: "dba", Purpose: "moving in", Tenants: map[string]sqldb.TenantSource{
//		"patients": sqldb.FromColumn("clinic"), "visits": sqldb.FromParent("patient_id"), "settings": sqldb.FromConstant(only)}}
//	plan, err := sqldb.PlanMigration(ctx, m)              // prints SQL, rows, locks and what stands in the way; changes nothing
//	report, err := sqldb.Migrate(ctx, m, sqldb.MigrateVerify) // as often as need be; the application runs
//	report, err = sqldb.Migrate(ctx, m, sqldb.MigrateSwitch)  // with the application stopped, for a moment
//	report, err = sqldb.Migrate(ctx, m, sqldb.MigrateDrop)    // days later; until then sqldb.RollbackMigration goes back
//
// The command keys/keyctl does the same with a configuration in a file (keyctl migrate).
//
// Triggers of the migration's own keep the new columns right meanwhile, so that the old application writes for both; they and
// the batches go by what is in the database alone, and a run that was killed is called again. PostgreSQL refuses from the stage
// [MigrateKeys] on rows that refer to another tenant's, and rows whose tenant cannot be told. Until the stage [MigrateDrop] the
// plaintexts are there, and a tenant's data is not out of reach when its keys are destroyed. The tables of a SQLite file are
// copied beside the old ones, and the copies take their names with the switch: see [Migrate].
//
// # Applications that speak pgx
//
// [OpenPool] returns a [Pool] in place of a *sql.DB: the same guard with the methods of a pgxpool.Pool (Query, QueryRow, Exec, Begin,
// SendBatch, CopyFrom), which the code that sqlc makes for pgx/v5 asks for. What is said here of statements, tenants, transactions and errors
// holds for it. A batch is one round trip, of which each statement is planned, gated and recorded by itself, and its results are held
// in memory. CopyFrom stores rows by INSERT, in arrays of up to 4,096 rows: PostgreSQL refuses COPY to roles that row-level security binds.
//
//	pool, err := sqldb.OpenPool(ctx, appURL, schema, guard, nil)
//	rows, err := pool.Query(ctx, "SELECT id, name FROM patients WHERE ssn = $1", ssn)
//	patients, err := pgx.CollectRows(rows, pgx.RowToStructByName[Patient])
//
// # Connections
//
// The pool is database/sql's, with its defaults: any number of open connections, of which two are kept while nobody uses them. Have
// SetMaxOpenConns say how many of the server's are the process's, and SetMaxIdleConns the same, since each new connection to PostgreSQL has
// to ask how the server numbers the declared columns. One that has rested for more than a second is asked whether its server is still
// there before somebody gets it, as pgx does it, so that a restart or a failover fails what was under way and nothing after it. A Pool takes
// pgxpool's parameters in its connection string (pool_max_conns).
//
// SORTING.md, beside this file, tells how to sort, page and group where columns are sealed, and what each way shows. ORMS.md tells what GORM, sqlx, bun, squirrel, sqlc, ent and migration tools need.
//
// # What statements can say
//
// Expressions are columns, constants, parameters, function calls, CAST and ::, CASE, COALESCE, NULLIF, GREATEST and LEAST, ROW,
// ARRAY, subscripts, COLLATE, subqueries (EXISTS, IN, ANY, ALL, scalar, ARRAY), AND, OR, NOT, IS NULL, IS TRUE and the
// like, IS DISTINCT FROM, IN, BETWEEN, LIKE, ILIKE, OVERLAPS, AT TIME ZONE, and SQL's own syntax for JSON (JSON_OBJECT, JSON_ARRAY,
// JSON_OBJECTAGG, JSON_ARRAYAGG, JSON, JSON_SCALAR, JSON_SERIALIZE, IS JSON, JSON_VALUE, JSON_QUERY, JSON_EXISTS) where the server has it.
//
// Operators, written without a schema, are
//
//	= <> != < <= > >=   + - * / % ^   ||   & | # << >>   ~ ~* !~ !~*
//	@> <@ && -|-   -> ->> #> #>> ? ?| ?&   @@
//
// with the types below that have them in PostgreSQL. SQLite takes = <> != < <= > >= + - * / % || & | << >> -> ->>.
//
// Types are bool, integers, float4, float8, numeric, text, varchar, bpchar, date, time, timetz, timestamp, timestamptz, interval,
// uuid, json, jsonb, jsonpath, bytea, inet, cidr, macaddr, macaddr8, bit, varbit, tsvector, tsquery, the built-in ranges, arrays
// of these, and what [Options].Types names. Types whose input looks a name up in the catalog, such as regclass, are refused.
//
// Functions are PostgreSQL's immutable and stable ones for these types that read no table, setting or file: text, numbers, times,
// arrays, ranges, JSON, full text, aggregates and window functions; in FROM also generate_series, unnest and those that take JSON or
// text apart, jsonb_to_recordset(…) AS r(id bigint, name text) and jsonb_populate_recordset(NULL::t, …) of a declared table t without
// sealed columns among them; nextval of a declared table's own sequence, whose numbers all tenants draw, as they draw those of
// identity columns; and what [Options].Functions names. On SQLite they are those that it has under the same name and meaning.
//
// # Indexes
//
// A condition that fails for no value stays as it is written and uses the indexes that it would use with the tenant predicate
// written by hand, which should lead with the tenant column. What may fail for some value (arithmetic, most casts, functions
// such as date_trunc of a column) is evaluated for the tenant's own rows alone, and so by no index of its own; what depends on no
// row, such as now() - $1::interval, is computed once before. A LIKE pattern that is bound has at most 4 KiB, a full text query
// 8 KiB, JSON that is searched for 1,000 levels; LIMIT and OFFSET take no number below zero.
//
// With row-level security PostgreSQL itself uses no index for an operator whose function is not marked LEAKPROOF, since it would
// meet rows before the policy does. Out of the box these are the operators of numeric, enumerations, jsonb, arrays, ranges and full
// text, containment of networks, LIKE and regular expressions, comparisons of a date with a timestamp, of timestamps with and
// without a zone, and whatever is compared with a function of a column, such as lower(email). They are evaluated for each row that
// the tenant has, whoever wrote the statement. Measured where ten of a tenant's 100,000 rows are found, without and with
// row-level security: full text 0.2 and 61 ms, jsonb @> 0.5 and 340 ms, arrays 0.6 and 310 ms (internal/bench, rows
// sql.scale.fulltext, .json, .array and the same with .rls; a predicate by hand takes about as long behind row-level security).
//
// [Open] logs one line that names the indexes which cannot be used at all ([Options].Logger). With [Options].Leakproof,
// [Schema.DDL] prints what a superuser may mark: the functions of numeric, enumerations, jsonb ? ?| ?& and comparisons, networks,
// dates and timestamps, which fail for no value. Printed as comments are those of arrays and ranges, whose elements may be of a
// type that is compared with failure, jsonb @>, which fails for what is nested too deep, and @@, which fails for a query that is
// too long once a row has the words before. Statements of the guard cannot do either. Whoever runs SQL of his own
// with the application's role could, and would learn from the failure that such a row is there.
//
// # What is not hidden
//
// PostgreSQL chooses plans by statistics over all tenants' rows, with row-level security too. A tenant who sends statements of
// its own making can learn from the plan how common a value is among all: by the time that it takes, and by whether something
// that fails on the tenant's own rows, such as a division in a subquery of FROM, is evaluated at all.
//
// Plain columns, the number and size of rows and values, access patterns, and which rows of a tenant share a blind
// index value. Two values of the same tenant, table and column can be exchanged between rows by somebody who can write
// to the database, and an old value put back, without being noticed.
package sqldb
