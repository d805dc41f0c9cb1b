package sqlgen

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// ForeignKey is a reference to the primary key of another table of tenants, or of the same one.
type ForeignKey struct {
	Columns            []string // without the tenant column
	Parent             *Table
	OnDelete, OnUpdate string // NO ACTION, CASCADE or SET NULL
}

// Relate adds foreign keys to some of the tables, each to a table before it or to itself: of columns that are made for them,
// or of a table's own key.
func (s *Schema) Relate(r *rand.Rand) {
	for i, t := range s.Tables {
		for range r.IntN(3) {
			if t.Shared() {
				continue
			}
			k := ForeignKey{Parent: s.Tables[r.IntN(i+1)], OnDelete: s.action(r, !s.Lite), OnUpdate: s.action(r, false)}
			if k.Parent.TenantType != t.TenantType || k.Parent.Own() && (k.Parent == t || t.refersTo(k.Parent)) {
				continue
			}
			if k.Parent.Own() { // of the tenant column alone, which nothing changes
				k.Columns, k.OnDelete, k.OnUpdate = []string{}, s.action(r, false), "NO ACTION"
			} else if i > 0 && !t.Own() && r.IntN(4) == 0 && len(t.References) == 0 && k.Parent != t && len(k.Parent.Key) == 1 {
				k.Columns = t.Key[:1]
			} else {
				k.Columns = t.referring(k.Parent)
			}
			if k.Columns != nil {
				t.References = append(t.References, k)
			}
		}
		t.settleDeletes()
	}
}

// settleDeletes sees to it that no foreign key of a table takes a row with its parent while another one keeps that row: where
// a statement deletes both parents, which of the two keys meets the row first, and so whether the statement fails, depends
// on where rows are stored.
func (t *Table) settleDeletes() {
	for i := range t.References {
		switch k := &t.References[i]; {
		case t.References[0].OnDelete == "NO ACTION":
			k.OnDelete = "NO ACTION"
		case k.OnDelete == "NO ACTION":
			k.OnDelete = "CASCADE"
		}
	}
}

// action returns what a foreign key does. To set all of its columns would be to set the tenant's, which no database has that
// tenants share: only PostgreSQL can name some, and for deletions alone.
func (s *Schema) action(r *rand.Rand, setsNull bool) string {
	if setsNull && r.IntN(2) == 0 {
		return "SET NULL"
	}
	return []string{"CASCADE", "CASCADE", "CASCADE", "NO ACTION"}[r.IntN(4)]
}

// referring adds columns that can hold a table's key, or returns nil where no names are left.
func (t *Table) referring(parent *Table) []string {
	var columns []Column
	for _, key := range parent.Key {
		at := slices.IndexFunc(columnNames, func(name string) bool {
			return t.column(name) == nil && !slices.ContainsFunc(columns, func(c Column) bool { return c.Name == name })
		})
		if at < 0 {
			return nil
		}
		columns = append(columns, Column{Name: columnNames[at], Kind: parent.column(key).Kind})
	}
	t.Columns = append(t.Columns, columns...)
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	return names
}

// reference returns the foreign key that a column belongs to, or nil.
func (t *Table) reference(column string) *ForeignKey {
	for i := range t.References {
		if slices.Contains(t.References[i].Columns, column) {
			return &t.References[i]
		}
	}
	return nil
}

// Related makes rows refer to rows that there are, or to none. Those that cannot are left out.
func (t *Table) Related(r *rand.Rand, rows [][]any, of func(*Table) [][]any) [][]any {
	var out [][]any
	keys := map[string]bool{}
	for _, row := range rows {
		fits := true
		for _, k := range t.References {
			parents := out
			if k.Parent != t {
				parents = of(k.Parent)
			}
			var parent []any
			if len(parents) > 0 {
				parent = parents[r.IntN(len(parents))]
			}
			none := r.IntN(4) == 0
			for i, name := range k.Columns {
				at := t.storedAt(name)
				switch {
				case !t.column(name).NotNull && (none || parent == nil):
					row[at] = nil
				case parent == nil:
					fits = false
				default:
					row[at] = parent[k.Parent.storedAt(k.Parent.Key[i])]
				}
			}
			fits = fits && (parent != nil || !k.Parent.Own())
		}
		key := ""
		for _, name := range t.Key {
			key += fmt.Sprint(row[t.storedAt(name)], "|")
		}
		if fits && !keys[key] {
			keys[key] = true
			out = append(out, row)
		}
	}
	return out
}

