package sqlplan

import (
	"fmt"
	"testing"
)

// What foreign keys do is in the plan, through any number of tables, and nothing that they do not do.
func TestCascadesAreInThePlan(t *testing.T) {
	table := func(name string, cascades ...Cascade) *Table {
		return &Table{Schema: "public", Name: name, TenantColumn: "tenant_id", PrimaryKey: []string{"tenant_id", "id"}, Cascades: cascades,
			Columns: []Column{{Name: "id", Type: "bigint"}, {Name: "tenant_id", Type: "text"}, {Name: "boss", Type: "bigint"},
				{Name: "mail", Type: "bytea", Sealed: true, IndexColumn: "mail_index"}, {Name: "mail_index", Type: "bytea", Index: true}}}
	}
	key, index := []string{"tenant_id", "id"}, []string{"tenant_id", "mail_index"}
	cat := &Catalog{Dialect: PostgreSQL, IndexVersions: 1, Tables: map[string]*Table{
		"a": table("a", Cascade{"b", Cascades, Cascades, key}),
		"b": table("b", Cascade{"c", SetsColumns, SetsColumns, key}, Cascade{"b", Cascades, 0, key}),
		"c": table("c", Cascade{"a", Cascades, Cascades, key}, Cascade{"d", 0, Cascades, index}), // a circle
		"d": table("d"),
	}}
	for sql, want := range map[string]string{
		"DELETE FROM a":                 "write true [a b c d]", // c's columns are set, any of them may be d's key
		"DELETE FROM b":                 "write true [a b c d]",
		"DELETE FROM c":                 "write true [a b c d]",
		"DELETE FROM d":                 "delete false [d]",
		"UPDATE a SET boss = 1":         "write false [a]",
		"UPDATE a SET id = 1":           "write false [a b c d]",
		"UPDATE c SET mail = $1":        "write false [c d]",
		"UPDATE b SET mail = $1":        "write false [b]",
		"INSERT INTO a (id) VALUES (1)": "write false [a]",
		"SELECT a.id FROM a":            "read false [a]",
		"SELECT a.id FROM a FOR UPDATE": "read false [a]",
		"UPDATE d SET id = 2, boss = 1": "write false [d]",
		"WITH x AS (DELETE FROM d RETURNING id) UPDATE c SET boss = 1":                                        "write true [c d]",
		"INSERT INTO a (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = excluded.id + 1":                   "write false [a b c d]",
		"MERGE INTO a USING d ON a.id = d.id WHEN MATCHED THEN DELETE":                                        "write true [a b c d]",
		"MERGE INTO a USING d ON a.id = d.id WHEN MATCHED THEN UPDATE SET boss = 1":                           "write false [a d]",
		"MERGE INTO a USING d ON a.id = d.id WHEN MATCHED THEN UPDATE SET id = a.id + 1":                      "write false [a b c d]",
		"MERGE INTO a USING d ON a.id = d.id WHEN NOT MATCHED THEN INSERT (id) VALUES (d.id)":                 "write false [a d]",
		"INSERT INTO d (id) SELECT id FROM c ON CONFLICT (id) DO UPDATE SET boss = excluded.boss RETURNING 1": "write false [c d]",
	} {
		plan, err := New(sql, cat)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if got := fmt.Sprint(plan.Verb, " ", plan.AlsoDeletes, " ", plan.Tables); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
}
