package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

const (
	// maxWaiting bounds the bytes that wait for the disk.
	maxWaiting = 64 << 20
	// maxBatch is how many bytes of events go to the disk with one write and one sync.
	maxBatch = 1 << 20
	// quantum is how many bytes of one tenant's events go to the disk before the next tenant's turn.
	quantum = 16 << 10
)

// item is one event on its way to the disk.
type item struct {
	line   []byte // as encoder.event returns it: its sequence number is still to come
	about  subject
	tenant *tenantState // whose numbers it takes part in; nil for none
	queue  *queue
	came   time.Time
	lazy   bool       // it goes to the disk with the next event, unless somebody waits for it
	room   int        // bytes that are reserved for it in the queue: at first about as many as it will have
	done   chan error // has room for one; used when room is found, and when the event is written
}

// queue holds the events of one tenant that wait for the disk, and callers that wait for room; each oldest first.
type queue struct {
	items   []*item
	head    int // how many leading items have left
	bytes   int // of the items, and of what is being encoded
	credit  int
	blocked []*item
}

// reserve waits until there is room for an event in its tenant's queue. What waits here has not been encoded: it takes
// neither memory nor processor.
func (l *intake) reserve(ctx context.Context, timeout <-chan time.Time, e *Event, it *item) error {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	it.tenant, it.queue, it.room = l.tenant(e), &l.strangers, estimate(e)
	if it.tenant != nil {
		it.queue = &it.tenant.queue
	}
	q := it.queue
	if len(q.blocked) == 0 && l.admit(q, it.room) {
		l.mu.Unlock()
		return nil
	}
	if len(q.blocked) == 0 {
		l.full = append(l.full, q)
	}
	q.blocked = append(q.blocked, it)
	l.mu.Unlock()
	select {
	case err := <-it.done:
		return err
	case <-ctx.Done():
	case <-timeout:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(q.blocked, it); i >= 0 {
		q.blocked = slices.Delete(q.blocked, i, i+1)
	} else if err := <-it.done; err != nil { // it was decided at the same moment
		return err
	} else {
		q.bytes -= it.room
		l.waiting -= it.room
	}
	l.unblock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("audit: the caller gave up before the event was recorded: %w", err)
	}
	l.stats.Refused++
	return fmt.Errorf("%w: %d KiB of this tenant's events wait for %s, which is its share, and there was no room within %v; slow its requests down, or see what keeps it busy",
		ErrUnavailable, q.bytes>>10, l.place, l.timeout)
}

// admit reserves room where there is some. l.mu is held.
//
// Tenants share it by Choudhury and Hahne's dynamic thresholds ("Dynamic Queue Length Thresholds for Shared-Memory
// Packet Switches", IEEE/ACM ToN 1998): one may have an eighth as much waiting as is free for all. So a burst fills at
// most a ninth, many bursts together leave something, and the first event of a quiet tenant finds room.
func (l *intake) admit(q *queue, size int) bool {
	if free := maxWaiting - l.waiting; size > free || q.bytes > 0 && q.bytes+size > free/8 {
		return false
	}
	q.bytes += size
	l.waiting += size
	return true
}

// unblock admits callers that wait, where there is room for them now. l.mu is held.
func (l *intake) unblock() {
	if len(l.full) == 0 {
		return
	}
	l.full = slices.DeleteFunc(l.full, func(q *queue) bool {
		n := 0
		for n < len(q.blocked) && l.admit(q, q.blocked[n].room) {
			q.blocked[n].done <- nil
			n++
		}
		q.blocked = slices.Delete(q.blocked, 0, n)
		return len(q.blocked) == 0
	})
}

// turnAway tells everybody who waits for room that there will be none. l.mu is held.
func (l *intake) turnAway(err error) {
	for _, q := range l.full {
		for _, it := range q.blocked {
			it.done <- err
		}
		q.blocked = nil
	}
	l.full = nil
}

// estimate returns about how many bytes an event takes: more by the escaping of unusual characters.
func estimate(e *Event) int {
	const rest = 1 << 10
	n := rest + len(e.Statement) + len(e.Purpose) + len(e.Request) + len(e.Name) + len(e.Reason) + len(e.Transaction)
	for _, list := range [][]string{e.Tables, e.Columns, e.SealedColumns} {
		for _, s := range list {
			n += len(s) + 3
		}
	}
	for k, v := range e.Details {
		n += (len(k) + len(v)) * 4 / 3
	}
	return min(n, maxLine)
}

