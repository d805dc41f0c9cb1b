package keys

import (
	"sync"

	"github.com/strongroom-go/strongroom/tenant"
)

// cache is a bounded map of entries that evicts by second chance (the CLOCK algorithm, Corbató 1968): an approximation
// of least recently used whose lookups take no lock and move nothing, so that requests for different tenants do not
// wait for each other. All that changes it is done under the book's lock.
type cache struct {
	entries sync.Map // tenant.ID to *entry

	ring []*entry // every entry in entries, at most size of them
	hand int      // where the next search for a victim begins
	size int
}

// get returns the entry and marks it as used. It needs no lock.
func (c *cache) get(id tenant.ID) (*entry, bool) {
	e, ok := c.peek(id)
	if ok && !e.used.Load() {
		e.used.Store(true)
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
// is no room.
func (c *cache) add(e *entry) {
	old, ok := c.peek(e.id)
	switch {
	case c.size < 0, old == e:
		return
	case ok:
		e.slot = old.slot
		e.used.Store(true)
	case len(c.ring) < c.size:
		e.slot = len(c.ring)
		c.ring = append(c.ring, nil)
	default:
		e.slot = c.victim()
		c.entries.Delete(c.ring[e.slot].id)
	}
	c.ring[e.slot] = e
	c.entries.Store(e.id, e)
}

// victim returns the slot of an entry that was not used since the hand last came by.
func (c *cache) victim() int {
	for {
		slot := c.hand
		c.hand = (c.hand + 1) % len(c.ring)
		if !c.ring[slot].used.Swap(false) {
			return slot
		}
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
