package offboard

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// MaxReasonLength is the longest [Plan.Reason], in bytes.
const MaxReasonLength = 1024

// Plan is where a tenant's data is, and what the certificate needs.
type Plan struct {
	// Guard is what the databases and buckets are guarded by. Its Keys and Audit are required.
	Guard storage.Guard
	// Databases are those that [sqldb.Open] returned, and Buckets wrap those of [blobs.Open] or [blobs.Wrap].
	Databases []*sql.DB
	Buckets   []Bucket
	// Signer signs the certificate: a Tink signer of a keyset of its own, such as [NewKeyset] makes. Required.
	Signer tink.Signer
	// KeyID is a hint in the envelope as to which key that is. Optional.
	KeyID string
	// Reason is why, 1 to [MaxReasonLength] bytes of printable text. It stands in the certificate in the clear, and sealed in
	// the audit trail, where it is lost with the keys: never put personal data in it. Required.
	Reason string
	// Actor stands in the certificate in place of the actor's pseudonym, where it is no personal data, such as a role or the
	// number of a ticket. Required where Guard.Audit makes no pseudonyms, as [audit.Log] does.
	Actor string
	// Rows is [sqldb.OffboardOptions.BatchRows], and Concurrency [blobs.OffboardOptions.Concurrency].
	Rows        int
	Concurrency int
	// Progress is called after each part of the work.
	Progress func(Progress)
}

// Bucket is one bucket of a [Plan].
type Bucket struct {
	Bucket *blob.Bucket
	// Leftovers is as in [blobs.OffboardOptions].
	Leftovers blobs.Leftovers
}

// Progress is how far an offboarding has come.
type Progress struct {
	Stage Stage
	// Store is which of the plan's databases, or of its buckets, from 0.
	Store int
	Table string // in a database
	Done  int64  // rows of the table, or objects of the bucket, so far
}

// Stage is a part of an offboarding.
type Stage string

// The stages.
const (
	Rehearsal Stage = "rehearsal" // everything is counted and nothing changed
	Shredding Stage = "shredding" // done
	Rows      Stage = "rows"
	Objects   Stage = "objects"
)

// Done is an offboarding that was completed.
type Done struct {
	Certificate Certificate
	Envelope    []byte // the certificate in a DSSE envelope, with a line feed; see [Verify]
}

