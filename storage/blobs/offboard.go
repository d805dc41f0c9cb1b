package blobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/sync/errgroup"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/tenant"
)

// OffboardOptions are the optional settings of [Offboard].
type OffboardOptions struct {
	// DryRun counts the tenant's objects and deletes none. It is for a tenant in any state, and recorded as well.
	DryRun bool
	// Suspended admits a tenant that is suspended and not shredded. Its objects are gone then and its keys are not: what a
	// backup holds of it can still be read. It does not admit an active tenant: nothing does.
	Suspended bool
	// Concurrency is how many objects are deleted at a time, 1 to 64. Default 8.
	Concurrency int
	// Leftovers are what the store keeps of the tenant beside its objects, such as the parts of uploads that were never
	// finished and versions before the newest. Optional: gocloud.dev's interface does not show them; storage/blobs/s3leftovers
	// does for S3.
	Leftovers Leftovers
	// Progress is called after each page of objects.
	Progress func(OffboardProgress)
}

// Leftovers knows what a store keeps beside the objects that it lists.
type Leftovers interface {
	// Clear deletes all there is of names that begin with a prefix, or with dryRun counts it. It must delete nothing else, must
	// be safe to repeat, and returns how many pieces it deleted also where there was an error.
	Clear(ctx context.Context, prefix string, dryRun bool) (pieces int64, err error)
}

// OffboardProgress is how far an offboarding has come.
type OffboardProgress struct{ Objects, Bytes int64 }

// OffboardReport is what was done, or with DryRun would be.
type OffboardReport struct {
	Bucket  string // its label
	Objects int64
	Bytes   int64 // that they had in the store
	// Leftovers are the pieces that [OffboardOptions.Leftovers] deleted; -1 where there was nobody to ask.
	Leftovers int64
	// Correlation is what the events in the audit trail have in common.
	Correlation string
}

// maxOffboardSweeps bounds how often the tenant's names are gone through: what somebody writes all the time is nobody's to delete.
const maxOffboardSweeps = 8

// Offboard deletes every object that a tenant has in a bucket which [Open] or [Wrap] returned, whether names are sealed or
// not, and whatever else there is under its prefix in the store. It is for a tenant that was shredded
// ([keys.Keyring.Shred]), and needs no keys. Whose objects are deleted stands twice, in the access in ctx and as id, and both
// must be the same. The authorizer is asked for [tenant.Offboard].
//
// Offboard may be interrupted at any time and run again; it then deletes what is left. It goes on after an object that cannot be
// deleted, and returns an error if there was any: one under a retention lock, for one. It takes twice
// [keys.Options.SuspendWithin] at least, until no process can still have keys, and looks once more after that.
//
// The intent is recorded before, then how many objects of each page of the store's listing were deleted, then how it went. As
// there are no keys, the events have the actor as a pseudonym under the log's own key and name no objects. Where there was
// an error the report has what was deleted until then.
//
// What the store keeps that gocloud.dev does not show stays, unless Leftovers clears it: all of it is sealed but for names.
// On files the tenant's directories go as well, and attributes that a crash left without an object, with the keys in their names. opts may be nil.
func Offboard(ctx context.Context, b *blob.Bucket, id tenant.ID, opts *OffboardOptions) (*OffboardReport, error) {
	var o OffboardOptions
	if opts != nil {
		o = *opts
	}
	if o.Concurrency == 0 {
		o.Concurrency = 8
	}
	inner := guarded(b)
	switch {
	case inner == nil:
		return nil, errors.New("blobs: Offboard needs a bucket that Open or Wrap returned")
	case id.IsZero():
		return nil, fmt.Errorf("blobs: %w: it is the zero ID; obtain it from tenant.Parse", tenant.ErrInvalidID)
	case o.Concurrency < 1 || o.Concurrency > 64:
		return nil, fmt.Errorf("blobs: OffboardOptions.Concurrency is %d; use 1 to 64", o.Concurrency)
	}
	op := &gate.Op{
		Code:      audit.CodeBlobOffboard,
		Action:    tenant.Action{Verb: tenant.Offboard, Store: "blob", Name: inner.label},
		Statement: "OFFBOARD",
	}
	if o.DryRun {
		op.Statement = "OFFBOARD DRY RUN"
	}
	leave, err := inner.gate.Depart(ctx, op, gate.Terms{Tenant: id, Suspended: o.Suspended, DryRun: o.DryRun})
	if err != nil {
		return nil, err
	}
	s := &sweeper{bucket: inner, prefix: scopeOf(id).prefix, departure: leave, opts: o,
		report: &OffboardReport{Bucket: inner.label, Leftovers: -1, Correlation: leave.Correlation()}}
	err = s.run(ctx)
	return s.report, errors.Join(err, leave.Leave(ctx, gate.Result{Rows: s.report.Objects, Bytes: s.report.Bytes, Err: err}))
}

