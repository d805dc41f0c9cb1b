package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxReads is how often one flight asks the store again because the answers were overtaken.
const maxReads = 8

// read returns the flight that asks the store about the tenant, and begins it if there is none. Under the book's lock.
func (r *Keyring) read(id tenant.ID) *flight {
	t := r.book.inflight[id]
	if t != nil && t.reading != nil {
		if t.reading.gathered {
			r.dispatch() // somebody waits now
		}
		return t.reading
	}
	t = r.book.join(id)
	f := newFlight()
	t.reading = f
	l := cold
	if t.e != nil {
		l = hot
		t.e.ahead.Store(t.e.fresh.Load()) // until it lands
	}
	if last := r.lastRead(t); last != nil && errors.Is(last.err, ErrUnavailable) {
		l = suspect
	}
	r.workers.start(func() { r.runRead(t, f, l) })
	return f
}

// lastRead is the failure of the tenant's last question to the store, if it failed.
func (r *Keyring) lastRead(t *inflight) *failure {
	if t.e != nil {
		return t.e.readFailed
	}
	if f, _ := r.book.negative.Peek(t.id); f != nil && !f.kek {
		return f
	}
	return nil
}

// runRead is a read flight: it asks the store when it is its turn, and has opened what was read.
func (r *Keyring) runRead(t *inflight, f *flight, l lane) {
	var a answer
	if err := r.reads.acquire(r.base, l); err != nil {
		a = r.notAsked(t, err)
	} else {
		a = r.askInTime(t, f)
		r.reads.release(l)
	}
	if open := r.landRead(t, f, a); open != nil {
		r.runOpen(open) // here, where there is a goroutine for it
	}
}

// askInTime asks the store until the answer is not overtaken by another.
func (r *Keyring) askInTime(t *inflight, f *flight) (a answer) {
	r.book.mu.Lock()
	f.queued = false
	r.book.mu.Unlock()
	timeout := r.opts.readTime()
	for range maxReads {
		r.reads.call(r.background(t), timeout, func() { r.abandonRead(t, f, timeout) }, func(ctx context.Context) { a = r.ask(ctx, t, f) })
		if a.verdict != late {
			break
		}
		a.err = fmt.Errorf("%w: tenant %s: the record changes faster than it can be read", ErrUnavailable, t.id)
	}
	a.err = inTime(a.err, timeout)
	return a
}

// notAsked is the answer where the store could not be asked, because too many questions wait for its answer: it is away where
// some of them do not end, else as far away as for those that asked last.
func (r *Keyring) notAsked(t *inflight, cause error) answer {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	a := answer{question: r.book.ask(), verdict: refused,
		err: fmt.Errorf("%w: tenant %s: %d store reads are in flight already: %w", ErrUnavailable, t.id, r.reads.limit, cause)}
	if !r.reads.stuck() {
		a.at = r.book.trouble.asked()
	}
	return a
}

// answer is what the store said to a question, and what it was worth.
type answer struct {
	question
	verdict verdict
	rec     *envelope.Record // if it was good
	version int64
	err     error // why there is no record that can be used
}

// ask asks the store about the tenant and enters the answer. That there was none is for the caller to enter.
// It may come when nobody waits for it any more, and is entered all the same. f may be nil.
func (r *Keyring) ask(ctx context.Context, t *inflight, f *flight) (a answer) {
	b := r.book
	b.mu.Lock()
	a.question = b.ask()
	if f != nil {
		f.question = a.question
	}
	b.mu.Unlock()
	stored, err := r.store.Get(ctx, t.id)
	if err == nil && stored.Data == nil {
		stored.Data = []byte{} // which is no record
	}
	return r.enter(t, f, a.question, stored, err)
}

