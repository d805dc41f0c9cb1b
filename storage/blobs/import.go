package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// ErrSourceChanged is wrapped by the error of an object that somebody changed while [Import] read it. Nothing was
// imported of it, and nothing deleted; import again when it has come to rest.
var ErrSourceChanged = errors.New("blobs: the source object changed while it was being imported")

// ErrImportConflict is wrapped by the error of an object whose place is taken by one that was not imported from it.
// Import overwrites nothing but what it imported from the same source itself and nobody has written since.
var ErrImportConflict = errors.New("blobs: another object is where this one would be imported to")

// ImportOptions are the optional settings of [Import].
type ImportOptions struct {
	// Prefix is what the source's keys begin with. Default: all.
	Prefix string
	// Key returns the key that a source object gets, or false to leave it out. Default: the source's.
	Key func(source string) (key string, ok bool)
	// DryRun tells what would be done, in Progress and the report, and does none of it. It looks up each object on
	// both sides, which is recorded for the destination.
	DryRun bool
	// DeleteSource deletes each source object once its import is verified and it still is as it was imported. It is
	// verified in the same run, whatever the checkpoint says. Without IfMatch what changes between that look and the
	// deletion is lost: stop the source's writers first. Each deletion is recorded, and the authorizer is asked for it as
	// for a deletion of the object that was imported.
	DeleteSource bool
	// IfMatch makes those deletions conditional on the version that was imported, as [ResealOptions.IfMatch] does: use
	// s3match.IfMatch where the source is on S3. What somebody writes meanwhile stays, and is [ErrSourceChanged]. Default:
	// none, for stores without conditional deletions.
	IfMatch func(as func(any) bool, read *blob.Attributes) error
	// Checkpoint remembers what was verified. It is read to its end first, then a line of 44 bytes is written per
	// object, which names no key: give it a file that was opened with os.O_RDWR|os.O_CREATE|os.O_APPEND. Default:
	// none, so that an import that is run again reads all again that was imported before, to verify it.
	Checkpoint io.ReadWriter
	// Concurrency is how many objects are worked on at a time, 1 to 64. Default 4.
	Concurrency int
	// BytesPerSecond bounds what is read, of the source and back from the destination together. Default: no limit.
	BytesPerSecond int64
	// Progress is called after each object, one call at a time.
	Progress func(ImportProgress)
}

// ImportProgress is what was done about one object.
type ImportProgress struct {
	Source string // the source's key
	Key    string // the tenant's; empty for one that is left out
	Action ImportAction
	Err    error        // why, for ImportFailed
	Report ImportReport // so far, without Failures
}

// ImportAction is what was done, or with DryRun would be done, about one object.
type ImportAction string

// The actions.
const (
	ImportNew      ImportAction = "imported"      // sealed, read back and verified
	ImportVerified ImportAction = "verified"      // was imported before; read back and verified now
	ImportDone     ImportAction = "done before"   // was imported and verified before, as the checkpoint says
	ImportLeftOut  ImportAction = "left out"      // Key said so
	ImportSealed   ImportAction = "sealed before" // the source is a sealed object of this package, and left alone
	ImportFailed   ImportAction = "failed"
)

// ImportReport counts what was done.
type ImportReport struct {
	Listed   int64
	Actions  map[ImportAction]int64
	Deleted  int64 // sources
	Bytes    int64 // of plaintext that was sealed
	Failures []ImportFailure
}

// maxImportFailures bounds what a report remembers.
const maxImportFailures = 100

// ImportFailure is an object that was not imported.
type ImportFailure struct {
	Source string
	Err    error
}

// Import copies plaintext objects from a bucket into the sealed space of the tenant in ctx: contents, content types,
// cache headers and metadata. To is a bucket that [Open] or [Wrap] returned; from is any. Each object is read back and
// compared by SHA-256 with what was read of the source, and by MD5 with what the source says where it says it.
//
// Import can be interrupted at any time and run again. What it imported carries, sealed, which version of which object
// it is of; that is skipped if the checkpoint has it as verified, verified if not, and imported anew if the source has
// changed since. The source is not touched unless DeleteSource says so.
//
// It goes on after an object that fails, and returns an error if any did; the report has the first 100. It ends at once
// where no object can succeed: when ctx ends, the tenant is refused, keys or the audit log are away. opts may be nil;
// the report is there even with an error, but for one about the arguments.
//
// Objects in the source that were written by this package are left alone, so the source may be the bucket that to is
// over, except that their tenants' objects are then mixed with plaintext until it is deleted.
func Import(ctx context.Context, to, from *blob.Bucket, opts *ImportOptions) (*ImportReport, error) {
	m, err := newImporter(ctx, to, from, opts)
	if err != nil {
		return nil, err
	}
	err = m.run(ctx)
	m.report.Actions = maps.Clone(m.report.Actions)
	if n := m.report.Actions[ImportFailed]; err == nil && n > 0 {
		var first []error
		for _, f := range m.report.Failures {
			first = append(first, f.Err)
		}
		err = fmt.Errorf("blobs: %d of %d objects were not imported: %w", n, m.report.Listed, errors.Join(first...))
	}
	return &m.report, err
}

// importer is one run.
type importer struct {
	to      *blob.Bucket
	bucket  *bucket // of to
	from    *blob.Bucket
	opts    ImportOptions
	tenant  tenant.ID
	limiter *rate.Limiter

	mu       sync.Mutex
	report   ImportReport
	verified map[string]bool // lines of the checkpoint
}

