package sqldb

import (
	"fmt"
	"slices"
	"strings"
)

// What is printed as a fix works on a table that has rows. What only its owner knows, such as whose a row is, stands in it
// as three dots.

// addTenantColumn is how a table with rows gets its tenant column.
func (c *tableCheck) addTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	if c.dialect == SQLite {
		// SQLite adds no NOT NULL column without a default. No tenant has the empty id.
		return fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s TEXT NOT NULL DEFAULT ''; UPDATE %[1]s SET %[2]s = … /* whose each row is */", table, column)
	}
	return fmt.Sprintf(`ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; UPDATE %[1]s SET %[2]s = … /* whose each row is */; ALTER TABLE %[1]s ALTER COLUMN %[2]s SET NOT NULL`,
		table, column, c.decl.tenantType())
}

// requireTenantColumn is how a tenant column becomes NOT NULL.
func (c *tableCheck) requireTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	whose := fmt.Sprintf("UPDATE %[1]s SET %[2]s = … /* whose each row is */ WHERE %[2]s IS NULL; ", table, column)
	if c.dialect == SQLite {
		return whose + c.rebuild(column+" TEXT NOT NULL")
	}
	return whose + fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", table, column)
}

// writeTenantColumn is how a generated tenant column becomes one that is written.
func (c *tableCheck) writeTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	if c.dialect == SQLite {
		return c.rebuild(column + " TEXT NOT NULL, not generated")
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION IF EXISTS, ALTER COLUMN %s DROP IDENTITY IF EXISTS", table, column, column)
}

// retypeTenantColumn is how a tenant column becomes text that is compared byte by byte.
func (c *tableCheck) retypeTenantColumn() string {
	table, column := c.qualified(), quote(c.decl.TenantColumn)
	if c.dialect == SQLite {
		return c.rebuild(column + " TEXT NOT NULL, without COLLATE")
	}
	return fmt.Sprintf(`DROP POLICY IF EXISTS %[3]s ON %[1]s; ALTER TABLE %[1]s ALTER COLUMN %[2]s TYPE text COLLATE "C"; %[4]s /* and likewise what foreign keys tie to it */`,
		table, column, PolicyName, createPolicy(table, c.decl.TenantColumn, DefaultTenantType))
}

// replaceColumn is how a column of plaintexts makes room for one of ciphertexts.
func (c *tableCheck) replaceColumn(name string) string {
	plain := name + "_plain"
	return fmt.Sprintf("ALTER TABLE %[1]s RENAME COLUMN %[2]s TO %[3]s; ALTER TABLE %[1]s ADD COLUMN %[2]s %[4]s; /* write every row's value through the guard, then */ ALTER TABLE %[1]s DROP COLUMN %[3]s",
		c.qualified(), quote(name), quote(plain), c.ciphertextType(name))
}

func (c *tableCheck) dropDefault(name string) string {
	if c.dialect == SQLite {
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
	case c.dialect == SQLite && (k.primary || k.constraint != ""):
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
	for i, column := range k.columns {
		if i < len(k.parentColumns) && column != c.decl.TenantColumn && k.parentColumns[i] != parentTenant && k.parentColumns[i] != "" {
			columns, parentColumns = append(columns, column), append(parentColumns, k.parentColumns[i])
		}
	}
	key := fmt.Sprintf("FOREIGN KEY (%s) REFERENCES %s (%s)", quoteAll(columns), parent, quoteAll(parentColumns))
	if c.dialect == SQLite {
		return c.rebuild(key)
	}
	return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD %s", c.qualified(), quote(k.constraint), key)
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
