package sqldb

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Schema declares the tables that an application uses, by their names as the database spells them. A
// table that is not declared does not exist for guarded statements. Only sealed columns are declared; the others,
// keys and types are read from the database when it is opened.
//
// On PostgreSQL a table in another schema than [Options].Schema has that in front of its name:
//
//	sqldb.Schema{"patients": {}, "billing.invoices": {}, "billing.patients": {}}
//
// Statements name it the same way, and so do events and the authorizer: give all handles of one database the same [Options].Schema,
// or the trail may call two tables alike. Sealed values and blind indexes are bound to the table in the database, by its schema
// and name, whatever a handle calls it.
type Schema map[string]Table

// Table declares one table.
type Table struct {
	// Sealed are the columns that hold ciphertexts: bytea on PostgreSQL, BLOB on SQLite.
	Sealed Columns
	// Shared marks reference data without a tenant column, which every tenant reads and none writes through the
	// guard. A shared table has no sealed columns.
	Shared bool
	// TenantColumn is the column with the tenant's id, where it is another than [Options].TenantColumn. For the tenants' own
	// table, of which each tenant sees its one row, it is the key: "tenants": {TenantColumn: "id"} with PRIMARY KEY (id), to
	// which other tables refer by FOREIGN KEY (tenant_id) REFERENCES tenants (id).
	TenantColumn string
	// TenantType is the type of the tenant column as in [Options].TenantType, where it is another. Foreign keys between tables
	// tie columns of one type.
	TenantType string
	// Triggers are the table's triggers by name, with those of its partitions and children. One that is not named here is a problem,
	// as are two of one name that run different functions; and on SQLite, which has nothing that would scope what it does, any is.
	Triggers map[string]Trigger
}

// Columns are sealed columns by name.
type Columns map[string]Column

// clone copies the schema, so that a caller who changes theirs later does not change what was checked.
func (s Schema) clone() Schema {
	c := make(Schema, len(s))
	for name, t := range s {
		t.Sealed = maps.Clone(t.Sealed)
		t.Triggers = maps.Clone(t.Triggers)
		for name, trigger := range t.Triggers {
			t.Triggers[name] = trigger.clone()
		}
		c[name] = t
	}
	return c
}

// withDefaults returns a copy in which every table has its tenant column and type.
func (s Schema) withDefaults(o *Options) Schema {
	c := s.clone()
	for name, t := range c {
		t.TenantColumn, t.TenantType = cmp.Or(t.TenantColumn, o.TenantColumn), cmp.Or(t.TenantType, o.TenantType)
		c[name] = t
	}
	return c
}

// validate reports every problem that shows without a database.
func (s Schema) validate(opts *Options) error {
	var problems []Problem
	if len(s) == 0 {
		problems = append(problems, Problem{What: "the schema declares no table", Fix: "declare each table the application uses"})
	}
	for _, name := range sortedKeys(s) {
		table := s[name]
		problems = append(problems, checkName(name, opts)...)
		if table.Shared && len(table.Sealed) > 0 {
			problems = append(problems, Problem{Table: name, What: "a shared table has sealed columns, but no tenant whose keys would seal them", Fix: "drop Shared or Sealed"})
		}
		if table.Shared && table.TenantColumn+table.TenantType != "" {
			problems = append(problems, Problem{Table: name, What: "a shared table is declared with a tenant column, and every tenant would read all of it", Fix: "drop Shared, or TenantColumn and TenantType"})
		}
		problems = append(problems, s.validateTriggers(name)...)
		tenant := cmp.Or(table.TenantColumn, opts.TenantColumn)
		if err := checkPlainly(tenant); err != nil {
			problems = append(problems, Problem{Table: name, Column: tenant, What: "the tenant column's name " + err.Error(), Fix: "use the name as the database spells it"})
		}
		used := map[string]string{tenant: "the tenant column"}
		for _, column := range sortedKeys(table.Sealed) {
			c := table.Sealed[column]
			claim := func(name, role string) {
				if err := checkIdentifier(name); err != nil {
					problems = append(problems, Problem{Column: name, What: "the column's name " + err.Error(), Fix: "use the name as the database spells it"})
				}
				if other, taken := used[name]; taken {
					problems = append(problems, Problem{Column: name, What: fmt.Sprintf("the column is %s and %s", other, role), Fix: "give each role a column of its own"})
				}
				used[name] = role
			}
			before := len(problems)
			claim(column, "a sealed column")
			if c.logical == 0 {
				problems = append(problems, Problem{Column: column, What: "the column has no logical type", Fix: "use sqldb.Text(), sqldb.Date() and the like"})
			}
			if c.searchable {
				claim(c.index, "the blind index of "+column)
			}
			for i := before; i < len(problems); i++ {
				problems[i].Table = name
			}
		}
	}
	return newSchemaError(problems)
}

// checkName reports what a table cannot be declared as.
func checkName(name string, opts *Options) (problems []Problem) {
	schema, relation := opts.place(name)
	for _, part := range []string{schema, relation} {
		if err := checkIdentifier(part); err != nil {
			problems = append(problems, Problem{Table: name, What: "the table's name " + err.Error(), Fix: "use the name as the database spells it, with its schema in front where that is not the default one"})
		}
	}
	switch {
	case name == opts.Schema+"."+relation:
		problems = append(problems, Problem{Table: name, What: "the table is declared with the default schema's name", Fix: "declare it as " + relation})
	case strings.HasPrefix(schema, "pg_") || schema == "information_schema":
		problems = append(problems, Problem{Table: name, What: "the schema is PostgreSQL's own", Fix: "declare tables of the application"})
	}
	return problems
}

// maxIdentifier is PostgreSQL's NAMEDATALEN - 1; what is longer it would cut off silently.
const maxIdentifier = 63

func checkIdentifier(s string) error {
	if strings.ContainsRune(s, '.') { // a name in the trail and in a sealed value's context is table.column
		return errors.New("contains a dot")
	}
	return checkPlainly(s)
}

func checkPlainly(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > maxIdentifier:
		return fmt.Errorf("has %d bytes, over PostgreSQL's limit of %d", len(s), maxIdentifier)
	case !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0:
		return errors.New("is not text that a database can hold")
	}
	return nil
}

// Problem is one thing about a schema that must be mended before the database can be opened.
type Problem struct {
	Table  string // empty when it concerns the whole database
	Column string // empty when it concerns the whole table
	What   string
	// Fix is what to do: a statement for the database's owner where there is one.
	Fix string
}

func (p Problem) String() string {
	where := p.Table
	if p.Column != "" {
		where += "." + p.Column
	}
	if where != "" {
		where += ": "
	}
	return where + p.What + "; fix: " + p.Fix
}

// SchemaError lists everything that keeps a database from being opened safely.
type SchemaError struct{ Problems []Problem }

func (e *SchemaError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sqldb: the database does not fit the schema (%d problems)", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  - ")
		b.WriteString(p.String())
	}
	return b.String()
}

func newSchemaError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &SchemaError{problems}
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
