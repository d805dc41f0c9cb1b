package sqldb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// What is printed as a fix works on a table that has rows, as it stands: it loses none of them and no value, and where it needs
// what only the owner knows, such as whose a row is, the database refuses it and changes nothing until that was given. Only
// what SQLite can do in no other way than by rebuilding a table is told with three dots in it.

// addTenantColumn is how a table with rows gets its tenant column.
func (c *tableCheck) addTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	whose := "UPDATE " + comment(table) + " SET " + comment(column) + " = whose each row is"
	if c.dialect == dialect.SQLite {
		// SQLite adds no NOT NULL column without a default. No tenant has the empty id.
		return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s TEXT NOT NULL DEFAULT '' /* then: %s */", table, column, whose)
	}
	return fmt.Sprintf(`ALTER TABLE %s ADD COLUMN %s %s; %s /* where there are rows, then: %s; or sqldb.Migrate */`,
		table, column, c.decl.tenantType(), requireTenants(table, column), whose)
}

// requireTenantColumn is how a tenant column becomes NOT NULL.
func (c *tableCheck) requireTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	whose := fmt.Sprintf("/* first: UPDATE %[1]s SET %[2]s = whose each row is WHERE %[2]s IS NULL; or sqldb.Migrate */", comment(table), comment(column))
	if c.dialect == dialect.SQLite {
		return c.rebuild(column+" TEXT NOT NULL") + " " + whose
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL %s", table, column, whose)
}

// writeTenantColumn is how a generated tenant column becomes one that is written.
func (c *tableCheck) writeTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	if c.dialect == dialect.SQLite {
		return c.rebuild(column + " TEXT NOT NULL, not generated")
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION IF EXISTS, ALTER COLUMN %s DROP IDENTITY IF EXISTS", table, column, column)
}

// retypeTenantColumn is how a tenant column becomes text that is compared byte by byte.
func (c *tableCheck) retypeTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	if c.dialect == dialect.SQLite {
		return c.rebuild(column + " TEXT NOT NULL, without COLLATE")
	}
	return fmt.Sprintf(`DROP POLICY IF EXISTS %[3]s ON %[1]s; ALTER TABLE %[1]s ALTER COLUMN %[2]s TYPE text COLLATE "C"; %[4]s /* and likewise what foreign keys tie to it */`,
		table, column, PolicyName, createPolicy(table, c.decl.TenantColumn, DefaultTenantType))
}

// replaceColumn is how a column of plaintexts makes room for one of ciphertexts. The plaintexts stay until their owner drops them.
func (c *tableCheck) replaceColumn(name string) string {
	plain := name + "_plain"
	if len(plain) > maxIdentifier || c.has(plain) {
		plain = markName("plain_", name)
	}
	table := c.qualified()
	fix := fmt.Sprintf("ALTER TABLE %[1]s RENAME COLUMN %[2]s TO %[3]s; ALTER TABLE %[1]s ADD COLUMN %[2]s %[4]s", table, quote(name), quote(plain), c.ciphertextType(name))
	nullable := slices.ContainsFunc(c.table.Columns, func(col sqlplan.Column) bool { return col.Name == name && !col.NotNull })
	switch {
	case nullable:
	case c.dialect == dialect.SQLite:
		fix += "; /* " + comment(quote(plain)) + " is NOT NULL, and nobody writes it any more: rebuild the table without that */"
	default:
		fix += fmt.Sprintf("; ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", table, quote(plain))
	}
	return fix + fmt.Sprintf(" /* then write every row's value through the guard, and after that: ALTER TABLE %s DROP COLUMN %s; or sqldb.Migrate */", comment(table), comment(quote(plain)))
}

// comment is a name inside a comment, which it cannot end.
func comment(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "*/", "* /"), "/*", "/ *")
}

func (c *tableCheck) dropDefault(name string) string {
	if c.dialect == dialect.SQLite {
		return c.rebuild(quote(name) + " BLOB without DEFAULT")
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT", c.qualified(), quote(name))
}

// rebuild is how SQLite changes what ALTER TABLE cannot: https://www.sqlite.org/lang_altertable.html#otheralter
func (c *tableCheck) rebuild(with string) string {
	table, made := quote(c.table.Name), quote(c.table.Name+"_new")
	return fmt.Sprintf("PRAGMA foreign_keys = OFF; BEGIN; CREATE TABLE %[2]s (…, with %[3]s); INSERT INTO %[2]s (…) SELECT … FROM %[1]s; DROP TABLE %[1]s; ALTER TABLE %[2]s RENAME TO %[1]s; CREATE INDEX … as before; COMMIT; PRAGMA foreign_keys = ON",
		table, made, with)
}

// redefineKey is how a key gets the tenant column.
func (c *tableCheck) redefineKey(k uniqueKey) string {
	over := quoteAll(append([]string{c.decl.TenantColumn}, k.columns...))
	if k.partial || slices.Contains(k.columns, "") {
		return fmt.Sprintf("DROP INDEX %s /* and make it again over (%s, …) */", c.sibling(k.index), quote(c.decl.TenantColumn))
	}
	kind := "UNIQUE"
	if k.primary {
		kind = "PRIMARY KEY"
	}
	switch {
	case c.dialect == dialect.SQLite && (k.primary || k.constraint != ""):
		return c.rebuild(fmt.Sprintf("%s (%s)", kind, over))
	case k.constraint != "":
		return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD %s (%s) /* foreign keys that refer to it go first */", c.qualified(), quote(k.constraint), kind, over)
	}
	return fmt.Sprintf("DROP INDEX %s; CREATE UNIQUE INDEX %s ON %s (%s)", c.sibling(k.index), quote(k.index), c.qualified(), over)
}

// redefineForeignKey is how a foreign key comes to tie the row to a parent of the same tenant, whose tenant column is given.
func (c *tableCheck) redefineForeignKey(k foreignKey, parentTenant string) string {
	parent := quote(k.parentRelation)
	if k.parentSchema != "" {
		parent = quote(k.parentSchema) + "." + parent
	}
	columns, parentColumns := []string{c.decl.TenantColumn}, []string{parentTenant}
	loose := ""
	for i, column := range k.columns {
		switch {
		case i >= len(k.parentColumns) || column == c.decl.TenantColumn || k.parentColumns[i] == "":
		case k.parentColumns[i] == parentTenant: // which tenants there are is not this one's to know
			loose = " /* " + comment(quote(column)) + " then refers to nothing */"
		default:
			columns, parentColumns = append(columns, column), append(parentColumns, k.parentColumns[i])
		}
	}
	key := fmt.Sprintf("FOREIGN KEY (%s) REFERENCES %s (%s)", quoteAll(columns), parent, quoteAll(parentColumns))
	if c.dialect == dialect.SQLite {
		return c.rebuild(key) + loose
	}
	return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD %s", c.qualified(), quote(k.constraint), key) + loose
}

// sibling is the name of an index of the table's schema in a statement.
func (c *tableCheck) sibling(index string) string {
	if c.table.Schema != "" {
		return quote(c.table.Schema) + "." + quote(index)
	}
	return quote(index)
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return strings.Join(quoted, ", ")
}

// createPolicy is the statement that makes the guard's policy.
func createPolicy(table, tenantColumn, typ string) string {
	check := policyExpression(tenantColumn, typ)
	return fmt.Sprintf("CREATE POLICY %s ON %s USING (%s) WITH CHECK (%s)", PolicyName, table, check, check)
}
