// Package pglog keeps an audit trail in PostgreSQL, for services that have no disk of their own: the processes of a service
// record into a table, each in a stream of its own ([Open]), and one sealer takes the rows into a tamper-evident
// [audit.Log] ([OpenSealer], or the command auditctl seal).
//
//	statements, err := pglog.DDL("", pglog.Roles{Recorder: "clinic_audit", Sealer: "clinic_seal"}) // run once, by the table's owner
//	…
//	config, err := pgx.ParseConfig(os.Getenv("AUDIT_DATABASE_URL")) // as clinic_audit
//	trail, err := pglog.Open(ctx, config, pglog.Options{StreamOptions: audit.StreamOptions{Signer: signer}})
//	…
//	guard := storage.Guard{Keys: ring, Audit: trail}
//
// # What an acknowledgement means
//
// All events that wait go to the server in one INSERT, which is one round trip and one transaction, and are acknowledged when
// it is committed. The statement itself raises synchronous_commit to on where it is off or local, so that no setting of the
// server, database, role or pooler makes a commit mean less. What on means is the server's to say:
//
//   - without synchronous_standby_names: the commit is on the server's own disk. With fsync off it is not, and nothing here
//     notices. Where a standby takes over, the last events may be lost: a gap, which the sealer records if the stream goes on.
//   - with a standby named there, or a quorum (ANY 1 (a, b)): the commit is on the disk of that many as well. That is what a
//     trail should have: with Patroni, synchronous_mode and synchronous_mode_strict.
//   - remote_apply or remote_write, where they are set, are left as they are: the first waits until standbys show the row, the
//     second does not wait for their disks.
//
// Where a commit's wait for a standby is cancelled, the server warns and reports success: such an event is not acknowledged.
// After a lost answer the same rows are inserted again, under the same uids; where they are there already, a further commit
// has to be durable before they are acknowledged. Nothing is doubled. What callers were told is unavailable after
// StreamOptions.Timeout may be there yet, once.
//
// # Who may do what
//
// A recorder may insert, and neither read nor change nor delete: whoever takes over a service learns nothing of what it has
// recorded, and undoes nothing. [Open] refuses a role that may do more. A sealer may read and delete, and mark rows that are
// not authentic. The streams' signer authenticates rows against everybody who may write to the table and has not that key,
// its owner and the server's superuser included; see "Streams" in the documentation of package audit for what that shows, and
// what not. Whoever can insert can fill the disk, and slow a sealer down with rows that it refuses.
//
// No actor and no detail is in the table in the clear: rows are the log's own lines.
//
// # The sealer
//
// One sealer at a time has a table: the server locks it for the sealer's session, and a table belongs to the first log that
// seals it. Rows are taken in the order of their numbers in their stream, which has no holes that could still be filled, and
// deleted once the log has them on its disk; a sealer that was killed anywhere in between goes on without loss or
// doubling, because the log itself knows how far each stream is in it. From then on the log's disk is what keeps the events:
// ship its files elsewhere as they grow.
//
// Rows name the key that they are under, and a sealer leaves those of other keys alone: one that is given the wrong key does no
// harm. To change the key, give the sealer both, open the recorders with the new one, and take the old one away when nothing of
// it is left.
//
// Watch [audit.Stream.Err] and Stats in the services, and how many rows wait: SELECT count(*) FROM strongroom_audit WHERE NOT refused.
// Rows with refused set are evidence: somebody who had not the key wrote or changed them.
package pglog
