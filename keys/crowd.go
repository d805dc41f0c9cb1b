package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom-go/strongroom/internal/overdue"
	"github.com/strongroom-go/strongroom/tenant"
)

// crowd has tenants opened together where the KEK provider can. Nobody waits for others to come: while few calls are under way
// each is made at once, and who comes meanwhile is asked about by the next, however many they are. So one tenant alone is
// opened as fast as ever, and a thousand at once by a few calls.
type crowd struct {
	kek  BatchKEK    // nil: the provider cannot
	seen atomic.Bool // a tenant was opened that can be asked about with others

	groups overdue.Questions[tenant.ID] // to the provider, of who can be asked about together

	mu      sync.Mutex
	waiting map[queue][]*opening
	calls   map[queue]int // under way, or waiting for their turn
}

// queue is where tenants wait that can be asked about together. Tenants of which the last question had no answer are not among
// them: see [suspect].
type queue struct {
	group string
	lane  lane
}

// maxTogether is how many calls there are for a queue at a time. With more of them each would be for fewer.
const maxTogether = 4

func (c *crowd) init(kek KEK) {
	c.kek, _ = kek.(BatchKEK)
	c.waiting, c.calls = map[queue][]*opening{}, map[queue]int{}
}

// queuesOf returns where open flights wait. It has no group where one is to ask alone.
func (r *Keyring) queuesOf(all ...*opening) []queue {
	wrapped := make([]Wrapped, len(all))
	for i, o := range all {
		if o.lane != suspect {
			wrapped[i] = Wrapped{o.about.id, o.record.WrappedRoot}
		}
	}
	queues := make([]queue, len(all))
	for i, group := range r.groupsOf(r.base, wrapped) {
		queues[i] = queue{group, all[i].lane}
	}
	return queues
}

// groupTime is how long the provider may take to say which tenants can be asked about together. It says so at once, but for one that asks
// somebody after all; the others that were read together wait for as long, once: then its last question had no answer.
const groupTime = 500 * time.Millisecond

// groupsOf returns the groups of tenants, none for the zero one. Whoever does not have the provider's answer in time is asked about alone: it
// asks nobody for it, or should, and neither the tenant, for whom there is a bound once it is asked about, nor any other is to wait.
func (r *Keyring) groupsOf(ctx context.Context, all []Wrapped) []string {
	groups := make([]string, len(all))
	kek := r.crowd.kek
	if kek == nil {
		return groups
	}
	ctx, cancel := context.WithTimeout(ctx, groupTime)
	defer cancel()
	type answer struct {
		of    int
		group string
	}
	answers, asked := make(chan answer, len(all)), make([]*overdue.Question[tenant.ID], 0, len(all))
	for i, w := range all {
		if w.Tenant.IsZero() {
			continue
		}
		if q, ok := r.crowd.groups.Begin(w.Tenant); ok { // else it did not say so the last time, and has not yet
			asked = append(asked, q)
			go groupOf(ctx, kek, w, func(group string) {
				q.End()
				answers <- answer{i, group}
			})
		}
	}
	for range asked {
		select {
		case a := <-answers:
			groups[a.of] = a.group
		case <-ctx.Done():
			for _, q := range asked {
				q.GiveUp()
			}
			return groups
		}
	}
	return groups
}

// queue has open flights wait, and reports whether the caller has to run [Keyring.runTogether] for them.
func (r *Keyring) queue(q queue, all ...*opening) (run bool) {
	c := &r.crowd
	now := r.opts.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range all {
		o.since = now
	}
	c.waiting[q] = append(c.waiting[q], all...)
	c.seen.Store(true)
	if c.calls[q] >= maxTogether {
		return false
	}
	c.calls[q]++
	return true
}

// openAll has many open flights run.
func (r *Keyring) openAll(all []*opening) {
	queues := map[queue][]*opening{}
	of := r.queuesOf(all...)
	for i, o := range all {
		q := of[i]
		if q.group == "" {
			r.workers.start(func() { r.runOpenAlone(o, func() {}) })
			continue
		}
		queues[q] = append(queues[q], o)
	}
	for q, all := range queues {
		if r.queue(q, all...) {
			r.workers.start(func() { r.runTogether(q) })
		}
	}
}

// runTogether makes calls until nobody waits any more. Nobody waits for one that does not end: another runs in its place.
func (r *Keyring) runTogether(q queue) {
	for {
		err := r.calls.acquire(r.base, q.lane)
		all := r.next(q)
		if len(all) == 0 {
			if err == nil {
				r.calls.release(q.lane)
			}
			return
		}
		if err == nil {
			if all = r.inTurn(all); len(all) == 0 {
				r.calls.release(q.lane)
				continue
			}
			if r.openTogether(q, all) {
				return
			}
			continue
		}
		r.landWithoutTurn(all, err)
	}
}

