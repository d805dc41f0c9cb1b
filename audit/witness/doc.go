// Package witness has an audit log's checkpoints countersigned by a witness: a service under somebody else's control that
// signs a log's tree head only if the log has grown from the one it signed before and has lost nothing.
//
// Without one, two things cannot be seen from a log's files: that its end was cut off together with its checkpoints, and
// that all of it was written anew with its signing key. A witness that knows the log refuses both, and a cosignature is a
// pin with a time that the log's owner did not choose: [Load] returns pins for [audit.Verify].
//
// The protocol is C2SP's tlog-witness (c2sp.org/tlog-witness), the signatures are cosignatures of Ed25519 or ML-DSA-44
// (c2sp.org/tlog-cosignature), so any witness that speaks them will do. It learns the log's name, how many events it has
// and when, and nothing else: the tree's hashes are salted.
//
// A [Submitter] asks once for each call of Submit, from the log's directory, in any process: a ticker in the one that writes
// the log, or `auditctl witness` beside it. It never delays an access. What it got is kept in the log's directory as
// witness/<key hash>.note: the newest checkpoint with the witness's signature. Whoever can write the log's files can delete
// these, and a log without them looks as one that was never witnessed; so a reviewer says which witnesses must have signed
// (the keys given to [Load], or `auditctl verify -witness`), and for what a witness knows now, submits (auditctl witness).
package witness
