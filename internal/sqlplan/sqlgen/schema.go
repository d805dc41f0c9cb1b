package sqlgen

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Kind is the type of a column, as far as statements care.
type Kind uint8

// The kinds. The last ones are PostgreSQL's alone.
const (
	Int Kind = iota
	Text
	Bool
	Numeric
	Time
	UUID // of tenant columns alone
)

// Column is a column of a table, as the application sees it.
type Column struct {
	Name       string
	Kind       Kind
	NotNull    bool
	Default    string // an SQL literal, or empty
	Generated  string // the expression of a generated column, or empty
	Sealed     bool
	Searchable bool // it has a blind index
}

// Index is the name of a searchable column's blind index.
func (c Column) Index() string { return c.Name + " index" }

// Table is a table. Tenant is its tenant column, which stands before the column TenantAt; it is empty for a shared table.
type Table struct {
	Schema     string // where that is not the default one
	Name       string
	Tenant     string
	TenantType string // text if it is empty
	TenantAt   int
	Columns    []Column
	Key        []string // the primary key, without the tenant column; empty for the tenants' own table
	Unique     []string // a unique key of one column, or nil; for a searchable column it is of its index
	// References are the foreign keys, where [Schema.Relate] made some.
	References []ForeignKey
}

// Shared tells whether the table is reference data.
func (t *Table) Shared() bool { return t.Tenant == "" }

func (t *Table) column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// keyed tells whether a column belongs to a key.
func (t *Table) keyed(name string) bool {
	for _, k := range append(t.Key, t.Unique...) {
		if k == name {
			return true
		}
	}
	return false
}

// Schema is a set of tables for one engine.
type Schema struct {
	Lite     bool // SQLite
	Before17 bool // PostgreSQL 15 or 16, whose MERGE returns no rows and does not stand in WITH
	// Failing makes statements that fail for some values, of which Tame has few and Poison many. PostgreSQL only.
	Failing bool
	// Mixed names parameters with casts of several types and without one in the same statement, and has arguments of all
	// kinds of Go's. PostgreSQL only.
	Mixed  bool
	Tables []*Table
	// Trigger is there where [Schema.Fire] made one.
	Trigger *Trigger

	tenants []string
}

var (
	tableNames  = []string{"patients", "visits", "Odd Table", "user", "größen", `qu"ote`, "A B", "order"}
	columnNames = []string{"id", "note", "Key", "we\"ird", "größe", "group", "value", "x y", "ward", "name", "A;b", "mandate"}
	tenantNames = []string{"tenant_id", "Tenant", "tenant.id", "mandant"}
)

// NewSchema returns two to four tables of tenants, and perhaps a shared one.
func NewSchema(r *rand.Rand, lite bool) *Schema {
	s := &Schema{Lite: lite}
	names := r.Perm(len(tableNames))
	tenantName := tenantNames[r.IntN(len(tenantNames))]
	for i := range r.IntN(3) + 2 {
		s.Tables = append(s.Tables, s.table(r, tableNames[names[i]], tenantName))
	}
	if r.IntN(2) == 0 {
		s.Tables = append(s.Tables, s.table(r, tableNames[names[6]], ""))
	}
	return s
}

func (s *Schema) table(r *rand.Rand, name, tenant string) *Table {
	t := &Table{Name: name, Tenant: tenant}
	names := r.Perm(len(columnNames))
	kinds := []Kind{Int, Text, Bool, Numeric, Time}
	if s.Lite {
		kinds = kinds[:2]
	}
	for i := range r.IntN(5) + 3 {
		c := Column{Name: columnNames[names[i]], Kind: kinds[r.IntN(len(kinds))]}
		switch {
		case i == 0:
			c.Kind, c.NotNull = Int, true
		case tenant != "" && r.IntN(3) == 0:
			c.Kind = []Kind{Int, Text, Text}[r.IntN(3)]
			c.Sealed, c.Searchable = true, r.IntN(2) == 0
		case c.Kind == Int && r.IntN(4) == 0:
			c.Default = fmt.Sprint(r.IntN(5))
		case c.Kind == Int && i > 1 && r.IntN(5) == 0:
			c.Generated = Quote(columnNames[names[0]]) + " * 2"
		}
		t.Columns = append(t.Columns, c)
	}
	t.Key = []string{t.Columns[0].Name}
	if second := &t.Columns[1]; !second.Sealed && second.Kind <= Text && second.Generated == "" && r.IntN(3) == 0 {
		second.NotNull, second.Default = true, ""
		t.Key = append(t.Key, second.Name)
	}
	for _, c := range t.Columns[1:] {
		if (!c.Sealed || c.Searchable) && c.Kind <= Text && c.Generated == "" && !t.keyed(c.Name) && r.IntN(3) == 0 {
			t.Unique = []string{c.Name}
			break
		}
	}
	t.TenantAt = r.IntN(len(t.Columns) + 1)
	return t
}

