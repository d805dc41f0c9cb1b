package keys

import (
	"sync/atomic"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// entry is what the keyring knows of one tenant. It describes one version of the tenant's record. What it holds is set
// once, and only its times change; a changed record, or keys that were opened again, make a new entry. Times are the
// keyring's clock, in nanoseconds.
//
// A lookup reads it without a lock; all that changes is changed under the book's. What a lookup reads comes first, so
// that it is in one cache line: with many tenants, memory is what a lookup waits for.
type entry struct {
	fresh  atomic.Int64           // keys are served without question before this time
	ahead  atomic.Int64           // refreshed in the background from this time on
	keys   atomic.Pointer[Tenant] // mostly &tenant; nil unless active and opened
	uses   atomic.Int32           // what is left of them since the cache's hand last came by
	state  envelope.State
	tenant Tenant // where keys are opened, before anybody is shown them

	id        tenant.ID
	version   int64
	slot      int                         // in the cache's ring
	sealer    atomic.Pointer[auditSealer] // nil until opened; a suspended tenant has one too
	confirmed atomic.Int64                // when the question was asked by which the store last confirmed the record
	unwrapped atomic.Int64                // when the KEK provider was asked for what was opened

	// Under the book's lock.
	record     *envelope.Record // until what it holds was opened; then nil, to save memory
	taken      bool             // tenant is written to, or was
	material   uint64           // a digest of what the KEK and the root keyset protect in the record
	answer     uint64           // the number of the question that confirmed
	readFailed *failure         // of the last question to the store, if that was asked after the one that confirmed
	openFailed *failure         // of the last question to the KEK provider
	doubted    uint64           // the number of a question to the KEK provider after which the record was to be read again; 0 for none
}

// need is what a caller wants of an entry.
type need byte

const (
	needState  need = 's'
	needSealer need = 'a'
	needKeys   need = 'k'
)

// has reports whether e can answer, if only with a refusal, without the KEK provider.
func (e *entry) has(n need) bool {
	switch n {
	case needKeys:
		return e.state != envelope.StateActive || e.keys.Load() != nil
	case needSealer:
		return e.state == envelope.StateShredded || e.sealer.Load() != nil
	default:
		return true
	}
}

// confirm notes that the store confirmed e in answer to a question. What counts is when that was asked: nobody knows
// what happened to the record since.
func (e *entry) confirm(q question, now time.Duration, o *Options) {
	if q.number < e.answer {
		return
	}
	e.answer = q.number
	e.confirmed.Store(int64(max(q.at, time.Duration(e.confirmed.Load()))))
	if e.readFailed != nil && e.readFailed.answer < q.number {
		e.readFailed = nil
	}
	e.arm(now, o)
}

// arm sets the times until which keys are served, and from which they are refreshed ahead: well before, but not at
// every request where the answers are slow or the KEK provider is away.
func (e *entry) arm(now time.Duration, o *Options) {
	fresh := time.Duration(e.confirmed.Load()) + o.SuspendWithin
	if e.keys.Load() != nil {
		fresh = min(fresh, time.Duration(e.unwrapped.Load())+o.ReopenAfter)
	}
	ahead := max(fresh-o.SuspendWithin/4, now+o.SuspendWithin/16)
	if e.readFailed != nil {
		ahead = max(ahead, e.readFailed.until)
	}
	e.ahead.Store(int64(ahead))
	e.fresh.Store(int64(fresh))
}

// bare reports whether e could have what the KEK provider opens, keys or for a suspended tenant the sealer alone, and has not.
func (e *entry) bare() bool {
	switch e.state {
	case envelope.StateActive:
		return e.keys.Load() == nil
	case envelope.StateSuspended:
		return e.sealer.Load() == nil
	}
	return false
}

// isFresh reports whether e answers n without question. The state depends on the store alone.
func (e *entry) isFresh(n need, now time.Duration, o *Options) bool {
	if n == needState {
		return now < time.Duration(e.confirmed.Load())+o.SuspendWithin
	}
	return int64(now) < e.fresh.Load()
}

// dueForOpening reports whether the KEK provider should be asked: because something was not opened yet, or, well
// before it must be, again.
func (e *entry) dueForOpening(now time.Duration, o *Options) bool {
	switch {
	case e.state == envelope.StateShredded:
		return false
	case !e.has(needKeys) || !e.has(needSealer):
		return true
	}
	return e.keys.Load() != nil && now-time.Duration(e.unwrapped.Load()) >= o.ReopenAfter*3/4
}

// age is the time since the older of those confirmations that e depends on and that are past their bounds; since the
// store's, if neither is.
func (e *entry) age(now time.Duration, o *Options) time.Duration {
	age := now - time.Duration(e.confirmed.Load())
	if opened := now - time.Duration(e.unwrapped.Load()); e.keys.Load() != nil && opened >= o.ReopenAfter {
		age = max(age, opened)
	}
	return age
}

// publish puts what was opened into e, for all to see.
func (e *entry) publish(o opened, at time.Duration) {
	e.unwrapped.Store(int64(at))
	e.openFailed, e.doubted = nil, 0
	e.sealer.Store(o.sealer)
	if o.keys != nil {
		e.record = nil
		e.keys.Store(o.keys)
	}
}

// again returns an entry for the same record whose keys are to be opened anew.
func (e *entry) again(rec *envelope.Record) *entry {
	n := &entry{id: e.id, version: e.version, state: e.state, record: rec, material: e.material,
		answer: e.answer, readFailed: e.readFailed, openFailed: e.openFailed, doubted: e.doubted}
	n.confirmed.Store(e.confirmed.Load())
	return n
}

// describes reports whether e is of the record that o is of. The version alone does not tell: see book.record.
func (e *entry) describes(o *entry) bool {
	return e.version == o.version && e.state == o.state && e.material == o.material
}

// carry takes over from the entry of the record before what opens from the new one just the same: a state that changed
// there and back is no reason to ask the KEK provider.
func (e *entry) carry(before *entry) {
	if before == nil || before.material != e.material || e.state == envelope.StateShredded {
		return
	}
	e.sealer.Store(before.sealer.Load())
	e.taken = true
	e.unwrapped.Store(before.unwrapped.Load())
	e.openFailed = before.openFailed
	if k := before.keys.Load(); k != nil && e.state == envelope.StateActive {
		e.keys.Store(k)
		e.record = nil
	}
}

func (e *entry) status() Status {
	switch e.state {
	case envelope.StateActive:
		return StatusActive
	case envelope.StateSuspended:
		return StatusSuspended
	default:
		return StatusShredded
	}
}
