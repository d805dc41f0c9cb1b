// Package tenant says who is asking, for whom, and why.
//
// A request handler puts an [Access] into its context once, normally through [Middleware]; every guarded
// database and bucket takes it from there. There is no default tenant and no way to ask for all of them: a
// context without an Access makes every guarded call fail with [ErrMissing].
package tenant
