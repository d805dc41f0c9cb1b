package sqlplan

import "slices"

// testCatalog is the schema that the tests plan for.
func testCatalog(d Dialect) *Catalog {
	schema, text, bigint, bytea, timestamp := "public", "text", "bigint", "bytea", "timestamp with time zone"
	if d == SQLite {
		schema, bigint, bytea, timestamp = "", "INTEGER", "BLOB", "TEXT"
	}
	tenant := Column{Name: "tenant_id", Type: text, NotNull: true}
	id := Column{Name: "id", Type: bigint, NotNull: true}
	return &Catalog{Dialect: d, IndexVersions: 1, Functions: []string{"own_function"}, Types: []string{"own_mood"}, Tables: map[string]*Table{
		"patients": {Schema: schema, Name: "patients", TenantColumn: "tenant_id",
			Columns: []Column{id, tenant, {Name: "name", Type: bytea, Sealed: true, Plain: "text"},
				{Name: "ssn", Type: bytea, Sealed: true, Plain: "text", IndexColumn: "ssn_index"}, {Name: "ssn_index", Type: bytea, Index: true},
				{Name: "note", Type: text}, {Name: "age", Type: bigint}, {Name: "created", Type: timestamp}},
			PrimaryKey: []string{"tenant_id", "id"}, UniqueKeys: [][]string{{"tenant_id", "ssn_index"}, {"tenant_id", "note"}},
			Once: []UniqueKey{{Columns: []string{"tenant_id", "ssn_index"}, SQL: []string{"tenant_id", "ssn_index"}}}},
		"visits": {Schema: schema, Name: "visits", TenantColumn: "tenant_id",
			Columns: []Column{id, tenant, {Name: "patient_id", Type: bigint}, {Name: "ward", Type: text},
				{Name: "cost", Type: bigint, HasDefault: true}, {Name: "double_cost", Type: bigint, Generated: true},
				{Name: "report", Type: bytea, Sealed: true, Plain: "text", IndexColumn: "report_index"}, {Name: "report_index", Type: bytea, Index: true}},
			PrimaryKey: []string{"tenant_id", "id"}},
		"Odd Table": {Schema: schema, Name: "Odd Table", TenantColumn: "Tenant.Id",
			Columns:    []Column{{Name: "Key", Type: bigint, NotNull: true}, {Name: "Tenant.Id", Type: text, NotNull: true}, {Name: `we"ird`, Type: text}, {Name: "größe", Type: text}},
			PrimaryKey: []string{"Tenant.Id", "Key"}},
		"ledger": {Schema: schema, Name: "ledger", TenantColumn: "tenant_id", // a key across tenants
			Columns:    []Column{id, tenant, {Name: "reference", Type: text}},
			PrimaryKey: []string{"tenant_id", "id"}, UniqueKeys: [][]string{{"reference"}}},
		"countries": {Schema: schema, Name: "countries", Shared: true,
			Columns: []Column{{Name: "code", Type: text, NotNull: true}, {Name: "title", Type: text}}, PrimaryKey: []string{"code"}},
	}}
}

func withVersions(c *Catalog, n int) *Catalog {
	copied := *c
	copied.IndexVersions = n
	copied.Functions = slices.Clone(c.Functions)
	return &copied
}
