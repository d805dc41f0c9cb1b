package keys

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// An audit key seals the details of events by AES-GCM with random initialization vectors, as a data key seals values, and has the same limit
// ([maxSeals]). But what it seals is counted afterwards, in the background: an event must not wait for the store, nor be lost where that is
// away, and whoever only reads must not write to it. So of what a process has sealed since it opened the tenant some may not be in the count when it ends: at most
// an eighth, or firstBlock where that is more, and what was sealed while the store could not be reached. The key is rotated at half the limit.

// tally counts what an audit key seals in this process.
type tally struct {
	ring *Keyring
	id   tenant.ID
	key  uint32

	uncounted atomic.Int64 // not in the record yet
	due       atomic.Int64 // how many are to be before they are counted
	busy      atomic.Bool
	counted   int64         // by this process; of whom is busy
	sum       atomic.Uint64 // of all processes together, when this one counted last
}

func (r *Keyring) newTally(rec *envelope.Record, key uint32) *tally {
	t := &tally{ring: r, id: rec.Tenant, key: key}
	t.due.Store(r.firstTally())
	t.sum.Store(rec.Seals(key))
	return t
}

func (r *Keyring) firstTally() int64 { return min(firstBlock, max(1, r.opts.RotateAfterSeals/8)) }

// usedUp tells whether the key seals no more.
func (t *tally) usedUp() bool { return t != nil && t.sum.Load() >= maxSeals }

// unlessUsedUp returns nil for a sealer whose key seals no more.
func (s *auditSealer) unlessUsedUp() *auditSealer {
	if s == nil || s.tally.usedUp() {
		return nil
	}
	return s
}

// one counts one; nil counts none.
func (t *tally) one() error {
	if t == nil {
		return nil
	}
	if t.usedUp() {
		return fmt.Errorf("%w: tenant %s, audit key %d; Keyring.Rotate makes another", ErrExhausted, t.id, t.key)
	}
	if t.uncounted.Add(1) >= t.due.Load() && t.busy.CompareAndSwap(false, true) {
		t.ring.workers.start(t.count)
	}
	return nil
}

// count enters what was sealed in the record. Where that fails it is entered with the next.
func (t *tally) count() {
	defer t.busy.Store(false)
	n := t.uncounted.Load()
	sum, err := t.ring.tallied(t.id, t.key, n)
	if err != nil {
		t.due.Store(n + t.ring.firstTally())
		return
	}
	t.sum.Store(sum)
	t.uncounted.Add(-n)
	t.counted += n
	t.due.Store(max(t.ring.firstTally(), min(t.counted/8, maxBlock)))
	if sum >= uint64(t.ring.opts.RotateAfterSeals) {
		t.ring.rotateSoon(t.id, purposeAudit, t.key)
	}
}

// tallied adds to the count of a key, also of a suspended tenant, whose refusals are recorded.
func (r *Keyring) tallied(id tenant.ID, key uint32, n int64) (sum uint64, err error) {
	if r.book.closed.Load() {
		return 0, ErrClosed
	}
	ctx, cancel := context.WithTimeout(r.base, r.opts.Timeout)
	defer cancel()
	err = r.patiently(ctx, func() error {
		return r.swap(ctx, id, func(rec *envelope.Record) (bool, error) {
			if rec.Seals(key) == 0 && len(rec.Counts) >= envelope.MaxCounts {
				return false, fmt.Errorf("%w: tenant %s: the record counts the seals of %d keys already", ErrExhausted, id, len(rec.Counts))
			}
			sum = rec.Add(key, uint64(n))
			return true, nil
		})
	})
	return sum, err
}
