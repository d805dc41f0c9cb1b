package sqldb

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// becomes is the condition that the session can become a role: the one that it acts as, the one that it logged in as, which
// SET ROLE NONE goes back to, and all that these are members of. Membership counts whether it is inherited or not: SET ROLE
// is one statement away.
func becomes(oid string) string {
	return fmt.Sprintf("(pg_catalog.pg_has_role(current_user, %[1]s, 'MEMBER') OR pg_catalog.pg_has_role(session_user, %[1]s, 'MEMBER'))", oid)
}

// passes are the predefined roles that get at rows past row-level security, with what they do. Who reads the server's files
// reads the tables'.
var passes = map[string]string{
	"pg_read_server_files":      "reads the server's files, its tables' among them",
	"pg_write_server_files":     "writes the server's files, its tables' among them",
	"pg_execute_server_program": "runs programs as the server",
	"pg_maintain":               "rewrites and locks all tables",
}

// readRole checks that row-level security binds the connecting role, and every role that it could become.
func (r *pgReader) readRole() error {
	err := r.conn.QueryRow(r.ctx, `SELECT current_user::text, session_user::text`).Scan(&r.role, &r.login)
	if err != nil || r.options.InsecureWithoutRLS {
		return err
	}
	rows, err := r.conn.Query(r.ctx, `
		SELECT o.rolname, o.rolsuper, o.rolbypassrls, o.rolreplication, o.rolcreaterole
		FROM pg_catalog.pg_roles o WHERE (o.rolsuper OR o.rolbypassrls OR o.rolreplication OR o.rolcreaterole OR o.rolname = ANY ($1)) AND `+becomes("o.oid")+`
		-- A superuser is a member of every role; what the others are comes after.
		ORDER BY o.rolname NOT IN (current_user, session_user), 1`, sortedKeys(passes))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var role string
		var super, bypass, replicates, creates bool
		if err := rows.Scan(&role, &super, &bypass, &replicates, &creates); err != nil {
			return err
		}
		itself := role == r.role || role == r.login
		if super && itself {
			r.problem("", "", "the role "+role+" is a superuser, whom row-level security does not bind", "connect as a role made with CREATE ROLE … NOSUPERUSER NOBYPASSRLS LOGIN")
			return nil // who owns everything anyway
		}
		report := func(has bool, what, without string) {
			switch {
			case !has:
			case itself:
				r.problem("", "", "the role "+role+" "+what, "ALTER ROLE "+quote(role)+" "+without)
			default:
				r.problem("", "", "the role "+r.role+" is a member of "+role+", who "+what, r.revoke(role))
			}
		}
		report(super, "is a superuser, whom row-level security does not bind", "NOSUPERUSER")
		report(bypass, "bypasses row-level security", "NOBYPASSRLS")
		report(replicates, "has REPLICATION and may copy the whole database, past row-level security", "NOREPLICATION")
		report(creates, "has CREATEROLE and may make itself a member of other roles", "NOCREATEROLE")
		report(passes[role] != "", passes[role], "")
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := r.readOwners(); err != nil {
		return err
	}
	return r.readPrivileges()
}

// revoke is the statement that ends the connecting role's membership.
func (r *pgReader) revoke(role string) string {
	return fmt.Sprintf("REVOKE %s FROM %s /* or from the role through which it is a member */", quote(role), quote(r.role))
}

