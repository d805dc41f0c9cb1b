package keys_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
)

// TestEverythingAtOnce has several keyrings, each with backends of its own on the same files as a process has, do all
// there is to a tenant at once. No operation fails but for what another did, and everything that was sealed meanwhile
// opens for who shares no code with them.
func TestEverythingAtOnce(t *testing.T) {
	l := newLocal(t)
	type process struct {
		*keys.Keyring
		*rand.Rand
	}
	var all []process
	for i := range 4 {
		kek, err := localkek.Open(l.dir+"/kek", nil)
		must(t, err)
		store, err := filestore.Open(l.dir+"/records", nil)
		must(t, err)
		all = append(all, process{openRing(t, kek, store, quick()), rand.New(rand.NewPCG(uint64(i), 9))})
	}
	provision(t, all[0].Keyring, idB)
	beside := record(t, l, idB)
	ctx := context.Background()
	ops := []func(*keys.Keyring) error{
		func(r *keys.Keyring) error { return r.Provision(ctx, idA) },
		func(r *keys.Keyring) error { return r.Suspend(ctx, idA, "") },
		func(r *keys.Keyring) error { return r.Resume(ctx, idA, "") },
		func(r *keys.Keyring) error { return r.Resume(ctx, idA, "") },
		func(r *keys.Keyring) error { return r.RotateKEK(ctx, idA, "") },
		func(r *keys.Keyring) error { return r.Rewrap(ctx, idA, "") },
	}
	for _, p := range purposes {
		ops = append(ops, func(r *keys.Keyring) error { return r.Rotate(ctx, idA, p, "") })
	}
	var mu sync.Mutex
	var sealed [][]byte
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() {
			for range 12 {
				err := ops[p.IntN(len(ops))](p.Keyring)
				// A tenant that is not there yet, or suspended; what is taken away in the middle; the record of another
				// process's change in a row of them; or an answer that the machine was too busy to give in time.
				if err != nil && !errors.Is(err, keys.ErrNotProvisioned) && !errors.Is(err, keys.ErrSuspended) && !errors.Is(err, keys.ErrConflict) &&
					!errors.Is(err, keys.ErrUnavailable) {
					t.Errorf("%v", err)
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				time.Sleep(2 * time.Millisecond)
				k, err := p.Tenant(ctx, idA)
				if err != nil {
					continue
				}
				if v, err := k.Data().Encrypt([]byte("data"), handAD); err == nil {
					mu.Lock()
					sealed = append(sealed, v)
					mu.Unlock()
				} else if !errors.Is(err, keys.ErrSuspended) && !errors.Is(err, keys.ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(sealed) == 0 {
		t.Fatal("nothing was sealed")
	}
	after := record(t, l, idA)
	for _, v := range sealed {
		if err := opensByHand(l.kek, after.Data, v); err != nil {
			t.Fatalf("one of %d values: %v", len(sealed), err)
		}
	}
	if record(t, l, idB).Version != beside.Version {
		t.Error("another tenant's record was changed")
	}
	// And the end: whoever shreds, all agree.
	for _, p := range all {
		wg.Go(func() { p.Shred(ctx, idA, "") })
		wg.Go(func() { p.Resume(ctx, idA, "") })
		wg.Go(func() { p.Provision(ctx, idA) })
	}
	wg.Wait()
	must(t, all[1].Shred(ctx, idA, ""))
	for x, err := range openRing(t, l.kek, l.store, nil).Tenants(ctx, keys.StatusShredded) {
		if err != nil || x.ID != idA {
			t.Errorf("%v, %v", x, err)
		}
	}
	if err := openByHand(l.kek, after.Data, nil); err == nil {
		t.Error("a copy of the record from before the shredding opens")
	}
}
