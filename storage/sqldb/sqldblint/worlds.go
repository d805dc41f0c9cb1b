package sqldblint

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
)

// maxChoices bounds the worlds to 2^maxChoices for each combination of the other unknowns.
const maxChoices = 10

// choice is a column that a table may or may not have.
type choice struct{ table, column string }

// worlds are the catalogs that a database with a schema may have, so far as they can make a difference to a statement.
type worlds struct {
	schema  *schema
	dialect sqlplan.Dialect
	m       *mentions
	exact   bool // there is one world
	choices []choice
	// partial tells that there are too many choices: only the world with all of the columns is tried.
	partial bool
}

func newWorlds(s *schema, d sqlplan.Dialect, m *mentions) *worlds {
	w := &worlds{schema: s, dialect: d, m: m, exact: s.Tables != nil && s.Opened}
	for _, t := range s.Tables {
		w.exact = w.exact && t.Columns != nil
	}
	if w.exact {
		return w
	}
	for _, name := range slices.Sorted(maps.Keys(s.Tables)) {
		_, relation, own := strings.Cut(name, ".") // a table of another schema
		if !own {
			relation = name
		}
		t := s.Tables[name]
		if t.Columns != nil || !slices.Contains(m.tables, relation) {
			continue
		}
		for _, column := range m.bare {
			if !t.has(column) && !(s.Opened && !t.Shared && column == s.TenantColumn) && column != t.TenantColumn {
				w.choices = append(w.choices, choice{name, column})
			}
		}
	}
	if len(w.choices) > maxChoices {
		w.choices, w.partial = nil, true
	}
	return w
}

// has tells whether a column is one of those that the schema names.
func (t *table) has(column string) bool {
	if _, sealed := t.Sealed[column]; sealed {
		return true
	}
	for _, index := range t.Sealed {
		if index == column {
			return true
		}
	}
	return false
}

// all yields every world: the schema that tables are in and the tenant column where the options are not known, the type
// of the unknown columns, their place, and which of them there are.
func (w *worlds) all() iter.Seq[*sqlplan.Catalog] {
	s := w.schema
	qualifiers, tenants, types, firsts := []string{s.Schema}, []string{s.TenantColumn}, []string{"text"}, []bool{true}
	if !s.Opened {
		qualifiers = append([]string{"public"}, w.m.qualifiers...)
		tenants = []string{"tenant_id"} // the default, and a name that nobody gives a column
		if slices.Contains(w.m.bare, "tenant_id") || slices.Contains(w.m.named, "tenant_id") {
			tenants = append(tenants, "the tenant column")
		}
	}
	if !w.exact {
		types = append(types, "bigint", "jsonb")
		if w.m.star {
			firsts = append(firsts, false)
		}
	}
	return func(yield func(*sqlplan.Catalog) bool) {
		for _, qualifier := range qualifiers {
			for _, tenant := range tenants {
				for _, typ := range types {
					for _, first := range firsts {
						// All of the columns first: the world most likely to take the statement.
						for absent := range 1 << len(w.choices) {
							if !yield(w.catalog(qualifier, tenant, typ, first, absent)) {
								return
							}
						}
					}
				}
			}
		}
	}
}

func (w *worlds) catalog(qualifier, tenant, typ string, first bool, absent int) *sqlplan.Catalog {
	cat := &sqlplan.Catalog{Dialect: w.dialect, IndexVersions: 1, Tables: map[string]*sqlplan.Table{}, Functions: w.schema.Functions, Types: w.schema.Types}
	if !w.schema.Opened {
		cat.Functions, cat.Types = w.m.functions, w.m.types // any of them may be declared
	}
	if w.dialect == sqlplan.SQLite {
		qualifier = ""
	}
	missing := map[choice]bool{}
	for i, c := range w.choices {
		missing[c] = absent&(1<<i) != 0
	}
	for name, t := range w.schema.Tables {
		made := &sqlplan.Table{Schema: qualifier, Name: name, Shared: t.Shared}
		if own, _, ok := strings.Cut(name, "."); ok {
			made.Schema = own
		}
		if !t.Shared {
			made.TenantColumn = cmp.Or(t.TenantColumn, tenant)
		}
		if t.Columns != nil {
			t.fromFile(made)
		} else {
			w.guess(made, &t, typ, first, missing)
		}
		cat.Tables[name] = made
	}
	return cat
}

// fromFile gives the table the columns that are known.
func (t *table) fromFile(made *sqlplan.Table) {
	made.PrimaryKey, made.UniqueKeys = t.Primary, t.Unique
	for _, c := range t.Columns {
		index, sealed := t.Sealed[c.Name]
		column := sqlplan.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull, HasDefault: c.HasDefault, Generated: c.Generated, Sealed: sealed, IndexColumn: index}
		for _, i := range t.Sealed {
			column.Index = column.Index || i != "" && i == c.Name
		}
		made.Columns = append(made.Columns, column)
	}
}

// padding is how many columns nobody names a table gets before the others, so that ordinals are not taken for granted.
const padding = 70

// guess gives the table the columns that the schema names and those that the statement names.
func (w *worlds) guess(made *sqlplan.Table, t *table, typ string, first bool, missing map[choice]bool) {
	var known, others []sqlplan.Column
	blob := "bytea"
	if w.dialect == sqlplan.SQLite {
		blob = "BLOB"
	}
	if !t.Shared {
		known = append(known, sqlplan.Column{Name: made.TenantColumn, Type: "text", NotNull: true})
	}
	for _, name := range slices.Sorted(maps.Keys(t.Sealed)) {
		index := t.Sealed[name]
		known = append(known, sqlplan.Column{Name: name, Type: blob, Sealed: true, IndexColumn: index})
		if index != "" {
			known = append(known, sqlplan.Column{Name: index, Type: blob, Index: true})
		}
	}
	for _, list := range [][]string{w.m.bare, w.m.named} {
		for _, name := range list {
			same := func(c sqlplan.Column) bool { return c.Name == name }
			if !missing[choice{made.Name, name}] && !slices.ContainsFunc(known, same) && !slices.ContainsFunc(others, same) {
				others = append(others, sqlplan.Column{Name: name, Type: typ})
			}
		}
	}
	made.Columns = append(known, others...)
	if !first {
		var pad []sqlplan.Column
		for i := range padding {
			pad = append(pad, sqlplan.Column{Name: "a column " + strconv.Itoa(i), Type: typ})
		}
		made.Columns = slices.Concat(pad, others, known)
	}
	// What ON CONFLICT names is a key, or the statement is refused for that.
	for _, columns := range w.m.keys {
		var key []string
		for _, c := range columns {
			if index := t.Sealed[c]; index != "" {
				c = index
			}
			once(&key, c)
		}
		once(&key, made.TenantColumn)
		made.UniqueKeys = append(made.UniqueKeys, key)
	}
}