// storedAt is where a row of Rows has a column.
func (t *Table) storedAt(column string) int {
	return slices.IndexFunc(t.Stored(), func(c Column) bool { return c.Name == column })
}

// clause writes a foreign key.
func (s *Schema) clause(t *Table, k ForeignKey, plain bool) string {
	columns, key := k.Columns, k.Parent.Key
	if !plain || k.Parent.Own() {
		columns, key = append([]string{t.Tenant}, columns...), append([]string{k.Parent.Tenant}, key...)
	}
	onDelete := k.OnDelete
	if onDelete == "SET NULL" {
		onDelete += " (" + quoted(k.Columns) + ")"
	}
	return fmt.Sprintf("FOREIGN KEY (%s) REFERENCES %s (%s) ON DELETE %s ON UPDATE %s", quoted(columns), k.Parent.SQL(), quoted(key), onDelete, k.OnUpdate)
}

// referring is how many foreign keys refer to a table.
func (s *Schema) referring(parent *Table) int {
	n := 0
	for _, t := range s.Tables {
		for _, k := range t.References {
			if k.Parent == parent {
				n++
			}
		}
	}
	return n
}

// refersTo tells whether a foreign key refers to another table.
func (t *Table) refersTo(parent *Table) bool {
	return slices.ContainsFunc(t.References, func(k ForeignKey) bool { return k.Parent == parent })
}

// related are a table and those that foreign keys and the trigger tie to it, directly or not: a write of one may reach
// the others.
func (s *Schema) related(t *Table) []*Table {
	out := []*Table{t}
	for i := 0; i < len(out); i++ {
		for _, other := range s.Tables {
			ties := func(a, b *Table) bool {
				return a.refersTo(b) || s.Trigger != nil && s.Trigger.Table == a && s.Trigger.Other == b
			}
			if !slices.Contains(out, other) && (ties(out[i], other) || ties(other, out[i])) {
				out = append(out, other)
			}
		}
	}
	return out
}

// referent writes a value for a column of a foreign key, often one that is in the parent's key.
func (g *gen) referent(t *Table, c Column) string {
	k := t.reference(c.Name)
	at := slices.Index(k.Columns, c.Name)
	switch n := g.IntN(6); {
	case n == 0 && !c.NotNull:
		return "NULL"
	case n < 2:
		return g.param(c.Kind, false)
	case n < 4 && !c.NotNull && g.setting != k.Parent && !g.hidden(k.Parent):
		alias := g.fresh(func(name string) bool { return name == t.Name || name == "excluded" })
		return fmt.Sprintf("(SELECT %s(%s.%s) FROM %s AS %s)", g.one("min", "max"), Quote(alias), Quote(k.Parent.Key[at]), k.Parent.SQL(), Quote(alias))
	}
	return g.literal(c.Kind)
}

// rekey writes an UPDATE that gives one row another key: of several, whether their keys collide could depend on their order.
func (g *gen) rekey(t *Table) (string, rel) {
	r, sql := g.renamedTarget(t)
	var set, where []string
	for i, name := range t.Key {
		c := t.column(name)
		if i == 0 || g.chance(1, 2) {
			v := g.param(c.Kind, false)
			if c.Kind == Int {
				v = g.bind(int64(g.IntN(40)), param{kind: 254})
			}
			set = append(set, Quote(name)+" = "+v)
		}
		where = append(where, fmt.Sprintf("%s.%s = %s", Quote(r.alias), Quote(name), g.literal(c.Kind)))
	}
	return "UPDATE " + sql + " SET " + strings.Join(set, ", ") + " WHERE " + strings.Join(where, " AND "), r
}
