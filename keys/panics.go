package keys

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/tenant"
)

// A KEK provider and a store may be the application's own. They are asked on goroutines of the keyring's, on which a panic would end the
// process, and which have a flight to land, a turn to give back and others' questions to answer when the call is over; and on the callers',
// within calls of database/sql. One that panics or ends its goroutine for a tenant has no answer about that one, and the others are served.

// guarded calls the application's code. That it did not return is an error.
func guarded(of string, code func() error) error {
	broke, err := apart.Call(code)
	if broke != "" {
		err = fmt.Errorf("%w: the %s %s", ErrUnavailable, of, broke)
	}
	return err
}

// guardedTogether is guarded for a question about many, which are asked about one by one then.
func guardedTogether(of string, code func() error) error {
	broke, err := apart.Call(code)
	if broke != "" {
		err = fmt.Errorf("the %s %s", of, broke)
	}
	return err
}

// groupOf tells the group by said, whatever becomes of the call: it is made on a goroutine of its own. One that does not return is of none,
// and its tenant asked about alone.
func groupOf(ctx context.Context, kek BatchKEK, w Wrapped, said func(string)) {
	group := ""
	defer func() {
		_ = recover() // what it says may be of a key
		said(group)
	}()
	group = kek.Group(ctx, w)
}

// needsVersion is [SharedKEK.Needs], of one that cannot tell where it does not return. It is for who keeps what is needed, and for nobody who
// deletes what nobody can open any more.
func needsVersion(kek SharedKEK, wrapped []byte, through int) (needs bool) {
	broke, _ := apart.Call(func() error {
		needs = kek.Needs(wrapped, through)
		return nil
	})
	return needs || broke != ""
}

type guardedKEK struct{ kek KEK }

const theKEK = "KEK provider"

func (g guardedKEK) Create(ctx context.Context, id tenant.ID) error {
	return guarded(theKEK, func() error { return g.kek.Create(ctx, id) })
}

func (g guardedKEK) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) (wrapped []byte, err error) {
	err = guarded(theKEK, func() (err error) { wrapped, err = g.kek.Wrap(ctx, id, plaintext); return err })
	return wrapped, err
}

func (g guardedKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) (plaintext []byte, err error) {
	err = guarded(theKEK, func() (err error) { plaintext, err = g.kek.Unwrap(ctx, id, wrapped); return err })
	return plaintext, err
}

func (g guardedKEK) Rotate(ctx context.Context, id tenant.ID) error {
	return guarded(theKEK, func() error { return g.kek.Rotate(ctx, id) })
}

func (g guardedKEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) (rewrapped []byte, err error) {
	err = guarded(theKEK, func() (err error) { rewrapped, err = g.kek.Rewrap(ctx, id, wrapped); return err })
	return rewrapped, err
}

func (g guardedKEK) Destroy(ctx context.Context, id tenant.ID) error {
	return guarded(theKEK, func() error { return g.kek.Destroy(ctx, id) })
}

// guardedShared is one of whose key versions are destroyed.
type guardedShared struct{ SharedKEK }

func (g guardedShared) SharedKey(ctx context.Context) (key SharedKey, err error) {
	err = guarded(theKEK, func() (err error) { key, err = g.SharedKEK.SharedKey(ctx); return err })
	return key, err
}

func (g guardedShared) RotateSharedKey(ctx context.Context) error {
	return guarded(theKEK, func() error { return g.SharedKEK.RotateSharedKey(ctx) })
}

func (g guardedShared) DisableVersions(ctx context.Context, oldest int) error {
	return guarded(theKEK, func() error { return g.SharedKEK.DisableVersions(ctx, oldest) })
}

func (g guardedShared) DestroyVersions(ctx context.Context, oldest int) error {
	return guarded(theKEK, func() error { return g.SharedKEK.DestroyVersions(ctx, oldest) })
}

type guardedStore struct{ store Store }

const theStore = "key store"

func (g guardedStore) Get(ctx context.Context, id tenant.ID) (rec Record, err error) {
	err = guarded(theStore, func() (err error) { rec, err = g.store.Get(ctx, id); return err })
	return rec, err
}

func (g guardedStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (next int64, err error) {
	err = guarded(theStore, func() (err error) { next, err = g.store.Put(ctx, id, data, version); return err })
	return next, err
}

func (g guardedStore) Delete(ctx context.Context, id tenant.ID, version int64) error {
	return guarded(theStore, func() error { return g.store.Delete(ctx, id, version) })
}

func (g guardedStore) List(ctx context.Context, after tenant.ID, limit int) (ids []tenant.ID, err error) {
	err = guarded(theStore, func() (err error) { ids, err = g.store.List(ctx, after, limit); return err })
	return ids, err
}