// Quote writes a name as SQL.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoted(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, Quote(n))
	}
	return strings.Join(out, ", ")
}

func (s *Schema) typeOf(k Kind) string {
	switch {
	case k == Int && s.Lite:
		return "INT" // not INTEGER, which would make the key of a plain table its rowid
	case k == Int:
		return "bigint"
	case k == Bool:
		return "boolean"
	case k == Numeric:
		return "numeric"
	case k == Time:
		return "timestamp with time zone"
	}
	return "text"
}

// TypeOf is the database's name of a column's type: of ciphertexts where sealed ones are stored.
func (s *Schema) TypeOf(c Column, plain bool) string {
	switch {
	case !c.Sealed || plain:
		return s.typeOf(c.Kind)
	case s.Lite:
		return "BLOB"
	}
	return "bytea"
}

// Shared returns the statements that make the tables which all tenants share: with ciphertexts and blind indexes, and
// keys that begin with the tenant.
func (s *Schema) Shared() []string {
	out := s.schemas()
	for _, t := range s.Tables {
		out = append(out, s.create(t, false, ""))
	}
	return out
}

// Plain returns the statements that make the tables of one tenant alone. The tenant column is there, because statements
// may read it, and always holds the tenant.
func (s *Schema) Plain(tenant string) []string {
	out := s.schemas()
	for _, t := range s.Tables {
		out = append(out, s.create(t, true, tenant))
	}
	return out
}

// schemas returns the statements that make the schemas, for whoever connects.
func (s *Schema) schemas() []string {
	for _, t := range s.Tables {
		if t.Schema != "" {
			return []string{"CREATE SCHEMA " + t.Schema, "GRANT USAGE ON SCHEMA " + t.Schema + " TO PUBLIC",
				"ALTER DEFAULT PRIVILEGES IN SCHEMA " + t.Schema + " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO PUBLIC"}
		}
	}
	return nil
}

func (s *Schema) create(t *Table, plain bool, tenant string) string {
	var parts, tail []string
	key, unique := t.Key, t.Unique
	tenantColumn := func(i int) {
		if i != t.TenantAt || t.Shared() {
			return
		}
		column := Quote(t.Tenant) + " text NOT NULL"
		if t.tenantKind() != Text {
			column = Quote(t.Tenant) + " " + t.TenantType + " NOT NULL"
		} else if !s.Lite {
			column = Quote(t.Tenant) + ` text COLLATE "C" NOT NULL`
		}
		if plain {
			column += " DEFAULT '" + tenant + "'"
		}
		parts = append(parts, column)
	}
	for i, c := range t.Columns {
		tenantColumn(i)
		column := Quote(c.Name) + " " + s.TypeOf(c, plain)
		if c.NotNull {
			column += " NOT NULL"
		}
		if c.Default != "" {
			column += " DEFAULT " + c.Default
		}
		if c.Generated != "" {
			column += " GENERATED ALWAYS AS (" + c.Generated + ") STORED"
		}
		parts = append(parts, column)
		if c.Searchable && !plain {
			tail = append(tail, Quote(c.Index())+" "+s.TypeOf(c, false))
			if len(unique) == 1 && unique[0] == c.Name {
				unique = []string{c.Index()}
			}
		}
	}
	tenantColumn(len(t.Columns))
	if plain {
		key = t.wholeKey()
	}
	if !plain && !t.Shared() {
		key = append([]string{t.Tenant}, key...)
		if unique != nil {
			unique = append([]string{t.Tenant}, unique...)
		}
	}
	parts = append(parts, tail...)
	parts = append(parts, "PRIMARY KEY ("+quoted(key)+")")
	if unique != nil {
		parts = append(parts, "UNIQUE ("+quoted(unique)+")")
	}
	for _, k := range t.References {
		parts = append(parts, s.clause(t, k, plain))
	}
	return "CREATE TABLE " + t.SQL() + " (" + strings.Join(parts, ", ") + ")"
}