// sweeper deletes what is under one tenant's prefix.
type sweeper struct {
	bucket    *bucket
	prefix    string // ends in a slash, which no tenant's segment has
	departure *gate.Departure
	opts      OffboardOptions
	report    *OffboardReport
}

// run goes through the names until a look at all of them, made when no process can have keys any more, finds nothing.
func (s *sweeper) run(ctx context.Context) error {
	for sweep := range maxOffboardSweeps {
		before := s.report.Objects
		failed, err := s.sweep(ctx)
		switch {
		case err != nil:
			return err
		case s.opts.DryRun:
			return s.leftovers(ctx)
		}
		if sweep == 0 {
			if err := s.departure.Settle(ctx); err != nil {
				return err
			}
			continue
		}
		if s.report.Objects == before { // and so there was none, or none that could be deleted
			return errors.Join(failed, s.files(ctx, failed != nil), s.leftovers(ctx))
		}
	}
	return errors.New("blobs: objects keep coming while they are deleted; see what writes them, and run it again")
}

// leftovers has the store's own pieces deleted.
func (s *sweeper) leftovers(ctx context.Context) error {
	if s.opts.Leftovers == nil {
		return nil
	}
	if err := s.departure.Still(ctx); err != nil {
		return err
	}
	var n int64
	err := ask("OffboardOptions.Leftovers", func() (err error) {
		n, err = s.opts.Leftovers.Clear(ctx, s.prefix, s.opts.DryRun)
		return err
	})
	s.report.Leftovers = max(n, 0)
	if err != nil {
		return fmt.Errorf("blobs: clear what the store keeps beside objects: %w", fromStore(err))
	}
	return nil
}

// sweep goes through the store's pages, from the first one. Failed is why some objects are still there.
func (s *sweeper) sweep(ctx context.Context) (failed, err error) {
	for token := blob.FirstPageToken; len(token) > 0; {
		if err := s.departure.Still(ctx); err != nil {
			return failed, err
		}
		found, next, err := s.bucket.storePage(ctx, token, defaultPageSize, &blob.ListOptions{Prefix: s.prefix})
		if err != nil {
			return failed, fromStore(err)
		}
		for _, o := range found {
			if !strings.HasPrefix(o.Key, s.prefix) {
				return failed, isolation("the store listed a name outside of the prefix it was asked for")
			}
		}
		objects, bytes, first := s.page(ctx, found)
		if failed == nil {
			failed = first
		}
		s.report.Objects += objects
		s.report.Bytes += bytes
		if objects > 0 && !s.opts.DryRun {
			if err := s.departure.RecordDeleted(ctx, nil, gate.Result{Rows: objects, Bytes: bytes}); err != nil {
				return failed, err
			}
		}
		if objects > 0 && s.opts.Progress != nil {
			err := ask("OffboardOptions.Progress", func() error {
				s.opts.Progress(OffboardProgress{s.report.Objects, s.report.Bytes})
				return nil
			})
			if err != nil {
				return failed, err
			}
		}
		if err := ctx.Err(); err != nil {
			return failed, err
		}
		token = next
	}
	return failed, nil
}

// page deletes the objects of one page, or counts them, and returns the first error.
func (s *sweeper) page(ctx context.Context, found []*blob.ListObject) (objects, bytes int64, first error) {
	if s.opts.DryRun {
		for _, o := range found {
			objects, bytes = objects+1, bytes+o.Size
		}
		return objects, bytes, nil
	}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(s.opts.Concurrency)
	for _, o := range found {
		group.Go(func() error {
			err := s.bucket.inner.Delete(ctx, o.Key)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				objects, bytes = objects+1, bytes+o.Size
			case gcerrors.Code(err) == gcerrors.NotFound: // somebody else did
			case first == nil:
				first = fmt.Errorf("blobs: objects are left that the store does not delete, one of them because: %w", fromStore(err))
			}
			return nil
		})
	}
	group.Wait()
	return objects, bytes, first
}
