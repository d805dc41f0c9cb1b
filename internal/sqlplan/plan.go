package sqlplan

// Verb is what a statement does.
type Verb string

// The verbs. A statement that deletes in one part and writes in another is a Write that [Plan.AlsoDeletes].
const (
	Read      Verb = "read"
	Write     Verb = "write"
	Delete    Verb = "delete"
	Savepoint Verb = "savepoint" // SAVEPOINT, RELEASE, ROLLBACK TO: no data is touched
)

// Plan is a statement that was proven to stay inside one tenant. It is immutable.
type Plan struct {
	// SQL is the canonical text, deparsed from the rewritten tree, in the catalog's dialect: parameters are $1, $2, …
	// for PostgreSQL and ?1, ?2, … for SQLite.
	SQL  string
	Verb Verb
	// AlsoDeletes tells that a Write deletes rows too: in a query of its WITH, or by MERGE.
	AlsoDeletes bool
	// WritesInWith tells that a query of the WITH clause writes, so that neither the rows that the statement returns nor
	// those that the database says it affected are all that it wrote.
	WritesInWith bool
	// ReturnsRows tells a statement with a result set (SELECT, RETURNING) from one without.
	ReturnsRows bool
	// Locks tells that a read takes row locks (FOR UPDATE and the like).
	Locks bool
	// Effects tells that the statement calls what may have an effect that stands whatever becomes of it: nextval, or a declared
	// function.
	Effects bool
	// NumInput is how many parameters the caller must pass: the highest $n in the text.
	NumInput int
	// Params says how each parameter of SQL is made, the first for $1.
	Params []Param
	// Tenants are values that the statement gives as the tenant's id: each must be the tenant's when the statement runs. They
	// are not sent; the tenant's id is.
	Tenants []TenantValue
	// Unique are index values that the statement writes and that are part of a unique key, where the tenant has several index keys:
	// after the statement, no other row of the key may hold the value under whichever of them.
	Unique []Param
	// Barriers counts the optimization barriers that the plan has beyond those of the caller's text.
	Barriers int
	// Outputs describes each result column; nil when ReturnsRows is false.
	Outputs []Output
	// Tables, Columns (table.column) and SealedColumns (a subset of Columns) are what the statement touches: sorted,
	// without duplicates, without tenant and index columns.
	Tables, Columns, SealedColumns []string
	// Statement is the normalised text, without literals, of what the caller wrote; Fingerprint identifies its shape.
	Statement, Fingerprint string
}

// Source is where a parameter's value comes from.
type Source uint8

// The sources.
const (
	FromTenant Source = iota + 1 // the tenant's id
	FromCaller                   // the caller's parameter Caller
	FromConst                    // a literal of the statement, lifted out of it
)

// Use is what is done with the value before it is bound.
type Use uint8

// The uses.
const (
	AsIs  Use = iota + 1 // bound as it is
	Seal                 // encrypted for Table and Column
	Index                // replaced by the blind index value for Table and Column under index key IndexVersion
)

// TenantType is what a tenant column holds of a tenant's id.
type TenantType uint8

// The types. Several texts are one UUID or one integer: only the canonical one may be a tenant's id then, or two tenants would
// share their rows.
const (
	TenantText    TenantType = iota
	TenantUUID               // lower case, with hyphens
	TenantInteger            // decimal, without leading zeros or a plus
)

// Param makes one database parameter.
type Param struct {
	Source Source
	// Caller is the caller's parameter, 1 for $1.
	Caller int
	// Const is the lifted literal: nil (NULL), string, int64, float64 or bool. A numeric literal that fits neither
	// int64 nor float64 exactly is a string.
	Const any
	Use   Use
	// TenantType is the type of the tenant column, with FromTenant.
	TenantType TenantType
	// Table and Column name the sealed column (not the index column) for Seal and Index.
	Table, Column string
	// Pattern tells that the value is a LIKE pattern: one for which [LoneEscape] is true must be refused, because the
	// database would fail or not according to the values it meets, other tenants' included.
	Pattern bool
	// Head tells that the value is a part of a LIKE pattern. With Pattern or Head it must be a text of at most [MaxPattern]
	// bytes.
	Head bool
	// Nesting tells that the value is JSON that must be nested at most [MaxNesting] deep; Query that it is a text for
	// which [ShortWords] must be true.
	Nesting, Query bool
	// Count tells that the value is a number of rows, of LIMIT or OFFSET, or SQLite's length of substr: NULL, or an integer
	// that is not below zero. PostgreSQL would refuse another, but only when a row asks for it.
	Count bool
	// IndexVersion selects the index key: 0 is the primary one, which writes use.
	IndexVersion int
	// Array tells that the value is an array, of whose elements Use is made, each under every live index key; what is
	// bound is an array of byte strings. Only with Index, and then IndexVersion has no meaning.
	Array bool
	// Element is what pg_catalog calls the type of which the parameter is an array, with an element for each row: in plans of [NewRows], for
	// what is the caller's. Use is made of each element. Empty for a single value.
	Element string
}

// TenantValue is a value that a statement writes into a tenant column: the caller's parameter, or a literal.
type TenantValue struct {
	Caller int // 1 for $1, 0 for a literal
	Const  any
	Table  string
}

// Output is one result column.
type Output struct {
	Name string
	// Table and Column are where the value comes from, unchanged; both empty for a computed value.
	Table, Column string
	// Sealed tells that the value is a ciphertext of Table and Column, to be opened before the caller sees it.
	Sealed bool
	// OriginHidden tells that the database does not report this column's origin (set operations, recursion), so that
	// it cannot be cross-checked.
	OriginHidden bool
}
