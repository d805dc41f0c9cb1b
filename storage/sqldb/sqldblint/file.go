package sqldblint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// File is what the flag -schema reads: the tables as the database describes them. Which of their columns are sealed, and
// which tables are shared, is taken from the schema in the program where that is constant, and from the file where not.
type File struct {
	// Dialect is "postgresql" or "sqlite".
	Dialect string `json:"dialect"`
	// TenantColumn, Schema, Functions and Types are as in sqldb.Options, with the same defaults.
	TenantColumn string   `json:"tenantColumn"`
	Schema       string   `json:"schema"`
	Functions    []string `json:"functions"`
	Types        []string `json:"types"`
	// Tables by name, undeclared ones included.
	Tables map[string]FileTable `json:"tables"`
}

// FileTable is a table of a [File].
type FileTable struct {
	// Columns are all columns in the database's order.
	Columns []Column `json:"columns"`
	// PrimaryKey and UniqueKeys name columns.
	PrimaryKey []string   `json:"primaryKey"`
	UniqueKeys [][]string `json:"uniqueKeys"`
	// Shared, and Sealed, which maps sealed columns to their blind index columns or "", say what the program's schema
	// declares. A table that has neither is declared too if Declared is set.
	Declared bool              `json:"declared"`
	Shared   bool              `json:"shared"`
	Sealed   map[string]string `json:"sealed"`
	// TenantColumn is the table's own, where it has another than the file's.
	TenantColumn string `json:"tenantColumn"`
}

// Column is a column of a [FileTable].
type Column struct {
	Name       string `json:"name"`
	Type       string `json:"type"` // the database's name of it, such as "bigint"
	NotNull    bool   `json:"notNull"`
	HasDefault bool   `json:"hasDefault"`
	Generated  bool   `json:"generated"`
}

func readFile(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("sqldblint: -schema: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	f := &File{TenantColumn: "tenant_id", Schema: "public"}
	if err := dec.Decode(f); err != nil {
		return nil, fmt.Errorf("sqldblint: -schema: %s: %w", path, err)
	}
	if f.Dialect != "postgresql" && f.Dialect != "sqlite" {
		return nil, fmt.Errorf("sqldblint: -schema: %s: the dialect is %q; use postgresql or sqlite", path, f.Dialect)
	}
	return f, nil
}

// merge adds the file's knowledge to what the program declares.
func (f *File) merge(declared *schemas) *schemas {
	base := schema{Opened: true, TenantColumn: f.TenantColumn, Schema: f.Schema, Functions: f.Functions, Types: f.Types, Dialect: f.Dialect}
	merged := &schemas{}
	for _, d := range declared.All {
		if d.Tables == nil {
			continue
		}
		s := base
		s.Tables = map[string]table{}
		for name, t := range d.Tables {
			t.Columns, t.Primary, t.Unique = f.Tables[name].Columns, f.Tables[name].PrimaryKey, f.Tables[name].UniqueKeys
			s.Tables[name] = t
		}
		merged.add(&schemas{[]schema{s}})
	}
	if len(merged.All) > 0 {
		return merged
	}
	s := base
	for name, t := range f.Tables {
		if !t.Declared && !t.Shared && len(t.Sealed) == 0 {
			continue
		}
		if s.Tables == nil {
			s.Tables = map[string]table{}
		}
		s.Tables[name] = table{Shared: t.Shared, TenantColumn: t.TenantColumn, Sealed: t.Sealed, Columns: t.Columns, Primary: t.PrimaryKey, Unique: t.UniqueKeys}
	}
	return &schemas{[]schema{s}}
}
