package blobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// resealer is one run of Reseal.
type resealer struct {
	*bucket
	opts    ResealOptions
	bytes   *rate.Limiter
	objects *rate.Limiter
	replace replacement // nil in a dry run

	mu       sync.Mutex
	report   ResealReport
	progress ResealProgress
	left     map[ResealLeft]int64 // by an entry without its number
	faults   resealFaults
}

func newResealer(b *bucket, o ResealOptions) *resealer {
	r := &resealer{bucket: b, opts: o, bytes: rate.NewLimiter(rate.Inf, segmentSize), objects: rate.NewLimiter(rate.Inf, 1)}
	if o.BytesPerSecond > 0 {
		r.bytes.SetLimit(rate.Limit(o.BytesPerSecond))
	}
	if o.ObjectsPerSecond > 0 {
		r.objects.SetLimit(rate.Limit(o.ObjectsPerSecond))
	}
	return r
}

// resealPasses is how often all is gone through, and resealPause how long it waits before the second time; it doubles each time.
const (
	resealPasses = 5
	resealPause  = 50 * time.Millisecond
)

func (r *resealer) run(ctx context.Context) error {
	if r.opts.DryRun {
		return errors.Join(r.pass(ctx, 1, false), r.faults.err())
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for pass := 1; ; pass++ {
		if err := r.pass(ctx, pass, true); err != nil {
			return errors.Join(err, r.faults.err())
		}
		if err := r.pass(ctx, pass, false); err != nil {
			return errors.Join(err, r.faults.err())
		}
		if len(r.report.Left) == 0 || r.faults.any() || pass == resealPasses {
			return r.faults.err()
		}
		select {
		case <-time.After(resealPause << (pass - 1)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listing passes the gate for what looks at objects and releases nothing.
func (r *resealer) listing(ctx context.Context, do func(*gate.Pass) (objects int64, err error)) error {
	op := r.op(audit.CodeBlobList, tenant.List, "")
	op.Details = map[string]string{"prefix": ""}
	pass, err := r.gate.Enter(ctx, op)
	if err != nil {
		return err
	}
	n, err := do(pass)
	return r.leave(ctx, pass, "", gate.Result{Rows: n, Bytes: -1, Err: err})
}

// prepare finds out how objects are replaced in this store, and that it works.
func (r *resealer) prepare(ctx context.Context) error {
	return r.listing(ctx, func(pass *gate.Pass) (int64, error) {
		err := r.oneNaming(ctx, pass.Keys())
		if err == nil {
			r.replace, err = r.replacement(ctx, pass.Tenant())
		}
		return -1, err
	})
}

// pass goes through all objects once, from the checkpoint where it is the first one that moves them.
func (r *resealer) pass(ctx context.Context, pass int, write bool) error {
	r.progress.Pass, r.progress.Counting, r.progress.Objects, r.progress.Checkpoint = pass, !write, 0, nil
	if !write {
		r.left, r.report.Counted = map[ResealLeft]int64{}, nil
	}
	token := blob.FirstPageToken
	if write && pass == 1 && r.opts.Checkpoint != nil {
		err := r.listing(ctx, func(p *gate.Pass) (_ int64, err error) {
			token, err = openPageToken(p.Keys(), r.pageAD(p.Keys()), &driver.ListOptions{Prefix: checkpointPrefix, PageToken: r.opts.Checkpoint})
			return -1, err
		})
		if err != nil {
			return fmt.Errorf("blobs: ResealOptions.Checkpoint is none of this tenant and bucket: %w", err)
		}
	}
	for len(token) > 0 {
		found, next, err := r.page(ctx, token, write)
		if err != nil {
			return err
		}
		if err := r.moveAll(ctx, found); err != nil {
			return err
		}
		if token = next; r.opts.Progress == nil {
			continue
		}
		if err := r.tell(ctx, token, write); err != nil {
			return err
		}
	}
	if !write {
		r.report.Counted, r.report.Objects, r.report.Left = slices.Clone(r.opts.Purposes), r.progress.Objects, listLeft(r.left)
	}
	return nil
}

// checkpointPrefix keeps checkpoints apart from the page tokens of listings, whose prefixes are UTF-8.
const checkpointPrefix = "\xffreseal"

// tell calls Progress. A checkpoint with no token stands for the end.
func (r *resealer) tell(ctx context.Context, token []byte, write bool) error {
	p := r.progress
	p.Resealed, p.Bytes = r.report.Resealed, r.report.Bytes
	if write {
		err := r.listing(ctx, func(pass *gate.Pass) (_ int64, err error) {
			p.Checkpoint, err = sealPageToken(pass.Keys(), r.pageAD(pass.Keys()), &driver.ListOptions{Prefix: checkpointPrefix}, token)
			return -1, err
		})
		if err != nil {
			return err
		}
	}
	r.opts.Progress(p)
	return nil
}

// resealObject is an object of the tenant's.
type resealObject struct {
	key, name string
	named     uint32 // the id of the key that sealed its name; 0 for plain names
	mark      bool   // it may be one: see attributes.Mark
}

// page looks at the objects of one page of the store's listing, and returns those that are to be moved, or counts them.
func (r *resealer) page(ctx context.Context, token []byte, write bool) (stale []resealObject, next []byte, err error) {
	err = r.listing(ctx, func(pass *gate.Pass) (int64, error) {
		if err := r.oneNaming(ctx, pass.Keys()); err != nil {
			return -1, err
		}
		var all []resealObject
		var err error
		if all, next, err = r.names(ctx, pass, token, write); err != nil {
			return -1, err
		}
		var group errgroup.Group
		group.SetLimit(r.opts.Concurrency)
		for _, o := range all {
			group.Go(func() error {
				if err := r.objects.Wait(ctx); err != nil {
					return err
				}
				behind, err := r.look(ctx, pass.Keys(), o)
				r.mu.Lock()
				defer r.mu.Unlock()
				if err == nil && len(behind) > 0 && write {
					stale = append(stale, o)
				}
				for _, l := range behind {
					if !write {
						r.left[l]++
					}
				}
				return err
			})
		}
		err = group.Wait()
		r.progress.Objects += int64(len(all))
		return int64(len(all)), err
	})
	return stale, next, err
}

// names returns the objects of a page. A sealed name that does not open belongs to no object that could be moved.
func (r *resealer) names(ctx context.Context, pass *gate.Pass, token []byte, write bool) (all []resealObject, next []byte, err error) {
	plain := scopeOf(pass.Tenant())
	prefix := plain.prefix
	var sealed openers
	if r.sealNames {
		scopes, _, err := newSealedScopes(pass.Keys(), r.label)
		if err != nil {
			return nil, nil, err
		}
		sealed, prefix = newOpeners(scopes), sealedPrefix(pass.Tenant())
	}
	found, next, err := r.storePage(ctx, token, defaultPageSize, &blob.ListOptions{Prefix: prefix})
	if err != nil {
		return nil, nil, fromStore(err)
	}
	for _, f := range found {
		if !strings.HasPrefix(f.Key, prefix) {
			return nil, nil, isolation("the store listed a name outside of the prefix it was asked for")
		}
		if !r.sealNames {
			if key, ok := plain.key(f.Key); ok {
				all = append(all, resealObject{key: key, name: f.Key})
			}
			continue
		}
		if strings.HasSuffix(f.Key, "/") {
			continue
		}
		key, scope, ok, err := sealed.key(f.Key)
		switch {
		case err != nil:
			if err := r.nameless(ctx, pass, f.Key[len(prefix):], err, write); err != nil {
				return nil, nil, err
			}
		case ok:
			all = append(all, resealObject{key, f.Key, scope.key, f.Size == markSize})
		}
	}
	return all, next, nil
}

// nameless counts an object whose name does not open, and raises the alert once.
func (r *resealer) nameless(ctx context.Context, pass *gate.Pass, name string, why error, write bool) error {
	if write {
		return nil
	}
	named, _ := envelope.NameKey(firstSegment(name))
	for _, p := range r.opts.Purposes {
		l := ResealLeft{Purpose: p}
		if p == keys.PurposeNames {
			l.Key = named
		}
		r.left[l]++
	}
	r.faults.add("", why)
	if errors.Is(why, storage.ErrIsolation) {
		if err := pass.Alert(ctx, ""); err != nil {
			return err
		}
	}
	return r.faults.tooMany()
}

// moveAll moves the objects of one page.
func (r *resealer) moveAll(ctx context.Context, all []resealObject) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Concurrency)
	for _, o := range all {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			err := r.move(ctx, o)
			if err == nil {
				return nil
			}
			if fatal(err) || ctx.Err() != nil {
				return err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.faults.add(o.key, err)
			return r.faults.tooMany()
		})
	}
	return group.Wait()
}

// listLeft lists what is left in order.
func listLeft(left map[ResealLeft]int64) (out []ResealLeft) {
	for entry, n := range left {
		entry.Objects = n
		out = append(out, entry)
	}
	slices.SortFunc(out, func(a, b ResealLeft) int {
		return cmp.Or(strings.Compare(string(a.Purpose), string(b.Purpose)), cmp.Compare(a.Key, b.Key))
	})
	return out
}

// maxUnopened ends a run that meets too many objects that do not open: each is an alert.
const maxUnopened = 100

// resealFault is one kind of what keeps objects from being moved.
type resealFault struct {
	n     int64
	key   string // of the first
	first error
}

func (f *resealFault) add(key string, err error) {
	if f.n++; f.n == 1 {
		f.key, f.first = key, err
	}
}

// resealFaults are what kept objects from being moved.
type resealFaults struct{ unopened, disabled, failed resealFault }

func (f *resealFaults) add(key string, err error) {
	switch {
	case errors.Is(err, storage.ErrIsolation):
		f.unopened.add(key, err)
	case errors.Is(err, keys.ErrKeyDisabled):
		f.disabled.add(key, err)
	case !errors.Is(err, errReplaced): // those are for the next pass
		f.failed.add(key, err)
	}
}

func (f *resealFaults) any() bool { return f.unopened.n+f.disabled.n+f.failed.n > 0 }

func (f *resealFaults) tooMany() error {
	if f.unopened.n < maxUnopened {
		return nil
	}
	return fmt.Errorf("%w: so many objects do not open that it goes no further", storage.ErrIsolation)
}

func (f *resealFaults) err() error {
	var errs []error
	if f.unopened.n > 0 {
		errs = append(errs, fmt.Errorf("blobs: %d objects were left as they are, and alerts are in the audit trail, the first %q: %w", f.unopened.n, f.unopened.key, f.unopened.first))
	}
	if f.disabled.n > 0 {
		errs = append(errs, fmt.Errorf("blobs: %d objects need a key that is disabled; enable it with Keyring.EnableKey and call Reseal again; the first %q: %w", f.disabled.n, f.disabled.key, f.disabled.first))
	}
	if f.failed.n > 0 {
		errs = append(errs, fmt.Errorf("blobs: %d objects were not moved, the first %q: %w", f.failed.n, f.failed.key, f.failed.first))
	}
	return errors.Join(errs...)
}
