package audit

import (
	"context"
	"errors"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// ErrUnavailable means that an event could not be recorded, and so the operation it stood for did not happen.
var ErrUnavailable = errors.New("audit: the log cannot record; nothing is read or written until it can")

// Code says what an event is about. It stands in metadata.event_code and fixes the OCSF class and activity.
type Code string

// The codes, by OCSF class.
const (
	// Datastore Activity (6005).
	CodeQuery          Code = "sql.query"       // a statement that returns rows
	CodeExec           Code = "sql.exec"        // a statement that changes rows
	CodeReseal         Code = "sql.reseal"      // values moved to a newer key; nothing is released
	CodeMigrate        Code = "sql.migrate"     // plaintexts of a database that moves in sealed, compared or put back; nothing is released
	CodeBlobRead       Code = "blob.read"       // an object's content
	CodeBlobWrite      Code = "blob.write"      // an object written
	CodeBlobList       Code = "blob.list"       // object names
	CodeBlobAttributes Code = "blob.attributes" // an object's attributes
	CodeBlobCopy       Code = "blob.copy"       // an object copied within its tenant
	CodeBlobDelete     Code = "blob.delete"     // an object deleted
	CodeBlobGrant      Code = "blob.grant"      // a token issued for one object over HTTP
	CodeBlobSource     Code = "blob.source"     // the plaintext source of an imported object deleted
	CodeCommit         Code = "sql.commit"      // a transaction committed
	CodeRollback       Code = "sql.rollback"    // a transaction rolled back
	CodeOffboard       Code = "sql.offboard"    // a tenant's rows deleted, all of them
	CodeBlobOffboard   Code = "blob.offboard"   // a tenant's objects deleted, all of them
	CodeBlobReseal     Code = "blob.reseal"     // an object moved to newer keys; nothing is released
	CodeIsolation      Code = "alert.isolation" // a value did not open where it was found
	// Entity Management (3004).
	CodeKeyProvision Code = "key.provision" // keys made for a new tenant
	CodeKeyRotate    Code = "key.rotate"    // a newer key made, and used from now on
	CodeKeyDisable   Code = "key.disable"   // one version of a key taken out of use
	CodeKeyEnable    Code = "key.enable"    // a version that was disabled put back
	CodeKeyDestroy   Code = "key.destroy"   // a version removed for good
	CodeKeyExport    Code = "key.export"    // keys handed out for use elsewhere
	CodeKeyReveal    Code = "key.reveal"    // the actors and details of a tenant's events opened for a reviewer
	CodeKeySuspend   Code = "key.suspend"   // a tenant's keys taken out of use, all of them
	CodeKeyResume    Code = "key.resume"    // a suspended tenant's keys put back
	CodeKeyShred     Code = "key.shred"     // a tenant's keys destroyed: what they sealed cannot be read again
	CodeKeyStale     Code = "key.stale"     // keys used although the tenant's state could not be confirmed in time
	// Event Log Activity (1008): written by the log itself, and refused from anybody else.
	CodeLogStarted   Code = "audit.started"   // the log was opened
	CodeLogRecovered Code = "audit.recovered" // the log had not been closed; Reason says what was cut
	CodeLogStopping  Code = "audit.stopping"  // the log was closed, or its disk is full
	CodeLogPruned    Code = "audit.pruned"    // the oldest events are deleted by retention; Reason says how many
	CodeLogHead      Code = "audit.head"      // how many events of one tenant stand before this one, and their tree's root
	// Event Log Activity as well, about a [Stream].
	CodeStreamStarted Code = "stream.started" // a process began to record into an engine
	CodeStreamStopped Code = "stream.stopped" // it ended; everything before is in the engine
	CodeStreamGap     Code = "stream.gap"     // events of a stream are missing or not authentic; Reason says which
)

// Phase places an event within the operation it belongs to.
type Phase string

// The phases. A denial and an alert are single events; an access is an Intent and, afterwards, an Outcome with the
// same Correlation.
const (
	Single  Phase = "single"
	Intent  Phase = "intent"
	Outcome Phase = "outcome"
)

// Status is how the operation went.
type Status string

// The statuses. An Intent is Success when the operation was admitted.
const (
	Success Status = "success"
	Failure Status = "failure" // admitted, and failed
	Denied  Status = "denied"  // not admitted
	Unknown Status = "unknown" // admitted and sent, and the answer was lost: it may have taken place
)

// Sealer makes the personal parts of an event unreadable without the tenant's keys. The keys package implements it
// with the tenant's audit keyset. It must be safe for concurrent use. Where it fails, an Intent is refused; any other
// event is recorded without its details and with a pseudonym under the log's own key.
type Sealer interface {
	// Pseudonym returns a stable name for actor that only the tenant's keys can link to it.
	Pseudonym(actor string) (string, error)
	// SealDetails encrypts details, bound to the tenant and to the event's uid. Details are a JSON object with the
	// members actor, a string, and details, an object of strings; either may be absent. What it returns has at most
	// 768 KiB, and what Pseudonym returns at most 1 KiB; anything longer is a failure.
	SealDetails(details []byte, uid string) ([]byte, error)
}

// Event is one thing that happened. Nothing in it but Actor and Details may identify a person: parameter values,
// SQL literals, plaintexts and keys never enter an event at all.
type Event struct {
	Code   Code
	Phase  Phase
	Status Status
	// Time defaults to now. Outside of the years 1 to 9999 it is refused.
	Time time.Time
	// Correlation is one UUID for all events of one operation; empty for none. Anything else is refused.
	Correlation string
	// Transaction is one id for all statements of a SQL transaction and its end; empty outside one. What a statement
	// wrote in a transaction stands if the transaction's commit is recorded too, which it is behind COMMIT: of a process that
	// was killed between the two it stands without.
	Transaction string

	// Tenant is zero only where an access came without one.
	Tenant tenant.ID
	// Actor is pseudonymised by Sealer; without a Sealer it is replaced by a pseudonym under the log's own key.
	Actor string
	// Purpose and Request stand in the clear, the first 1 KiB of each.
	Purpose string
	Request string

	// Store is "postgresql", "sqlite" or "blob"; empty for events about keys and the log.
	Store string
	// Name is the database's name or the bucket's label.
	Name string
	// Tables and Columns are what a statement touches; sealed columns are in SealedColumns too. The log keeps the
	// first 32 KiB of names of each.
	Tables        []string
	Columns       []string
	SealedColumns []string
	// Statement is the normalised text (no literals), of which the log keeps the first 32 KiB, and Fingerprint its
	// digest.
	Statement   string
	Fingerprint string
	// KeyVersion is the primary key id of the keyset in use; 0 for none.
	KeyVersion uint32

	// Rows and Bytes count what an Outcome released or changed; -1 when unknown.
	Rows  int64
	Bytes int64
	// Reason is a short class such as "suspended", "unauthorized", "refused: range on a sealed column". It stands in
	// the clear and never holds data.
	Reason string

	// Details holds what may be personal: object keys, addresses, free-text reasons. It is sealed by Sealer, and
	// left out where there is none. At most 64 KiB: more refuses an Intent, and is left out of any other event.
	Details map[string]string
	Sealer  Sealer

	own own // for the log's own events
}

// own is what events of the log itself say beside their reason.
type own struct {
	chain    string      // audit.started: the nonce of the chain that authenticates the session's batches
	unproven Span        // audit.recovered: events that nothing authenticates
	gap      StreamGap   // stream.gap: what is missing
	pruned   prunedClaim // audit.pruned: up to where, and by which record
}

// Span is a range of a log's events.
type Span struct {
	First int64 // index of the first one, from 0
	Count int64
}

// Recorder records events. Record returns nil only when the event is as durable as the recorder promises; any
// other outcome wraps [ErrUnavailable], or ctx's error when ctx ended first. It must be safe for concurrent use. One
// that panics, or ends the goroutine that it is called on, has failed: the access has an error that wraps ErrUnavailable and says where, and
// not what the panic says.
//
// Where a recorder is a [Queuer] too, the gate overlaps the recording of intents with what it asks the store, and does not
// wait for the outcomes of reads; otherwise it waits for each event. Whoever opened a recorder closes it after the last
// access, which records what was queued. The package audit/recordertest is the conformance suite of both.
type Recorder interface {
	Record(ctx context.Context, e *Event) error
}
