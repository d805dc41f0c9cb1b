// Package strongroom is the overview of a library that gives every customer of a service a room of its own in shared
// databases and buckets. It has no code; the packages below it do.
//
//   - Scoping: every SQL statement and every object operation runs for exactly one tenant, the one in the context.
//     There is no unscoped call. What cannot be proven to stay inside the tenant is refused before it reaches the store.
//   - Sealing: columns that are declared as sealed, and all objects, are encrypted with that tenant's own keys
//     (Google Tink, AES-256). Each tenant's keys are wrapped by a key-encryption key, in HashiCorp Vault for instance,
//     that never leaves its provider.
//   - Accountability: no plaintext is released and nothing is written before an access event is durably in a
//     tamper-evident audit trail.
//
// An application changes how it opens its database and its bucket; what it gets is an ordinary *sql.DB and an ordinary
// *blob.Bucket. Begin with the program in README.md, then run
//
//	go run ./examples/quickstart
//
// # Packages
//
// Imports point one way, from the last of these to the first:
//
//   - [github.com/strongroom-go/strongroom/dialect]: the kinds of SQL.
//   - [github.com/strongroom-go/strongroom/tenant]: who is asking, for whom, and why.
//   - [github.com/strongroom-go/strongroom/audit]: what happened; the log, and how it is verified and read.
//     audit/pglog and audit/natslog record into PostgreSQL and NATS, audit/witness has logs countersigned, audit/sink
//     delivers events elsewhere, audit/report writes what logs show as a page for a browser, and the command audit/auditctl is
//     the reviewers' tool.
//   - [github.com/strongroom-go/strongroom/keys]: the tenants' keys and their life cycle. Key-encryption keys come from
//     keys/vaultkek, keys/kmskek or keys/localkek, and keys/routekek chooses one for each tenant; wrapped keysets are kept
//     by keys/sqlstore or keys/filestore. The command keys/keyctl is the operators' tool.
//   - [github.com/strongroom-go/strongroom/storage]: what guards a store. Databases are in storage/sqldb, buckets in
//     storage/blobs; storage/stack opens all of it in one call, and storage/stackurl by one URL. Work for all tenants is storage/alltenants'. A tenant leaves all of them
//     by storage/offboard. For the tests of applications there is storage/storagetest.
//
// # Threat model
//
// What is defended: one tenant's data against another tenant, in spite of
//
//   - bugs of the application: a forgotten predicate, an injected piece of SQL, a key taken from user input, a pooled
//     connection or a prepared statement that served somebody else before;
//   - somebody who reads or writes the database, the bucket, their backups or the key records, and has no access to
//     the key-encryption keys: sealed values cannot be read, and do not open in another tenant, table, column or
//     object than their own;
//   - somebody who changes the audit log, as far as a verifier can see it: any byte that is not as it was written is
//     found, and with a checkpoint kept elsewhere also that the end was cut off or all of it was written anew.
//
// What is not defended:
//
//   - Code that runs in the application's process, or has its memory, its credentials for Vault or its file of
//     key-encryption keys. It can do what the application can.
//   - Who the actor is. The application authenticates and says so in the [tenant.Access]; Strongroom believes it.
//   - What is not sealed: plain columns, object names without the option that seals them (and with it the number and
//     lengths of their segments and which share a directory), numbers and sizes of rows and objects, access patterns and
//     timing, and which rows of one tenant have the same blind index value in a searchable column.
//   - Age and order: who can write to the database can exchange two values of the same tenant, table and column, or put
//     an old one back. Who can write to the key store can deny service, and undo a suspension with an older record.
//   - Availability: whoever can stop the database, Vault or the audit log's disk stops the application. Where it
//     cannot tell or cannot record, it refuses.
//
// [tenant.Access]: https://pkg.go.dev/github.com/strongroom-go/strongroom/tenant#Access
package strongroom
