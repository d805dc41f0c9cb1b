// Package sqlplan turns a statement's text into a plan that is safe to send for any one tenant, or refuses it.
// It knows PostgreSQL's grammar and a [Catalog], and no driver, key or tenant: a plan is plain data, the same
// for every tenant, because the tenant is a parameter.
//
// # One statement, before and after
//
//	SELECT p.id, v.note FROM patients p JOIN visits v ON v.patient_id = p.id
//	WHERE p.ssn = $1 AND v.at > now() - $2::interval AND v.cost / 2 > 10
//
// becomes
//
//	SELECT p.id, v.note
//	FROM (SELECT now() - $2::interval AS strongroom_1 OFFSET 0) prelude,
//	     (SELECT p.id, …, p.ssn_index FROM public.patients p WHERE p.tenant_id = $1) p
//	     JOIN (SELECT v.id, … FROM public.visits v WHERE v.tenant_id = $1) v ON v.patient_id = p.id
//	WHERE p.ssn_index = $3 AND v.at > prelude.strongroom_1
//	  AND CASE WHEN v.tenant_id <> $1 THEN NULL ELSE v.cost / 2 > 10 END
//
// with $1 the tenant, $2 the caller's second parameter, and $3 the blind index of its first. The rules:
//
//   - [New] parses the text with PostgreSQL's own parser (package pgparse), refuses every kind of node and
//     every field of a node that it does not know (shape.go), and rewrites the tree in one walk. The plan's SQL
//     is deparsed from that tree; the caller's text is never sent. At the end every node that names something
//     must bear the mark of the walk, and the text must parse to the tree it came from.
//   - A table in FROM becomes (SELECT its columns … WHERE tenant_column = $k) under an alias. This is the one
//     place where tables are read (table.go). The target of an UPDATE or DELETE gets the predicate in its WHERE,
//     an INSERT the tenant column and its value (inserted.go). MERGE has the predicate in its join and again in
//     each WHEN MATCHED; BY SOURCE is about every tenant's rows, and is refused.
//   - Every relation gets an alias that no other relation of the plan has, whatever the case of letters, every
//     common table expression a name of the planner's making, and every column reference its alias. So a name
//     cannot mean one thing here and another in the database. Names are compared as the engine compares them.
//   - A name without a schema means a table of the catalog's default schema, and every table is put into its schema, so that
//     the connection's search path does not matter. A table of another schema is called schema.table everywhere.
//   - Functions, operators and casts come from the catalogue of package builtin and are put into pg_catalog.
//     Operators cannot be: whoever may create operators in a schema on the search path is trusted.
//   - A parameter of the caller's is one parameter of the plan, in the order in which PostgreSQL looks for its
//     type, so that it gets the type that it has in the caller's statement (params.go).
//   - An ON CONFLICT names the tenant column among the key's, so that the row that conflicts is the tenant's.
//     What foreign keys do to other tables is in the plan's tables and verbs (cascade.go).
//
// # Errors as an oracle
//
// A derived table is no security barrier. PostgreSQL pulls it up and orders the conditions of a scan by cost,
// and at equal cost evaluates the caller's before the tenant predicate: measured, "note LIKE '%secret\'" fails
// because of a foreign row that contains "secret", since its pattern ends in a lone backslash. An error of that
// kind says which values other tenants have, one letter at a time. So:
//
//   - Every planned expression carries what is known of it (level.go): its type, the relations that it reads,
//     and whether it is total, failing for no row. total.go alone says so, from facts that are established by
//     testing (package builtin). What nobody judged may fail: forgetting costs an index and no secret.
//   - A condition that is total stays as it is written, and uses the indexes that it would use by hand.
//   - What may fail and depends on no row is computed first, once, whether or not there is a row (prelude.go).
//   - Any other condition stands behind a guard, which makes it NULL for a row that is not the tenant's; where
//     it reads a subquery, that gets an optimization barrier, OFFSET 0 (barrier.go says what PostgreSQL keeps).
//   - A query inside an expression is total only if nothing in it can fail, behind whatever guards: for whether
//     it is evaluated may depend on a foreign row. AND, OR, CASE and COALESCE evaluate some of their parts only.
//   - What PostgreSQL tries on a column's statistics while it plans must not fail either. LIKE patterns do not
//     come from a row and end in no lone backslash (like.go); regular expressions are literals or parameters;
//     the operators @? and @@ of jsonb are refused, their functions are not tried.
//   - What a parameter must not be is checked when it is bound: [Param.Pattern], Head, Nesting, Query, Count.
//
// Functions whose time the caller can amplify, such as strpos of a long text, count as such that may fail. Beyond
// that the time that a statement takes is not hidden: it may depend on how many foreign rows an index or a LIKE
// pattern meets.
//
// Nor is hidden what comes of the statistics, which PostgreSQL keeps over all tenants' rows: they decide the order of a
// join, and so whether a part that fails on the tenant's own rows is run. A plan cannot take that choice away.
//
// What a guard costs: the condition itself uses no index, an EXISTS or IN inside of it becomes no join, and an
// outer join that the condition would make an inner one stays. With row-level security PostgreSQL does about
// the same by itself: an operator that is not marked LEAKPROOF is no index condition there.
//
// # Sealed columns
//
// A sealed column can be stored from a parameter, a literal (which becomes a parameter) or NULL, fetched as a
// bare column through any number of subqueries, counted, and tested with IS NULL. A searchable one can be
// compared with =, <>, IN, = ANY(ARRAY[…]) and IS [NOT] DISTINCT FROM, in the query that reads its table, with
// parameters and literals, which become comparisons of the blind index with one value for each live key
// ([Catalog].IndexVersions). The same column of two occurrences of one table can be joined while one key lives.
// Anything else is refused.
//
// # SQLite
//
// Callers write PostgreSQL's SQL, and SQLite gets the part that both have. Refused for it: casts, ILIKE, regular
// expressions, LATERAL, DISTINCT ON, FOR UPDATE, arrays and subscripts, functions in FROM, DEFAULT in a value, DELETE
// … USING, MERGE, writes in WITH, grouping sets, WITHIN GROUP, collations but "C", LIKE … ESCAPE, GREATEST and LEAST,
// whole rows, rows as values, advisory locks, and lists of rows after IN. Tables are read from main, which a temporary table of the
// same name would hide, the tenant is compared with the collation BINARY, whatever the column's is, and the tenant
// column must have text affinity, since '1' equals '01' under numeric affinity. ORDER BY puts NULL where PostgreSQL
// does, by NULLS LAST or FIRST, and substr counts as PostgreSQL's. An index serves the first column of ORDER BY that
// may be NULL, and of those behind it sorts the rows that are equal so far: declare columns NOT NULL. In SQLite LIKE
// ignores the case of ASCII letters. Columns named like a keyword of SQLite that is none of PostgreSQL's (such as
// "index") make it report a syntax error. It may replace a column by the constant that it is compared with, also in a
// CASE, so that relations get a barrier there (LIMIT -1 OFFSET 0), and the guard of a write's target reads the tenant
// in a subquery.
//
// # Limits
//
// A text has at most 256 KiB, 80,000 tokens, what SET (a, b) = (…) assigns counted for each column, and about 40 levels of nesting
// (pgparse.MaxLength, MaxTokens, MaxDepth) and [MaxRelations] relations, a select list PostgreSQL's 1,664 columns, all relations, * and whole rows together
// [MaxVisible] columns, a plan at most [MaxParams] parameters. Within them, what planning takes is in proportion to the words of
// the text and of the plan: what a statement can multiply is counted before it is made. Planning ends with its context.
//
// # Adding a construct
//
//  1. shape.go: the kind of node, with the fields that are handled. Until then it is refused.
//  2. expr.go (or from.go, select.go, write.go): visit it. Plan its parts with expr and a place (ctx): inside()
//     where they are evaluated whenever it is, lazily() where they may not be. Return the parts with
//     expr{…}.with(parts…), which is not total.
//  3. total.go: where it fails for no row, say so with strict, and why.
//  4. figurename.go where it names an output; sqliteshape.go where SQLite lacks it, sqlite.go where it writes it
//     otherwise.
//  5. Tests: statements in testdata/plans and testdata/refused, by feature (read the difference that -update
//     makes), what becomes of it in a condition (barrier_test.go), a generator in sqlgen, which establishes that it
//     does what it does on a database of one tenant alone.
//
// # How it is established
//
// Package sqlgen makes random schemas, data and statements. What a statement returns and stores through its
// plan, on a database that tenants share, must be what it returns and stores as it was written on a database of
// one tenant alone, and no other tenant's row may change (generated_test.go; storage/sqldb has the same through
// the whole guard, with row-level security, and with keys that are rotated between the statements). Nor may other
// tenants' locks show (foreignlocks_test.go). Planners that are broken on purpose are found by it (mutants_test.go). checker_test.go reads the texts of plans with no other knowledge than what a safe text looks
// like, and FuzzNonInterference takes any text. The statements of ordinary applications, and which index each
// must use, are in package sqlcases. To run more:
//
//	go test ./internal/sqlplan -run Generated -generated 1000000 -seed 7 -timeout 0
//	go test ./internal/sqlplan -fuzz FuzzNonInterference
package sqlplan