// inTurn returns those that have not waited for longer than anybody does for a turn, and lands the others.
func (r *Keyring) inTurn(all []*opening) (left []*opening) {
	now := r.opts.clock()
	var late []*opening
	for _, o := range all {
		if now-o.since > 4*r.calls.timeout {
			late = append(late, o)
		} else {
			left = append(left, o)
		}
	}
	r.landWithoutTurn(late, context.DeadlineExceeded)
	return left
}

func (r *Keyring) landWithoutTurn(all []*opening, cause error) {
	for _, o := range all {
		r.askOpen(o)
		r.landOpen(o.about, o.flight, o.into, o.record, opened{}, r.noTurn(o, cause))
	}
}

// next returns those whose turn it is. Where there are none the call that was to be made for them is none.
func (r *Keyring) next(q queue) []*opening {
	c := &r.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting[q]
	n := min(len(all), MaxBatch)
	if n == len(all) {
		delete(c.waiting, q)
	} else {
		c.waiting[q] = all[n:]
	}
	if n > 0 {
		return all[:n]
	}
	c.ended(q)
	return nil
}

// ended notes that there is a call less. Under mu.
func (c *crowd) ended(q queue) {
	if c.calls[q]--; c.calls[q] == 0 {
		delete(c.calls, q)
	}
}

// place is that of a call among those of its queue: it is kept, or given up, by whoever says so first. Under mu.
type place struct{ kept, given bool }

// givenUp has another call made in place of one that does not end, if somebody waits.
func (r *Keyring) givenUp(q queue, p *place) {
	c := &r.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.kept {
		return // it ended at that very moment
	}
	p.given = true
	if c.ended(q); len(c.waiting[q]) > 0 {
		c.calls[q]++
		r.workers.start(func() { r.runTogether(q) })
	}
}

// lost reports whether the place was given up. If not it will not be any more.
func (c *crowd) lost(p *place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.kept = !p.given
	return p.given
}

// openTogether asks the KEK provider about many tenants by one call, in a turn that was acquired, and lands their flights. It
// reports whether the call was given up: then another has its place.
func (r *Keyring) openTogether(q queue, all []*opening) (lost bool) {
	var p place
	giveUp := func() { r.givenUp(q, &p) }
	if len(all) == 1 {
		// As it is asked where it cannot be asked together: a trace shows whose call it is.
		r.calls.release(q.lane)
		r.runOpenAlone(all[0], giveUp)
		return r.crowd.lost(&p)
	}
	wrapped := make([]Wrapped, len(all))
	for i, o := range all {
		wrapped[i] = Wrapped{o.about.id, o.record.WrappedRoot}
		r.askOpen(o)
	}
	timeout := r.opts.openTime()
	var results []Result
	var err error
	r.calls.call(r.base, timeout, func() {
		for _, o := range all {
			r.abandonOpen(o.about, o.flight, o.into, timeout)
		}
		giveUp()
	}, func(ctx context.Context) { results, err = r.unwrapBatch(ctx, wrapped) })
	r.calls.release(q.lane)
	err = inTime(err, timeout)
	for i, o := range all {
		var got opened
		var oerr error
		switch {
		case err == nil:
			got, oerr = r.openResult(o, results[i])
		case !errors.Is(err, ErrUnavailable) && r.base.Err() == nil:
			// Asked again alone: one may be why there was no answer for all.
			r.workers.start(func() { r.runOpenAlone(o, func() {}) })
			continue
		default:
			oerr = fmt.Errorf("keys: unwrap the root keyset of tenant %s: %w", o.about.id, err)
		}
		r.landOpen(o.about, o.flight, o.into, o.record, got, inTime(oerr, timeout))
	}
	return r.crowd.lost(&p)
}

// openResult opens a record with what the KEK provider answered about its tenant.
func (r *Keyring) openResult(o *opening, result Result) (opened, error) {
	root, err := rootOf(o.record, result)
	if err != nil {
		return opened{}, err
	}
	return r.openWith(root, &o.into.tenant, o.record)
}

// unwrapBatch asks about tenants of one group, and checks that there is an answer for each.
func (r *Keyring) unwrapBatch(ctx context.Context, all []Wrapped) ([]Result, error) {
	return r.askKEK(ctx, "unwrap_batch", all, r.crowd.kek.UnwrapBatch)
}

// rewrapBatch is likewise for rewrapping.
func (r *Keyring) rewrapBatch(ctx context.Context, all []Wrapped) ([]Result, error) {
	return r.askKEK(ctx, "rewrap_batch", all, r.crowd.kek.RewrapBatch)
}

func (r *Keyring) askKEK(ctx context.Context, what string, all []Wrapped, ask func(context.Context, []Wrapped) ([]Result, error)) (results []Result, err error) {
	asked := func(ctx context.Context) error {
		return guardedTogether(theKEK, func() (err error) { results, err = ask(ctx, all); return err })
	}
	if o, on := r.kek.(observedKEK); on {
		err = o.call(ctx, what, asked)
	} else {
		err = asked(ctx)
	}
	if err == nil && len(results) != len(all) {
		err = fmt.Errorf("%w: the KEK provider has %d answers to a question about %d tenants", ErrIntegrity, len(results), len(all))
	}
	return results, err
}
