package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// minPostgres is the oldest major version whose behaviour the guard was tested against.
const minPostgres = 150000

// introspect reads the declared tables of a PostgreSQL database with the application's own role.
func (p *postgres) introspect(ctx context.Context, s Schema, o *Options) (*sqlplan.Catalog, []Problem, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close(ctx)
	r := &pgReader{ctx: ctx, conn: conn, options: o, declared: s.withDefaults(o), tables: make(map[string]*pgTable)}
	steps := []struct {
		what string
		run  func() error
	}{
		{"the server", r.readServer}, {"tables", r.readTables}, {"partitions", r.readFamilies}, {"the role", r.readRole}, {"columns", r.readColumns}, {"indexes", r.readIndexes},
		{"foreign keys", r.readForeignKeys}, {"cascades", r.readCascades}, {"enumerations", r.readEnums}, {"sequences", r.readSequences}, {"triggers", r.readTriggers},
		{"rules", r.readRules}, {"constraints", r.readMarks}, {"policies", r.readPolicies}, {"operators", r.readUnusable},
	}
	for _, step := range steps {
		if err := step.run(); err != nil {
			return nil, nil, fmt.Errorf("sqldb: reading %s from PostgreSQL's catalog failed: %w", step.what, redact(err))
		}
	}
	cat := &sqlplan.Catalog{Dialect: sqlplan.PostgreSQL, Tables: make(map[string]*sqlplan.Table), Functions: o.Functions, Types: o.Types, Enums: r.enums}
	for name, t := range r.tables {
		cat.Tables[name] = t.plan
	}
	return cat, r.problems, nil
}

// pgReader reads the catalog. The queries are schema-qualified: a search_path cannot lead them elsewhere.
type pgReader struct {
	ctx      context.Context
	conn     *pgx.Conn
	options  *Options
	declared Schema
	tables   map[string]*pgTable
	role     string // the one that the connection acts as
	login    string // the one that it logged in as; mostly the same
	owner    bool   // it is the tables' owner, who migrates them
	enums    []string
	problems []Problem
}

type pgTable struct {
	plan          *sqlplan.Table
	oid           uint32
	rls, forceRLS bool
}

// family is the declared tables, by oid ($1), declared name ($2) and tenant column ($3), and these with the partitions and
// children that hold their rows. An index, a foreign key or a trigger of one of them acts on rows of the declared table. Reach is
// the family with what is above it: a table whose child or partition one of it is shows its rows too, under policies of its own.
const family = `WITH RECURSIVE declared(oid, name, tenant) AS (SELECT * FROM unnest($1::oid[], $2::text[], $3::text[])),
	family(oid, declared, tenant) AS (
	SELECT oid, name, tenant FROM declared
	UNION SELECT i.inhrelid, f.declared, f.tenant FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid),
	ascent(oid, declared) AS (
	SELECT oid, declared FROM family
	UNION SELECT i.inhparent, a.declared FROM pg_catalog.pg_inherits i JOIN ascent a ON i.inhrelid = a.oid),
	reach(oid, declared, above) AS (
	SELECT a.oid, a.declared, NOT EXISTS (SELECT FROM family f WHERE f.oid = a.oid) FROM ascent a) `

func (r *pgReader) problem(table, column, what, fix string) {
	r.problems = append(r.problems, Problem{Table: table, Column: column, What: what, Fix: fix})
}

func (r *pgReader) check(name string) *tableCheck {
	return &tableCheck{
		decl: r.declared[name], table: r.tables[name].plan, dialect: dialect.PostgreSQL,
		problem: func(column, what, fix string) { r.problem(name, column, what, fix) },
	}
}

// each runs a query over the declared tables and their family, and whatever more it takes ($4, …), and calls scan for every row.
// The query may begin with a comma and a further common table expression.
func (r *pgReader) each(query string, scan func(pgx.Rows) error, more ...any) error {
	var oids []uint32
	var names, tenants []string
	for _, name := range sortedKeys(r.tables) {
		oids, names, tenants = append(oids, r.tables[name].oid), append(names, name), append(tenants, r.declared[name].TenantColumn)
	}
	return each(r.ctx, r.conn, family+query, scan, append([]any{oids, names, tenants}, more...)...)
}

// schemas are those that declared tables are in, and the default one.
func (r *pgReader) schemas() []string {
	all := map[string]bool{r.options.Schema: true}
	for name := range r.declared {
		schema, _ := r.options.place(name)
		all[schema] = true
	}
	return sortedKeys(all)
}

func (r *pgReader) readServer() error {
	var version int
	if err := r.conn.QueryRow(r.ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return err
	}
	if version < minPostgres {
		r.problem("", "", fmt.Sprintf("the server is version %d, older than PostgreSQL 15", version/10000), "upgrade the server")
	}
	return nil
}

