package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Tenant returns the active tenant's opened keys. Otherwise the error wraps [ErrNotProvisioned], [ErrSuspended],
// [ErrShredded], [ErrIntegrity], [ErrUnavailable] (it may be retried) or [ErrClosed]; or ctx ended first. A tenant in
// the cache costs no allocation and no call to anyone.
func (r *Keyring) Tenant(ctx context.Context, id tenant.ID) (*Tenant, error) {
	e, stale, err := r.lookup(ctx, id, needKeys)
	if err != nil {
		return nil, err
	}
	k := e.keys.Load()
	if k == nil {
		return nil, e.refusal()
	}
	if stale {
		if err := r.recordStale(ctx, e, k); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Status returns the state of a tenant that has been provisioned; otherwise the error is as of [Keyring.Tenant]. It
// never needs the KEK provider.
func (r *Keyring) Status(ctx context.Context, id tenant.ID) (Status, error) {
	e, _, err := r.lookup(ctx, id, needState)
	if err != nil {
		return "", err
	}
	return e.status(), nil
}

// AuditSealer returns what seals the personal parts of the tenant's audit events, also while the tenant is suspended
// and, if it is in the cache, however long ago its state was confirmed. Otherwise the sealer is nil and the error as
// of [Keyring.Tenant].
func (r *Keyring) AuditSealer(ctx context.Context, id tenant.ID) (audit.Sealer, error) {
	if e, ok := r.book.cache.peek(id); ok {
		if s := e.sealer.Load(); s != nil {
			return s, nil
		}
	}
	e, _, err := r.lookup(ctx, id, needSealer)
	if err != nil {
		return nil, err
	}
	if s := e.sealer.Load(); s != nil {
		return s, nil
	}
	return nil, e.refusal()
}

// refusal is why e has no keys to hand out.
func (e *entry) refusal() error {
	switch e.state {
	case envelope.StateSuspended:
		return fmt.Errorf("%w: tenant %s; Keyring.Resume restores access", ErrSuspended, e.id)
	case envelope.StateShredded:
		return fmt.Errorf("%w: tenant %s; what they sealed cannot be read again", ErrShredded, e.id)
	default:
		return fmt.Errorf("%w: tenant %s", ErrUnavailable, e.id)
	}
}

// lookup returns an entry that has what is needed. It is stale if its state could not be confirmed in time and the
// policy lets it be served all the same.
func (r *Keyring) lookup(ctx context.Context, id tenant.ID, n need) (e *entry, stale bool, err error) {
	now := r.opts.clock()
	e, ok := r.book.cache.get(id)
	if ok && e.has(n) && e.isFresh(n, now, &r.opts) {
		if int64(now) >= e.ahead.Load() {
			r.refreshAhead(e)
		}
		return e, false, nil
	}
	return r.settle(ctx, id, n)
}

// maxFlights is how many flights one caller waits for: a cold tenant needs two, and answers that were overtaken, or too
// slow to be of use, are asked for again.
const maxFlights = 6

// settle asks what has to be asked, together with every other caller that wants the same at the same time. A caller
// whose ctx ends leaves; the flight goes on for the others, and for the cache.
func (r *Keyring) settle(ctx context.Context, id tenant.ID, n need) (*entry, bool, error) {
	if r.book.closed.Load() {
		return nil, false, ErrClosed
	}
	if id.IsZero() {
		return nil, false, fmt.Errorf("keys: %w: it is the zero ID; obtain it from tenant.Parse", tenant.ErrInvalidID)
	}
	c := call{id: id, need: n, arrived: r.book.questions()}
	for range maxFlights {
		e, stale, err := r.decide(&c)
		if e != nil || err != nil {
			return e, stale, err
		}
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		select {
		case <-c.flight.landed:
		case <-ctx.Done():
			return nil, false, fmt.Errorf("keys: waiting for the keys of tenant %s: %w", id, ctx.Err())
		}
	}
	return nil, false, fmt.Errorf("%w: tenant %s: the store and the KEK provider answer, but later than is of use within Options.SuspendWithin, %v",
		ErrUnavailable, id, r.opts.SuspendWithin)
}

// call is one caller that wants something of a tenant.
type call struct {
	id      tenant.ID
	need    need
	arrived uint64  // how many questions had been asked when it came
	flight  *flight // to wait for, or that was waited for
	kek     bool    // it is one to the KEK provider
}

// decide returns an entry, or why there is none, or neither where the call's flight must be waited for. First the
// state, which the store tells; then the keys, which the KEK provider opens.
func (r *Keyring) decide(c *call) (*entry, bool, error) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return nil, false, ErrClosed
	}
	now := b.opts.clock()
	e := b.known(c.id)
	if landed := c.flight; e == nil && landed != nil && landed.err == nil && landed.e != nil && c.served(landed.e, now, b.opts) {
		return landed.e, false, nil // known when it landed, and evicted since
	}
	switch {
	case e == nil:
	case c.served(e, now, b.opts):
		return e, false, nil
	case e.isFresh(needState, now, b.opts), c.need == needSealer && c.since(e):
		return r.decideKeys(c, e, now)
	}
	return r.decideState(c, e, now)
}

