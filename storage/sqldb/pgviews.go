package sqldb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// readViews finds the views through which the connecting role gets past row-level security. A view reads its tables as its owner,
// unless it is security_invoker: behind one whose owner row-level security does not bind, and behind one of that, all tenants' rows
// are seen. A materialized view has no row-level security, and holds what was seen by whoever refreshed it. The owner's own views are
// bound as the owner is by FORCE ROW LEVEL SECURITY, which Open asks for on declared tables alone. A rule of another table does what
// it does as that table's owner, too.
func (r *pgReader) readViews() error {
	return r.each(`
		, uses(view, relation) AS (
			SELECT w.ev_class, d.refobjid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
			WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND w.ev_class <> d.refobjid),
		readers(oid, declared) AS (
			SELECT u.view, f.declared FROM uses u JOIN reach f ON f.oid = u.relation
			UNION SELECT u.view, v.declared FROM uses u JOIN readers v ON v.oid = u.relation),
		passing(oid, declared) AS (
			SELECT v.oid, v.declared FROM readers v JOIN pg_catalog.pg_class c ON c.oid = v.oid JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
			WHERE c.relkind = 'm' OR (o.rolsuper OR o.rolbypassrls) AND NOT `+asCaller+`
			UNION SELECT u.view, f.declared FROM uses u JOIN reach f ON f.oid = u.relation JOIN pg_catalog.pg_class p ON p.oid = f.oid JOIN pg_catalog.pg_class c ON c.oid = u.view
			WHERE f.oid NOT IN (SELECT oid FROM declared) AND NOT (p.relrowsecurity AND p.relforcerowsecurity) AND NOT `+asCaller+`
			UNION SELECT u.view, v.declared FROM uses u JOIN passing v ON v.oid = u.relation)
		SELECT p.declared, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::text, u.roles
		FROM passing p
		JOIN pg_catalog.pg_class c ON c.oid = p.oid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		CROSS JOIN LATERAL (SELECT ARRAY(`+users()+`) AS roles) u
		WHERE NOT EXISTS (SELECT FROM family f WHERE f.oid = c.oid) AND pg_catalog.cardinality(u.roles) > 0
		ORDER BY 1, 2`,
		func(rows pgx.Rows) error {
			var declared, view, kind string
			var roles []string
			if err := rows.Scan(&declared, &view, &kind, &roles); err != nil {
				return err
			}
			if r.tables[declared].plan.Shared {
				return nil
			}
			what, instead := "the view "+view+" reads it, or is of one that reads it, as an owner whom row-level security does not bind", " /* or ALTER VIEW "+comment(view)+" SET (security_invoker = true) */"
			switch kind {
			case "v":
			case "m":
				what, instead = "the materialized view "+view+" holds rows of it, and has no row-level security", ""
			default:
				what, instead = "a rule of "+view+" reads or changes it as an owner whom row-level security does not bind", " /* or drop the rule */"
			}
			r.problem(declared, "", fmt.Sprintf("%s, and %s may use it", what, strings.Join(roles, ", ")), r.takeAway(view, roles)+instead)
			return nil
		})
}

// readFunctions finds those of [Options].Functions that run as an owner whom row-level security does not bind: what such a
// function reads is all tenants', and no statement shows that it does.
func (r *pgReader) readFunctions() error {
	return r.each(`
		SELECT pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), o.rolname
		FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_roles o ON o.oid = p.proowner
		WHERE p.prosecdef AND (o.rolsuper OR o.rolbypassrls) AND (p.proname::text = ANY ($4::text[]) OR n.nspname::text || '.' || p.proname::text = ANY ($4::text[]))
		ORDER BY 1`,
		func(rows pgx.Rows) error {
			var function, owner string
			if err := rows.Scan(&function, &owner); err != nil {
				return err
			}
			r.problem("", "", fmt.Sprintf("the function %s, which Options.Functions lets statements call, runs as %s, whom row-level security does not bind", function, owner),
				"ALTER FUNCTION "+function+" SECURITY INVOKER; or take it out of Options.Functions")
			return nil
		}, r.options.Functions)
}

// asCaller is the condition that the view c reads its tables with the rights of whoever uses it.
const asCaller = `coalesce((SELECT s.option_value::boolean FROM pg_catalog.pg_options_to_table(c.reloptions) s WHERE s.option_name = 'security_invoker'), false)`

// users are the roles among those that the session can become which may read or write the relation c.
func users() string {
	return `SELECT pg_catalog.quote_ident(o.rolname) FROM pg_catalog.pg_roles o WHERE ` + becomes("o.oid") + ` AND
	(pg_catalog.has_any_column_privilege(o.oid, c.oid, 'SELECT, INSERT, UPDATE') OR pg_catalog.has_table_privilege(o.oid, c.oid, 'DELETE')) ORDER BY 1`
}

// takeAway is the statement by which roles lose what they may do to a relation.
func (r *pgReader) takeAway(relation string, roles []string) string {
	for _, all := range []string{"pg_read_all_data", "pg_write_all_data"} {
		if slices.Contains(roles, all) {
			return r.revoke(all)
		}
	}
	return fmt.Sprintf("REVOKE ALL ON %s FROM PUBLIC, %s", relation, strings.Join(roles, ", "))
}
