package keys

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom-go/strongroom/internal/observed"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/tenant"
)

// observe has the keyring, its KEK provider, its store and its events reported, where telemetry is on. Optional interfaces of the
// provider and the store are asked for before.
func (r *Keyring) observe() (err error) {
	if r.opts.Audit, err = observed.Recorder(r.opts.Audit, r.opts.Telemetry); err != nil {
		return fmt.Errorf("keys: Options.Telemetry: %w", err)
	}
	r.telemetry, err = telemetry.NewKeyring((*telemetry.Config)(r.opts.Telemetry), r.opts.Label, r.opts.SuspendWithin, r.observed)
	if err != nil {
		return fmt.Errorf("keys: Options.Telemetry: %w", err)
	}
	if r.telemetry != nil {
		r.base = r.telemetry.Caused(r.base, trace.SpanContext{}) // what goes on in the background is no part of how the program began
		r.kek, r.store = observedKEK{r.kek, r.telemetry}, observedStore{r.store, r.telemetry}
	}
	return nil
}

// observed is what the keyring knows by itself. It goes through the whole cache.
func (r *Keyring) observed() telemetry.KeyStats {
	c := &r.book.cache
	s := telemetry.KeyStats{Evicted: c.evicted.Load()}
	for _, v := range c.entries.Range {
		s.Cached++
		if k := v.(*entry).keys.Load(); k != nil && k.data.budget != nil {
			s.Highest = max(s.Highest, float64(k.data.budget.sum.Load())/float64(r.opts.RotateAfterSeals))
		}
	}
	return s
}

// used reports keys that were handed out.
func (r *Keyring) used(e *entry, n need, hit bool) {
	if r.telemetry != nil && n == needKeys {
		r.telemetry.Used(hit, e.age(r.opts.clock(), &r.opts))
	}
}

// awaitSpan is await where telemetry is on.
func (r *Keyring) awaitSpan(ctx context.Context, id tenant.ID, n need) (*entry, bool, error) {
	if n == needKeys {
		r.telemetry.Miss()
	}
	ctx, span := r.telemetry.Open(ctx)
	e, stale, err := r.await(ctx, id, n)
	if span.End(class(err)); err == nil && e.keys.Load() != nil {
		r.used(e, n, false)
	}
	return e, stale, err
}

// caused notes on whose behalf something is asked: the first's who waits for it. Under the book's lock.
func (t *inflight) caused(cause trace.SpanContext) {
	if t != nil && cause.IsValid() && !t.cause.IsValid() {
		t.cause = cause
	}
}

// background is the context of what is asked about a tenant.
func (r *Keyring) background(t *inflight) context.Context {
	if r.telemetry == nil {
		return r.base
	}
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	return r.telemetry.Caused(r.base, t.cause)
}

type observedKEK struct {
	kek       KEK
	telemetry *telemetry.Keyring
}

func (o observedKEK) call(ctx context.Context, what string, call func(context.Context) error) error {
	ctx, c := o.telemetry.KEK(ctx, what)
	err := call(ctx)
	c.End(ctx, answerClass(err), away(err))
	return err
}

// away tells that whoever was asked had no answer.
func away(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

func (o observedKEK) Create(ctx context.Context, id tenant.ID) error {
	return o.call(ctx, "create", func(ctx context.Context) error { return o.kek.Create(ctx, id) })
}

func (o observedKEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) (wrapped []byte, err error) {
	err = o.call(ctx, "wrap", func(ctx context.Context) error { wrapped, err = o.kek.Wrap(ctx, id, plaintext); return err })
	return wrapped, err
}

func (o observedKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) (plaintext []byte, err error) {
	err = o.call(ctx, "unwrap", func(ctx context.Context) error { plaintext, err = o.kek.Unwrap(ctx, id, wrapped); return err })
	return plaintext, err
}

func (o observedKEK) Rotate(ctx context.Context, id tenant.ID) error {
	return o.call(ctx, "rotate", func(ctx context.Context) error { return o.kek.Rotate(ctx, id) })
}

func (o observedKEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) (rewrapped []byte, err error) {
	err = o.call(ctx, "rewrap", func(ctx context.Context) error { rewrapped, err = o.kek.Rewrap(ctx, id, wrapped); return err })
	return rewrapped, err
}

func (o observedKEK) Destroy(ctx context.Context, id tenant.ID) error {
	return o.call(ctx, "destroy", func(ctx context.Context) error { return o.kek.Destroy(ctx, id) })
}

type observedStore struct {
	store     Store
	telemetry *telemetry.Keyring
}

func (o observedStore) call(ctx context.Context, what string, call func(context.Context) error) error {
	ctx, c := o.telemetry.Store(ctx, what)
	err := call(ctx)
	c.End(ctx, answerClass(err), away(err))
	return err
}

// answerClass is class for what a store or a KEK provider answers: that there is nothing is an answer, such as the one a shredding waits
// for, and says nothing of tenants.
func answerClass(err error) string {
	if errors.Is(err, ErrNotFound) {
		return "not found"
	}
	return class(err)
}

func (o observedStore) Get(ctx context.Context, id tenant.ID) (rec Record, err error) {
	err = o.call(ctx, "get", func(ctx context.Context) error { rec, err = o.store.Get(ctx, id); return err })
	return rec, err
}

func (o observedStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (next int64, err error) {
	err = o.call(ctx, "put", func(ctx context.Context) error { next, err = o.store.Put(ctx, id, data, version); return err })
	return next, err
}

func (o observedStore) Delete(ctx context.Context, id tenant.ID, version int64) error {
	return o.call(ctx, "delete", func(ctx context.Context) error { return o.store.Delete(ctx, id, version) })
}

func (o observedStore) List(ctx context.Context, after tenant.ID, limit int) (ids []tenant.ID, err error) {
	err = o.call(ctx, "list", func(ctx context.Context) error { ids, err = o.store.List(ctx, after, limit); return err })
	return ids, err
}

// changed is [BatchStore].GetChanged of the store underneath, reported.
func (r *Keyring) changed(ctx context.Context, ids []tenant.ID, known []int64) (records []Record, err error) {
	asked := func(ctx context.Context) error {
		return guardedTogether(theStore, func() (err error) { records, err = r.batch.store.GetChanged(ctx, ids, known); return err })
	}
	if o, on := r.store.(observedStore); on {
		err = o.call(ctx, "get_changed", asked)
	} else {
		err = asked(ctx)
	}
	return records, err
}
