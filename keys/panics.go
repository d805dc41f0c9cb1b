package keys

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/internal/callstack"
	"github.com/strongroom-go/strongroom/tenant"
)

// A KEK provider and a store may be the application's own. They are asked on goroutines of the keyring's, on which a panic would end the
// process, and about many tenants: one that panics for a tenant has no answer about that one, and the others are served.

// recovered makes a panic an error. What it says may be of a key, and is not repeated.
func recovered(err *error, of string) {
	if recover() != nil {
		*err = fmt.Errorf("%w: %w", ErrUnavailable, panicked(of))
	}
}

// recoveredTogether is recovered for a question about many, which are asked about one by one then.
func recoveredTogether(err *error, of string) {
	if recover() != nil {
		*err = panicked(of)
	}
}

func panicked(of string) error { return fmt.Errorf("the %s panicked\n\n%s", of, callstack.Words()) }

func groupOf(ctx context.Context, kek BatchKEK, w Wrapped) (group string) {
	defer func() {
		if recover() != nil {
			group = "" // and is asked about alone
		}
	}()
	return kek.Group(ctx, w)
}

// needsVersion is [SharedKEK.Needs], of one that cannot tell where it panics.
func needsVersion(kek SharedKEK, wrapped []byte, through int) (needs bool) {
	defer func() {
		if recover() != nil {
			needs = true
		}
	}()
	return kek.Needs(wrapped, through)
}

type guardedKEK struct{ kek KEK }

const theKEK = "KEK provider"

func (g guardedKEK) Create(ctx context.Context, id tenant.ID) (err error) {
	defer recovered(&err, theKEK)
	return g.kek.Create(ctx, id)
}

func (g guardedKEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) (wrapped []byte, err error) {
	defer recovered(&err, theKEK)
	return g.kek.Wrap(ctx, id, plaintext)
}

func (g guardedKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) (plaintext []byte, err error) {
	defer recovered(&err, theKEK)
	return g.kek.Unwrap(ctx, id, wrapped)
}

func (g guardedKEK) Rotate(ctx context.Context, id tenant.ID) (err error) {
	defer recovered(&err, theKEK)
	return g.kek.Rotate(ctx, id)
}

func (g guardedKEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) (rewrapped []byte, err error) {
	defer recovered(&err, theKEK)
	return g.kek.Rewrap(ctx, id, wrapped)
}

func (g guardedKEK) Destroy(ctx context.Context, id tenant.ID) (err error) {
	defer recovered(&err, theKEK)
	return g.kek.Destroy(ctx, id)
}

type guardedStore struct{ store Store }

const theStore = "key store"

func (g guardedStore) Get(ctx context.Context, id tenant.ID) (rec Record, err error) {
	defer recovered(&err, theStore)
	return g.store.Get(ctx, id)
}

func (g guardedStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (next int64, err error) {
	defer recovered(&err, theStore)
	return g.store.Put(ctx, id, data, version)
}

func (g guardedStore) Delete(ctx context.Context, id tenant.ID, version int64) (err error) {
	defer recovered(&err, theStore)
	return g.store.Delete(ctx, id, version)
}

func (g guardedStore) List(ctx context.Context, after tenant.ID, limit int) (ids []tenant.ID, err error) {
	defer recovered(&err, theStore)
	return g.store.List(ctx, after, limit)
}
