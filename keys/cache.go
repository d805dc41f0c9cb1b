package keys

import (
	"sync"
	"sync/atomic"

	"github.com/strongroom-go/strongroom/tenant"
)

// cache is a bounded map of entries that evicts by second chance (the CLOCK algorithm, Corbató 1968; with counts of uses in place of
// bits, GCLOCK, Smith 1978): lookups take no lock and move nothing, so that requests for different tenants do not wait for
// each other. With bits, many tenants opened at once, as when a provider is back, push out those that are asked for all the time. All
// that changes it is done under the book's lock.
type cache struct {
	entries sync.Map // tenant.ID to *entry

	ring []*entry // every entry in entries, at most size of them
	hand int      // where the next search for a victim begins
	size int

	evicted atomic.Int64
}

// maxUses is how many chances an entry has at the most.
const maxUses = 3

// get returns the entry and counts the use. It needs no lock: of two at once one may not be counted.
func (c *cache) get(id tenant.ID) (*entry, bool) {
	e, ok := c.peek(id)
	if ok {
		if n := e.uses.Load(); n < maxUses {
			e.uses.Store(n + 1)
		}
	}
	return e, ok
}

// peek returns the entry. It needs no lock.
func (c *cache) peek(id tenant.ID) (*entry, bool) {
	v, ok := c.entries.Load(id)
	if !ok {
		return nil, false
	}
	return v.(*entry), true
}

// add puts e in, in place of the tenant's entry if there is one, else of one that was not used for a while if there
// is no room. If e has no keys yet there may be none for it. It returns what had to go.
func (c *cache) add(e *entry) (evicted *entry) {
	old, ok := c.peek(e.id)
	switch {
	case c.size < 0, old == e:
		return nil
	case ok:
		e.slot = old.slot
		e.uses.Store(max(1, old.uses.Load()))
	case len(c.ring) < c.size:
		e.slot = len(c.ring)
		c.ring = append(c.ring, nil)
	default:
		slot, ok := c.victim(e.bare())
		if !ok {
			return nil
		}
		e.slot = slot
		evicted = c.ring[slot]
		c.entries.Delete(evicted.id)
		c.evicted.Add(1)
	}
	c.ring[e.slot] = e
	c.entries.Store(e.id, e)
	return evicted
}

// bareSearch is how many entries are looked at for one without keys.
const bareSearch = 16

// victim returns the slot of an entry that has no chance left. One without keys pushes out none that
// has: or, while the KEK provider is away, requests for tenants that cannot be opened would take the keys of those
// that are open.
func (c *cache) victim(bare bool) (slot int, ok bool) {
	if bare {
		for i := range min(bareSearch, len(c.ring)) {
			slot := (c.hand + i) % len(c.ring)
			if e := c.ring[slot]; e.bare() && e.uses.Swap(0) == 0 {
				return slot, true
			}
		}
		return 0, false
	}
	for looked := 0; ; looked++ {
		slot := c.hand
		c.hand = (c.hand + 1) % len(c.ring)
		e := c.ring[slot]
		// Lookups go on counting: where all are asked for faster than the hand goes around, one of them has to go.
		if e.uses.Load() == 0 || looked > maxUses*len(c.ring) {
			return slot, true
		}
		e.uses.Add(-1) // it is above zero: nobody else lowers it
	}
}

// remove takes the tenant's entry out.
func (c *cache) remove(id tenant.ID) {
	e, ok := c.peek(id)
	if !ok {
		return
	}
	c.entries.Delete(id)
	last := len(c.ring) - 1
	c.ring[e.slot] = c.ring[last]
	c.ring[e.slot].slot = e.slot
	c.ring[last] = nil
	c.ring = c.ring[:last]
	if c.hand > last-1 {
		c.hand = 0
	}
}

// purge takes everything out, for good: nothing can be added afterwards.
func (c *cache) purge() {
	c.entries.Clear()
	c.ring, c.hand, c.size = nil, 0, -1
}