func (r *pgReader) readTables() error {
	names := sortedKeys(r.declared)
	var schemas, relations []string
	for _, name := range names {
		schema, relation := r.options.place(name)
		schemas, relations = append(schemas, schema), append(relations, relation)
	}
	rows, err := r.conn.Query(r.ctx, `
		SELECT want.declared, c.oid, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity,
		       c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
		FROM unnest($1::text[], $2::text[], $3::text[]) AS want(declared, nspname, relname)
		JOIN pg_catalog.pg_namespace n ON n.nspname = want.nspname
		JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = want.relname`, names, schemas, relations)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			name, kind    string
			oid           uint32
			rls, forceRLS bool
			inherited     bool
		)
		if err := rows.Scan(&name, &oid, &kind, &rls, &forceRLS, &inherited); err != nil {
			return err
		}
		if kind != "r" && kind != "p" {
			what, fix := notATable(kind)
			r.problem(name, "", what, fix)
			continue
		}
		shared := r.declared[name].Shared
		schema, _ := r.options.place(name)
		r.tables[name] = &pgTable{oid: oid, rls: rls, forceRLS: forceRLS, plan: &sqlplan.Table{Schema: schema, Name: name, Shared: shared, Inherited: inherited}}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, name := range names {
		if r.tables[name] == nil && !slices.ContainsFunc(r.problems, func(p Problem) bool { return p.Table == name }) {
			schema, _ := r.options.place(name)
			r.problem(name, "", fmt.Sprintf("the table is not in schema %q, or the role may not see it", schema), "create it, or take it out of the schema; names are case-sensitive here")
		}
	}
	return nil
}

// notATable says what is wrong with a relation of another kind.
func notATable(kind string) (what, fix string) {
	switch kind {
	case "v":
		return "it is a view, which the guard does not look into; it reads its tables with its owner's rights unless it is security_invoker, and then under the names of its own",
			"declare the tables behind it, and write its query into the statements, or into a query of WITH"
	case "m":
		return "it is a materialized view, which holds rows of every tenant and has no row-level security",
			"keep what it computes in a table with a tenant column, refreshed on a connection that is not guarded"
	case "f":
		return "it is a foreign table, which another server keeps, without row-level security here", "open that server itself"
	}
	return "it is not an ordinary or partitioned table", "declare tables"
}

func (r *pgReader) readColumns() error {
	err := r.each(`
		SELECT d.name, a.attname, pg_catalog.format_type(a.atttypid, NULL), a.attnotnull, a.atthasdef OR a.attidentity <> '',
		       a.attgenerated <> '' OR a.attidentity = 'a', coalesce(l.collisdeterministic, true), y.typtype = 'e',
		       a.attcollation <> 0 AND a.attcollation <> 'pg_catalog."default"'::regcollation AND a.attcollation <> 'pg_catalog."C"'::regcollation,
		       pg_catalog.starts_with(a.attname::text, $4), EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE `+becomes("o.oid")+` AND (pg_catalog.has_column_privilege(o.oid, a.attrelid, a.attnum, 'SELECT') OR pg_catalog.has_table_privilege(o.oid, a.attrelid, 'TRIGGER'))),
		       CASE WHEN pg_catalog.starts_with(a.attname::text, $4) THEN `+grantees+` END
		FROM pg_catalog.pg_attribute a
		JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
		JOIN declared d ON d.oid = a.attrelid
		LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
		WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY d.oid, a.attnum`,
		func(rows pgx.Rows) error {
			var (
				table         string
				c             sqlplan.Column
				deterministic bool
				aside, shown  bool
				others        []string
			)
			if err := rows.Scan(&table, &c.Name, &c.Type, &c.NotNull, &c.HasDefault, &c.Generated, &deterministic, &c.Enum, &c.Collated, &aside, &shown, &others); err != nil {
				return err
			}
			if aside { // the plaintexts that a migration keeps until it drops them do not exist for statements
				r.aside(table, c.Name, shown && !r.owner, others)
				return nil
			}
			t := r.tables[table].plan
			t.Columns = append(t.Columns, c)
			if c.Name != r.declared[table].TenantColumn || t.Shared {
				return nil
			}
			if c.Type != "text" && c.Type != "character varying" && !castsTenant(c.Type) {
				r.problem(table, c.Name, fmt.Sprintf("the tenant column has type %s, which may compare different ids as equal", c.Type), r.check(table).retypeTenantColumn())
			}
			if !deterministic {
				r.problem(table, c.Name, "the tenant column's collation is nondeterministic and may compare different ids as equal", r.check(table).retypeTenantColumn())
			}
			return nil
		}, asideMark)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(r.tables) {
		r.check(name).columns()
	}
	return nil
}

