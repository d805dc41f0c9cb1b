package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// batch gathers the reads for which nobody waits, those that confirm tenants in use well before they must be, and asks the
// store once for many. Under the book's lock.
type batch struct {
	store BatchStore // nil: the store cannot
	wait  time.Duration

	flights []gathered
	timer   *time.Timer
}

// gathered is a read that waits for others.
type gathered struct {
	about  *inflight
	flight *flight
}

// maxGather is the longest that a read waits for others.
const maxGather = 100 * time.Millisecond

func newBatch(store Store, o *Options) batch {
	s, _ := store.(BatchStore)
	// A quarter of SuspendWithin is left when a tenant is to be confirmed.
	return batch{store: s, wait: min(o.SuspendWithin/64, maxGather)}
}

// gather begins a read about a tenant in use that may wait for others, unless there is one. Under the book's lock.
func (r *Keyring) gather(e *entry) {
	b := r.book
	if t := b.inflight[e.id]; t != nil && t.reading != nil {
		return
	}
	if f := e.readFailed; r.batch.store == nil || f != nil && errors.Is(f.err, ErrUnavailable) {
		r.read(e.id) // one whose last question had no answer does not take others with it
		return
	}
	t := b.join(e.id)
	f := newFlight()
	f.gathered = true
	t.reading = f
	e.ahead.Store(e.fresh.Load())
	r.batch.flights = append(r.batch.flights, gathered{t, f})
	switch len(r.batch.flights) {
	case MaxBatch:
		r.dispatch()
	case 1:
		r.batch.timer = time.AfterFunc(r.batch.wait, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			r.dispatch()
		})
	}
}

// dispatch has what was gathered asked now. Under the book's lock.
func (r *Keyring) dispatch() {
	flights := r.batch.flights
	if len(flights) == 0 {
		return
	}
	r.batch.timer.Stop()
	r.batch.flights = nil
	for _, g := range flights {
		g.flight.gathered = false
	}
	if g := flights[0]; len(flights) == 1 {
		// Asked as it was asked when it was opened: over a line on which each answer takes seconds, a statement that the
		// database has not prepared yet takes twice as long, and may never have its answer in time.
		r.workers.start(func() { r.runRead(g.about, g.flight, hot) })
		return
	}
	r.workers.start(func() { r.runBatch(flights, hot) })
}

// runBatch asks the store about many tenants by one question.
func (r *Keyring) runBatch(flights []gathered, l lane) {
	if err := r.reads.acquire(r.base, l); err != nil {
		for _, g := range flights {
			r.startOpen(r.landRead(g.about, g.flight, r.notAsked(g.about, err)))
		}
		return
	}
	timeout := r.opts.readTime()
	var answers []answer
	var err error
	r.reads.call(r.base, timeout, func() {
		for _, g := range flights {
			r.abandonRead(g.about, g.flight, timeout)
		}
	}, func(ctx context.Context) { answers, err = r.askBatch(ctx, flights) })
	r.reads.release(l)
	err = inTime(err, timeout)
	var open []*opening // together
	land := func(g gathered, a answer) {
		if o := r.landRead(g.about, g.flight, a); o != nil {
			open = append(open, o)
		}
	}
	for i, g := range flights {
		switch {
		case errors.Is(err, ErrUnavailable):
			answers[i].err = fmt.Errorf("keys: read the record of tenant %s: %w", g.about.id, err)
			land(g, answers[i])
		case err == nil && answers[i].verdict != late:
			land(g, answers[i])
		default:
			// Asked again alone: the answer was overtaken, or one record may be why there was none for all.
			r.workers.start(func() { r.runRead(g.about, g.flight, l) })
		}
	}
	r.openAll(open)
}

// askBatch asks, and enters what the store has. That it had no answer is for the caller to enter.
func (r *Keyring) askBatch(ctx context.Context, flights []gathered) ([]answer, error) {
	answers := make([]answer, len(flights))
	ids, known := make([]tenant.ID, len(flights)), make([]int64, len(flights))
	b := r.book
	b.mu.Lock()
	now := b.opts.clock()
	for i, g := range flights {
		answers[i] = answer{question: b.ask(), verdict: refused}
		g.flight.question, g.flight.queued = answers[i].question, false
		ids[i] = g.about.id
		// To open keys takes the record, which is mostly not at hand. One that was not confirmed for a while may be another of the
		// same version: see book.record.
		if e := g.about.e; e != nil && e.isFresh(needState, now, b.opts) && (e.record != nil || !e.dueForOpening(now, b.opts)) {
			known[i] = e.version
		}
	}
	b.mu.Unlock()
	records, err := r.getChanged(ctx, ids, known)
	if err != nil {
		return answers, err
	}
	for i, g := range flights {
		if rec := records[i]; rec.Version == 0 {
			answers[i] = r.enter(g.about, g.flight, answers[i].question, rec, ErrNotFound)
		} else {
			answers[i] = r.enter(g.about, g.flight, answers[i].question, rec, nil)
		}
	}
	return answers, nil
}

// getChanged asks the store, and checks that it answers what it was asked.
func (r *Keyring) getChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]Record, error) {
	records, err := r.changed(ctx, ids, known)
	if err != nil {
		return nil, err
	}
	if len(records) != len(ids) {
		return nil, fmt.Errorf("%w: the store has %d answers to a question about %d tenants", ErrIntegrity, len(records), len(ids))
	}
	for i, rec := range records {
		if rec.Version < 0 || rec.Data == nil && rec.Version != known[i] && rec.Version != 0 {
			return nil, fmt.Errorf("%w: tenant %s: the store tells of version %d of the record after version %d, without the record",
				ErrIntegrity, ids[i], rec.Version, known[i])
		}
	}
	return records, nil
}
