// Package sqlgen makes random schemas, data and statements for the tests that hold a guarded database against plain ones.
// It knows SQL and nothing of the planner: what it writes is what an application would write for a database of its
// own, with no tenant in sight.
//
// A schema may have ([Schema.Vary], [Schema.Relate], [Schema.Fire]) the tenants' own table, whose key is the tenant, tenant
// columns of other names and types, tables in a second schema of PostgreSQL's, foreign keys with actions, and a trigger.
//
// Every statement is deterministic: its rows, taken as a multiset, and its effects follow from the data alone, whatever
// order the database meets the rows in. So there is LIMIT only under an order of all outputs, UPDATE … FROM and MERGE
// only with sources that match a row at most once, a column of a key is assigned to in one row alone, since it could
// fail or not according to the order, and a statement writes once among the tables that foreign keys tie together. And
// none divides, or does anything else that fails for some values, unless the schema asks for such statements
// ([Schema].Failing): of those only the outcome of one and the same plan on the same rows is determined.
package sqlgen