func newImporter(ctx context.Context, to, from *blob.Bucket, opts *ImportOptions) (*importer, error) {
	m := &importer{to: to, from: from, bucket: guarded(to), limiter: rate.NewLimiter(rate.Inf, segmentSize)}
	if opts != nil {
		m.opts = *opts
	}
	access, err := tenant.FromContext(ctx)
	if err != nil {
		return nil, err
	}
	m.tenant = access.Tenant
	m.report.Actions = map[ImportAction]int64{}
	if m.opts.Concurrency == 0 {
		m.opts.Concurrency = 4
	}
	var problems []error
	if m.bucket == nil {
		problems = append(problems, errors.New("blobs: Import needs a destination that Open or Wrap returned"))
	}
	if from == nil {
		problems = append(problems, errors.New("blobs: Import needs a source"))
	}
	if m.opts.Concurrency < 1 || m.opts.Concurrency > 64 {
		problems = append(problems, fmt.Errorf("blobs: ImportOptions.Concurrency is %d; use 1 to 64", m.opts.Concurrency))
	}
	if m.opts.BytesPerSecond < 0 {
		problems = append(problems, errors.New("blobs: ImportOptions.BytesPerSecond is negative; leave it zero for no limit"))
	}
	if m.opts.BytesPerSecond > 0 {
		m.limiter.SetLimit(rate.Limit(m.opts.BytesPerSecond))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	m.verified, err = readCheckpoint(m.opts.Checkpoint)
	return m, err
}

// run lists the source and has its objects worked on.
func (m *importer) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(m.opts.Concurrency)
	next := m.sources()
	var listErr error
	for ctx.Err() == nil {
		var o *blob.ListObject
		if o, listErr = next(ctx); listErr != nil {
			break
		}
		g.Go(func() error { return m.one(ctx, o.Key) })
	}
	err := g.Wait()
	if err == nil && listErr != io.EOF && listErr != nil {
		err = fmt.Errorf("blobs: list the source: %w", fromSource(listErr))
	}
	if err == nil && listErr == nil {
		err = context.Cause(ctx)
	}
	return err
}

// sources lists the source: on files by ourselves, see fileLister.
func (m *importer) sources() (next func(context.Context) (*blob.ListObject, error)) {
	opts := &blob.ListOptions{Prefix: m.opts.Prefix}
	var info os.FileInfo
	if !m.from.As(&info) {
		list, some := m.from.List(opts), false
		return func(ctx context.Context) (*blob.ListObject, error) {
			o, err := list.Next(ctx)
			if err == io.EOF && !some { // fileblob does not say what it is where its directory is gone
				if _, err := filesRoot(ctx, m.from); err == nil {
					return nil, errStoreAway
				}
			}
			some = some || err == nil
			return o, err
		}
	}
	root, after, more := "", "", true
	var page []*blob.ListObject
	return func(ctx context.Context) (_ *blob.ListObject, err error) {
		if root == "" {
			if root, err = filesRoot(ctx, m.from); err != nil {
				return nil, err
			}
		}
		for len(page) == 0 {
			if !more {
				return nil, io.EOF
			}
			l := &fileLister{ctx: ctx, root: root, prefix: m.opts.Prefix}
			if page, after, err = filePage(m.from, l, after, defaultPageSize); err != nil {
				return nil, fromStore(err)
			}
			more = after != ""
		}
		o := page[0]
		page = page[1:]
		return o, nil
	}
}

// one works on one object and counts it. Its error ends the run.
func (m *importer) one(ctx context.Context, source string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p := ImportProgress{Source: source}
	bytes, deleted, err := int64(0), false, error(nil)
	p.Key, p.Action, bytes, err = m.importObject(ctx, source)
	if err == nil && m.opts.DeleteSource && !m.opts.DryRun && p.Action.verified() {
		err = m.deleteSource(ctx, source, p.Key)
		deleted = err == nil
	}
	if err != nil {
		p.Action, p.Err = ImportFailed, fmt.Errorf("blobs: import %q: %w", source, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report.Listed++
	m.report.Actions[p.Action]++
	m.report.Bytes += bytes
	if deleted {
		m.report.Deleted++
	}
	if err != nil && len(m.report.Failures) < maxImportFailures {
		m.report.Failures = append(m.report.Failures, ImportFailure{source, p.Err})
	}
	if m.opts.Progress != nil {
		p.Report = m.report
		p.Report.Actions, p.Report.Failures = maps.Clone(m.report.Actions), nil
		told := ask("ImportOptions.Progress", func() error {
			m.opts.Progress(p)
			return nil
		})
		if told != nil {
			return told
		}
	}
	if fatal(err) || ctx.Err() != nil {
		return p.Err
	}
	return nil
}

// fatal reports whether an error is one that every other object would meet too.
func fatal(err error) bool {
	for _, e := range []error{tenant.ErrMissing, tenant.ErrInvalidAccess, keys.ErrSuspended, keys.ErrShredded,
		keys.ErrNotProvisioned, keys.ErrUnavailable, audit.ErrUnavailable, errCheckpoint} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// verified reports whether after an action the object is there and has been read back.
func (a ImportAction) verified() bool {
	return a == ImportNew || a == ImportVerified || a == ImportDone
}
