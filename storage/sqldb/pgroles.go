package sqldb

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// readRole checks that row-level security binds the connecting role, and every role that it could become. Membership counts
// whether it is inherited or not: SET ROLE is one statement away.
func (r *pgReader) readRole() error {
	var (
		super, bypass bool
		mayBe         []string
	)
	err := r.conn.QueryRow(r.ctx, `
		SELECT rolname, rolsuper, rolbypassrls,
		       ARRAY(SELECT o.rolname::text FROM pg_catalog.pg_roles o WHERE (o.rolsuper OR o.rolbypassrls) AND o.oid <> r.oid
		             AND pg_catalog.pg_has_role(r.oid, o.oid, 'MEMBER') ORDER BY 1)
		FROM pg_catalog.pg_roles r WHERE rolname = current_user`).Scan(&r.role, &super, &bypass, &mayBe)
	if err != nil {
		return err
	}
	if r.options.InsecureWithoutRLS {
		return nil
	}
	switch {
	case super:
		r.problem("", "", "the role "+r.role+" is a superuser, whom row-level security does not bind", "connect as a role made with CREATE ROLE … NOSUPERUSER NOBYPASSRLS LOGIN")
		return nil // who owns everything anyway
	case bypass:
		r.problem("", "", "the role "+r.role+" bypasses row-level security", "ALTER ROLE "+quote(r.role)+" NOBYPASSRLS")
	}
	for _, role := range mayBe {
		r.problem("", "", "the role "+r.role+" is a member of "+role+", whom row-level security does not bind", r.revoke(role))
	}
	return r.readOwners()
}

// revoke is the statement that ends the connecting role's membership.
func (r *pgReader) revoke(role string) string {
	return fmt.Sprintf("REVOKE %s FROM %s /* or from the role through which it is a member */", quote(role), quote(r.role))
}

// readOwners checks that the connecting role owns nothing of the fence, and is a member of nobody who does: an owner may
// switch row-level security off, drop constraints, and read the tables that hold a table's rows.
func (r *pgReader) readOwners() error {
	err := r.each(`
		SELECT x.kind, x.declared, x.object, o.rolname
		FROM (SELECT 'table' AS kind, f.declared, c.oid::regclass::text AS object, c.relowner AS owner
		      FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid
		      UNION SELECT 'schema', '', pg_catalog.quote_ident(nspname), nspowner FROM pg_catalog.pg_namespace WHERE nspname = ANY ($4)
		      UNION SELECT 'database', '', pg_catalog.quote_ident(datname), datdba FROM pg_catalog.pg_database WHERE datname = current_database()) x
		JOIN pg_catalog.pg_roles o ON o.oid = x.owner
		WHERE NOT o.rolsuper AND o.rolname <> 'pg_database_owner' AND pg_catalog.pg_has_role(current_user, o.oid, 'MEMBER')
		ORDER BY x.kind DESC, x.object`,
		func(rows pgx.Rows) error {
			var kind, declared, object, owner string
			if err := rows.Scan(&kind, &declared, &object, &owner); err != nil {
				return err
			}
			what := fmt.Sprintf("the role %s owns the %s %s and can take its fences down", owner, kind, object)
			fix := fmt.Sprintf("ALTER %s %s OWNER TO another_role; %s /* another_role being one that the application does not connect as */",
				strings.ToUpper(kind), object, fmt.Sprintf(regrant[kind], object, quote(owner)))
			if owner != r.role {
				what = fmt.Sprintf("the role %s is a member of %s, which owns the %s %s and can take its fences down", r.role, owner, kind, object)
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
}

// readCreators checks that the role makes no operators where those of the guard's statements are looked up: PostgreSQL takes
// the one whose types fit best, wherever in the search path it is.
func (r *pgReader) readCreators() error {
	rows, err := r.conn.Query(r.ctx, `
		SELECT DISTINCT pg_catalog.quote_ident(n.nspname), o.rolname
		FROM pg_catalog.pg_namespace n, pg_catalog.pg_roles o
		WHERE (n.nspname = ANY ($1) OR n.nspname = ANY (current_schemas(false)))
		  AND NOT o.rolsuper AND pg_catalog.pg_has_role(current_user, o.oid, 'MEMBER') AND pg_catalog.has_schema_privilege(o.oid, n.oid, 'CREATE')
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
