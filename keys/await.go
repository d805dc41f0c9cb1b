package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom-go/strongroom/tenant"
)

// maxFlights is how many flights one caller waits for: a cold tenant needs two, and answers that were overtaken, or too
// slow to be of use, are asked for again.
const maxFlights = 6

// await asks what has to be asked, together with every other caller that wants the same at the same time. A caller
// whose ctx ends leaves; the flight goes on for the others, and for the cache.
func (r *Keyring) await(ctx context.Context, id tenant.ID, n need) (*entry, bool, error) {
	if r.book.closed.Load() {
		return nil, false, ErrClosed
	}
	if id.IsZero() {
		return nil, false, fmt.Errorf("keys: %w: it is the zero ID; obtain it from tenant.Parse", tenant.ErrInvalidID)
	}
	w := waiter{id: id, need: n, arrived: r.book.questions(), cause: r.telemetry.Cause(ctx)}
	for range maxFlights {
		e, stale, err := r.decide(&w)
		if e != nil || err != nil {
			return e, stale, err
		}
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		select {
		case <-w.flight.landed:
		case <-ctx.Done():
			return nil, false, fmt.Errorf("keys: waiting for the keys of tenant %s: %w", id, ctx.Err())
		}
	}
	return nil, false, fmt.Errorf("%w: tenant %s: the store and the KEK provider answer, but later than is of use within Options.SuspendWithin, %v",
		ErrUnavailable, id, r.opts.SuspendWithin)
}

// waiter is one caller that wants something of a tenant.
type waiter struct {
	id      tenant.ID
	need    need
	arrived uint64  // how many questions had been asked when it came
	flight  *flight // to wait for, or that was waited for
	kek     bool    // it is one to the KEK provider
	again   bool    // one failed too late to serve by, and it was asked again
	cause   trace.SpanContext
}

// decide returns an entry, or why there is none, or neither where the waiter's flight must be waited for. First the
// state, which the store tells; then the keys, which the KEK provider opens.
func (r *Keyring) decide(w *waiter) (*entry, bool, error) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return nil, false, ErrClosed
	}
	now := b.opts.clock()
	e := b.known(w.id)
	if landed := w.flight; e == nil && landed != nil && landed.err == nil && landed.e != nil && w.served(landed.e, now, b.opts) {
		return landed.e, false, nil // known when it landed, and evicted since
	}
	switch {
	case e == nil:
	case w.served(e, now, b.opts):
		return e, false, nil
	case e.isFresh(needState, now, b.opts), w.need == needSealer && w.since(e):
		return r.decideKeys(w, e, now)
	}
	return r.decideState(w, e, now)
}

// served reports whether e is what the caller wants. Keys are handed out within the bound of a suspension, and nothing
// else will do; a state that was asked for since the caller came is an answer even if it was long in coming.
func (w *waiter) served(e *entry, now time.Duration, o *Options) bool {
	switch {
	case !e.has(w.need):
		return false
	case w.need == needSealer, e.isFresh(w.need, now, o):
		return true
	}
	return w.need == needState && w.since(e)
}

// since reports whether e was confirmed by a question that was asked after the caller came.
func (w *waiter) since(e *entry) bool { return e.answer > w.arrived }

// asksAgain reports whether to ask where the last failure is from too long ago to serve by: unless that was this waiter's own flight.
// On a machine that is busy it may have failed so late that it says nothing of now. Then it is asked again, once.
func (w *waiter) asksAgain() bool {
	if w.flight == nil || w.flight.err == nil {
		return true
	}
	again := !w.again && errors.Is(w.flight.err, ErrUnavailable)
	w.again = true
	return again
}

// decideState decides about a tenant whose state is not known well enough; e is what there is, or nil.
func (r *Keyring) decideState(w *waiter, e *entry, now time.Duration) (*entry, bool, error) {
	b := r.book
	var failed *failure
	if e != nil {
		failed = e.readFailed
	} else if failed, _ = b.negative.Get(w.id); failed != nil && failed.kek && w.need == needState {
		failed = nil
	}
	grace := r.grace(w, e, now)
	away := failed != nil && errors.Is(failed.err, ErrUnavailable)
	switch {
	case grace && away && failed.at >= now-b.opts.SuspendWithin:
		if now >= failed.until {
			r.read(w.id) // nobody waits for it
		}
		return e, true, nil
	case grace && away && w.asksAgain():
	case w.flight != nil && w.flight.err != nil && !w.kek:
		return nil, false, w.flight.err
	case failed != nil && now < failed.until && !(grace && away):
		return nil, false, failed.err
	}
	w.flight, w.kek = r.read(w.id), false
	b.inflight[w.id].caused(w.cause)
	if grace && w.flight.queued && b.trouble != nil && b.trouble.at >= now-b.opts.SuspendWithin {
		return e, true, nil // so many wait for the store that it cannot even be asked
	}
	if t := b.inflight[w.id]; w.need != needState {
		t.open = true
	}
	return nil, false, nil
}

// decideKeys decides about a tenant whose state is known, but whose keys or sealer were not opened, or long ago.
func (r *Keyring) decideKeys(w *waiter, e *entry, now time.Duration) (*entry, bool, error) {
	b := r.book
	failed := e.openFailed
	grace := r.grace(w, e, now)
	away := failed != nil && errors.Is(failed.err, ErrUnavailable)
	recent := away && failed.at >= now-b.opts.ReopenAfter
	if f := e.readFailed; f != nil && f.at >= now-b.opts.SuspendWithin && errors.Is(f.err, ErrUnavailable) {
		recent = true // without the record there is nothing to open
	}
	switch {
	case grace && recent:
		if failed == nil || now >= failed.until {
			r.reopen(w.id)
		}
		return e, true, nil
	case grace && away && w.asksAgain():
	case w.flight != nil && w.flight.err != nil && (w.kek || e.answer < w.flight.question.number):
		return nil, false, w.flight.err // unless the store was asked again since, and answered: then there is a record to open
	case failed != nil && now < failed.until && !(grace && away):
		return nil, false, failed.err
	}
	w.flight, w.kek = r.reopen(w.id)
	b.inflight[w.id].caused(w.cause)
	return nil, false, nil
}

// grace reports whether the policy lets e be served although it could not be confirmed in time. That is for when a
// question that was asked in that time had no answer: what failed long ago says nothing of now.
func (r *Keyring) grace(w *waiter, e *entry, now time.Duration) bool {
	return e != nil && e.has(w.need) && r.opts.WhenUnavailable == ServeStale && e.age(now, &r.opts) <= r.opts.StaleLimit
}

// reopen returns the flight that opens the keys of the tenant's entry, or the one that reads the record first.
func (r *Keyring) reopen(id tenant.ID) (f *flight, kek bool) {
	t := r.book.join(id)
	defer r.book.leave(t)
	t.open = true
	if f := t.reading; f != nil && f.entered && t.opening == nil {
		return f, false // which opens it as it lands, with those that were read together
	}
	if f, run := r.open(t, answer{}); f != nil {
		r.startOpen(run)
		return f, true
	}
	return r.read(id), false
}
