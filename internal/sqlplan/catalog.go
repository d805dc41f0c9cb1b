package sqlplan

import "strings"

// Dialect is the engine that a plan's SQL is written for. Callers write PostgreSQL's SQL for both.
type Dialect uint8

// The dialects.
const (
	PostgreSQL Dialect = iota + 1
	SQLite
)

// Catalog is what the planner knows about a database: the declared tables as the database itself describes them,
// and nothing else. A relation that is not in it does not exist. It must not change while it is in use.
type Catalog struct {
	Dialect Dialect
	// Tables by their names.
	Tables map[string]*Table
	// Functions are the lower-case names of further functions that statements may call, beyond the built-in allowlist, as they
	// are written, with a schema or without. They must read no tables.
	Functions []string
	// Types are the names of further types that casts may name, beyond the built-in allowlist: as they are written, with
	// a schema or without. Their input and their constraints must read no tables.
	Types []string
	// Enums are those of Types that are enumerations, whose literals are converted once, while the statement is planned.
	Enums []string
	// IndexVersions is how many live index keys the executing tenant has, 1 to 8: a search compares with that many
	// blind index values.
	IndexVersions int
}

// Table is one relation.
type Table struct {
	Schema string // "public"; empty on SQLite
	// Name is what plans call the table: as the database spells it, with the schema in front, as in billing.invoices, where
	// that is not the default one, in which unqualified names are looked up. No schema or table has a dot in its own name.
	Name string
	// Shared marks reference data, which every tenant reads whole and none writes. It has no tenant column.
	Shared bool
	// TenantColumn holds the tenant id of each row; empty when Shared.
	TenantColumn string
	// Columns in the database's order, tenant and index columns included.
	Columns []Column
	// PrimaryKey and UniqueKeys name columns; the tenant column is among them unless the table is Shared.
	PrimaryKey []string
	UniqueKeys [][]string
	// Once are all keys that admit a value once, the primary key, partial and deferrable ones included.
	Once []UniqueKey
	// Inherited tells that other tables inherit from it, whose rows are read with its own and which its keys do not hold for.
	Inherited bool
	// Constraints are the columns of primary keys and unique constraints by the constraint's name. PostgreSQL only.
	Constraints map[string][]string
	// Sequences are those that belong to a column of the table. PostgreSQL only.
	Sequences []Sequence
	// Cascades are the foreign keys with actions that refer to the table.
	Cascades []Cascade
	// Triggers are the table's triggers that change other tables.
	Triggers []Trigger
	// References are the table's foreign keys to other tables of tenants, or to itself. Plans have no use for them.
	References []Reference
	// WithoutRowID tells that SQLite does not number the table's rows.
	WithoutRowID bool
}

// Reference is a foreign key of a table.
type Reference struct {
	Table   string   // that it refers to
	Columns []string // of its own table
	Full    bool     // MATCH FULL: its columns are NULL all or none
}

// Relation is the table's name within its schema.
func (t *Table) Relation() string { return strings.TrimPrefix(t.Name, t.Schema+".") }

// Trigger names the tables whose rows a trigger inserts or updates, and deletes, when a row of its table is written.
type Trigger struct{ Writes, Deletes []string }

// Cascade is a foreign key whose action deletes or changes rows of its table when a row of the table that it refers to is
// deleted, or a column of its key changed.
type Cascade struct {
	Table              string // whose foreign key it is
	OnDelete, OnUpdate Action
	Columns            []string // that it refers to
}

// Action is what a foreign key does to its own table's rows. The zero value is nothing.
type Action uint8

// The actions.
const (
	Cascades    Action = iota + 1 // deletes them, or changes their key
	SetsColumns                   // sets columns NULL or to their default
)

// UniqueKey is what rows are compared by that may not be the same.
type UniqueKey struct {
	Columns []string // names; empty for an expression
	SQL     []string // the same as the database compares them
	Where   string   // the condition for the rows that it holds for; empty for all
	Nulls   bool     // NULL is the same as NULL
}

// Column is one column.
type Column struct {
	Name string
	// Type is the database's name of the type, such as "bigint" or "timestamp with time zone".
	Type string
	// Collated tells that the column has another collation than the database's own and "C". Whether two of different ones can
	// be compared PostgreSQL decides when it meets a row.
	Collated bool
	// Enum tells that the type is an enumeration.
	Enum       bool
	NotNull    bool
	HasDefault bool
	Generated  bool // a generated column: it cannot be written
	// Sealed marks a column that holds ciphertexts.
	Sealed bool
	// Plain is the type in pg_catalog that the column would have if it were not sealed, such as text: what a parameter is that is
	// compared with it, wherever else it stands. Where it is empty, that is left to the other places.
	Plain string
	// IndexColumn names the column with the blind index of this sealed column; empty when it is not searchable.
	IndexColumn string
	// Index marks a column that holds blind index values: statements cannot name it, * leaves it out.
	Index bool
}
