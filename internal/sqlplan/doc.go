// Package sqlplan turns a statement's text into a plan that is safe to send for any one tenant, or refuses it.
// It knows PostgreSQL's grammar and a [Catalog], and no driver, key or tenant: a plan is plain data, the same for
// every tenant, because the tenant is a parameter.
//
// # How a statement becomes a plan
//
// [New] parses the text with PostgreSQL's own parser (package pgparse), refuses every kind of node and every field of
// a node that it does not know (shape.go), and rewrites the tree in one walk. The plan's SQL is deparsed from that
// tree; the caller's text is never sent. At the end every node that names something must bear the mark of the walk, and
// the text must parse to the tree it came from.
//
//   - A table in FROM becomes (SELECT its columns FROM schema.table WHERE tenant_column = $k) under an alias. This is the
//     one place where tables are read (table.go). The target of an UPDATE or DELETE gets the predicate in its WHERE, an
//     INSERT the tenant column and its value. A shared table gets no predicate and cannot be written or locked.
//   - Every relation gets an alias that no other relation of the plan has, whatever the case of letters, every common table
//     expression a name of the planner's making, and every column reference its alias. So a name cannot mean one thing
//     here and another in the database. Names of outputs in ORDER BY and GROUP BY become ordinals.
//   - Functions, operators and types come from allowlists (functions.go) and are put into pg_catalog. Operators
//     cannot be: whoever may create operators in a schema on the search path is trusted.
//   - MERGE has the predicate in its join, so that another tenant's row matches nothing, and again in each WHEN MATCHED;
//     its inserts get the tenant's value. WHEN NOT MATCHED BY SOURCE is about every row that the join did not find, whoever's,
//     and is refused.
//   - In WITH RECURSIVE the names of all queries hide tables in all of them, as in PostgreSQL. A query may read itself in the
//     second part of its UNION, and none may read one that comes later.
//   - An ON CONFLICT must name a key that includes the tenant column, so that the row that conflicts is the tenant's. The
//     catalog must not list partial or expression indexes as keys.
//
// # Sealed columns
//
// A sealed column can be stored from a parameter, a literal (which becomes a parameter) or NULL, fetched as a bare
// column through any number of subqueries, counted, and tested with IS NULL. A searchable one can be compared with =, <>,
// IN, = ANY(ARRAY[…]) and IS [NOT] DISTINCT FROM, in the query that reads its table, with parameters and literals, which
// become comparisons of the blind index with one value for each live key ([Catalog].IndexVersions). The same column of two
// occurrences of one table can be joined while one key lives. Anything else is refused.
//
// # Errors as an oracle
//
// A derived table is no security barrier. PostgreSQL pulls it up and orders the conditions of a scan by cost, and at equal
// cost evaluates the caller's before the tenant predicate: measured, "note LIKE '%secret\'" fails because of a foreign row
// that contains "secret", since its pattern ends in a lone backslash. An error of that kind says which values other tenants
// have, one letter at a time. So the planner knows which constructs are total, failing for no value: comparisons without a
// conversion that may fail (family.go), tests, and some functions and operators. When anything else stands where it
// could meet a row that is not selected yet, the plan gets a fence:
//
//   - each tenant's derived table gets OFFSET 0 (in SQLite LIMIT -1 OFFSET 0), which keeps outer conditions out of it, and
//   - the condition of an UPDATE or DELETE goes behind CASE WHEN the tenant predicate THEN … END.
//
// A fence costs the use of other indexes than the tenant's for that statement. What the statement itself outputs, stores
// and sorts by needs none, because it is computed from selected rows. Two things no fence holds back, because PostgreSQL
// tries them on the column's statistics while it plans: LIKE patterns, which must not come from a row and whose end is
// checked here or, for a parameter, when it is bound ([Param].Pattern, [LoneEscape]); and regular expressions, which must be a
// literal or a parameter. The operators @? and @@ of jsonb, which it tries too, are refused; their functions are not tried. What is left: a LIKE pattern of more than some 15,000 wildcards can pass PostgreSQL's stack
// depth on a text that long. Functions whose time the caller can amplify, such
// as strpos of a long text, count as such that may fail; beyond that the time that a statement takes is not hidden: it may
// depend on how many foreign rows an index or a LIKE pattern meets.
//
// # SQLite
//
// Callers write PostgreSQL's SQL, and SQLite gets the part that both have. Refused for it: casts, ILIKE, regular
// expressions, LATERAL, DISTINCT ON, FOR UPDATE, arrays and subscripts, functions in FROM, DEFAULT in a value, DELETE … USING,
// MERGE, writes in WITH, grouping sets, WITHIN GROUP, collations but "C", LIKE … ESCAPE, GREATEST and LEAST, and lists of rows
// after IN. Tables are read from main, which a temporary table of the same
// name would hide, the tenant is compared with the collation BINARY, whatever the column's is, and the tenant column must
// have text affinity, since '1' equals '01' under numeric affinity. In SQLite LIKE ignores the case of ASCII letters.
// Columns named like a keyword of SQLite that is none of PostgreSQL's (such as "index") make it report a syntax error.
//
// # Limits
//
// A text has at most 256 KiB and about 40 levels of nesting (pgparse.MaxLength, pgparse.MaxDepth), a plan at most
// [MaxParams] parameters.
//
// # The proof
//
// Package sqlgen makes random schemas, data and statements. What a statement returns and stores through its plan, on a
// database that tenants share, must be what it returns and stores as it was written on a database of one tenant alone, and
// no other tenant's row may change (generated_test.go; storage/sqldb has the same through the whole guard, with row-level
// security). Planners that are broken on purpose are found by it (mutants_test.go). checker_test.go reads the texts of plans
// with no other knowledge than what a safe text looks like, and FuzzNonInterference takes any text. To run more:
//
//	go test ./internal/sqlplan -run Generated -generated 1000000 -seed 7 -timeout 0
//	go test ./internal/sqlplan -fuzz FuzzNonInterference
package sqlplan
