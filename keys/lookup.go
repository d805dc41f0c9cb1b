package keys

import (
	"context"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// How the keys of a cold tenant come from the KEK provider to whoever asked for them:
//
//	Tenant → lookup      lookup.go  warm, that is all: one look into the cache, without a lock
//	  await → decide     await.go   under the book's lock, what must be asked; then waits for the flight that asks it
//	    read → runRead   read.go    one flight to the store for all who want it: Store.Get, and what the answer is worth
//	    open → runOpen   open.go    one flight to the KEK provider, begun where the first lands: KEK.Unwrap, and the keysets
//	  decide             await.go   once more, for each who waited: what was published, or why there is nothing
//
// What the KEK provider refuses is read and opened once more before it is told: another process may have wrapped it anew since it was
// read, and what wrapped it before may be disabled or destroyed.
//
// What is known of one tenant is an entry (entry.go), or a failure (failure.go). The book (book.go) has them all, and judges
// every answer; the cache (cache.go) is the part of it that needs no lock. A limiter (limiter.go) says when a flight may call.

// Tenant returns the active tenant's opened keys. Otherwise the error wraps [ErrNotProvisioned], [ErrSuspended],
// [ErrShredded], [ErrIntegrity], [ErrUnavailable] (it may be retried) or [ErrClosed]; or ctx ended first. A tenant in
// the cache costs no allocation and no call to anyone.
func (r *Keyring) Tenant(ctx context.Context, id tenant.ID) (*Tenant, error) {
	e, stale, err := r.lookup(ctx, id, needKeys)
	if err != nil {
		return nil, err
	}
	k := e.keys.Load()
	if k == nil {
		return nil, e.refusal()
	}
	if stale {
		if err := r.recordStale(ctx, e, k); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Status returns the state of a tenant that has been provisioned; otherwise the error is as of [Keyring.Tenant]. It
// never needs the KEK provider.
func (r *Keyring) Status(ctx context.Context, id tenant.ID) (Status, error) {
	e, _, err := r.lookup(ctx, id, needState)
	if err != nil {
		return "", err
	}
	return e.status(), nil
}

// AuditSealer returns what seals the personal parts of the tenant's audit events, also while the tenant is suspended
// and, if it is in the cache, however long ago its state was confirmed. Otherwise the sealer is nil and the error as
// of [Keyring.Tenant].
func (r *Keyring) AuditSealer(ctx context.Context, id tenant.ID) (audit.Sealer, error) {
	if e, ok := r.book.cache.peek(id); ok {
		if s := e.sealer.Load(); s != nil {
			return s, nil
		}
	}
	e, _, err := r.lookup(ctx, id, needSealer)
	if err != nil {
		return nil, err
	}
	if s := e.sealer.Load(); s != nil {
		return s, nil
	}
	return nil, e.refusal()
}

// refusal is why e has no keys to hand out.
func (e *entry) refusal() error {
	switch e.state {
	case envelope.StateSuspended:
		return fmt.Errorf("%w: tenant %s; Keyring.Resume restores access", ErrSuspended, e.id)
	case envelope.StateShredded:
		return fmt.Errorf("%w: tenant %s; what they sealed cannot be read again", ErrShredded, e.id)
	default:
		return fmt.Errorf("%w: tenant %s", ErrUnavailable, e.id)
	}
}

// lookup returns an entry that has what is needed. It is stale if its state could not be confirmed in time and the
// policy lets it be served all the same.
func (r *Keyring) lookup(ctx context.Context, id tenant.ID, n need) (e *entry, stale bool, err error) {
	now := r.opts.clock()
	e, ok := r.book.cache.get(id)
	if ok && e.has(n) && e.isFresh(n, now, &r.opts) {
		if int64(now) >= e.ahead.Load() {
			r.refreshAhead(e)
		}
		r.used(e, n, true)
		return e, false, nil
	}
	if r.telemetry != nil {
		return r.awaitSpan(ctx, id, n)
	}
	return r.await(ctx, id, n)
}

// refreshAhead confirms an entry in the background.
func (r *Keyring) refreshAhead(e *entry) {
	b := r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() || b.known(e.id) != e || int64(b.opts.clock()) < e.ahead.Load() {
		return
	}
	r.gather(e)
	if e.keys.Load() != nil {
		b.inflight[e.id].open = true
	}
}

// recordStale records one use of keys past their confirmation before they are handed out.
func (r *Keyring) recordStale(ctx context.Context, e *entry, k *Tenant) error {
	age := e.age(r.opts.clock(), &r.opts)
	r.telemetry.Stale()
	if err := r.tellStale(e.id, age); err != nil {
		return err
	}
	ev := r.event(ctx, audit.CodeKeyStale, e.id, k.audit)
	ev.Phase, ev.Status = audit.Single, audit.Success
	ev.KeyVersion = k.DataKeyID()
	ev.Reason = fmt.Sprintf("state last confirmed %d s ago", int64(age/time.Second))
	return r.record(ctx, ev)
}

// tellStale calls the application's function. One that does not return is an error: it is called within calls of database/sql, which takes
// no connection back then.
func (r *Keyring) tellStale(id tenant.ID, age time.Duration) error {
	if r.opts.OnStale == nil {
		return nil
	}
	broke, _ := apart.Call(func() error {
		r.opts.OnStale(id, age)
		return nil
	})
	if broke != "" {
		return fmt.Errorf("keys: tenant %s: Options.OnStale %s", id, broke)
	}
	return nil
}
