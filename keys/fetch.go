package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// missed remembers a failure for a while, so that it is answered without asking anybody again.
func (r *Keyring) missed(id tenant.ID, n need, err error) error {
	if r.closed.Load() {
		return ErrClosed
	}
	var fromKEK *kekError
	m := miss{err, r.opts.clock() + negativeTTL, errors.As(err, &fromKEK)}
	if e, ok := r.cache.peek(id); ok && errors.Is(err, ErrUnavailable) {
		e.failed.Store(&m)
		if e.has(n) {
			return err
		}
	}
	r.misses.Add(id, m)
	return err
}

// fetch reads the tenant's record and opens what is needed of it.
func (r *Keyring) fetch(ctx context.Context, id tenant.ID, n need) (*entry, error) {
	if r.closed.Load() {
		return nil, ErrClosed
	}
	began := r.opts.clock()
	cur, _ := r.cache.peek(id)
	if cur != nil && cur.record != nil && !cur.has(n) && cur.isFresh(needState, began, &r.opts) {
		// Only the state was asked for so far: the record is at hand.
		return r.opened(ctx, cur, cur.record, cur.version, time.Duration(cur.confirmed.Load()), n)
	}
	stored, err := r.store.Get(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		r.cache.remove(id)
		return nil, fmt.Errorf("%w: tenant %s; call Keyring.Provision", ErrNotProvisioned, id)
	case err != nil:
		return nil, fmt.Errorf("keys: read the record of tenant %s: %w", id, r.late(err))
	case cur != nil && stored.Version < cur.version:
		return nil, fmt.Errorf("%w: tenant %s: the store answered with version %d of the record after version %d; it is a replica that lags, or was restored from a backup: then restart the process",
			ErrUnavailable, id, stored.Version, cur.version)
	}
	rec, err := r.parse(id, stored.Data)
	if err != nil {
		r.cache.remove(id)
		return nil, err
	}
	return r.opened(ctx, cur, rec, stored.Version, began, n)
}

// kekError marks a failure that came after the store had answered.
type kekError struct{ error }

func (e *kekError) Unwrap() error { return e.error }

// late makes a flight's own timeout an ErrUnavailable: to the flight's callers it is no deadline of theirs.
func (r *Keyring) late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: no answer within %v: %w", ErrUnavailable, r.opts.Timeout, err)
	}
	return err
}

// parse checks that a record is what it should be for the tenant it was found under.
func (r *Keyring) parse(id tenant.ID, data []byte) (*envelope.Record, error) {
	rec, err := envelope.ParseRecord(data)
	if err != nil {
		return nil, fmt.Errorf("%w: tenant %s: %w", ErrIntegrity, id, err)
	}
	if rec.Tenant != id {
		return nil, fmt.Errorf("%w: the record found for tenant %s is that of another tenant; restore it from a backup and find out who moved it", ErrIntegrity, id)
	}
	if rec.Keyring != r.opts.Label {
		return nil, fmt.Errorf("%w: the record of tenant %s is that of the keyring labelled %q, and this one is %q; correct Options.Label or the store", ErrIntegrity, id, rec.Keyring, r.opts.Label)
	}
	rec.Tenant = id // the same, without a copy of its text
	return rec, nil
}

// opened makes the entry for a record whose reading began at the given time, or confirms the one there is.
func (r *Keyring) opened(ctx context.Context, cur *entry, rec *envelope.Record, version int64, began time.Duration, n need) (*entry, error) {
	same := cur != nil && cur.version == version
	if !same && cur != nil && cur.keys != nil {
		n = needKeys // a hot tenant whose record changed: open it now, not at the next request
	}
	if same && cur.has(n) && !r.dueForReopening(cur, n) {
		cur.confirm(began, &r.opts)
		return cur, nil
	}
	e := &entry{id: rec.Tenant, version: version, state: rec.State, record: rec}
	if same {
		e.sealer = cur.sealer
	}
	if !e.has(n) || same && cur.keys != nil {
		if err := r.unwrapInto(ctx, e, rec, n); err != nil {
			if same && cur.keys != nil && errors.Is(err, ErrUnavailable) {
				// The store has confirmed the state; how long the keys may stay without the KEK provider is
				// another question, which confirm answers.
				cur.confirm(began, &r.opts)
				if int64(r.opts.clock()) < cur.fresh.Load() {
					return cur, nil
				}
			}
			if !errors.Is(err, ErrUnavailable) {
				r.cache.remove(rec.Tenant)
			}
			return nil, &kekError{err}
		}
	}
	e.confirm(began, &r.opts)
	r.remember(e)
	return e, nil
}

// dueForReopening reports whether the KEK provider should be asked again, well before it must be.
func (r *Keyring) dueForReopening(e *entry, n need) bool {
	return n == needKeys && e.keys != nil && r.opts.clock()-time.Duration(e.unwrapped.Load()) >= r.opts.ReopenAfter*3/4
}

// remember puts e into the cache unless a newer version is there, or the keyring was closed.
func (r *Keyring) remember(e *entry) {
	r.misses.Remove(e.id)
	r.cache.add(e)
}

// unwrapInto opens the record's keysets, by one KEK call, and puts what the state allows into e.
func (r *Keyring) unwrapInto(ctx context.Context, e *entry, rec *envelope.Record, n need) error {
	if rec.State == envelope.StateShredded {
		return nil
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: tenant %s: %d KEK calls are in flight already: %w", ErrUnavailable, e.id, cap(r.slots), ctx.Err())
	}
	now := r.opts.clock()
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return r.late(err)
	}
	if e.sealer, err = openSealer(root, rec); err != nil {
		return err
	}
	if rec.State == envelope.StateActive {
		if err := e.tenant.open(root, rec, e.sealer); err != nil {
			return err
		}
		e.keys, e.record = &e.tenant, nil
	}
	e.unwrapped.Store(int64(now))
	return nil
}
