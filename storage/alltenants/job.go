package alltenants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/callstack"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Defaults and limits of [Job].
const (
	DefaultParallel = 4
	MaxParallel     = 256
	// MaxErrors is how many tenants' errors a run keeps. The others are counted in [Report].
	MaxErrors = 100
)

// ErrInRequest means that work over all tenants was begun with the context of one tenant's request.
var ErrInRequest = errors.New("alltenants: the context has a tenant's access: work over all tenants is not a part of a tenant's request; begin it with a context of its own")

// Job says for which tenants, and as whom, something is done. The zero value of all but Keys, Actor and Purpose is safe.
type Job struct {
	// Keys lists the tenants. Required.
	Keys *keys.Keyring
	// Actor and Purpose are those of the access to each tenant's data, for the authorizer and the trail, as
	// [tenant.Access] has them: what runs the job, and why. Required. Request, if set, identifies the run.
	Actor, Purpose, Request string
	// Statuses are those of the tenants that are gone through. Default: the active ones. The data of others is out of reach, and an
	// access to it fails.
	Statuses []keys.Status
	// Parallel is for how many tenants at once. Default [DefaultParallel], at most [MaxParallel]. Each may need a connection.
	Parallel int
	// After is a tenant's id; only those behind it, in the byte order of ids, are gone through. See [Report].Through.
	After tenant.ID
	// Checkpoint, if set, is called with [Report].Through whenever that has grown, for who keeps it, and goes on with After in another
	// run. It is never called twice at once. An error of it ends the run.
	Checkpoint func(through tenant.ID) error
}

// Report counts what a run did.
type Report struct {
	// Done and Failed are numbers of tenants.
	Done, Failed int
	// Through is the last tenant up to which, and with which, all were done without an error: a run that goes on after it leaves none
	// out, and does some again. It is the zero ID where the first failed.
	Through tenant.ID
}

// TenantError is what went wrong for one tenant.
type TenantError struct {
	Tenant tenant.ID
	Err    error
}

func (e *TenantError) Error() string { return fmt.Sprintf("tenant %s: %v", e.Tenant, e.Err) }
func (e *TenantError) Unwrap() error { return e.Err }

// check completes the job, and refuses what could not be told from a tenant's request.
func (j *Job) check(ctx context.Context) error {
	if _, err := tenant.FromContext(ctx); !errors.Is(err, tenant.ErrMissing) {
		return ErrInRequest
	}
	if j.Keys == nil {
		return errors.New("alltenants: Job.Keys is nil; pass the keyring that the databases and buckets are opened with")
	}
	if j.Parallel == 0 {
		j.Parallel = DefaultParallel
	}
	if j.Parallel < 0 || j.Parallel > MaxParallel {
		return fmt.Errorf("alltenants: Job.Parallel is %d; it is 1 to %d", j.Parallel, MaxParallel)
	}
	if len(j.Statuses) == 0 {
		j.Statuses = []keys.Status{keys.StatusActive}
	}
	// The access of some tenant shows whether those of all are complete.
	probe := tenant.NewContext(ctx, j.access(tenant.MustParse("t")))
	if _, err := tenant.FromContext(probe); err != nil {
		return fmt.Errorf("alltenants: Job.Actor, Purpose or Request: %w", err)
	}
	return nil
}

func (j *Job) access(id tenant.ID) tenant.Access {
	return tenant.Access{Tenant: id, Actor: j.Actor, Purpose: j.Purpose, Request: j.Request}
}

