package sqldb

import (
	"log/slog"
	"strings"

	"github.com/strongroom-go/strongroom/storage/dialect"
)

// Defaults of [Options].
const (
	DefaultTenantColumn  = "tenant_id"
	DefaultTenantType    = "text"
	DefaultSchema        = "public"
	DefaultPlanCacheSize = 1000
)

// Options are the optional settings of [Open]; nil and the zero value are safe.
type Options struct {
	// TenantColumn is the column with the tenant's id in every table that is not shared and names none of its own
	// ([Table].TenantColumn). Default [DefaultTenantColumn].
	TenantColumn string
	// TenantType is the type of the tenant columns that [Schema.DDL] makes and compares with: [DefaultTenantType], uuid, bigint or
	// integer. A table may have another ([Table].TenantType). [Open] takes the type that it finds. Tenants' ids must then be UUIDs in their canonical form (lower case, with
	// hyphens) or decimal integers without leading zeros: another id is refused with every statement. PostgreSQL only.
	TenantType string
	// Leakproof has [Schema.DDL] end with the statements by which a superuser marks functions LEAKPROOF. With row-level security
	// PostgreSQL uses no index for their operators otherwise. They are those that indexes evaluate and that fail for no value at all,
	// established by testing. What fails for some values is printed as a comment with the reason. PostgreSQL only.
	Leakproof bool
	// Logger gets one warning when a database is opened that has indexes which row-level security keeps statements from.
	// Default [slog.Default].
	Logger *slog.Logger
	// Schema is the PostgreSQL schema of the tables that are declared without one, which is also that of unqualified names in
	// statements, whatever the search path is. Default [DefaultSchema]. SQLite has none.
	Schema string
	// Functions are the lower-case names of further functions that statements may call, beyond the built-in allowlist, as
	// statements write them, with a schema or without; also those that return rows. Such a function must read no table. It is
	// called with the tenant's own values alone.
	Functions []string
	// Types are the names of further types that casts may name, such as an enumeration or a domain of the application's:
	// as statements write them, with a schema or without. Their input functions and constraints must read no table and
	// must not raise errors that show the value. PostgreSQL only.
	Types []string
	// PlanCacheSize bounds how many statements' plans are kept. Default [DefaultPlanCacheSize].
	PlanCacheSize int
	// TransactionPooler tells that connections go through a pooler such as PgBouncer in transaction mode, where the
	// session behind a connection changes from one transaction to the next. The tenant is then set anew in every
	// transaction, which a single statement is too, and never for longer. The pooler must support prepared statements
	// (PgBouncer 1.21 and newer: max_prepared_statements above 0), or the connection string must say
	// default_query_exec_mode=cache_describe. PostgreSQL only.
	TransactionPooler bool
	// InsecureAllowPlaintext admits connections without TLS to hosts that are not loopback.
	InsecureAllowPlaintext bool
	// InsecureWithoutRLS does without the second fence: neither row-level security, nor the role's exemption from it, nor
	// what the role owns, may create or was granted is checked when the database is opened, and the session is not told its tenant.
	// PostgreSQL only.
	InsecureWithoutRLS bool
}

// place returns the schema of a declared table, and its name there.
func (o *Options) place(table string) (schema, name string) {
	if schema, name, ok := strings.Cut(table, "."); ok {
		return schema, name
	}
	return o.Schema, table
}

// bound returns the name that the values of a declared table are bound to: that of the table in the database, whatever
// schema this handle takes for its default. A table of [DefaultSchema], and one of SQLite, has its name alone.
func (o *Options) bound(d dialect.Dialect, table string) string {
	if d == dialect.SQLite {
		return table
	}
	schema, name := o.place(table)
	if schema == DefaultSchema {
		return name
	}
	return schema + "." + name
}

// withDefaults returns a copy in which every setting has its value.
func (o *Options) withDefaults() *Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.TenantColumn == "" {
		c.TenantColumn = DefaultTenantColumn
	}
	if c.TenantType == "" {
		c.TenantType = DefaultTenantType
	}
	if c.Schema == "" {
		c.Schema = DefaultSchema
	}
	if c.PlanCacheSize <= 0 {
		c.PlanCacheSize = DefaultPlanCacheSize
	}
	return &c
}
