package keys

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxSeals is how often one AES-GCM key may encrypt with random 96-bit initialization vectors, in all processes together:
// NIST SP 800-38D, section 8.3. Beyond it two of them may be equal with a probability above 2^-32, and equal ones give
// away what they sealed.
const maxSeals = 1 << 32

// A process reserves seals in blocks: a small one first, for a tenant that is opened and sealed for once, and each twice
// as large as the one before, so that a busy one seldom asks the store.
const (
	firstBlock = 1 << 10
	maxBlock   = 1 << 20
)

// sealing is an AEAD that counts what it seals.
type sealing struct {
	tink.AEAD
	budget *budget
}

// Encrypt implements [tink.AEAD].
func (s *sealing) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	if err := s.budget.take(); err != nil {
		return nil, err
	}
	return s.AEAD.Encrypt(plaintext, associatedData)
}

// budget is how often this process may still use a key to seal. It was reserved in the tenant's record before, so that
// the record is never below what all processes have sealed together; a crash, or an eviction from the cache, loses
// what is left.
type budget struct {
	ring *Keyring
	id   tenant.ID
	key  uint32

	left  atomic.Int64
	ahead atomic.Int64 // more is reserved in the background when left comes down to it

	sum atomic.Int64 // of all processes together, when this one reserved last

	mu     sync.Mutex
	block  int64 // to reserve next
	err    error // why nothing was reserved last
	failed time.Duration
}

func (r *Keyring) newBudget(id tenant.ID, key uint32) *budget {
	return &budget{ring: r, id: id, key: key, block: min(firstBlock, max(1, r.opts.RotateAfterSeals/8))}
}

// take uses one.
func (b *budget) take() error {
	left := b.left.Add(-1)
	if left < 0 {
		return b.wait()
	}
	if left == b.ahead.Load() && left > 0 {
		b.ring.workers.start(b.more)
	}
	return nil
}

// wait uses one of those that are reserved now. Where nothing can be, all who wait learn it from one attempt.
func (b *budget) wait() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.left.Add(-1) < 0 {
		if b.err != nil && b.ring.opts.clock() < b.failed+negativeTTL {
			return b.err
		}
		if err := b.fill(); err != nil {
			return err
		}
	}
	return nil
}

// more reserves ahead. If it fails, who needs one tries again.
func (b *budget) more() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left.Load() <= b.ahead.Load() {
		b.fill()
	}
}

// fill reserves a block. Under the lock.
func (b *budget) fill() error {
	n, sum, err := b.ring.reserve(b.id, b.key, b.block)
	if b.err = err; err != nil {
		b.failed = b.ring.opts.clock()
		return err
	}
	b.sum.Store(int64(sum))
	b.ring.telemetry.Seals(n)
	b.ahead.Store(n / 2)
	for {
		left := b.left.Load()
		if b.left.CompareAndSwap(left, max(left, 0)+n) { // below zero are those who wait
			break
		}
	}
	b.block = min(2*b.block, maxBlock, max(1, b.ring.opts.RotateAfterSeals/8))
	return nil
}

// reserve reserves up to n seals with a key in the tenant's record, and returns how many, and the sum of all. It waits for the store no
// longer than [Options.Timeout].
func (r *Keyring) reserve(id tenant.ID, key uint32, n int64) (granted int64, sum uint64, err error) {
	if r.book.closed.Load() {
		return 0, 0, ErrClosed
	}
	ctx, cancel := context.WithTimeout(r.base, r.opts.Timeout)
	defer cancel()
	err = r.patiently(ctx, func() error {
		return r.swap(ctx, id, func(rec *envelope.Record) (changed bool, err error) {
			granted, sum, err = reserveIn(rec, key, n)
			return err == nil, err
		})
	})
	if err != nil {
		return 0, 0, fmt.Errorf("keys: reserve seals with key %d of tenant %s: %w", key, id, inTime(err, r.opts.Timeout))
	}
	if sum >= uint64(r.opts.RotateAfterSeals) {
		r.rotateSoon(id, purposeData, key)
	}
	return granted, sum, nil
}

func reserveIn(rec *envelope.Record, key uint32, n int64) (granted int64, sum uint64, err error) {
	before := rec.Seals(key)
	switch {
	case rec.State != envelope.StateActive:
		return 0, 0, (&entry{id: rec.Tenant, state: rec.State}).refusal()
	case before >= maxSeals:
		return 0, 0, fmt.Errorf("%w: tenant %s, key %d; Keyring.Rotate makes another", ErrExhausted, rec.Tenant, key)
	case before == 0 && len(rec.Counts) >= envelope.MaxCounts:
		return 0, 0, fmt.Errorf("%w: tenant %s: the record counts the seals of %d keys already", ErrExhausted, rec.Tenant, len(rec.Counts))
	}
	granted = int64(min(uint64(n), maxSeals-before))
	return granted, rec.Add(key, uint64(granted)), nil
}

// patiently tries again what many processes do at once, at times of their own.
func (r *Keyring) patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !errors.Is(err, ErrConflict) {
			return err
		}
		select {
		case <-time.After(time.Duration(1+rand.IntN(20)) * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// rotateSoon rotates a data or audit key in the background if it is still the one that seals: one of a tenant's at a time in this process,
// and again with the next block if it fails, which is in the trail.
func (r *Keyring) rotateSoon(id tenant.ID, purpose string, key uint32) {
	if _, busy := r.rotating.LoadOrStore(id, key); busy {
		return
	}
	r.workers.start(func() {
		defer r.rotating.Delete(id)
		k, err := r.Tenant(r.base, id)
		if err != nil {
			return
		}
		if seals := map[string]uint32{purposeData: k.DataKeyID(), purposeAudit: k.audit.key()}[purpose]; seals != key {
			return
		}
		t, err := r.begin(r.base, audit.CodeKeyRotate, id, fmt.Sprintf("key %d may have sealed %d values", key, r.opts.RotateAfterSeals))
		if err != nil {
			return
		}
		t.about = purpose
		if t.intend(r.base) != nil {
			return
		}
		t.keyVersion, err = r.rotate(r.base, id, purpose, key)
		_ = t.outcome(r.base, err)
	})
}
