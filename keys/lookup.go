package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Tenant returns the active tenant's opened keys. Otherwise the error wraps [ErrNotProvisioned], [ErrSuspended],
// [ErrShredded], [ErrIntegrity], [ErrUnavailable] (it may be retried) or [ErrClosed]; or ctx ended first. A tenant in
// the cache costs no allocation and no call to anyone.
func (r *Keyring) Tenant(ctx context.Context, id tenant.ID) (*Tenant, error) {
	e, stale, err := r.lookup(ctx, id, needKeys)
	if err != nil {
		return nil, err
	}
	if e.keys == nil {
		return nil, e.refusal()
	}
	if stale {
		if err := r.recordStale(ctx, e); err != nil {
			return nil, err
		}
	}
	return e.keys, nil
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
	if e, ok := r.cache.peek(id); ok && e.sealer != nil {
		return e.sealer, nil
	}
	e, _, err := r.lookup(ctx, id, needSealer)
	if err != nil {
		return nil, err
	}
	if e.sealer == nil {
		return nil, e.refusal()
	}
	return e.sealer, nil
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
	e, ok := r.cache.get(id)
	if ok && e.has(n) {
		if e.isFresh(n, now, &r.opts) {
			if int64(now) >= e.ahead.Load() {
				r.refreshAhead(e)
			}
			return e, false, nil
		}
		if f := e.failed.Load(); f != nil && !(f.kek && n == needState) {
			if r.opts.WhenUnavailable == ServeStale {
				// The last attempt failed. Nobody waits for the next one.
				if now >= f.until {
					r.refreshAhead(e)
				}
				return r.grace(e, n, f.err, now)
			}
			if now < f.until {
				return nil, false, f.err
			}
		}
	}
	if id.IsZero() {
		return nil, false, fmt.Errorf("keys: %w: it is the zero ID; obtain it from tenant.Parse", tenant.ErrInvalidID)
	}
	if m, missed := r.misses.Get(id); missed && now < m.until {
		return nil, false, m.err
	}
	fetched, err := r.fly(ctx, id, n)
	if err == nil {
		return fetched, false, nil
	}
	if ok && e.has(n) && ctx.Err() == nil && errors.Is(err, ErrUnavailable) {
		return r.grace(e, n, err, r.opts.clock())
	}
	return nil, false, err
}

// grace decides about an entry whose state cannot be confirmed because of cause.
func (r *Keyring) grace(e *entry, n need, cause error, now time.Duration) (*entry, bool, error) {
	if e.isFresh(n, now, &r.opts) {
		return e, false, nil // confirmed meanwhile
	}
	age := e.age(now)
	if r.opts.WhenUnavailable != ServeStale || age > r.opts.StaleLimit || r.closed.Load() {
		return nil, false, cause
	}
	return e, true, nil
}

// recordStale records one use of keys past their confirmation before they are handed out.
func (r *Keyring) recordStale(ctx context.Context, e *entry) error {
	age := e.age(r.opts.clock())
	if r.opts.OnStale != nil {
		r.opts.OnStale(e.id, age)
	}
	ev := r.event(ctx, audit.CodeKeyStale, e.id, e.keys.audit)
	ev.Phase, ev.Status = audit.Single, audit.Success
	ev.KeyVersion = e.keys.DataKeyID()
	ev.Reason = fmt.Sprintf("state last confirmed %d s ago", int64(age/time.Second))
	return r.record(ctx, ev)
}

// refreshAhead confirms an entry in the background, once at a time.
func (r *Keyring) refreshAhead(e *entry) {
	n := needState
	if e.keys != nil {
		n = needKeys
	}
	if e.flying.CompareAndSwap(false, true) {
		r.begin(e.id, n)
	}
}
