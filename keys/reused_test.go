package keys_test

import (
	"context"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestAVersionThatIsUsedAgain: a store that was restored from a backup numbers other records as those of before. A keyring that
// knew those does not take a suspended tenant for an active one.
func TestAVersionThatIsUsedAgain(t *testing.T) {
	r, delayed, l, clock := delayedRing(t)
	store := counting(l.store)
	delayed.Store = store
	other := openRing(t, l.kek, store, nil)
	provision(t, other, idA)
	backup, err := store.Get(t.Context(), idA)
	must(t, err)
	must(t, other.Suspend(t.Context(), idA, "x"))
	must(t, other.Resume(t.Context(), idA, "x"))
	open(t, r, idA)
	known, err := store.Get(t.Context(), idA)
	must(t, err)

	suspendAsOf(t, l, store, backup, known.Version)
	clock.Add(10 * time.Second)
	_, err = r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrSuspended)
}

// TestAVersionThatIsUsedAgainWhileKeysAreOpened: nor does one whose KEK provider answers after the store has told of the suspension.
func TestAVersionThatIsUsedAgainWhileKeysAreOpened(t *testing.T) {
	l, clock, o := newLocal(t), new(keys.Clock), keys.Options{}
	clock.Set(&o)
	kek, store := &delayedKEK{KEK: l.kek}, counting(l.store)
	r := openRing(t, kek, store, &o)
	other := openRing(t, l.kek, store, nil)
	provision(t, other, idA)
	backup, err := store.Get(t.Context(), idA)
	must(t, err)
	must(t, other.Suspend(t.Context(), idA, "x"))
	must(t, other.Resume(t.Context(), idA, "x"))
	known, err := store.Get(t.Context(), idA)
	must(t, err)
	finish := whileHeld(&kek.unwraps, func() { _, err = r.Tenant(context.Background(), idA) })
	suspendAsOf(t, l, store, backup, known.Version)
	clock.Add(10 * time.Second)
	wantStatus(t, r, idA, keys.StatusSuspended)
	finish()
	wantErr(t, err, keys.ErrSuspended)
	_, err = r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrSuspended)
	wantStatus(t, r, idA, keys.StatusSuspended)
}

// delayedKEK is a KEK provider whose next answers can be held back.
type delayedKEK struct {
	keys.KEK
	unwraps chan chan struct{} // as those of delayedStore
}

func (d *delayedKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	plaintext, err := d.KEK.Unwrap(ctx, id, wrapped)
	holdBack(d.unwraps)
	return plaintext, err
}

// suspendAsOf restores the store from a backup and suspends tenant A, so that its record has a version that another had.
func suspendAsOf(t *testing.T, l *local, store keys.Store, backup keys.Record, version int64) {
	t.Helper()
	known, err := store.Get(t.Context(), idA)
	must(t, err)
	must(t, store.Delete(t.Context(), idA, known.Version))
	at := int64(0)
	for at < version-1 {
		at, err = store.Put(t.Context(), idA, backup.Data, at)
		must(t, err)
	}
	must(t, openRing(t, l.kek, store, nil).Suspend(t.Context(), idA, "x"))
	now, err := store.Get(t.Context(), idA)
	must(t, err)
	if now.Version != version {
		t.Fatalf("version %d, want %d", now.Version, version)
	}
}