func (r *pgReader) readIndexes() error {
	return r.each(`
		SELECT f.declared, x.relname, i.indisprimary, i.indisexclusion, i.indpred IS NULL AND i.indimmediate, i.indpred IS NOT NULL, f.oid IN (SELECT oid FROM declared),
		       coalesce((SELECT k.conname FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')), ''),
		       EXISTS (SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[]) AS k(attnum, coll, class)
		               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND a.attname = f.tenant
		               LEFT JOIN pg_catalog.pg_collation l ON l.oid = k.coll
		               LEFT JOIN pg_catalog.pg_opclass o ON o.oid = k.class
		               WHERE NOT coalesce(l.collisdeterministic, true) OR o.opcnamespace IS DISTINCT FROM 'pg_catalog'::regnamespace),
		       ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
		             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
		             WHERE k.ord <= i.indnkeyatts ORDER BY k.ord),
		       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnkeyatts::int) AS k ORDER BY k),
		       coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
		       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) -- since PostgreSQL 15
		FROM family f
		JOIN pg_catalog.pg_index i ON i.indrelid = f.oid
		JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
		WHERE i.indisunique OR i.indisexclusion ORDER BY f.declared, x.relname`,
		func(rows pgx.Rows) error {
			var (
				table                         string
				k                             uniqueKey
				once                          sqlplan.UniqueKey
				exclusion, whole, own, folded bool
			)
			if err := rows.Scan(&table, &k.index, &k.primary, &exclusion, &whole, &k.partial, &own, &k.constraint, &folded, &k.columns, &once.SQL, &once.Where, &once.Nulls); err != nil {
				return err
			}
			t := r.tables[table].plan
			if exclusion {
				r.problem(table, "", "the exclusion constraint "+k.index+" may compare rows of different tenants", "drop it; the guard cannot check its operators")
				return nil
			}
			if folded && !t.Shared {
				r.problem(table, r.declared[table].TenantColumn, "the key "+k.index+" compares the tenant column in a way under which different ids may be equal", "define it with the column's own collation and operator class")
			}
			k.what = "unique index " + k.index
			if once.Columns = k.columns; own {
				t.Once = append(t.Once, once)
			}
			if !r.check(table).uniqueKey(k) || !whole || !own || slices.Contains(k.columns, "") {
				return nil
			}
			if k.constraint != "" {
				if t.Constraints == nil {
					t.Constraints = make(map[string][]string)
				}
				t.Constraints[k.constraint] = k.columns
			}
			if k.primary {
				t.PrimaryKey = k.columns
			} else {
				t.UniqueKeys = append(t.UniqueKeys, k.columns)
			}
			return nil
		})
}

func (r *pgReader) readForeignKeys() error {
	return r.each(`
		SELECT f.declared, k.conname, coalesce(d.name, n.nspname || '.' || p.relname), n.nspname, p.relname, d.name IS NULL, k.confmatchtype = 'f',
		       (k.confdeltype IN ('n', 'd') AND (k.confdelsetcols IS NULL OR t.attnum = ANY (k.confdelsetcols)) OR k.confupdtype IN ('n', 'd'))
		       AND t.attnum = ANY (k.conkey),
		       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(num, ord) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.ord),
		       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(num, ord) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.ord)
		FROM family f
		JOIN pg_catalog.pg_constraint k ON k.conrelid = f.oid
		JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
		LEFT JOIN declared d ON d.oid = p.oid
		LEFT JOIN pg_catalog.pg_attribute t ON t.attrelid = f.oid AND t.attname = f.tenant
		-- A foreign key to a partitioned table has a copy for each of its partitions, which conparentid tells.
		WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY f.declared, k.conname`,
		func(rows pgx.Rows) error {
			var (
				table string
				k     foreignKey
				sets  *bool
			)
			if err := rows.Scan(&table, &k.constraint, &k.parent, &k.parentSchema, &k.parentRelation, &k.parentOutsideOfCatalog, &k.full, &sets, &k.columns, &k.parentColumns); err != nil {
				return err
			}
			k.name, k.setsTenant = "foreign key "+k.constraint, sets != nil && *sets
			r.check(table).foreignKey(r.declared, k)
			return nil
		})
}

func (r *pgReader) readRules() error {
	return r.each(`
		SELECT DISTINCT f.declared FROM family f JOIN pg_catalog.pg_rewrite w ON w.ev_class = f.oid`,
		func(rows pgx.Rows) error {
			var table string
			if err := rows.Scan(&table); err != nil {
				return err
			}
			r.problem(table, "", "rules rewrite its statements after the guard has checked them", "drop the rules")
			return nil
		})
}

