// Package audit records what happened, so that it can be proven afterwards.
//
// [OpenLog] opens a log in a directory. Record returns when an event is on the disk, and what records an access before
// it happens is the reason that none can go unseen: the gate of this module lets no row and no byte through before its
// intent is recorded. [Verify] checks a log offline, [Read] lists its events and [Watch] those to come, [WriteBundle] hands a
// tenant its own with a proof that none is missing, audit/report makes a page for a browser, and the command audit/auditctl
// does all of that. [Follow] reads events as they are sealed, for audit/sink, which delivers them elsewhere.
//
// # What the log defends against
//
// Somebody who can change the log's files afterwards, but has not its signing key: every event is a leaf of a Merkle
// tree (RFC 6962) whose root is signed once a second, every tenant's events are numbered without gaps, and every
// checkpoint holds the hash of the one before. An event that was changed, taken out, put in, moved or repeated is found,
// and so is a checkpoint. Events of the last second, not yet under a checkpoint, are authenticated by the chain of their
// session, which the next opening checks: see "The tail".
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
// the whole directory: ship the files elsewhere as they grow, or their events with audit/sink.
//
// # The tail
//
// Behind the last checkpoint of a log that was closed nothing may stand: [Verify] and [OpenLog] call anything there
// tampering, but for an audit.recovered and an audit.started event that an opening wrote and did not come to seal, which
// the next one cuts off.
//
// Behind the last checkpoint of a log that was not closed stand batches: the lines that shared one write. The last line
// of each has a tag, a MAC under a key that is used once and forgotten (Schneier and Kelsey 1998; Bellare and Yee 2003).
// The first key of a session is derived from a signature that nobody but the log's signer can make, so opening the log
// can check the tags, and neither a reader of its files nor [Verify] can. A tag that is wrong, repeated, missing between
// others or out of its turn is tampering, and nothing is opened. Lines behind the last tag, which is what is left of a
// write that was cut short, were acknowledged to nobody: they are cut off and counted in audit.recovered. As with a cut
// of log and checkpoints, that the last batches were taken away is seen only with a pin.
//
// A session has no chain where an earlier release wrote it, or where Options.Signer does not sign the same text the same
// way each time. What stands behind the last checkpoint then is kept, because it may be genuine, and nothing shows that
// it is: audit.recovered names those events, and Verify reports them for ever ([Report.Unauthenticated]).
//
// Power that is lost leaves zeros where a file was extended and not filled, and a new segment's files without their
// names. Both are torn tails as long as nothing sealed is concerned.
//
// # Tenants
//
// Tenants take turns at the disk, and share what may wait for it (64 MiB): a burst of one fills its share, its callers
// wait for room and are refused after Options.Timeout, and another's event goes to the disk with the next write.
// [Log.Stats] counts.
//
// A tenant is known to a log from its first event with a Sealer or of success. Denials of other ids, which whoever sends
// a request can make up, are recorded with metadata.tenant_uid and without a sequence number. They take no memory, share
// one queue, and are in no tenant's tree: what a head leaf proves complete is a tenant's numbered events. The same goes
// for tenants beyond Options.Tenants.
//
// # Durability, and what it costs
//
// [Durable], the default, waits for fdatasync; events that wait at the same time share one. [Written] waits for the
// kernel alone and syncs within 100 ms: a crash of the process loses nothing, a loss of power up to the last 100 ms.
// What the gate queues as the outcome of a read, or of a statement in a transaction, nobody waits for: it goes to the disk
// with the next event and within 100 ms ([Log.Queue]), so a crash may lose the last counts, and no intent.
//
// # Streams
//
// A service without a disk of its own records into an [Engine] that replicates, such as PostgreSQL (audit/pglog) or NATS (audit/natslog). [OpenStream]
// makes a [Stream] of it, one for each process: its rows are numbered from 1 without gaps, and authenticated under a key of
// their batch that is used once and forgotten, as the batches of the tail are. A sealer, of which one runs at a time, takes the
// rows into a log ([Log.Adopter]); only then are they under checkpoints. Lines and uids stay what they were.
//
// Until a row is sealed, the engine and its backups are what keeps it. Whoever can write to the engine, and has not the
// streams' key, cannot change a row, put one in, or give it another place: such rows are left out, and stream.gap events
// and [Report.Refusals] say so. Rows that were taken away are missing numbers as soon as a later row of the stream is sealed:
// [Verify] lists them for ever ([Report.Gaps]). Two things the numbers do not show: that the last rows of a stream are gone that
// goes on no further, which is why [Report.OpenStreams] counts the streams without an end, and that a whole stream is gone of
// which nothing was sealed. A sealer that runs all the time leaves seconds for either.
//
// The key of the streams is one that the sealer has too, and from which it could make any row: with the signer on the machine
// of a service, whoever takes that over can do the same for rows that are not yet sealed. A signer kept elsewhere, such as a
// key service that is asked when the process starts and refuses later, confines that to rows after the take-over.
//
// A log remembers of every stream that it ever took in how far that is, of one that ended as well: a row of it that somebody puts back would
// otherwise be sealed a second time. No time is long enough to forget one, since the clock of a recorder, which gave the stream its id, may be
// wrong, and rows of a stream that the log forgot could not be told from those of one that it never saw. A stream takes 100 bytes of
// memory and 70 of the file state, and of the file pruned where its events were deleted: 10 MB and 7 MB for 100,000 processes, which an
// opening reads in 0.4 s. Each reader of the log reads that of the file pruned.
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
// # Retention
//
// Options.Retention, [Log.Retain] and "auditctl retain" compress old segments, and delete the oldest by age or size, beside the
// goroutine that writes. The log is then pruned as C2SP tlog-tiles has it: events before a minimum index are gone, and the tree stays what
// it was. Their leaf hashes (32 bytes an event, salted) and all checkpoints are kept by default, so that every pin, witness and proof
// of growth holds as before.
//
// [Retention].DropHashes deletes the leaf hashes as well, 32 MB a million events: the record then has the edge of the tree from which
// the others go on. Whatever is there verifies, is bundled and is shown to have grown as before, from that event on. A pin or a
// witness's tree of fewer events has nothing left to say of an event that is there; such a pin is compared with the checkpoints, and
// such a witness takes no later one.
//
// Checkpoints are some 300 bytes each, one every Options.CheckpointEvery in which something was recorded. With the default of 1 s that
// is 26 MB a day at most: 3 MB a million events at 100 events/s, and 300 MB at one, where a longer CheckpointEvery makes it less.
// [Retention].DropCheckpoints deletes those that seal nothing but deleted events. Nobody needs them who has the tree: opening reads
// those behind the last state, a bundle and a proof of growth have the newest, and pins and cosignatures are compared with the tree, be they
// ever so old, as long as there are leaf hashes. A log that is read over the network serves its newest checkpoint alone, and a pruned
// one the trees from its minimum index on (C2SP tlog-tiles). Without the leaf hashes an older pin can be compared with nothing any more;
// no sparse selection is kept for it, since it would have to be the very ones that somebody kept elsewhere. The record names the last that
// was deleted, by number, size and hash, and the first that is there must continue it: to take away one more is tampering, and so is
// to put another in its place. [Verify] says from which number on they are there ([Report.Dropped]). The file is written anew when half
// of it or more goes, so that its length stays below twice what is needed.
//
// That events are missing is tampering unless the log itself says so, in two places: an audit.pruned event, which is sealed
// before anything is deleted, and the file pruned, signed by the log's key, whose hash that event states. Before a segment goes
// its events are checked against leaf hashes and checkpoints; of a log that is not intact nothing is deleted. [Verify] says from
// which event on there is more than hashes ([Report.Deleted]), [Retained] does without verifying, and [Read] begins there. A
// bundle of a tenant has its events from a number on and proves that none of those is missing ([Bundle.After]). What a deleted
// event held nothing shows any more: keep a copy elsewhere where that may be asked.
//
// The summaries of deleted segments go with them.
//
// What decompresses is bounded by what a segment may hold, and compared line by line with the leaf hashes. Earlier releases know
// none of these forms and take such a log for tampered with; they change nothing in it.
//
// # Summaries
//
// A reader that filters by time, tenant or code need not read a segment in which nothing can be selected. So each segment but the newest
// has a summary: the earliest and the latest time of its events, wherever they stand, for a clock may go back; the codes that they have; and
// of each tenant four bytes of a hash, so that two may look like one, and none be overlooked. The writer makes it of the lines as it
// writes them, signs it when a checkpoint seals events behind the segment, and writes it within CheckpointEvery. After a crash
// the next opening does, for what it reads; where the log's state was lost that may be all, and then they are signed some at a time. Segments
// of an earlier release get theirs by [Log.Retain], which reads and checks all events for it, once: what it then cannot write is kept in
// memory (16 MiB at most), and written by the next call.
//
// Nothing but speed depends on a summary being there: [Read], [ReadAll], [Watch] and [WriteBundle] read the segment where there is none,
// where none of the log's keys signed it, or where it is of other events than its file's name and the next segment's say. So whoever
// has no key can slow them down. Whoever has one, or is believed to, since Read takes the keys in log.json for want of
// [Filter].Verifiers, can hide events from them: that is for [Verify] to find, as is whatever else Read does not look at. It compares
// each summary with the events, whoever signed it.
//
// The key may also have signed one of other events, as many, in a log that was made anew under it or went on from a copy, such as one that
// was put back from a backup. So a summary has the complete subtrees that its segment's events make of the log's tree, some tens of
// hashes: those of all segments, with the leaf hashes of the newest, must make the root that the newest checkpoint signs. Where they do
// not, the leaf hashes of all tell which summary is another log's; that segment is read, and [Log.Retain] makes its summary anew. What it
// costs to bind them to the log grows with the number of segments and not of events. Of segments without a summary, which are read anyway, it takes
// the leaf hashes. Earlier releases signed summaries without subtrees, which are gone by no more.
//
// [ReadVerified] goes by what Verify itself read,
// and by no file; a bundle proves that it is complete whatever a summary said, and is not written where one that it went by has another
// root than the leaf hashes. [Filter].Whole has everything read, and [Filter].Skipped says how much was not.
//
// A summary takes up to 2 KiB and four bytes for each tenant with events in the segment, which is at most 64 MiB.
//
// # The format
//
//	LOCK                       held (flock) while the log is open
//	log.json                   schema version, origin, verifier keys
//	signer.key                 the signing key (golang.org/x/mod/sumdb/note, Ed25519), 0600; absent with Options.Signer
//	pseudonym.key              a Tink PRF keyset, 0600; locked as well while the log is open, in case LOCK is removed
//	reserve                    space for a full disk
//	checkpoints                C2SP signed notes, a blank line after each
//	state                      what opening needs of the events under a checkpoint, signed; without it everything is read
//	pruned                     what is to be known of events that retention deleted, signed
//	summaries/<first index>    what is to be known of a segment by those who look for others' events, signed; may be missing
//	seg/<first index>.jsonl    events, one JSON line each; at most 64 MiB; behind the newest ones there may be zeros
//	seg/<first index>.jsonl.zst  the same, compressed: one Zstandard frame (RFC 8878) that states its content's length
//	seg/<first index>.leaves   32 bytes an event: SHA-256 of a zero byte and the line without its newline
//
// All are regular files: nothing else is opened in their place, and no symbolic link followed.
//
// While a log that is [Durable] is open, up to [Options].AheadBytes of zeros stand behind its newest events, in the newest segment
// alone. The next events take their place, so that a sync writes bytes and changes no metadata: on a journaling file system it
// then does not wait for what others have put into the journal. A crash leaves them there, and they are no torn event: no line
// holds a NUL, so where one stands the log has ended, unless a checkpoint seals an event there, which then was tampered with.
// What stands behind zeros was never acknowledged; opening cuts it off and records how much it was.
//
// A line is an event of OCSF 1.8.0: Datastore Activity (6005), Entity Management (3004) or Event Log Activity (1008). It
// has at most 2 MiB. EVENTS.md, beside this file, lists all codes and fields.
// metadata.sequence counts each tenant's events from 1, and the log's own; what OCSF has no attribute for is in unmapped.
// status_code tells denied from failure; status_id 0 is an operation whose answer was lost. An audit.head event of a
// tenant states how many of its numbered events stand before it and the root of the RFC 6962 tree over just those lines:
// with it, a tenant can be shown its own events, and that none is missing, without being shown anybody else's. Head
// leaves have no sequence number and are in no tenant's tree, nor are events of tenants that the log does not know.
//
// In audit.started, unmapped.chain is the nonce of the session's chain: 16 random bytes, base64. The last line of each
// batch of the session has, as the last member of metadata, labels with one string: "batch:", the batch's position in
// the session from 0, ":", and the MAC, base64 without padding. The event audit.started, and audit.recovered in the same
// batch, have none. With F(k, x) for HMAC-SHA256 of x under key k:
//
//	S    = the signer's signature of "strongroom/audit-chain/v1\n" origin "\n" nonce "\n"
//	E[0] = HKDF-SHA256(secret S, salt nonce, info "strongroom/audit-chain/v1"), 32 bytes
//	E[e+1] = F(E[e], byte 0), for each epoch of 65,536 batches
//	B[0] = F(E[e], byte 1), for the first batch of epoch e; B[i+1] = F(B[i], byte 0)
//	MAC  = F(B[i], byte 1, the index of the batch's first line in the log as 8 bytes, big-endian, and the leaf hashes of
//	       its lines in order, the last line's taken without the member labels)
//
// The signature's algorithm byte and key hash are not part of S, and the nonce is salt and text in its base64 form. The
// batch at position p has e = p / 65,536 and i = p % 65,536. A checkpoint is written behind whole batches, so the first
// position behind it follows that of the last line it seals.
//
// An event of a stream has metadata.loggers, with one object: uid is the stream's id, a UUIDv7, and event_uid the event's number
// there. What stands before metadata.sequence is the row's line without its last two braces. The row's MAC is F(B[i], byte 1,
// the number as 8 bytes, big-endian, and the leaf hash of the row's line) with keys as above, in epochs of 8,192 batches, where
// S signs "strongroom/audit-stream/v1\n" signer name "\n" stream id "\n", and the stream's id is the salt and
// "strongroom/audit-stream/v1" the info. The key of pseudonyms without a tenant's key, for AES-CMAC (RFC 4493), is made the same
// way with "strongroom/audit-pseudonym/v1" and an empty nonce. In stream.gap, unmapped.gap is the stream, the first number that
// is missing, and how many; without it, the event is about rows that are not authentic.
//
// In audit.recovered, unmapped.unauthenticated is the range of events, first and count, that nothing authenticates.
//
// The file state is a C2SP signed note of three lines, "strongroom/audit-state/v1", the origin, and the length and SHA-256
// (base64) of what follows the note and a blank line: the checkpoint, a blank line, a JSON object, and a line for each
// tenant: the size of its tree, how much of it head leaves cover, the nodes of its frontier in base64, and its id. It is
// written every 100,000 events (with many tenants, every four for each) and when the log is closed.
//
// The file pruned is such a note too, of "strongroom/audit-pruned/v1"; what follows it is a JSON object, with the minimum index,
// the frontier of the tree of so many events and what else Verify counts of them, hashes and hash_tree where leaf hashes were deleted
// (how many, and the frontier of their tree), checkpoints where such were deleted (number, size and hash of the last one, how many bytes all
// were, and how many of those earlier), and a line for each tenant as in the state. In
// audit.pruned, unmapped.pruned has the minimum index, events, and record, the SHA-256 (base64) of what follows the note. The newest
// such event states the record that is there, unless what it announced was interrupted before the record was written.
//
// A summary is such a note, too, of "strongroom/audit-summary/v2"; what follows it is one line of JSON with first, the index of the segment's first
// event, events, how many it has, root, that of the log's tree up to its end, nodes, the roots of the complete subtrees that the events make of that tree,
// from and to, the earliest and the latest time in milliseconds, codes, sorted, and tenants, the first four
// bytes of the SHA-256 of each tenant's id, sorted; all bytes in base64. A complete subtree has 2^k leaves and begins with a multiple of that;
// the nodes are of the fewest that have just the segment's events, in their order. The state has the newest segment's so far, without a root.
// Version 1 has no nodes; it is as good as none.
//
// A checkpoint has one extension line, "strongroom", its number from 1 and the SHA-256 of the note before, in base64;
// for the first, of nothing.
//
// A bundle is one file of JSON lines: {"format":"strongroom.audit.bundle","version":1,"origin":…,"tenant":…}; the exact
// lines of the tenant's events number 1, 2, 3 and so on; and {"head":…,"index":…,"path":[…],"checkpoint":…}: the exact line
// of an audit.head event of the tenant that states just these events, its index in the log, its audit path (RFC 6962,
// section 2.1.1, base64, the leaf's sibling first) in the tree of the checkpoint, and that signed note. Version 2 lacks the
// first events, which its log had deleted: the header has after, how many, and edge, the nodes of the frontier of their tree.
package audit