// readOwners checks that the connecting role owns nothing of the fence, and is a member of nobody who does: an owner may
// switch row-level security off, drop constraints, and read the tables that hold a table's rows, or show them. What a function does
// that a table's triggers, constraints, defaults, indexes or policies call its owner may change. It runs as whoever writes to the table, and
// one of a policy is shown the rows that the policy keeps back.
func (r *pgReader) readOwners() error {
	err := r.each(`
		SELECT x.kind, x.declared, x.object, o.rolname
		FROM (SELECT 'table' AS kind, f.declared, c.oid::regclass::text AS object, c.relowner AS owner
		      FROM reach f JOIN pg_catalog.pg_class c ON c.oid = f.oid
		      UNION SELECT 'function', x.declared, pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), p.proowner
		      FROM (SELECT f.declared, t.tgfoid AS oid FROM family f JOIN pg_catalog.pg_trigger t ON t.tgrelid = f.oid AND NOT t.tgisinternal
		            UNION SELECT f.declared, d.refobjid FROM family f JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND (
		                d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid IN (SELECT a.oid FROM pg_catalog.pg_attrdef a WHERE a.adrelid = f.oid)
		                OR d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid IN (SELECT k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = f.oid)
		                OR d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid IN (SELECT y.oid FROM pg_catalog.pg_policy y WHERE y.polrelid = f.oid)
		                OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid IN (SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = f.oid))) x
		      JOIN pg_catalog.pg_proc p ON p.oid = x.oid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		      UNION SELECT 'schema', '', pg_catalog.quote_ident(nspname), nspowner FROM pg_catalog.pg_namespace WHERE nspname = ANY ($4)
		      UNION SELECT 'database', '', pg_catalog.quote_ident(datname), datdba FROM pg_catalog.pg_database WHERE datname = current_database()) x
		JOIN pg_catalog.pg_roles o ON o.oid = x.owner
		WHERE NOT o.rolsuper AND o.rolname <> 'pg_database_owner' AND `+becomes("o.oid")+`
		ORDER BY x.kind DESC, x.object`,
		func(rows pgx.Rows) error {
			var kind, declared, object, owner string
			if err := rows.Scan(&kind, &declared, &object, &owner); err != nil {
				return err
			}
			can := "can take its fences down"
			if kind == "function" {
				can = "can change what it does as whoever uses the table, its owner too"
			}
			what := fmt.Sprintf("the role %s owns the %s %s and %s", owner, kind, object, can)
			fix := fmt.Sprintf("ALTER %s %s OWNER TO another_role; %s /* another_role being one that the application does not connect as */",
				strings.ToUpper(kind), object, fmt.Sprintf(regrant[kind], object, quote(owner)))
			switch owner {
			case r.role:
			case r.login:
				what = fmt.Sprintf("the role %s, as which the session logged in, owns the %s %s and %s", owner, kind, object, can)
				fix = "connect as a role that owns nothing, or " + fix
			default:
				what = fmt.Sprintf("the role %s is a member of %s, which owns the %s %s and %s", r.role, owner, kind, object, can)
				fix = r.revoke(owner)
			}
			r.problem(declared, "", what, fix)
			return nil
		}, r.schemas())
	if err != nil {
		return err
	}
	return r.readCreators()
}

// regrant gives back what a former owner still needs.
var regrant = map[string]string{
	"table":    "GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s",
	"schema":   "GRANT USAGE ON SCHEMA %s TO %s",
	"database": "GRANT CONNECT ON DATABASE %s TO %s",
	"function": "GRANT EXECUTE ON FUNCTION %s TO %s",
}

// readCreators checks that the role makes no operators where those of the guard's statements are looked up: PostgreSQL takes
// the one whose types fit best, wherever in the search path it is.
func (r *pgReader) readCreators() error {
	rows, err := r.conn.Query(r.ctx, `
		SELECT DISTINCT pg_catalog.quote_ident(n.nspname), o.rolname
		FROM pg_catalog.pg_namespace n, pg_catalog.pg_roles o
		WHERE (n.nspname = ANY ($1) OR n.nspname = ANY (current_schemas(false)))
		  AND NOT o.rolsuper AND `+becomes("o.oid")+` AND pg_catalog.has_schema_privilege(o.oid, n.oid, 'CREATE')
		  AND NOT pg_catalog.pg_has_role(o.oid, n.nspowner, 'MEMBER') -- its owner is reported as that
		ORDER BY 1, 2`, r.schemas())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var schema, role string
		if err := rows.Scan(&schema, &role); err != nil {
			return err
		}
		r.problem("", "", fmt.Sprintf("the role %s may create operators in schema %s, where those of the guard's statements are looked up", role, schema),
			fmt.Sprintf("REVOKE CREATE ON SCHEMA %s FROM PUBLIC, %s", schema, quote(role)))
	}
	return rows.Err()
}
