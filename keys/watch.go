package keys

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// The times between attempts to watch the store again, half of them at random.
const (
	watchAgain    = 250 * time.Millisecond
	maxWatchAgain = 15 * time.Second
)

// watch has the store tell of changes for as long as the keyring is open.
func (r *Keyring) watch(w Watcher) {
	pause := watchAgain
	for {
		began := time.Now()
		err := r.watchOnce(w)
		if errors.Is(err, errors.ErrUnsupported) || r.base.Err() != nil {
			return
		}
		if time.Since(began) > maxWatchAgain {
			pause = watchAgain
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-r.base.Done():
			return
		}
		pause = min(2*pause, maxWatchAgain)
	}
}

func (r *Keyring) watchOnce(w Watcher) error {
	return guarded(theStore, func() error { return w.Watch(r.base, r.hear) })
}

// hearing is about which tenants the store is being asked because of news, and whether there was more since it was.
type hearing struct {
	mu    sync.Mutex
	again map[tenant.ID]bool
}

// begin reports whether the caller is to ask about the tenant; else somebody does, and will once more.
func (h *hearing) begin(id tenant.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.again == nil {
		h.again = map[tenant.ID]bool{}
	}
	_, busy := h.again[id]
	h.again[id] = busy
	return !busy
}

// end reports whether that is all; else the caller is to ask once more.
func (h *hearing) end(id tenant.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.again[id] {
		h.again[id] = false
		return false
	}
	delete(h.again, id)
	return true
}

// hear is told that a tenant's record has a new version. That is a reason to ask the store, and nothing more: whoever can
// forge news can cause a question about a tenant in the cache, one at a time.
func (r *Keyring) hear(id tenant.ID, version int64) {
	b := r.book
	b.mu.Lock()
	e := b.known(id)
	b.mu.Unlock()
	if e == nil || e.version >= version || !r.hearing.begin(id) {
		return
	}
	r.workers.start(func() {
		for {
			r.askAnew(id)
			if r.hearing.end(id) {
				return
			}
		}
	})
}

// askAnew asks the store by itself: a question under way may be from before the change. If it has no answer, all is as if
// there had been no news.
func (r *Keyring) askAnew(id tenant.ID) {
	// Who confirms that a tenant is still active goes before.
	if r.reads.acquire(r.base, cold) != nil {
		return
	}
	defer r.reads.release(cold)
	ctx, cancel := context.WithTimeout(r.base, r.opts.readTime())
	defer cancel()
	r.joined(id, func(t *inflight) error {
		a := r.ask(ctx, t, nil)
		b := r.book
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed.Load() || t.reading != nil {
			return nil // what is read opens
		}
		// A hot tenant whose keys changed is opened now, not at the next request.
		if a.err == nil && t.e != nil && t.open && t.opening == nil && t.e.dueForOpening(b.opts.clock(), b.opts) {
			_, run := r.open(t, a)
			r.startOpen(run)
		}
		t.open = t.open && t.opening != nil
		return nil
	})
}
