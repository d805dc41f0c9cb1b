package sqldb

import (
	"fmt"
	"strings"
)

// PolicyName is the row-level security policy that [Schema.DDL] creates on every tenant's table.
const PolicyName = "strongroom_tenant"

// tenantSetting is the session setting that the policy compares with. It is ” and not NULL once a transaction that
// set it locally has ended, hence the NULLIF.
const tenantSetting = "strongroom.tenant"

// DDL returns the statements that make existing tables fit the schema, for the tables' owner to run through a raw
// handle: the tenant column, sealed and index columns with their constraints ([Table.Checks]), the blind indexes, and on
// PostgreSQL row-level security with its policy. On PostgreSQL they can be run again. What has to be designed by hand is not
// in them: the tenant column belongs into every primary key, unique constraint and foreign key, and existing rows need a
// tenant and their values sealed; [Open] names every place where that is missing. On SQLite, which cannot add a column that may
// be there, a table with a tenant column of its own name is taken to have it. opts may be nil; it must be what Open is
// given.
func (s Schema) DDL(dialect Dialect, opts *Options) (string, error) {
	o := opts.withDefaults()
	if dialect != PostgreSQL && dialect != SQLite {
		return "", fmt.Errorf("sqldb: unknown dialect %q; use sqldb.PostgreSQL or sqldb.SQLite", dialect)
	}
	if err := s.validate(o); err != nil {
		return "", err
	}
	s = s.withDefaults(o)
	var b strings.Builder
	for _, name := range sortedKeys(s) {
		if dialect == SQLite && strings.Contains(name, ".") {
			return "", fmt.Errorf("sqldb: the table %s is declared in a schema, which SQLite has not", name)
		}
		if table := s[name]; !table.Shared {
			if !castsTenant(table.TenantType) && table.TenantType != DefaultTenantType {
				return "", fmt.Errorf("sqldb: a tenant column cannot be of type %q; use text, uuid, bigint or integer", table.TenantType)
			}
			table.ddl(&b, name, dialect, o)
		}
	}
	if o.Leakproof && dialect == PostgreSQL {
		leakproofDDL(&b)
	}
	return b.String(), nil
}

func (t Table) ddl(b *strings.Builder, name string, dialect Dialect, o *Options) {
	schema, relation := o.place(name)
	table, tenantType, blob, exists := quote(schema)+"."+quote(relation), t.tenantType(), "bytea", "IF NOT EXISTS "
	if dialect == SQLite {
		// SQLite has no ADD COLUMN IF NOT EXISTS; a migration tool runs each once.
		table, tenantType, blob, exists = quote(name), "TEXT", "BLOB", ""
	}
	tenant := quote(t.TenantColumn)
	fmt.Fprintf(b, "-- %s\n", strings.ReplaceAll(name, "\n", " "))
	if dialect == SQLite && t.TenantColumn != o.TenantColumn {
		fmt.Fprintf(b, "-- the table's own tenant column, %s, is there already\n", strings.ReplaceAll(tenant, "\n", " "))
	} else if dialect == SQLite {
		// SQLite adds no NOT NULL column without a default, even to an empty table.
		fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s %s NOT NULL DEFAULT '';\n", table, tenant, tenantType)
	} else {
		fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s%s %s;\n", table, exists, tenant, tenantType)
		fmt.Fprintf(b, "-- rows that exist need a tenant before the next statement\nALTER TABLE %s ALTER COLUMN %s SET NOT NULL;\n", table, tenant)
	}
	for _, c := range t.checks() {
		if dialect == SQLite {
			fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s %s %s;\n", table, quote(c.column), blob, c.definition(dialect))
		} else {
			fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s%s %s;\n%s;\n", table, exists, quote(c.column), blob, c.add(table))
		}
		if c.logical == 0 {
			fmt.Fprintf(b, "CREATE INDEX IF NOT EXISTS %s ON %s (%s, %s);\n", quote(indexName(relation, c.column)), table, tenant, quote(c.column))
		}
	}
	if dialect != PostgreSQL {
		return
	}
	fmt.Fprintf(b, "ALTER TABLE %s ENABLE ROW LEVEL SECURITY;\nALTER TABLE %s FORCE ROW LEVEL SECURITY;\n", table, table)
	fmt.Fprintf(b, "DROP POLICY IF EXISTS %s ON %s;\n%s;\n", PolicyName, table, createPolicy(table, t.TenantColumn, t.TenantType))
}

// tenantType is the tenant column's type as PostgreSQL's ADD COLUMN takes it.
func (t Table) tenantType() string {
	if castsTenant(t.TenantType) {
		return t.TenantType
	}
	return `text COLLATE "C"`
}

// policyExpression compares the tenant column with the session's setting, which is a text.
func policyExpression(tenantColumn, typ string) string {
	setting := fmt.Sprintf("NULLIF(current_setting('%s', true), '')", tenantSetting)
	if castsTenant(typ) {
		setting += "::" + typ
	}
	return quote(tenantColumn) + " = " + setting
}

// castsTenant tells whether a tenant column's type, as PostgreSQL prints it, is no text. Of a UUID or an integer a tenant's id
// must be the canonical text, which is checked before it is bound.
func castsTenant(typ string) bool { return typ == "uuid" || typ == "bigint" || typ == "integer" }

// indexName keeps within PostgreSQL's limit; two tables that share a long beginning would collide, and then the
// database says so.
func indexName(table, column string) string {
	name := table + "_" + column + "_blind"
	if len(name) > maxIdentifier {
		name = name[:maxIdentifier]
	}
	return strings.ToValidUTF8(name, "")
}

// quote returns name as a quoted identifier of either engine.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
