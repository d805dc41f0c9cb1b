// Package audit records what happened, so that it can be proven afterwards.
//
// [OpenLog] opens a log in a directory. Record returns when an event is on the disk, and what records an access before
// it happens is the reason that none can go unseen: the gate of this module lets no row and no byte through before its
// intent is recorded. [Verify] checks a log offline, [Read] lists its events, and the command audit/auditctl does both.
//
// # What the log defends against
//
// Somebody who can change the log's files afterwards, but has not its signing key: every event is a leaf of a Merkle
// tree (RFC 6962) whose root is signed once a second, every tenant's events are numbered without gaps, and every
// checkpoint holds the hash of the one before. An event that was changed, taken out, put in, moved or repeated is found,
// and so is a checkpoint. Events of the last second, not yet under a checkpoint, are defended only by their hashes.
//
// Somebody who has the key too, or who cuts the end of the log off together with its checkpoints: only with a pin, a
// checkpoint kept where they cannot reach ([Log.Checkpoint]). Without one, Verify says "unpinned".
//
// Somebody who reads the log: no actor and no detail stands in it in the clear. An actor is a pseudonym under the
// tenant's audit key; actor and details are sealed under that key, so destroying it redacts them while every proof stays
// valid. Events without a tenant's key (a denial for an unknown tenant) get a pseudonym under the log's own key and lose
// their details. Tenant, purpose, request, table and column names, the statement without its literals, counts and the
// reason of a refusal are in the clear.
//
// It does not defend against code inside the recording process, which can record what it likes, nor against the loss of
// the whole directory: ship the files elsewhere as they grow.
//
// # Durability, and what it costs
//
// [Durable], the default, waits for fdatasync; events that wait at the same time share one. [Written] waits for the
// kernel alone and syncs within 100 ms: a crash of the process loses nothing, a loss of power up to the last 100 ms.
//
// # A full disk, and other failures
//
// After the first write or sync that fails or falls short, every Record fails with [ErrUnavailable], and so every access
// does, until the log is closed and opened again; nothing is tried twice on a descriptor that failed, because the kernel
// reports a failed write-back only once. On a full disk the log gives up its reserve file (64 MiB) to record
// audit.stopping and seal what it has. Free space, Close the log and open it again (or restart the process): opening
// cuts off what was never acknowledged, records audit.recovered, and makes a new reserve. Watch the free space and
// [Log.Err]; move nothing out of the directory while the log is in use.
//
// # The format
//
//	LOCK                       held (flock) while the log is open
//	log.json                   schema version, origin, verifier keys
//	signer.key                 the signing key (golang.org/x/mod/sumdb/note, Ed25519), 0600; absent with Options.Signer
//	pseudonym.key              a Tink PRF keyset, 0600
//	reserve                    space for a full disk
//	checkpoints                C2SP signed notes, a blank line after each
//	seg/<first index>.jsonl    events, one JSON line each; at most 64 MiB
//	seg/<first index>.leaves   32 bytes an event: SHA-256 of a zero byte and the line without its newline
//
// A line is an event of OCSF 1.8.0: Datastore Activity (6005), Entity Management (3004) or Event Log Activity (1008).
// metadata.sequence counts each tenant's events from 1, and the log's own; what OCSF has no attribute for is in unmapped.
// status_code tells denied from failure; status_id 0 is an operation whose answer was lost. An audit.head event of a tenant states how many of its events stand before it
// and the root of the RFC 6962 tree over just those lines: with it, a tenant can be shown its own events, and that none
// is missing, without being shown anybody else's. Head leaves have no sequence number and are in no tenant's tree.
//
// A checkpoint has one extension line, "strongroom", its number from 1 and the SHA-256 of the note before, in base64;
// for the first, of nothing.
package audit