// Run offboards a tenant, in this order. First it rehearses: every store is asked as in a dry run, so that what is refused,
// cannot be reached or may not be deleted is known before anything is lost. Then it shreds the keys, for good. Then it
// deletes the rows, database by database, and the objects, bucket by bucket. Then it signs what it did.
//
// It can be interrupted at any time and run again, and must be after an error: it goes on, and the certificate then says that
// the keys were destroyed before, and counts what was left. Each part is recorded in the audit trail by itself. Whose keys are
// destroyed stands twice, in the access in ctx and as id. The authorizer is asked by each store, for [tenant.Offboard].
func Run(ctx context.Context, id tenant.ID, p *Plan) (*Done, error) {
	r := &run{id: id, plan: p}
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	r.c.Began = now()
	if err := r.stores(ctx, true); err != nil {
		return nil, fmt.Errorf("offboard: nothing was changed: %w", err)
	}
	if err := r.shred(ctx); err != nil {
		return nil, fmt.Errorf("offboard: %w", err)
	}
	if err := r.stores(ctx, false); err != nil {
		return nil, fmt.Errorf("offboard: the keys are destroyed and not everything is deleted; run it again: %w", err)
	}
	r.c.Finished = now()
	envelope, err := r.c.Sign(p.Signer, p.KeyID)
	if err != nil {
		return nil, fmt.Errorf("%w; everything is deleted: run it again for a certificate", err)
	}
	return &Done{r.c, envelope}, nil
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// run is an offboarding under way.
type run struct {
	id   tenant.ID
	plan *Plan
	c    Certificate
}

// pseudonyms is an audit log that names actors without keys.
type pseudonyms interface {
	Pseudonym(id tenant.ID, actor string) (string, error)
}

// check reports all that is wrong with the plan, and begins the certificate.
func (r *run) check(ctx context.Context) error {
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return err
	}
	p := r.plan
	if p == nil {
		p = &Plan{}
	}
	var problems []error
	problem := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New("offboard: "+text))
		}
	}
	problem(access.Tenant != r.id, "the access in the context is for another tenant than the one to offboard")
	problem(p.Guard.Keys == nil, "Plan.Guard has no keys")
	problem(p.Guard.Audit == nil, "Plan.Guard has no audit log")
	problem(len(p.Databases)+len(p.Buckets) == 0, "the plan names no database and no bucket; use Keyring.Shred where there is none")
	problem(p.Signer == nil, "Plan.Signer is nil; make one with signature.NewSigner, of a keyset that NewKeyset made")
	problem(len(p.Reason) == 0 || len(p.Reason) > MaxReasonLength || !printable(p.Reason), fmt.Sprintf("Plan.Reason must be 1 to %d bytes of printable text", MaxReasonLength))
	problem(!printable(p.Actor) || len(p.Actor) > tenant.MaxActorLength, fmt.Sprintf("Plan.Actor must be at most %d bytes of printable text", tenant.MaxActorLength))
	for i, b := range p.Buckets {
		problem(b.Bucket == nil, fmt.Sprintf("Plan.Buckets[%d] is nil", i))
	}
	for i, db := range p.Databases {
		problem(db == nil, fmt.Sprintf("Plan.Databases[%d] is nil", i))
	}
	names, ok := p.Guard.Audit.(pseudonyms)
	problem(!ok && p.Actor == "", "Plan.Actor is empty, and Plan.Guard's audit log makes no pseudonyms")
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	r.c = Certificate{Tenant: r.id, Actor: p.Actor, Purpose: access.Purpose, Request: access.Request, Reason: p.Reason, Databases: []Database{}, Buckets: []ClearedBucket{}}
	if p.Actor == "" {
		if r.c.Actor, err = names.Pseudonym(r.id, access.Actor); err != nil {
			return err
		}
	}
	if l, ok := p.Guard.Audit.(interface{ Verifier() string }); ok {
		r.c.Log, _, _ = strings.Cut(l.Verifier(), "+") // name+hash+key
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

// shred destroys the keys.
func (r *run) shred(ctx context.Context) error {
	status, err := r.plan.Guard.Keys.StatusNow(ctx, r.id)
	if err != nil {
		return err
	}
	s, err := r.plan.Guard.Keys.ShredWithReport(ctx, r.id, r.plan.Reason)
	if err != nil {
		return err
	}
	r.c.Keys = Keys{Keyring: s.Keyring, ShreddedAt: s.At, Before: status == keys.StatusShredded, TriedInVain: s.Tried, Destroyed: []Key{}}
	for _, k := range s.Keys {
		r.c.Keys.Destroyed = append(r.c.Keys.Destroyed, Key{string(k.Purpose), k.ID})
	}
	for _, k := range s.Shared {
		r.c.Keys.Shared = append(r.c.Keys.Shared, SharedKey(k))
	}
	r.progress(Progress{Stage: Shredding, Done: int64(len(s.Keys))})
	return nil
}

func (r *run) progress(p Progress) {
	if r.plan.Progress != nil {
		r.plan.Progress(p)
	}
}

// stores goes through all stores. A rehearsal changes nothing, and goes on after an error to tell them all.
func (r *run) stores(ctx context.Context, rehearsal bool) error {
	var failed []error
	for i, db := range r.plan.Databases {
		if err := r.database(ctx, i, db, rehearsal); err != nil {
			failed = append(failed, fmt.Errorf("database %d: %w", i, err))
		}
	}
	for i, b := range r.plan.Buckets {
		if err := r.bucket(ctx, i, b, rehearsal); err != nil {
			failed = append(failed, fmt.Errorf("bucket %d: %w", i, err))
		}
	}
	return errors.Join(failed...)
}

func stage(rehearsal bool, s Stage) Stage {
	if rehearsal {
		return Rehearsal
	}
	return s
}

func (r *run) database(ctx context.Context, i int, db *sql.DB, rehearsal bool) error {
	report, err := sqldb.Offboard(ctx, db, r.id, &sqldb.OffboardOptions{DryRun: rehearsal, BatchRows: r.plan.Rows, Progress: func(p sqldb.OffboardProgress) {
		r.progress(Progress{stage(rehearsal, Rows), i, p.Table, p.Rows})
	}})
	if err != nil || rehearsal {
		return err
	}
	d := Database{Engine: string(report.Engine), Name: report.Database, Tables: []Table{}, Events: report.Correlation}
	for _, t := range report.Tables {
		d.Tables = append(d.Tables, Table{t.Table, t.Rows})
	}
	r.c.Databases = append(r.c.Databases, d)
	return nil
}

func (r *run) bucket(ctx context.Context, i int, b Bucket, rehearsal bool) error {
	report, err := blobs.Offboard(ctx, b.Bucket, r.id, &blobs.OffboardOptions{DryRun: rehearsal, Concurrency: r.plan.Concurrency, Leftovers: b.Leftovers, Progress: func(p blobs.OffboardProgress) {
		r.progress(Progress{Stage: stage(rehearsal, Objects), Store: i, Done: p.Objects})
	}})
	if err != nil || rehearsal {
		return err
	}
	c := ClearedBucket{Label: report.Bucket, Objects: report.Objects, Bytes: report.Bytes, Events: report.Correlation}
	if report.Leftovers >= 0 {
		c.Leftovers = &report.Leftovers
	}
	r.c.Buckets = append(r.c.Buckets, c)
	return nil
}
