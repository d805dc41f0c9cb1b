// Package storagetest is for the tests of applications that use Strongroom. The guide examples/TESTING.md has tests to copy.
//
// [New] opens a guarded database and a guarded bucket for a unit test: SQLite and memory, keys and trail of their own, in milliseconds.
//
// [Run] is the isolation suite for the application's own schema and statements, on whatever database it is opened on. Two tenants get
// rows with the same keys; every statement is run as either, and its rows, its error, the number of rows that it changes and all that the
// tenant has after it must be the same whether the other tenant is there or not, whatever rows that one has, and when both are run at once. Nothing of the
// other's may change, also where what the statements do stays:
//
//	func TestIsolation(t *testing.T) {
//		storagetest.Run(t, storagetest.Suite{
//			DB: db, Schema: schema, Keys: ring,
//			Fill: []storagetest.Statement{
//				{SQL: `INSERT INTO patients (id, name) VALUES (1, $1)`, ArgsFor: func(id tenant.ID) []any { return []any{"Ada of " + id.String()} }},
//			},
//			Statements: []storagetest.Statement{
//				{SQL: `SELECT name FROM patients WHERE id = $1`, Args: []any{1}},
//				{SQL: `UPDATE patients SET name = $1`, Args: []any{"Bea"}},
//			},
//		})
//	}
package storagetest