// served reports whether e is what the caller wants. Keys are handed out within the bound of a suspension, and nothing
// else will do; a state that was asked for since the caller came is an answer even if it was long in coming.
func (c *call) served(e *entry, now time.Duration, o *Options) bool {
	switch {
	case !e.has(c.need):
		return false
	case c.need == needSealer, e.isFresh(c.need, now, o):
		return true
	}
	return c.need == needState && c.since(e)
}

// since reports whether e was confirmed by a question that was asked after the caller came.
func (c *call) since(e *entry) bool { return e.answer > c.arrived }

// decideState decides about a tenant whose state is not known well enough; e is what there is, or nil.
func (r *Keyring) decideState(c *call, e *entry, now time.Duration) (*entry, bool, error) {
	b := r.book
	var failed *failure
	if e != nil {
		failed = e.readFailed
	} else {
		failed, _ = b.misses.Get(c.id)
	}
	grace := r.grace(c, e, now)
	away := failed != nil && errors.Is(failed.err, ErrUnavailable)
	switch {
	case grace && away && failed.at >= now-b.opts.SuspendWithin:
		if now >= failed.until {
			r.read(c.id) // nobody waits for it
		}
		return e, true, nil
	case c.flight != nil && c.flight.err != nil && !c.kek:
		return nil, false, c.flight.err
	case failed != nil && now < failed.until && !(grace && away):
		return nil, false, failed.err
	}
	c.wait(r.read(c.id), false)
	if grace && c.flight.queued && b.trouble != nil && b.trouble.at >= now-b.opts.SuspendWithin {
		return e, true, nil // so many wait for the store that it cannot even be asked
	}
	if t := b.talks[c.id]; c.need != needState {
		t.open = true
	}
	return nil, false, nil
}

// decideKeys decides about a tenant whose state is known, but whose keys or sealer were not opened, or long ago.
func (r *Keyring) decideKeys(c *call, e *entry, now time.Duration) (*entry, bool, error) {
	b := r.book
	failed := e.openFailed
	grace := r.grace(c, e, now)
	away := failed != nil && errors.Is(failed.err, ErrUnavailable)
	recent := away && failed.at >= now-b.opts.ReopenAfter
	if f := e.readFailed; f != nil && f.at >= now-b.opts.SuspendWithin && errors.Is(f.err, ErrUnavailable) {
		recent = true // without the record there is nothing to open
	}
	switch {
	case grace && recent:
		if failed == nil || now >= failed.until {
			r.reopen(c.id)
		}
		return e, true, nil
	case c.flight != nil && c.flight.err != nil:
		return nil, false, c.flight.err
	case failed != nil && now < failed.until && !(grace && away):
		return nil, false, failed.err
	}
	c.wait(r.reopen(c.id))
	return nil, false, nil
}

// reopen returns the flight that opens the keys of the tenant's entry, or the one that reads the record first.
func (r *Keyring) reopen(id tenant.ID) (f *flight, kek bool) {
	t := r.book.join(id)
	defer r.book.leave(t)
	t.open = true
	if f := r.open(t, answer{}); f != nil {
		r.start(f)
		return f, true
	}
	return r.read(id), false
}

func (c *call) wait(f *flight, kek bool) { c.flight, c.kek = f, kek }

// grace reports whether the policy lets e be served although it could not be confirmed in time. That is for when a
// question that was asked in that time had no answer: what failed long ago says nothing of now.
func (r *Keyring) grace(c *call, e *entry, now time.Duration) bool {
	return e != nil && e.has(c.need) && r.opts.WhenUnavailable == ServeStale && e.age(now) <= r.opts.StaleLimit
}

// refreshAhead confirms an entry in the background.
func (r *Keyring) refreshAhead(e *entry) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() || b.known(e.id) != e || int64(b.opts.clock()) < e.ahead.Load() {
		return
	}
	r.read(e.id)
	if e.keys.Load() != nil {
		b.talks[e.id].open = true
	}
}

// recordStale records one use of keys past their confirmation before they are handed out.
func (r *Keyring) recordStale(ctx context.Context, e *entry, k *Tenant) error {
	age := e.age(r.opts.clock())
	if r.opts.OnStale != nil {
		r.opts.OnStale(e.id, age)
	}
	ev := r.event(ctx, audit.CodeKeyStale, e.id, k.audit)
	ev.Phase, ev.Status = audit.Single, audit.Success
	ev.KeyVersion = k.DataKeyID()
	ev.Reason = fmt.Sprintf("state last confirmed %d s ago", int64(age/time.Second))
	return r.record(ctx, ev)
}
