package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// opening is an open flight with all that it is about.
type opening struct {
	about  *inflight
	flight *flight
	lane   lane
	into   *entry
	record *envelope.Record
	since  time.Duration // when it began to wait for its turn among others
}

// open returns the flight in which the KEK provider opens the keys of the tenant's entry and, if there was none, what the
// caller has to have run for it ([Keyring.runOpen]). The record is the entry's own or, where that was let go of, in the answer
// that confirmed the entry; where it is not at hand there is no flight. Under the book's lock.
func (r *Keyring) open(t *inflight, a answer) (f *flight, run *opening) {
	if t.opening != nil {
		return t.opening, nil
	}
	e, rec := t.e, t.e.record
	if rec == nil && a.rec != nil && a.version == e.version {
		rec = a.rec
	}
	if rec == nil {
		return nil, nil
	}
	l := cold
	if e.keys.Load() != nil {
		l = hot
	}
	if f := e.openFailed; f != nil && errors.Is(f.err, ErrUnavailable) {
		l = suspect
	}
	into := e
	if e.taken {
		into = e.again(rec) // what is in use, or may still be written to, is not written to
	}
	into.taken = true
	f = newFlight()
	t.opening = f
	r.book.join(t.id)
	return f, &opening{about: t, flight: f, lane: l, into: into, record: rec}
}

// startOpen has a goroutine run the flight; nil is none.
func (r *Keyring) startOpen(o *opening) {
	if o != nil {
		r.workers.start(func() { r.runOpen(o) })
	}
}

// runOpen is an open flight: it asks the KEK provider when it is its turn, together with others where it can.
func (r *Keyring) runOpen(o *opening) {
	if q := r.queuesOf(o)[0]; q.group != "" {
		if r.queue(q, o) {
			r.runTogether(q)
		}
		return
	}
	r.runOpenAlone(o, func() {})
}

// runOpenAlone asks about one tenant. GivenUp is called where the call does not end in time; then nobody waits for it any more.
func (r *Keyring) runOpenAlone(o *opening, givenUp func()) {
	var got opened
	timeout := r.opts.openTime()
	err := r.calls.acquire(r.base, o.lane)
	r.askOpen(o)
	if err != nil {
		err = r.noTurn(o, err)
	} else {
		abandon := func() {
			r.abandonOpen(o.about, o.flight, o.into, timeout)
			givenUp()
		}
		r.calls.call(r.background(o.about), timeout, abandon, func(ctx context.Context) { got, err = r.unwrap(ctx, &o.into.tenant, o.record) })
		r.calls.release(o.lane)
	}
	r.landOpen(o.about, o.flight, o.into, o.record, got, inTime(err, timeout))
}

// askOpen enters the question of an open flight.
func (r *Keyring) askOpen(o *opening) {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	o.flight.question = r.book.ask()
	o.flight.queued = false
}

// noTurn is why an open flight could not ask.
func (r *Keyring) noTurn(o *opening, cause error) error {
	if !r.calls.stuck() { // see notAsked
		r.book.mu.Lock()
		o.flight.question.at = r.book.kekTrouble.asked()
		r.book.mu.Unlock()
	}
	return fmt.Errorf("%w: tenant %s: %d KEK calls are in flight already: %w", ErrUnavailable, o.about.id, r.calls.limit, cause)
}

// opened is what a root keyset opens.
type opened struct {
	sealer *auditSealer
	keys   *Tenant // nil unless the tenant is active
}

// unwrap opens the record's keysets, by one KEK call; the keys of an active tenant into k.
func (r *Keyring) unwrap(ctx context.Context, k *Tenant, rec *envelope.Record) (opened, error) {
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return opened{}, err
	}
	return r.openWith(root, k, rec)
}

// openWith opens the record's keysets with its root.
func (r *Keyring) openWith(root tink.AEAD, k *Tenant, rec *envelope.Record) (opened, error) {
	sealer, err := openSealer(root, rec)
	if err == nil {
		sealer.tally = r.newTally(rec, sealer.key())
	}
	if err != nil || rec.State != envelope.StateActive {
		return opened{sealer: sealer}, err
	}
	if err := k.open(root, rec, sealer); err != nil {
		return opened{}, err
	}
	k.data.budget = r.newBudget(rec.Tenant, k.dataID)
	return opened{sealer, k}, nil
}

// landOpen ends the flight. What was opened is of use if the record is still the one that it was opened from.
func (r *Keyring) landOpen(t *inflight, f *flight, into *entry, rec *envelope.Record, o opened, err error) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.leave(t)
	if f.abandoned {
		return
	}
	now := b.opts.clock()
	t.opening = nil
	switch e := t.e; {
	case e == nil || !e.describes(into):
		// Somebody changed the record meanwhile; that one is opened if it is at hand, else when it is asked for.
		if e != nil && t.open && e.dueForOpening(now, b.opts) {
			_, run := r.open(t, answer{})
			r.startOpen(run)
		}
		if !errors.Is(err, ErrUnavailable) {
			err = nil // it is about another record
		}
	case err == nil:
		if before := e.keys.Load(); before != nil && o.keys != nil && before.dataID == o.keys.dataID {
			o.keys.data.budget = before.data.budget
		}
		if before := e.sealer.Load(); before != nil && before.key() == o.sealer.key() {
			o.sealer.tally = before.tally
		}
		into.publish(o, f.question.at)
		if into != e {
			into.confirmed.Store(e.confirmed.Load())
			into.answer, into.readFailed = e.answer, e.readFailed
			b.set(t, into)
		}
		into.arm(now, b.opts)
		b.negative.Remove(t.id)
		b.keep(into)
	case !errors.Is(err, ErrUnavailable) && (e.doubted == 0 || e.answer <= e.doubted):
		// The record may be another by now, and what wrapped this one no more: it is read again first. Until then nobody has the keys.
		bare := e.again(nil)
		bare.openFailed, bare.doubted = nil, f.question.number
		bare.arm(now, b.opts)
		b.set(t, bare)
		err = nil
		r.read(t.id)
		t.open = true
	case !errors.Is(err, ErrUnavailable):
		// An answer, not the lack of one: the keys are no longer this tenant's to have.
		bare := e.again(rec)
		bare.openFailed = b.failure(f.question, err)
		bare.arm(now, b.opts)
		b.set(t, bare)
	default:
		b.unopened(e, f.question, err)
	}
	f.err, f.e = err, t.e
	t.open = t.open && (t.opening != nil || t.reading != nil)
	close(f.landed)
}

// abandonOpen ends the flight of a call that does not end. What it may open yet is of no use: it is opened again by then.
func (r *Keyring) abandonOpen(t *inflight, f *flight, into *entry, timeout time.Duration) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.opening != f {
		return
	}
	f.abandoned, f.err = true, inTime(fmt.Errorf("keys: unwrap the root keyset of tenant %s: %w", t.id, context.DeadlineExceeded), timeout)
	if e := t.e; e != nil && e.describes(into) {
		b.unopened(e, f.question, f.err)
	}
	f.e, t.opening = t.e, nil
	t.open = t.open && t.reading != nil
	close(f.landed)
}
