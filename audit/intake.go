package audit

import (
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/tenant"
)

// intake is where the events of a [Log] or a [Stream] come in: they are encoded, wait in the queues of their tenants, and
// are taken in batches by the one goroutine that writes.
type intake struct {
	enc         *encoder
	timeout     time.Duration
	tenantLimit int
	lingerFor   time.Duration
	place       string // what the events wait for, in errors

	mu        sync.Mutex
	err       error // what Record returns, once nothing more is recorded
	tenants   map[tenant.ID]*tenantState
	strangers queue       // of all events that take part in no tenant's numbers
	active    []*queue    // those with events; the first one's turn is next
	full      []*queue    // those with callers that wait for room
	waiting   int         // bytes in all queues
	linger    *time.Timer // runs while an event may wait that nobody waits for
	stats     Stats       // its counters
	taken     taken       // where telemetry is on
	up        bool        // the last commit was durable

	wake   chan struct{} // holds a token while there may be something pending
	items  sync.Pool     // *item
	timers sync.Pool     // *time.Timer, stopped

	telemetry *telemetry.Log // nil where it is off
}

func (l *intake) init(timeout time.Duration, tenants int, linger time.Duration, place string) {
	l.timeout, l.tenantLimit, l.lingerFor, l.place = timeout, tenants, linger, place
	l.tenants, l.up = map[tenant.ID]*tenantState{}, true
	l.wake = make(chan struct{}, 1)
	l.items.New = func() any { return &item{done: make(chan error, 1)} }
	l.timers.New = func() any {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
}

// write hands an event to the writer. A Sealer that panics keeps no room reserved.
func (l *intake) write(it *item, e *Event) error {
	encoded := false
	defer func() {
		if !encoded {
			l.leave(it)
		}
	}()
	line, err := l.enc.event(it.line[:0], e)
	if err != nil {
		return err
	}
	it.line, it.about, encoded = line, subject{e.Code, e.Tenant.String()}, true
	return l.enqueue(it)
}

func (l *intake) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// shut lets nothing more in, where it has not failed already. What waits in the queues can still be taken. l.mu is held.
func (l *intake) shut() {
	if l.linger != nil {
		l.linger.Stop()
	}
	if l.err == nil {
		l.err = errClosed
		l.turnAway(errClosed)
	}
}

// refuse tells everybody who waits, for room or in a queue, that nothing of theirs is recorded. l.mu is held.
func (l *intake) refuse(err error) {
	l.turnAway(err)
	for _, q := range l.active {
		for _, it := range q.items[q.head:] {
			q.bytes -= it.room
			l.waiting -= it.room
			it.done <- err
		}
		q.items, q.head = nil, 0
	}
	l.active = nil
}

// counters returns what both kinds of recorder count. l.mu is not held.
func (l *intake) counters() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting, s.WaitingBytes = len(l.active), l.waiting
	s.Tenants = len(l.tenants)
	if l.tenants[tenant.ID{}] != nil {
		s.Tenants--
	}
	return s
}
