package keys

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// book is what a keyring knows of its tenants, and what it has asked about them. Every question is entered when it is
// asked, and every answer when it comes, under one lock; nothing waits under it. What an answer is worth follows from
// three rules:
//
//   - What the store says holds from when it was asked, never from when it answered.
//   - Of two records the higher version is the newer one, whatever the order of the answers.
//   - Versions do not order a record and its absence. An answer whose question was asked before something else became
//     known may be from before it, and is asked for again.
//
// What ends a question and what may begin the next is one step.
type book struct {
	opts  *Options
	seed  maphash.Seed
	cache cache // looked up without the lock

	closed atomic.Bool

	mu       sync.Mutex
	inflight map[tenant.ID]*inflight
	negative *lru.Cache[tenant.ID, *failure] // failures of tenants that have no entry
	asked    uint64                          // how many questions so far
	// The newest for which any tenant had no answer from the store, and from the KEK provider.
	trouble, kekTrouble *failure
}

// inflight is what is under way for one tenant. It is there while a question is, and remembers what is known so that a late
// answer meets it, although the cache may have let go of it.
type inflight struct {
	id      tenant.ID
	e       *entry // nil: the tenant has no record, or nothing is known
	floor   int64  // the highest version of the record that was seen; 0 for none
	learned uint64 // how many questions had been asked when something became known last

	reading, opening *flight
	open             bool              // somebody wants the keys or the sealer, not the state alone
	users            int               // questions and flights
	cause            trace.SpanContext // of the first who waits, where telemetry is on
}

// question is one that the store, or the KEK provider, is asked.
type question struct {
	number uint64 // ascending
	at     time.Duration
}

// verdict is what becomes of an answer of the store.
type verdict int

const (
	accepted verdict = iota
	late             // it may be from before what is known: ask again
	refused          // there is none, or the store had a newer record before
)

func newBook(o *Options) (*book, error) {
	negative, err := lru.New[tenant.ID, *failure](negativeSize)
	return &book{opts: o, seed: maphash.MakeSeed(), cache: cache{size: o.CacheSize}, inflight: map[tenant.ID]*inflight{}, negative: negative}, err
}

// join returns what is under way for the tenant, from now on until leave at least.
func (b *book) join(id tenant.ID) *inflight {
	t := b.inflight[id]
	if t == nil {
		t = &inflight{id: id}
		if e, ok := b.cache.peek(id); ok {
			t.e, t.floor = e, e.version
		}
		b.inflight[id] = t
	}
	t.users++
	return t
}

func (b *book) leave(t *inflight) {
	if t.users--; t.users > 0 {
		return
	}
	delete(b.inflight, t.id)
	if cached, _ := b.cache.peek(t.id); cached != t.e {
		b.remember(t.e)
	}
}

// keep puts e into the cache. What has to go for it is forgotten, but for its failures: or whoever fills the cache would
// have a provider that is away asked about the same tenant again and again.
func (b *book) keep(e *entry) { b.remember(b.cache.add(e)) }

// known returns the tenant's entry, nil for none.
func (b *book) known(id tenant.ID) *entry {
	if t := b.inflight[id]; t != nil {
		return t.e
	}
	e, _ := b.cache.peek(id)
	return e
}

// ask enters a question.
func (b *book) ask() question {
	b.asked++
	return question{b.asked, b.opts.clock()}
}

// questions returns how many were asked so far.
func (b *book) questions() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// set makes e what is known of the tenant.
func (b *book) set(t *inflight, e *entry) {
	t.e, t.floor = e, e.version
	// That the store answers does not mean that the KEK provider does.
	if f, ok := b.negative.Peek(t.id); ok && f.kek && e.bare() {
		e.openFailed = f
	} else {
		b.negative.Remove(t.id)
	}
	b.keep(e)
}

// drop makes nothing known of the tenant.
func (b *book) drop(t *inflight) {
	t.e = nil
	b.cache.remove(t.id)
}

// weigh judges an answer by the version of the record in it.
func (t *inflight) weigh(q question, version int64) verdict {
	switch old := q.number <= t.learned; {
	case version < t.floor && !old:
		return refused
	case version < t.floor, t.e == nil && old:
		return late
	}
	return accepted
}

// record enters that the store has rec, or for nil still the record of the version that is known.
func (b *book) record(t *inflight, q question, rec *envelope.Record, version int64) verdict {
	if rec == nil && (t.e == nil || t.e.version != version) {
		return late // another is known by now, or none
	}
	if v := t.weigh(q, version); v != accepted {
		if t.e == nil {
			b.doubt(t) // that it has none is not sure either
		}
		return v
	}
	// Numbers are given again where a record was deleted, or the store restored from a backup.
	another := t.e == nil || t.e.version != version || rec != nil && (t.e.state != rec.State || t.e.material != b.digest(rec))
	if another && t.e != nil && t.e.version == version && q.number <= t.learned {
		return late
	}
	t.learned = b.asked
	if another {
		e := b.entry(rec, version)
		e.carry(t.e)
		// A hot tenant whose record changed is opened now, not at the next request.
		t.open = t.open || t.e != nil && t.e.keys.Load() != nil
		b.set(t, e)
	}
	t.e.confirm(q, b.opts.clock(), b.opts)
	b.keep(t.e)
	return accepted
}

// entry makes the entry for a record.
func (b *book) entry(rec *envelope.Record, version int64) *entry {
	return &entry{id: rec.Tenant, version: version, state: rec.State, record: rec, material: b.digest(rec)}
}

// digest tells records apart whose keys differ. It is keyed, so that nobody can make two that do not.
func (b *book) digest(rec *envelope.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	part := func(p []byte) {
		h.WriteByte(byte(len(p)))
		h.WriteByte(byte(len(p) >> 8))
		h.Write(p)
	}
	h.WriteByte(byte(rec.Format))
	h.WriteByte(byte(len(rec.Keysets)))
	part(rec.WrappedRoot)
	for _, k := range rec.Keysets {
		h.WriteString(k.Purpose)
		part(k.Encrypted)
	}
	return h.Sum64()
}

// absent enters that the store has no record.
func (b *book) absent(t *inflight, q question, err error) verdict {
	if q.number <= t.learned {
		return late
	}
	t.learned = b.asked
	t.floor = 0 // one that is made now begins anew
	b.drop(t)
	b.negative.Add(t.id, b.failure(q, err))
	return accepted
}

// damaged enters that the store has a record that cannot be used.
func (b *book) damaged(t *inflight, q question, version int64, err error) verdict {
	if v := t.weigh(q, version); v != accepted {
		return v
	}
	t.learned, t.floor = b.asked, version
	b.drop(t)
	b.negative.Add(t.id, b.failure(q, err))
	return accepted
}

// stored enters that the store took a record, of which e is the entry.
func (b *book) stored(t *inflight, q question, e *entry) {
	if e.version < t.floor {
		return // and somebody changed it since
	}
	if e.sealer.Load() == nil {
		e.carry(t.e)
	}
	t.learned = b.asked
	b.set(t, e)
	e.confirm(q, b.opts.clock(), b.opts)
}

// changed enters that the record is another than was thought, which it is not known.
func (b *book) changed(t *inflight) { t.learned = b.asked }

// doubt enters that a change may have been stored or not.
func (b *book) doubt(t *inflight) {
	t.learned = b.asked
	b.negative.Remove(t.id)
	b.drop(t)
}

func (b *book) close() {
	b.closed.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cache.purge()
	b.negative.Purge()
	for _, t := range b.inflight {
		t.e = nil
	}
}