// enter enters what the store said to a question about the tenant. A record without data is the one that is known.
func (r *Keyring) enter(t *inflight, f *flight, q question, stored Record, err error) (a answer) {
	a.question = q
	var damage error
	if err == nil {
		a.version = stored.Version
		if stored.Data != nil {
			a.rec, damage = r.parse(t.id, stored.Data)
		}
	}
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() {
		switch {
		case f == nil:
		case a.verdict == accepted:
			f.entered = true
		case f.abandoned && a.verdict == late:
			a.verdict = refused // nobody waits for another
		}
	}()
	switch {
	case errors.Is(err, ErrNotFound):
		a.err = fmt.Errorf("%w: tenant %s; call Keyring.Provision", ErrNotProvisioned, t.id)
		a.verdict = b.absent(t, a.question, a.err)
	case err != nil:
		a.err = fmt.Errorf("keys: read the record of tenant %s: %w", t.id, err)
		a.verdict = refused
	case damage != nil:
		a.err = damage
		a.verdict = b.damaged(t, a.question, stored.Version, damage)
	default:
		a.verdict = b.record(t, a.question, a.rec, stored.Version)
	}
	if a.verdict == refused && err == nil {
		a.err = fmt.Errorf("%w: tenant %s: the store answered with version %d of the record after version %d; it is a replica that lags, or was restored from a backup: then restart the process",
			ErrUnavailable, t.id, stored.Version, t.floor)
	}
	return a
}

// landRead ends the flight, and has the keys opened of what was read where somebody wants them: in a flight of its own,
// because the state is confirmed now, and must not expire while the KEK provider is asked. It returns what that does.
func (r *Keyring) landRead(t *inflight, f *flight, a answer) (open *opening) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.leave(t)
	if f.abandoned {
		return nil
	}
	if a.verdict != accepted {
		b.unanswered(t, a.question, a.err)
	}
	now := b.opts.clock()
	f.err, f.e, t.reading = a.err, t.e, nil
	// Keys that are open stay so, whoever asked: mostly that is for the state, a moment before the keys are asked for.
	wanted := t.e != nil && (t.open || t.e.keys.Load() != nil)
	if a.err == nil && wanted && t.opening == nil && t.e.dueForOpening(now, b.opts) {
		if failed := t.e.openFailed; failed == nil || now >= failed.until || r.outdated(failed, now) {
			_, open = r.open(t, a)
		}
	}
	if t.e != nil {
		t.e.arm(now, b.opts)
	}
	t.open = t.open && t.opening != nil
	close(f.landed)
	return open
}

// outdated reports whether a failure to open keys, although it came a moment ago, was asked for too long ago to serve by, so
// that whom the policy serves has to ask again.
func (r *Keyring) outdated(f *failure, now time.Duration) bool {
	return r.opts.WhenUnavailable == ServeStale && errors.Is(f.err, ErrUnavailable) && f.at < now-r.opts.ReopenAfter
}

// abandonRead ends the flight of a call that does not end.
func (r *Keyring) abandonRead(t *inflight, f *flight, timeout time.Duration) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.reading != f {
		return
	}
	f.abandoned, f.err = true, inTime(fmt.Errorf("keys: read the record of tenant %s: %w", t.id, context.DeadlineExceeded), timeout)
	b.unanswered(t, f.question, f.err)
	f.e, t.reading = t.e, nil
	t.open = t.open && t.opening != nil
	close(f.landed)
}

// stored returns the record that the store has now, past all that is known.
func (r *Keyring) stored(ctx context.Context, id tenant.ID) (*envelope.Record, error) {
	stored, err := r.store.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("keys: read the record of tenant %s: %w", id, err)
	}
	return r.parse(id, stored.Data)
}

// parse checks that a record is what it should be for the tenant it was found under.
func (r *Keyring) parse(id tenant.ID, data []byte) (*envelope.Record, error) {
	rec, err := envelope.ParseRecord(data)
	if err != nil {
		return nil, fmt.Errorf("%w: tenant %s: %w", ErrIntegrity, id, err)
	}
	if rec.Tenant != id {
		return nil, fmt.Errorf("%w: the record found for tenant %s is that of another tenant; restore it from a backup and find out who moved it", ErrIntegrity, id)
	}
	if rec.Keyring != r.opts.Label {
		return nil, fmt.Errorf("%w: the record of tenant %s is that of the keyring labelled %q, and this one is %q; correct Options.Label or the store", ErrIntegrity, id, rec.Keyring, r.opts.Label)
	}
	rec.Tenant = id // the same, without a copy of its text
	return rec, nil
}
