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

// leastReadTime is what a store read is given however short the bound of a suspension is.
const leastReadTime = 100 * time.Millisecond

// read returns the flight that asks the store about the tenant, and begins it if there is none. Under the book's lock.
func (r *Keyring) read(id tenant.ID) *flight {
	t := r.book.talks[id]
	if t != nil && t.reading != nil {
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
	r.workers.start(func() { r.flyRead(t, f, l) })
	return f
}

// lastRead is the failure of the tenant's last question to the store, if it failed.
func (r *Keyring) lastRead(t *talk) *failure {
	if t.e != nil {
		return t.e.readFailed
	}
	f, _ := r.book.misses.Peek(t.id)
	return f
}

func (r *Keyring) flyRead(t *talk, f *flight, l lane) {
	var a answer
	if err := r.turn(r.reads, l); err != nil {
		a = r.noTurn(t, err)
	} else {
		a = r.askInTime(t, f)
		r.reads.give(l)
	}
	if open := r.landRead(t, f, a); open != nil {
		open() // here, where there is a goroutine for it
	}
}

// askInTime asks the store until the answer is not overtaken by another.
func (r *Keyring) askInTime(t *talk, f *flight) (a answer) {
	r.book.mu.Lock()
	f.queued = false
	r.book.mu.Unlock()
	timeout := r.readTime()
	for range maxReads {
		ctx, cancel := context.WithTimeout(r.base, timeout)
		watch := time.AfterFunc(patience(timeout), func() { r.giveUpRead(t, f, timeout) })
		a = r.ask(ctx, t, f)
		watch.Stop()
		cancel()
		if a.verdict != late {
			break
		}
		a.err = fmt.Errorf("%w: tenant %s: the record changes faster than it can be read", ErrUnavailable, t.id)
	}
	a.err = inTime(a.err, timeout)
	return a
}

// turn waits for a turn, but not for ever.
func (r *Keyring) turn(t *turns, l lane) error {
	wait := r.opts.Timeout
	if l != suspect {
		wait *= 4
	}
	return t.take(r.base, l, wait)
}

// noTurn is the answer where the store could not be asked, because too many questions wait for its answer: it is as far
// away as for those that asked last.
func (r *Keyring) noTurn(t *talk, cause error) answer {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	a := answer{question: r.book.ask(), verdict: refused,
		err: fmt.Errorf("%w: tenant %s: %d store reads are in flight already: %w", ErrUnavailable, t.id, r.reads.limit, cause)}
	a.at = 0
	if r.book.trouble != nil {
		a.at = r.book.trouble.at
	}
	return a
}

// readTime bounds one question to the store. An answer that comes later than the bound of a suspension is worth nothing.
func (r *Keyring) readTime() time.Duration {
	return min(r.opts.Timeout, max(r.opts.SuspendWithin*9/10, leastReadTime))
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
func (r *Keyring) ask(ctx context.Context, t *talk, f *flight) (a answer) {
	b := r.book
	b.mu.Lock()
	a.question = b.ask()
	if f != nil {
		f.question = a.question
	}
	b.mu.Unlock()
	stored, err := r.store.Get(ctx, t.id)
	var damage error
	if err == nil {
		a.version = stored.Version
		a.rec, damage = r.parse(t.id, stored.Data)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() {
		if f != nil && f.given && a.verdict == late {
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
func (r *Keyring) landRead(t *talk, f *flight, a answer) (open func()) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.leave(t)
	if f.given {
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
		if failed := t.e.openFailed; failed == nil || now >= failed.until {
			if opening := r.open(t, a); opening != nil {
				open = opening.take()
			}
		}
	}
	if t.e != nil {
		t.e.arm(now, b.opts)
	}
	t.open = t.open && t.opening != nil
	close(f.landed)
	return open
}

// giveUpRead ends the flight of a call that does not end.
func (r *Keyring) giveUpRead(t *talk, f *flight, timeout time.Duration) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.reading != f {
		return
	}
	f.given, f.err = true, inTime(fmt.Errorf("keys: read the record of tenant %s: %w", t.id, context.DeadlineExceeded), timeout)
	b.unanswered(t, f.question, f.err)
	f.e, t.reading = t.e, nil
	t.open = t.open && t.opening != nil
	close(f.landed)
}

// inTime makes a flight's own timeout an ErrUnavailable: to the flight's callers it is no deadline of theirs.
func inTime(err error, timeout time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: no answer within %v: %w", ErrUnavailable, timeout, err)
	}
	return err
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
