package sqldb

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// PolicyName is the row-level security policy that [Schema.DDL] creates on every tenant's table.
const PolicyName = "strongroom_tenant"

// tenantSetting is the session setting that the policy compares with. It is ” and not NULL once a transaction that
// set it locally has ended, hence the NULLIF.
const tenantSetting = "strongroom.tenant"

// DDL returns the statements that make existing tables fit the schema, for the tables' owner to run through a raw
// handle: the tenant column, sealed and index columns with their constraints ([Table.Checks]), the blind indexes, and on
// PostgreSQL row-level security with its policy, and for partitions and children without one. On PostgreSQL they can be run again, and on tables with rows: what a table's
// rows do not allow yet is left as it was, with a warning. Its tenant column stays nullable, and row-level security off, while
// a row has no tenant, and a column that holds plaintexts stays as it is. What has to be designed by hand is not
// in them: the tenant column belongs into every primary key, unique constraint and foreign key; [Open] names every place where
// anything is missing, and [Migrate] does all of it while the application runs. On SQLite, which cannot add a column that may
// be there, a table with a tenant column of its own name is taken to have it, and rows get the empty tenant, which nobody is.
// opts may be nil; it must be what Open is given.
func (s Schema) DDL(d dialect.Dialect, opts *Options) (string, error) {
	o := opts.withDefaults()
	if d != dialect.PostgreSQL && d != dialect.SQLite {
		return "", fmt.Errorf("sqldb: unknown dialect %q; use dialect.PostgreSQL or dialect.SQLite", d)
	}
	if err := s.validate(o); err != nil {
		return "", err
	}
	s = s.withDefaults(o)
	var b strings.Builder
	for _, name := range sortedKeys(s) {
		if d == dialect.SQLite && strings.Contains(name, ".") {
			return "", fmt.Errorf("sqldb: the table %s is declared in a schema, which SQLite has not", name)
		}
		if table := s[name]; !table.Shared {
			if !castsTenant(table.TenantType) && table.TenantType != DefaultTenantType {
				return "", fmt.Errorf("sqldb: a tenant column cannot be of type %q; use text, uuid, bigint or integer", table.TenantType)
			}
			table.ddl(&b, name, d, o)
		}
	}
	if o.Leakproof && d == dialect.PostgreSQL {
		leakproofDDL(&b)
	}
	return b.String(), nil
}

func (t Table) ddl(b *strings.Builder, name string, d dialect.Dialect, o *Options) {
	schema, relation := o.place(name)
	table, tenantType, blob, exists := quote(schema)+"."+quote(relation), t.tenantType(), "bytea", "IF NOT EXISTS "
	if d == dialect.SQLite {
		// SQLite has no ADD COLUMN IF NOT EXISTS; a migration tool runs each once.
		table, tenantType, blob, exists = quote(name), "TEXT", "BLOB", ""
	}
	tenant := quote(t.TenantColumn)
	fmt.Fprintf(b, "-- %s\n", strings.ReplaceAll(name, "\n", " "))
	if d == dialect.SQLite && t.TenantColumn != o.TenantColumn {
		fmt.Fprintf(b, "-- the table's own tenant column, %s, is there already\n", strings.ReplaceAll(tenant, "\n", " "))
	} else if d == dialect.SQLite {
		// SQLite adds no NOT NULL column without a default, even to an empty table.
		fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s %s NOT NULL DEFAULT '';\n", table, tenant, tenantType)
	} else {
		fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s%s %s;\n", table, exists, tenant, tenantType)
		fmt.Fprintf(b, "%s;\n", requireTenants(table, tenant))
	}
	for _, c := range t.checks() {
		if d == dialect.SQLite {
			fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s %s %s;\n", table, quote(c.column), blob, c.definition(d))
		} else {
			fmt.Fprintf(b, "ALTER TABLE %s ADD COLUMN %s%s %s;\n%s;\n", table, exists, quote(c.column), blob, c.addWhereSealed(table))
		}
		if c.logical == 0 {
			fmt.Fprintf(b, "%s;\n", createIndex(d, indexName(relation, c.column), table, t.TenantColumn, c.column))
		}
	}
	if d != dialect.PostgreSQL {
		return
	}
	fence := fmt.Sprintf("ALTER TABLE %[1]s ENABLE ROW LEVEL SECURITY; ALTER TABLE %[1]s FORCE ROW LEVEL SECURITY; DROP POLICY IF EXISTS %[2]s ON %[1]s; %[3]s",
		table, PolicyName, createPolicy(table, t.TenantColumn, t.TenantType))
	fmt.Fprintf(b, "%s;\n", whereTenants(table, t.TenantColumn, fence))
	fmt.Fprintf(b, "%s;\n", fenceParts(table))
}

