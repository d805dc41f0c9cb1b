package tenant

import "context"

// Verb is what an operation does to the data.
type Verb string

// The verbs. A statement that reads and writes is a Write. One that inserts or updates and deletes as well, in its WITH or
// by MERGE, is asked about twice: as a Write and as a Delete.
const (
	Read   Verb = "read"
	Write  Verb = "write"
	Delete Verb = "delete"
	List   Verb = "list"
	// Offboard deletes all that the tenant has in a store, or with a dry run counts it.
	Offboard Verb = "offboard"
)

// Action is one operation, as an [Authorizer] sees it.
type Action struct {
	// Verb is what is done.
	Verb Verb
	// Store is what kind of store is touched: "postgresql", "sqlite" or "blob".
	Store string
	// Name is the database's name or the bucket's label.
	Name string
	// Tables are the tables a statement touches, sorted, without a schema; nil for a blob operation.
	Tables []string
	// Columns are the table.column names that a statement reads or writes, sorted, as far as the planner names
	// them; nil for a blob operation.
	Columns []string
	// Key is the object key or, for [List], the prefix; empty for SQL.
	Key string
}

// Authorizer decides whether an access may do an action. It is consulted before keys are opened and before
// anything reaches a store; an error refuses the operation, is recorded as a denial, and is returned wrapped in
// [ErrDenied]. One that panics or ends its goroutine denies: it is called on a goroutine of its own. It must be safe for concurrent
// use and must honour ctx.
type Authorizer interface {
	Authorize(ctx context.Context, access Access, action Action) error
}

// AuthorizerFunc is a function as an [Authorizer].
type AuthorizerFunc func(ctx context.Context, access Access, action Action) error

// Authorize calls f.
func (f AuthorizerFunc) Authorize(ctx context.Context, access Access, action Action) error {
	return f(ctx, access, action)
}