// ForEach calls f for every tenant, for some at once, with a context in which the job has access to that tenant's data. A tenant for which f
// fails, or panics, does not keep the others from their turn. The error joins those of the tenants ([*TenantError], [MaxErrors] of them at most)
// and what ended the run early: ctx, the list of tenants, or Checkpoint. Tenants that are provisioned meanwhile may be left out.
func (j Job) ForEach(ctx context.Context, f func(ctx context.Context, id tenant.ID) error) (Report, error) {
	if err := j.check(ctx); err != nil {
		return Report{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := run{job: &j, cancel: cancel, done: map[int]tenant.ID{}, failed: -1}
	r.moved.L = &r.mu
	var group sync.WaitGroup
	turns := make(chan struct{}, j.Parallel)
	for listed, err := range j.Keys.TenantsAfter(ctx, j.After, j.Statuses...) {
		if err != nil && listed.ID.IsZero() {
			r.end(err)
			break
		}
		turns <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		place := r.begin()
		if err != nil { // a damaged record
			r.finish(place, listed.ID, err)
			<-turns
			continue
		}
		group.Go(func() {
			defer func() { <-turns }()
			err := errEnded
			defer func() { r.finish(place, listed.ID, err) }()
			err = call(tenant.NewContext(ctx, j.access(listed.ID)), listed.ID, f)
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		r.end(err)
	}
	return r.report, errors.Join(append(r.errs, r.ended)...)
}

// errEnded is what a tenant's turn comes to where nothing returns from it: what was to be done is not known to be done.
var errEnded = errors.New("the goroutine was ended (runtime.Goexit)")

// call turns a panic into an error: one tenant's data must not end the work for all others.
func call(ctx context.Context, id tenant.ID, f func(context.Context, tenant.ID) error) (err error) {
	defer func() {
		if recover() != nil { // what it says may be of the tenant's data
			err = fmt.Errorf("the function panicked\n\n%s", callstack.Words())
		}
	}()
	return f(ctx, id)
}

// run is the state of a ForEach.
type run struct {
	job    *Job
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	report Report
	errs   []error
	ended  error
	begun  int
	passed int               // the place in the list up to which, and without which, all are done
	done   map[int]tenant.ID // what is done behind it, by its place
	failed int               // the first place that failed, or -1: nothing behind it moves Through
	moved  sync.Cond         // passed or failed changed
}

// maxAhead bounds how far a run goes on behind a tenant that takes long, and so what it remembers of those that are done.
const maxAhead = 10_000

func (r *run) begin() (place int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.failed < 0 && r.begun-r.passed >= maxAhead {
		r.moved.Wait()
	}
	r.begun++
	return r.begun - 1
}

// end notes why the run ends early; the first reason is the one that is told.
func (r *run) end(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended == nil {
		r.ended = why
	}
}

// finish counts a tenant, and moves Through up to the first that is not done. It stays before one that failed.
func (r *run) finish(place int, id tenant.ID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.report.Failed++
		if r.failed < 0 || place < r.failed {
			r.failed = place
			maps.DeleteFunc(r.done, func(p int, _ tenant.ID) bool { return p > place })
			r.moved.Broadcast()
		}
		if len(r.errs) < MaxErrors {
			r.errs = append(r.errs, &TenantError{id, err})
		}
		return
	}
	r.report.Done++
	if r.failed >= 0 && place > r.failed {
		return
	}
	r.done[place] = id
	before := r.report.Through
	for id, ok := r.done[r.passed]; ok; id, ok = r.done[r.passed] {
		delete(r.done, r.passed)
		r.passed++
		r.report.Through = id
	}
	r.moved.Broadcast()
	if r.report.Through == before || r.job.Checkpoint == nil || r.ended != nil {
		return
	}
	if err := r.keep(r.report.Through); err != nil {
		r.ended = fmt.Errorf("alltenants: the checkpoint was not kept: %w", err)
		r.cancel(r.ended)
	}
}

// keep has the checkpoint kept. It is called on a goroutine that the caller of ForEach does not know of, on which a panic would end the
// process, and which would end with nothing kept and no word of it.
func (r *run) keep(through tenant.ID) error {
	broke, err := apart.Call(func() error { return r.job.Checkpoint(through) })
	if broke != "" {
		return errors.New("Job.Checkpoint " + broke)
	}
	return err
}
