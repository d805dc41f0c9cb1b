package keys

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/strongroom-go/strongroom/tenant"
)

// Warmed is what [Keyring.Warm] did.
type Warmed struct {
	Opened  int // in the cache, ready to be used
	Refused int // suspended, shredded or not provisioned
	Failed  int
}

// Warm opens the keys of tenants before they are asked for, say when a process starts, and so that its first requests do not
// all wait for the KEK provider: one KEK call for each tenant that is not open, several at a time, or for many where the
// provider is a [BatchKEK], and one store read for many where the store is a [BatchStore]. Requests go on meanwhile, and a quarter of the KEK calls is theirs.
// Nothing is handed out, and no event is recorded.
//
// It begins with the first and ends when [Options.CacheSize] tenants are open, since more would push out the first:
// name those most in use first. The error is about the first tenant that failed; it wraps [ErrUnavailable] where trying
// again may help. Warm goes on after it, but ends where nobody answered for any of those it had asked for together, and
// when ctx ends.
func (r *Keyring) Warm(ctx context.Context, ids iter.Seq[tenant.ID]) (Warmed, error) {
	var w Warmed
	var first error
	warm := func(together []tenant.ID) (goOn bool) {
		away := 0
		r.openAhead(together)
		for _, id := range together {
			e, _, err := r.await(ctx, id, needKeys)
			switch {
			case err == nil && e.keys.Load() != nil:
				w.Opened++
			case err == nil, errors.Is(err, ErrNotProvisioned):
				w.Refused++
			default:
				if w.Failed++; errors.Is(err, ErrUnavailable) {
					away++
				}
				if first == nil {
					first = fmt.Errorf("keys: warm up: %w", err)
				}
			}
		}
		return ctx.Err() == nil && !r.book.closed.Load() && away < len(together) && w.Opened < r.opts.CacheSize
	}
	// Twice what the KEK provider is asked at a time: it is kept busy, and who asks meanwhile does not wait for all.
	// Where they are opened together, as many as that go into one call.
	size := min(2*r.opts.MaxKEKCalls, MaxBatch)
	var together []tenant.ID
	for id := range ids {
		if r.crowd.seen.Load() {
			size = MaxBatch
		}
		if together = append(together, id); len(together) == min(size, r.opts.CacheSize-w.Opened) {
			if !warm(together) {
				return w, first
			}
			together = together[:0]
		}
	}
	if len(together) > 0 {
		warm(together)
	}
	return w, first
}

// openAhead begins to open the keys of tenants.
func (r *Keyring) openAhead(ids []tenant.ID) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return
	}
	var flights []gathered
	now := b.opts.clock()
	for _, id := range ids {
		if e := b.known(id); id.IsZero() || e != nil && e.has(needKeys) && e.isFresh(needKeys, now, b.opts) {
			continue
		}
		switch t := b.inflight[id]; {
		case t != nil && t.reading != nil:
		case r.batch.store == nil:
			r.read(id)
		default:
			t = b.join(id)
			t.reading = newFlight()
			flights = append(flights, gathered{t, t.reading})
		}
		b.inflight[id].open = true
	}
	if len(flights) > 0 {
		r.workers.start(func() { r.runBatch(flights, cold) })
	}
}
