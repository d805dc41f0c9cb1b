package sqldb

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Row-level security binds SELECT, INSERT, UPDATE and DELETE on the table that has it, and nothing else. So the connecting role
// has those on declared tables and no other: TRUNCATE empties all tenants' tables, a foreign key (REFERENCES) is checked as the
// table's owner and tells of all tenants' rows, a trigger (TRIGGER) runs as whoever makes it fire, the owner and a migration too,
// and MAINTAIN, since PostgreSQL 17, rewrites and locks. What a later version adds is not among the four either.

// readPrivileges checks what the connecting role, and every role that it could become, may do to declared tables and to those
// that hold their rows.
func (r *pgReader) readPrivileges() error {
	for _, read := range []func() error{r.readExcess, r.readSequencePrivileges, r.readParts, r.readViews, r.readFunctions} {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// readExcess finds the privileges on tables and columns beyond the four. It reads what was granted and not what is had, since
// has_table_privilege knows only the privileges of its own version by name.
func (r *pgReader) readExcess() error {
	return r.each(`
		SELECT f.declared, pg_catalog.format('%I.%I', n.nspname, c.relname), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
		       pg_catalog.array_agg(DISTINCT a.privilege ORDER BY a.privilege)
		FROM reach f
		JOIN pg_catalog.pg_class c ON c.oid = f.oid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		CROSS JOIN LATERAL (
			SELECT x.grantee, x.privilege_type AS name, x.privilege_type AS privilege FROM pg_catalog.aclexplode(c.relacl) x
			UNION ALL
			SELECT x.grantee, x.privilege_type, x.privilege_type || ' (' || pg_catalog.quote_ident(k.attname) || ')'
			FROM pg_catalog.pg_attribute k CROSS JOIN LATERAL pg_catalog.aclexplode(k.attacl) x WHERE k.attrelid = c.oid AND NOT k.attisdropped) a
		WHERE a.name NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND a.grantee <> c.relowner AND (a.grantee = 0 OR `+becomes("a.grantee")+`)
		GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
		func(rows pgx.Rows) error {
			var declared, table, grantee string
			var privileges []string
			if err := rows.Scan(&declared, &table, &grantee, &privileges); err != nil {
				return err
			}
			list := strings.Join(privileges, ", ")
			r.problem(declared, "", fmt.Sprintf("row-level security does not bind %s on %s, which %s has", list, table, r.whoHas(grantee)), fmt.Sprintf("REVOKE %s ON %s FROM %s CASCADE", list, table, grantee))
			return nil
		})
}

// whoHas says how the connecting role comes by a privilege.
func (r *pgReader) whoHas(grantee string) string {
	switch grantee {
	case "PUBLIC":
		return "everybody (PUBLIC)"
	case quote(r.role), r.role:
		return "the role " + r.role
	}
	return "a role that " + r.role + " is a member of, " + grantee + ","
}

// readSequencePrivileges finds who may set sequences: all tenants draw their numbers from them. USAGE is enough for that.
func (r *pgReader) readSequencePrivileges() error {
	return r.each(`
		SELECT DISTINCT f.declared, pg_catalog.format('%I.%I', n.nspname, s.relname), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
		FROM family f
		JOIN pg_catalog.pg_depend d ON d.refobjid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
			AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
		JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
		JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
		CROSS JOIN LATERAL pg_catalog.aclexplode(s.relacl) a
		WHERE a.privilege_type NOT IN ('USAGE', 'SELECT') AND a.grantee <> s.relowner AND (a.grantee = 0 OR `+becomes("a.grantee")+`)
		ORDER BY 1, 2, 3`,
		func(rows pgx.Rows) error {
			var declared, sequence, grantee string
			if err := rows.Scan(&declared, &sequence, &grantee); err != nil {
				return err
			}
			r.problem(declared, "", fmt.Sprintf("row-level security does not bind UPDATE on %s, which %s has: it sets the numbers that all tenants draw", sequence, r.whoHas(grantee)),
				fmt.Sprintf("GRANT USAGE ON SEQUENCE %[1]s TO %[2]s; REVOKE UPDATE ON SEQUENCE %[1]s FROM %[2]s CASCADE", sequence, grantee))
			return nil
		})
}

// readParts finds partitions and children that are not declared and that the connecting role may use by themselves, and tables
// that a declared one is a partition or child of. The policies of a table bind statements that name it, and none that name the tables
// which hold its rows, or through which they are seen. Through the declared table parts need neither privileges nor policies.
func (r *pgReader) readParts() error {
	return r.each(`
		SELECT f.declared, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind = 'f', c.relrowsecurity, f.above,
		       ARRAY(SELECT pg_catalog.quote_ident(p.polname) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive ORDER BY 1),
		       ARRAY(SELECT coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '') FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive ORDER BY pg_catalog.quote_ident(p.polname)),
		       ARRAY(SELECT coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '') FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive ORDER BY pg_catalog.quote_ident(p.polname)),
		       ARRAY(`+users()+`)
		FROM reach f
		JOIN pg_catalog.pg_class c ON c.oid = f.oid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE f.oid NOT IN (SELECT oid FROM declared) AND NOT `+becomes("c.relowner")+` -- which is reported as that
		ORDER BY 1, 2`,
		func(rows pgx.Rows) error {
			var declared, part string
			var foreign, rls, above bool
			var policies, using, check, roles []string
			if err := rows.Scan(&declared, &part, &foreign, &rls, &above, &policies, &using, &check, &roles); err != nil {
				return err
			}
			if r.tables[declared].plan.Shared || len(roles) == 0 {
				return nil
			}
			holds := "holds"
			if above {
				holds = "shows"
			}
			what := fmt.Sprintf("%s %s rows of it, and %s may use it by itself, where the policy of %s does not bind", part, holds, strings.Join(roles, ", "), declared)
			if foreign { // which has no row-level security
				r.problem(declared, "", what, r.takeAway(part, roles))
				return nil
			}
			if !rls {
				r.problem(declared, "", what, "ALTER TABLE "+part+" ENABLE ROW LEVEL SECURITY /* without a policy of its own it shows nobody but its owner anything; through "+comment(declared)+" its rows are seen as before */")
			}
			for i, policy := range policies {
				if !r.isPolicy(declared, using[i]) || check[i] != "" && !r.isPolicy(declared, check[i]) {
					r.problem(declared, "", fmt.Sprintf("the policy %s of %s, which %s rows of it, is not the guard's and lets rows through by itself", policy, part, holds), fmt.Sprintf("DROP POLICY %s ON %s", policy, part))
				}
			}
			return nil
		})
}

// grantees are those that were granted anything on the column a, or may read the table with it or make triggers, but its owner.
const grantees = `ARRAY(
	SELECT DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END
	FROM pg_catalog.pg_class c CROSS JOIN LATERAL (
		SELECT * FROM pg_catalog.aclexplode(a.attacl) UNION ALL SELECT * FROM pg_catalog.aclexplode(c.relacl) t WHERE t.privilege_type IN ('SELECT', 'UPDATE', 'TRIGGER')) x
	WHERE c.oid = a.attrelid AND x.grantee <> c.relowner ORDER BY 1)`

// aside reports a column of plaintexts that a migration keeps until it drops them, where anybody but the owner gets at them: the
// role that connects, by whatever way, or others by what they were granted.
func (r *pgReader) aside(table, column string, shown bool, others []string) {
	who := strings.Join(others, ", ")
	switch {
	case len(others) > 0:
	case shown:
		who = "the role"
	default:
		return
	}
	r.problem(table, column, fmt.Sprintf("the column holds the plaintexts that a migration keeps aside, and %s may read or write them, or make a trigger that does", who),
		fmt.Sprintf("drop them with sqldb.Migrate; or REVOKE SELECT, UPDATE, TRIGGER ON %s from %s, and GRANT SELECT, UPDATE for the other columns", r.check(table).qualified(), who))
}
