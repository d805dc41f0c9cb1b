package sqldb

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// mayDelete reports what would keep the role from emptying the tables, before anything is deleted: a privilege that it lacks,
// and a policy that hides rows from it, of which it could not even tell that they are left.
func (p *postgres) mayDelete(ctx context.Context, _ *sqlplan.Catalog, steps []offboardStep) (problems []Problem, err error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var names, relations, cutTables, cutRelations, cutColumns []string
	for _, step := range steps {
		for _, t := range step.tables {
			names, relations = append(names, t.Name), append(relations, quote(t.Schema)+"."+quote(t.Relation()))
		}
		for _, cut := range step.cuts {
			cutTables, cutColumns = append(cutTables, cut.table.Name), append(cutColumns, cut.column)
			cutRelations = append(cutRelations, quote(cut.table.Schema)+"."+quote(cut.table.Relation()))
		}
	}
	problem := func(table, column, what, fix string) {
		problems = append(problems, Problem{Table: table, Column: column, What: what, Fix: fix})
	}
	privileges := func(rows pgx.Rows) error {
		var table, relation, column, privilege, role string
		if err := rows.Scan(&table, &relation, &column, &privilege, &role); err != nil {
			return err
		}
		what, of := privilege, ""
		if column != "" {
			of = " (" + quote(column) + ")"
		}
		problem(table, column, fmt.Sprintf("the role %s may not %s its rows, which offboarding does", role, what), fmt.Sprintf("GRANT %s%s ON %s TO %s", privilege, of, relation, quote(role)))
		return nil
	}
	policies := func(rows pgx.Rows) error {
		var table, relation, policy string
		if err := rows.Scan(&table, &relation, &policy); err != nil {
			return err
		}
		problem(table, "", fmt.Sprintf("the restrictive policy %s may hide rows from the role, or keep it from deleting them", policy),
			"offboard as a role that the policy is not for: CREATE POLICY … TO role")
		return nil
	}
	hidden := func(rows pgx.Rows) error {
		var table, relation string
		if err := rows.Scan(&table, &relation); err != nil {
			return err
		}
		problem(table, "", "row-level security is on and the session is not told its tenant, so that rows may be hidden from it", "open the database without InsecureWithoutRLS")
		return nil
	}
	type check struct {
		query string
		args  []any
		scan  func(pgx.Rows) error
	}
	const tables = `FROM unnest($1::text[], $2::text[]) AS t(name, relation) `
	checks := []check{
		{`SELECT t.name, t.relation, '', p.privilege, current_user::text ` + tables + `CROSS JOIN (VALUES ('SELECT'), ('DELETE')) AS p(privilege)
			WHERE NOT CASE p.privilege WHEN 'SELECT' THEN pg_catalog.has_any_column_privilege(t.relation, 'SELECT') ELSE pg_catalog.has_table_privilege(t.relation, p.privilege) END ORDER BY t.name, p.privilege`, []any{names, relations}, privileges},
		{`SELECT t.name, t.relation, t.col, 'UPDATE', current_user::text FROM unnest($1::text[], $2::text[], $3::text[]) AS t(name, relation, col)
			WHERE NOT pg_catalog.has_column_privilege(t.relation, t.col, 'UPDATE') ORDER BY t.name, t.col`, []any{cutTables, cutRelations, cutColumns}, privileges},
		{`SELECT t.name, t.relation, p.polname ` + tables + `JOIN pg_catalog.pg_policy p ON p.polrelid = t.relation::regclass
			WHERE NOT p.polpermissive AND p.polcmd IN ('*', 'r', 'w', 'd') AND pg_catalog.row_security_active(t.relation)
			  AND EXISTS (SELECT FROM unnest(p.polroles) AS r(oid) WHERE r.oid = 0 OR pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER'))
			ORDER BY t.name, p.polname`, []any{names, relations}, policies},
	}
	if !p.rls {
		checks = append(checks, check{`SELECT t.name, t.relation ` + tables + `WHERE pg_catalog.row_security_active(t.relation) ORDER BY t.name`, []any{names, relations}, hidden})
	}
	for _, c := range checks {
		if err := each(ctx, conn, c.query, c.scan, c.args...); err != nil {
			return nil, fmt.Errorf("sqldb: reading what the role may do from PostgreSQL's catalog failed: %w", redact(err))
		}
	}
	return problems, nil
}

// each calls scan for every row of a query.
func each(ctx context.Context, conn *pgx.Conn, query string, scan func(pgx.Rows) error, args ...any) error {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