// enqueue puts an encoded event into the queue where room is reserved for it.
func (l *intake) enqueue(it *item) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := it.queue
	more := len(it.line) - it.room
	if l.err != nil || more > maxWaiting-l.waiting {
		q.bytes -= it.room
		l.waiting -= it.room
		if l.err != nil {
			return l.err
		}
		l.unblock()
		l.stats.Refused++
		return fmt.Errorf("%w: %d MiB of events wait for %s; see what keeps it busy", ErrUnavailable, maxWaiting>>20, l.place)
	}
	q.bytes += more
	l.waiting += more
	it.room = len(it.line)
	if it.tenant == nil {
		l.stats.Unnumbered++
	}
	if q.head == len(q.items) {
		l.active = append(l.active, q)
	}
	q.items = append(q.items, it)
	switch {
	case !it.lazy || l.waiting > maxBatch:
		l.signal()
	case l.linger == nil: // the first that waits; the others go with it
		l.linger = time.AfterFunc(l.lingerFor, l.endLinger)
	}
	return nil
}

// endLinger has written what nobody waits for.
func (l *intake) endLinger() {
	l.mu.Lock()
	l.linger = nil
	l.mu.Unlock()
	l.signal()
}

// leave gives back the room of an event that could not be encoded.
func (l *intake) leave(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it.queue.bytes -= it.room
	l.waiting -= it.room
	l.unblock()
}

// signal tells the writer that there is something to write. Where a token is there already, it has not yet looked.
func (l *intake) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// tenant returns the state of an event's tenant, or nil for a stranger: a tenant that this log has seen nothing of but
// denials without a key. Whoever sends requests can make such ids up, so they get no place in memory, no numbers and no
// head leaves, and share one queue. The same goes for tenants beyond Options.Tenants. l.mu is held.
func (l *intake) tenant(e *Event) *tenantState {
	return l.tenantOf(e.Tenant, e.Sealer != nil || e.Status == Success)
}

// tenantOf does the work of tenant; known tells that the event is none that anybody can bring about.
func (l *intake) tenantOf(id tenant.ID, known bool) *tenantState {
	t := l.tenants[id]
	if t != nil || !id.IsZero() && (len(l.tenants) > l.tenantLimit || !known) {
		return t
	}
	t = &tenantState{id: id}
	l.tenants[id] = t
	return t
}

// take removes events of at most limit bytes from the queues, but at least one, and appends them to dst. The tenants
// take turns by deficit round robin (Shreedhar and Varghese, "Efficient Fair Queuing using Deficit Round Robin", SIGCOMM
// 1995), here with the debt of a long event paid afterwards. Where something is left, the writer is signalled.
func (l *intake) take(dst []*item, limit int) []*item {
	l.mu.Lock()
	defer l.mu.Unlock()
	turns := 0
	for total, full := 0, false; turns < len(l.active) && !full; {
		q := l.active[turns]
		if q.credit <= 0 {
			q.credit += quantum
		}
		for ; q.head < len(q.items) && q.credit > 0; q.head++ {
			it := q.items[q.head]
			if full = total > 0 && total+it.room > limit; full {
				break
			}
			dst = append(dst, it)
			q.items[q.head] = nil
			total += it.room
			l.waiting -= it.room
			q.bytes -= it.room
			q.credit -= it.room
		}
		if full {
			l.signal()
		} else if turns++; q.compact() {
			l.active = append(l.active, q)
		}
	}
	l.active = slices.Delete(l.active, 0, turns)
	l.takes(dst)
	l.unblock()
	return dst
}

// compact gives the places of items that have left back, and tells whether there are others.
func (q *queue) compact() bool {
	switch rest := q.items[q.head:]; {
	case len(rest) == 0:
		q.items, q.credit = q.items[:0], 0
		if cap(q.items) > 64 {
			q.items = nil
		}
	case q.head > len(rest):
		q.items = slices.Delete(q.items, 0, q.head)
	default:
		return true
	}
	q.head = 0
	return len(q.items) > 0
}

// wait waits until the event is as durable as the log promises. It then keeps the item's memory for others. Known is false
// where it is not decided yet.
func (l *intake) wait(ctx context.Context, timeout <-chan time.Time, it *item) (known bool, err error) {
	select {
	case err := <-it.done:
		l.release(it)
		return true, err
	case <-ctx.Done():
	case <-timeout:
	}
	select {
	case err := <-it.done: // it came true at the same moment
		l.release(it)
		return true, err
	default: // the writer has the item still
	}
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("audit: the caller gave up before the event was known to be recorded; it may get there yet: %w", err)
	}
	l.mu.Lock()
	l.stats.TimedOut++
	l.mu.Unlock()
	return false, fmt.Errorf("%w: %s did not confirm the event within %v; it may get there yet", ErrUnavailable, l.place, l.timeout)
}

// release keeps an item that nobody else holds for later events.
func (l *intake) release(it *item) {
	if cap(it.line) > 64<<10 { // a long event's memory is not kept for ever
		return
	}
	it.line, it.tenant, it.queue = it.line[:0], nil, nil
	l.items.Put(it)
}