// fenceParts turns row-level security on for the partitions and children that hold the rows of a table which has it. Its own policy
// does not bind statements that name them, and without one of their own they show nobody but their owner anything.
func fenceParts(table string) string {
	return doBlock(fmt.Sprintf("DECLARE part pg_catalog.regclass; BEGIN FOR part IN WITH RECURSIVE parts(oid) AS ("+
		"SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent AND c.relrowsecurity WHERE c.oid = %s::pg_catalog.regclass "+
		"UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN parts p ON i.inhparent = p.oid) "+
		"SELECT c.oid FROM parts p JOIN pg_catalog.pg_class c ON c.oid = p.oid WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity "+
		"LOOP EXECUTE 'ALTER TABLE ' || part || ' ENABLE ROW LEVEL SECURITY'; END LOOP; END;", literal(table)))
}

// requireTenants makes a tenant column NOT NULL, or warns where a row has no tenant yet.
func requireTenants(table, tenant string) string {
	return doBlock(fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL; EXCEPTION WHEN not_null_violation THEN %s;", table, tenant,
		warn("rows of "+table+" have no tenant yet: give each its own, with UPDATE or sqldb.Migrate, and run this again")))
}

// whereTenants runs statements on a table whose tenant column is NOT NULL. Behind row-level security a row without a tenant is
// out of everybody's reach, its owner's too.
func whereTenants(table, tenantColumn, statements string) string {
	return doBlock(fmt.Sprintf("IF (SELECT a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s::pg_catalog.regclass AND a.attname = %s) THEN %s; ELSE %s; END IF;",
		literal(table), literal(tenantColumn), statements, warn("row-level security of "+table+" stays as it is, since its tenant column can be NULL: run this again when each row has a tenant")))
}

// doBlock is a statement that decides by what is there.
func doBlock(body string) string {
	tag := "$strongroom$"
	for n := 0; strings.Contains(body, tag); n++ { // a name can have anything in it
		tag = fmt.Sprintf("$strongroom%d$", n)
	}
	return "DO " + tag + " BEGIN " + body + " END " + tag
}

func warn(message string) string { return "RAISE WARNING '%', " + literal(message) }

// literal returns s as a string constant of PostgreSQL's, whatever its settings are.
func literal(s string) string {
	if strings.Contains(s, `\`) {
		return ` E'` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
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

// indexName is the name of a blind index's own index. No two columns of a schema's tables have the same one: where the parts cannot
// be told apart, or are too long for PostgreSQL, a hash of them follows.
func indexName(table, column string) string {
	const suffix = "_blind"
	name := table + "_" + column + suffix
	if len(name) <= maxIdentifier && !strings.Contains(table, "_") {
		return name
	}
	sum := sha256.Sum256([]byte(table + "\x00" + column))
	hash := suffix + "_" + hex.EncodeToString(sum[:8])
	name = table + "_" + column
	return strings.ToValidUTF8(name[:min(len(name), maxIdentifier-len(hash))], "") + hash
}

// createIndex makes the index of a blind index column, unless there is one that serves: by an earlier version's name, or of a key.
func createIndex(d dialect.Dialect, name, table, tenant, column string) string {
	create := fmt.Sprintf("CREATE INDEX %s ON %s (%s, %s)", quote(name), table, quote(tenant), quote(column))
	if d != dialect.PostgreSQL {
		return create
	}
	return doBlock(fmt.Sprintf("IF NOT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree' "+
		"JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = %s "+
		"JOIN pg_catalog.pg_attribute b ON b.attrelid = i.indrelid AND b.attnum = i.indkey[1] AND b.attname = %s "+
		"WHERE i.indrelid = %s::pg_catalog.regclass AND i.indnkeyatts > 1 AND i.indisvalid AND i.indpred IS NULL) THEN %s; END IF;",
		literal(tenant), literal(column), literal(table), create))
}

// quote returns name as a quoted identifier of either engine.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
