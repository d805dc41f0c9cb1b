package sqlgen

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// family is a set of tenants and the types of tenant columns that their ids are values of.
type family struct{ tenants, types []string }

// Two ids differ in case alone; the numbers are values of other columns too.
var families = []family{
	{[]string{"a", "A", "b"}, []string{"text"}},
	{[]string{"1", "2", "3"}, []string{"text", "bigint", "integer"}},
	{[]string{"6f1c0a52-9a8f-4c0e-9e53-1b3a52f1a001", "6f1c0a52-9a8f-4c0e-9e53-1b3a52f1a002", "f0000000-0000-4000-8000-000000000001"}, []string{"text", "uuid"}},
}

// secondSchema is where a table may be on PostgreSQL.
const secondSchema = "billing"

// Vary gives each table a tenant column of its own name and type, makes one of them the tenants' own table perhaps, whose
// key is the tenant, and puts one into another schema, where it may have the name of a table of the first. It comes before
// [Schema.Relate].
func (s *Schema) Vary(r *rand.Rand) {
	f := families[0]
	if !s.Lite {
		f = families[r.IntN(len(families))]
	}
	s.tenants = f.tenants
	for i, t := range s.Tables {
		if t.Shared() {
			continue
		}
		t.Tenant, t.TenantType = tenantNames[r.IntN(len(tenantNames))], f.types[r.IntN(len(f.types))]
		if i == 0 && r.IntN(3) > 0 {
			t.Key = nil
		}
	}
	if last := s.Tables[r.IntN(len(s.Tables)-1)+1]; !s.Lite && r.IntN(2) == 0 {
		last.Schema = secondSchema
		if r.IntN(2) == 0 {
			last.Name = s.Tables[0].Name
		}
	}
}

// Tenants are the ids of the tenants that share the tables.
func (s *Schema) Tenants() []string {
	if s.tenants == nil {
		return []string{"a", "b", "c"}
	}
	return s.tenants
}

// Own tells whether the table is the tenants' own, in which each has one row at most.
func (t *Table) Own() bool { return !t.Shared() && len(t.Key) == 0 }

// wholeKey is the primary key as it is where a tenant has a database of its own.
func (t *Table) wholeKey() []string {
	if t.Own() {
		return []string{t.Tenant}
	}
	return t.Key
}

// SQL is the table's name as statements write it.
func (t *Table) SQL() string {
	if t.Schema == "" {
		return Quote(t.Name)
	}
	return Quote(t.Schema) + "." + Quote(t.Name)
}

// Declared is the name under which the table is declared.
func (t *Table) Declared() string {
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// tenantKind is what statements may do with the tenant column.
func (t *Table) tenantKind() Kind {
	switch t.TenantType {
	case "bigint", "integer":
		return Int
	case "uuid":
		return UUID
	}
	return Text
}

// Trigger is a trigger of PostgreSQL's: when rows of a table are deleted it deletes rows of another, or when some are inserted
// or updated it sets a column of rows of the other.
type Trigger struct {
	Table, Other *Table
	Column       string // that is set; empty: rows are deleted
}

// TriggerName is the name of a schema's trigger.
const TriggerName = "keep"

// Fire adds a trigger perhaps, between two tables that no foreign keys tie together: what it does, and whether the statement
// fails, does not depend on the order of its rows then. It comes after [Schema.Relate].
func (s *Schema) Fire(r *rand.Rand) {
	if s.Lite {
		return
	}
	var deleting, setting []Trigger
	for _, t := range s.Tables {
		for _, other := range s.Tables {
			if t.Shared() || other.Shared() || slices.Contains(s.related(t), other) {
				continue
			}
			deleting = append(deleting, Trigger{Table: t, Other: other})
			for _, c := range other.Columns[1:] {
				if c.Kind == Int && !c.Sealed && c.Generated == "" && !other.keyed(c.Name) && other.reference(c.Name) == nil {
					setting = append(setting, Trigger{Table: t, Other: other, Column: c.Name})
				}
			}
		}
	}
	if all := setting; len(deleting) > 0 {
		if len(all) == 0 || r.IntN(2) == 0 {
			all = deleting
		}
		s.Trigger = &all[r.IntN(len(all))]
	}
}

// TriggerDDL returns the statements that make the trigger. Scoped says that it names the tenant itself, as it must where no
// row-level security does.
func (s *Schema) TriggerDDL(scoped bool) []string {
	if s.Trigger == nil {
		return nil
	}
	t, other := s.Trigger.Table, s.Trigger.Other
	full := func(t *Table) string {
		if t.Schema == "" {
			return "public." + Quote(t.Name)
		}
		return t.SQL()
	}
	change, row, events := "DELETE FROM "+full(other)+" AS o", "OLD", "DELETE"
	if s.Trigger.Column != "" {
		change, row, events = fmt.Sprintf("UPDATE %s AS o SET %s = 7", full(other), Quote(s.Trigger.Column)), "NEW", "INSERT OR UPDATE"
	}
	change += fmt.Sprintf(" WHERE o.%s = %s.%s", Quote(other.Columns[0].Name), row, Quote(t.Columns[0].Name))
	if scoped {
		change += fmt.Sprintf(" AND o.%s::text = %s.%s::text", Quote(other.Tenant), row, Quote(t.Tenant))
	}
	return []string{
		"CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + change + "; RETURN NULL; END $$",
		fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION public.keep()", TriggerName, events, full(t)),
	}
}
