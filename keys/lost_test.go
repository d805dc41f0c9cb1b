package keys_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// deafBackends does not listen to its context, as calls to a file system that hangs cannot. While it is on, calls do not return
// before they are released.
type deafBackends struct {
	keys.KEK
	keys.Store
	store, kek atomic.Bool
	release    chan struct{}
	calls      atomic.Int64
}

func (d *deafBackends) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if d.store.Load() {
		d.calls.Add(1)
		<-d.release
	}
	return d.Store.Get(ctx, id)
}

func (d *deafBackends) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	if d.kek.Load() {
		d.calls.Add(1)
		<-d.release
	}
	return d.KEK.Unwrap(ctx, id, wrapped)
}

// TestACallThatDoesNotReturnHoldsNobodyUp: its flight ends, others are asked in its place, though only so many; and what
// it answers in the end undoes nothing.
func TestACallThatDoesNotReturnHoldsNobodyUp(t *testing.T) {
	for _, what := range []string{"store", "KEK provider"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLocal(t)
			d := &deafBackends{KEK: l.kek, Store: l.store, release: make(chan struct{})}
			provision(t, openRing(t, d, d, nil), idA)
			r := openRing(t, d, d, &keys.Options{Timeout: time.Second, MaxStoreReads: 8, MaxKEKCalls: 8})
			d.store.Store(what == "store")
			d.kek.Store(what != "store")
			for range 20 {
				begun := time.Now()
				_, err := r.Tenant(t.Context(), idA)
				wantErr(t, err, keys.ErrUnavailable)
				if waited := time.Since(begun); waited > 3*time.Second {
					t.Errorf("%s: a lookup waits for %v", what, waited)
				}
				time.Sleep(2 * time.Second)
			}
			if n := d.calls.Load(); n < 2 || n > 8 {
				t.Errorf("%s: %d calls hang; want some, but no more than 8", what, n)
			}
			d.store.Store(false)
			d.kek.Store(false)
			must(t, openRing(t, d, d, nil).Suspend(t.Context(), idA, ""))
			time.Sleep(time.Second)
			if what == "store" {
				must(t, r.Resume(t.Context(), idA, ""))
				must(t, r.Suspend(t.Context(), idA, ""))
			}
			close(d.release)
			synctest.Wait()
			_, err := r.Tenant(t.Context(), idA)
			if what != "store" { // its state was confirmed a moment ago
				time.Sleep(5 * time.Second)
				_, err = r.Tenant(t.Context(), idA)
			}
			wantErr(t, err, keys.ErrSuspended)
		})
	}
}
