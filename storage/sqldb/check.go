package sqldb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// tableCheck holds one table against its declaration; what both engines check alike is here.
type tableCheck struct {
	decl    Table
	table   *sqlplan.Table
	dialect dialect.Dialect
	problem func(column, what, fix string)
}

// qualified is the table's name in a statement for the owner.
func (c *tableCheck) qualified() string {
	if c.table.Schema != "" {
		return quote(c.table.Schema) + "." + quote(c.table.Relation())
	}
	return quote(c.table.Name)
}

// columns gives the columns their roles: tenant, sealed, index.
func (c *tableCheck) columns() {
	byName := make(map[string]*sqlplan.Column, len(c.table.Columns))
	for i := range c.table.Columns {
		byName[c.table.Columns[i].Name] = &c.table.Columns[i]
	}
	tenant := byName[c.decl.TenantColumn]
	switch {
	case c.table.Shared && tenant != nil:
		c.problem(tenant.Name, "the table is declared shared but has a tenant column, and every tenant would read all of it", "drop Shared from the declaration, or the column from the table")
	case c.table.Shared:
	case tenant == nil:
		c.problem(c.decl.TenantColumn, "the tenant column is missing", c.addTenantColumn())
	default:
		c.table.TenantColumn = tenant.Name
		if tenant.Generated { // from other columns, which a tenant could set so that the row becomes another's; or by the database alone
			c.problem(tenant.Name, "the tenant column is generated, and the guard is to write it", c.writeTenantColumn())
		}
		if !tenant.NotNull {
			c.problem(tenant.Name, "the tenant column can be NULL", c.requireTenantColumn())
		}
	}
	for _, name := range sortedKeys(c.decl.Sealed) {
		decl := c.decl.Sealed[name]
		if col := c.ciphertext(byName, name, "sealed column"); col != nil {
			col.Sealed, col.Plain = true, strings.ToLower(typeNames[decl.logical])
			if decl.searchable {
				col.IndexColumn = decl.index
			}
		}
		if !decl.searchable {
			continue
		}
		if col := c.ciphertext(byName, decl.index, "blind index column"); col != nil {
			col.Index = true
		}
	}
}

// ciphertext returns the column that is to hold ciphertexts or index values, or reports why it cannot.
func (c *tableCheck) ciphertext(byName map[string]*sqlplan.Column, name, role string) *sqlplan.Column {
	want := "bytea"
	if c.dialect == dialect.SQLite {
		want = "BLOB"
	}
	col := byName[name]
	if col == nil {
		c.problem(name, "the "+role+" is missing", fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", c.qualified(), quote(name), c.ciphertextType(name)))
		return nil
	}
	if !strings.EqualFold(col.Type, want) {
		c.problem(name, fmt.Sprintf("the %s has type %s", role, col.Type)+" and is to hold ciphertexts", c.replaceColumn(name))
	}
	if col.Generated {
		c.problem(name, "the "+role+" is a generated column, and the guard is to write it", fmt.Sprintf("ALTER TABLE %[1]s DROP COLUMN %[2]s; ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s", c.qualified(), quote(name), c.ciphertextType(name)))
	} else if col.HasDefault {
		c.problem(name, "the "+role+" has a default, which would be stored in the clear", c.dropDefault(name))
	}
	return col
}

// uniqueKey reports a key without the tenant column: its violation would tell one tenant of another's values.
func (c *tableCheck) uniqueKey(k uniqueKey) bool {
	if c.table.Shared || slices.Contains(k.columns, c.decl.TenantColumn) {
		return true
	}
	c.problem("", fmt.Sprintf("%s (%s) lacks the tenant column: a violation would reveal another tenant's values", k.what, strings.Join(k.columns, ", ")), c.redefineKey(k))
	return false
}

// uniqueKey is a primary key, or a unique index. An expression in it has no column's name.
type uniqueKey struct {
	what       string
	columns    []string
	index      string // its name, where it has one
	constraint string // the name of the constraint that it belongs to; empty for a plain index
	primary    bool
	partial    bool
}

// foreignKey is one foreign key of the table.
type foreignKey struct {
	name                   string // as the problem calls it
	constraint             string // its name in the database, where it has one
	columns                []string
	parent                 string // as it is declared
	parentSchema           string // empty on SQLite
	parentRelation         string // its name there
	parentColumns          []string
	parentOutsideOfCatalog bool
	full                   bool // MATCH FULL
	setsTenant             bool // SET NULL or SET DEFAULT includes the tenant column
}

// foreignKey reports a key through which one tenant's row could refer to another's, which the database would accept and
// thereby reveal: its own check does not go through the guard, nor through row-level security.
func (c *tableCheck) foreignKey(declared Schema, k foreignKey) {
	parent, known := declared[k.parent]
	switch {
	case !known || k.parentOutsideOfCatalog:
		c.problem("", fmt.Sprintf("%s refers to table %s, which is not declared", k.name, k.parent), "declare it, or drop the foreign key")
		parent.Shared = false
	case parent.Shared || c.table.Shared && parent.Shared:
		return
	case c.table.Shared:
		c.problem("", fmt.Sprintf("%s refers from a shared table to the tenants' table %s", k.name, k.parent), "drop the foreign key")
		return
	}
	if c.table.Shared {
		return
	}
	if k.setsTenant {
		c.problem("", k.name+" sets the tenant column when its parent goes, which moves the row to another tenant", "use CASCADE, RESTRICT, or SET NULL with a list of the other columns")
	}
	c.table.References = append(c.table.References, sqlplan.Reference{Table: k.parent, Columns: k.columns, Full: k.full})
	parentTenant := cmp.Or(parent.TenantColumn, c.decl.TenantColumn)
	for i, column := range k.columns {
		if column == c.decl.TenantColumn && i < len(k.parentColumns) && k.parentColumns[i] == parentTenant {
			return
		}
	}
	tie := ""
	if !known {
		tie = " /* unless the parent is declared shared */"
	}
	c.problem("", fmt.Sprintf("%s (%s) does not tie the row to a parent of the same tenant", k.name, strings.Join(k.columns, ", ")), c.redefineForeignKey(k, parentTenant)+tie)
}
