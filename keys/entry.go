package keys

import (
	"sync/atomic"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// entry is what the cache holds for one tenant. It describes one version of the tenant's record and never changes but
// for its times; a changed record makes a new entry. Times are the keyring's clock, in nanoseconds.
//
// What a lookup reads comes first, so that it is in one cache line: with many tenants, memory is what a lookup waits for.
type entry struct {
	fresh  atomic.Int64 // keys are served without question before this time
	ahead  atomic.Int64 // refreshed in the background from this time on
	keys   *Tenant      // &tenant, or nil unless active and opened
	used   atomic.Bool  // since the cache's hand last came by
	state  envelope.State
	tenant Tenant

	id        tenant.ID
	version   int64
	slot      int              // in the cache's ring, under its lock
	record    *envelope.Record // until what it holds was opened; then nil, to save memory
	sealer    *auditSealer     // nil until opened; a suspended tenant has one too
	confirmed atomic.Int64     // when the read began by which the store confirmed the record
	unwrapped atomic.Int64     // when the KEK provider last unwrapped the root keyset
	failed    atomic.Pointer[miss]
	flying    atomic.Bool // a refresh in the background is under way
}

// miss is a remembered failure.
type miss struct {
	err   error
	until time.Duration
	kek   bool // the store had answered; the KEK provider was the one that failed
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
		return e.keys != nil || e.state != envelope.StateActive
	case needSealer:
		return e.sealer != nil || e.state == envelope.StateShredded
	default:
		return true
	}
}

// confirm notes that the store confirmed e by a read that began at the given time.
func (e *entry) confirm(at time.Duration, o *Options) {
	e.confirmed.Store(int64(at))
	e.failed.Store(nil)
	fresh := at + o.SuspendWithin
	if e.keys != nil {
		fresh = min(fresh, time.Duration(e.unwrapped.Load())+o.ReopenAfter)
	}
	e.ahead.Store(int64(fresh - o.SuspendWithin/4))
	e.fresh.Store(int64(fresh))
}

// isFresh reports whether e answers n without question. The state depends on the store alone.
func (e *entry) isFresh(n need, now time.Duration, o *Options) bool {
	if n == needState {
		return now < time.Duration(e.confirmed.Load())+o.SuspendWithin
	}
	return int64(now) < e.fresh.Load()
}

// age is the time since the older of the two confirmations that e depends on.
func (e *entry) age(now time.Duration) time.Duration {
	oldest := e.confirmed.Load()
	if e.keys != nil {
		oldest = min(oldest, e.unwrapped.Load())
	}
	return now - time.Duration(oldest)
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