// readMarks finds the constraints of sealed columns. One that calls a function of somebody's own prints like one that does
// not, where a search path leads to it; PostgreSQL keeps no dependency on its own.
func (r *pgReader) readMarks() error {
	found := make(map[string]map[string]mark)
	err := r.each(`
		SELECT t.name, k.conname, pg_catalog.pg_get_constraintdef(k.oid), k.convalidated,
		       EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = k.oid
		               AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass)),
		       coalesce((SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]), '')
		FROM pg_catalog.pg_constraint k JOIN declared t ON t.oid = k.conrelid
		WHERE pg_catalog.starts_with(k.conname, $4) OR pg_catalog.starts_with(k.conname, $5)`,
		func(rows pgx.Rows) error {
			var (
				table, name, printed string
				borrowed             bool
				m                    mark
			)
			if err := rows.Scan(&table, &name, &printed, &m.validated, &borrowed, &m.column); err != nil {
				return err
			}
			if !m.validated {
				printed = strings.TrimSuffix(printed, " NOT VALID")
			}
			m.intact = func(w sealCheck) bool {
				return !borrowed && sameTokens(sqlTokens(printed, false), sqlTokens(w.printed(), false))
			}
			if found[table] == nil {
				found[table] = make(map[string]mark)
			}
			found[table][name] = m
			return nil
		}, sealedMark, indexMark)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(r.tables) {
		c := r.check(name)
		c.marks(found[name], func(w sealCheck) string { return w.add(c.qualified()) })
	}
	return nil
}

// readPolicies checks that row-level security is on, that the guard's policy stands, and that no other permissive policy
// widens it: PostgreSQL lets a row through when any one permissive policy does. It comes last, as its fixes do, which wait
// until the tenant column is filled in: they would keep the owner from that.
func (r *pgReader) readPolicies() error {
	if r.options.InsecureWithoutRLS {
		return nil
	}
	found := make(map[string]bool)
	err := r.each(`
		SELECT d.name, p.polname, p.polpermissive, p.polcmd = '*' AND p.polroles = '{0}',
		       coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), ''), coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '')
		FROM pg_catalog.pg_policy p JOIN declared d ON d.oid = p.polrelid ORDER BY d.name, p.polname`,
		func(rows pgx.Rows) error {
			var (
				table, policy, using, check string
				permissive, everything      bool
			)
			if err := rows.Scan(&table, &policy, &permissive, &everything, &using, &check); err != nil {
				return err
			}
			switch {
			case r.tables[table].plan.Shared:
			case policy == PolicyName && everything && permissive && r.isPolicy(table, using) && r.isPolicy(table, check):
				found[table] = true
			case permissive:
				r.problem(table, "", fmt.Sprintf("the policy %s is not the guard's and lets rows through by itself", policy), fmt.Sprintf("drop it, or make it AS RESTRICTIVE; the guard's own is made by Schema.DDL as %s", PolicyName))
			}
			return nil
		})
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(r.tables) {
		t, table := r.tables[name], r.check(name).qualified()
		fence := func(statements string) string { return whereTenants(table, r.declared[name].TenantColumn, statements) }
		if t.plan.Shared {
			continue
		}
		if !t.rls {
			r.problem(name, "", "row-level security is off", fence("ALTER TABLE "+table+" ENABLE ROW LEVEL SECURITY"))
		}
		if !t.forceRLS {
			r.problem(name, "", "row-level security does not bind the table's owner", fence("ALTER TABLE "+table+" FORCE ROW LEVEL SECURITY"))
		}
		if !found[name] {
			r.problem(name, "", "the policy "+PolicyName+" is missing or not as the guard needs it",
				fence(fmt.Sprintf("DROP POLICY IF EXISTS %s ON %s; %s", PolicyName, table, createPolicy(table, r.declared[name].TenantColumn, r.tenantType(name)))))
		}
	}
	return nil
}

// tenantType is the type of a table's tenant column as PostgreSQL prints it.
func (r *pgReader) tenantType(table string) string {
	for _, c := range r.tables[table].plan.Columns {
		if c.Name == r.declared[table].TenantColumn {
			return c.Type
		}
	}
	return DefaultTenantType
}

// isPolicy tells whether expr, as PostgreSQL prints it, is the guard's policy expression.
func (r *pgReader) isPolicy(table, expr string) bool {
	column := r.declared[table].TenantColumn
	for _, spelled := range []string{column, quote(column)} {
		if typ := r.tenantType(table); castsTenant(typ) {
			if expr == fmt.Sprintf("(%s = (NULLIF(current_setting('%s'::text, true), ''::text))::%s)", spelled, tenantSetting, typ) {
				return true
			}
			continue
		}
		for _, cast := range []string{spelled, "(" + spelled + ")::text"} {
			want := fmt.Sprintf("(%s = NULLIF(current_setting('%s'::text, true), ''::text))", cast, tenantSetting)
			if expr == want {
				return true
			}
		}
	}
	return false
}
