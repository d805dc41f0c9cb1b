package keys_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestAFailureHasAnAge: what failed long ago is no reason to serve a tenant without asking, nor to refuse it.
func TestAFailureHasAnAge(t *testing.T) {
	for _, what := range []string{"suspended", "shredded", "active"} {
		for _, later := range []time.Duration{6 * time.Second, 50 * time.Minute, 2 * time.Hour} {
			t.Run(fmt.Sprint(what, later), func(t *testing.T) {
				r, f, clock := timed(t, keys.Options{WhenUnavailable: keys.ServeStale})
				provision(t, r, idA)
				open(t, r, idA)
				clock.Add(6 * time.Second)
				f.set(nil, errAway)
				open(t, r, idA) // within the policy
				f.set(nil, nil) // the store is back, for good
				other := openRing(t, f.KEK, f.Store, nil)
				var want error
				switch what {
				case "suspended":
					want = keys.ErrSuspended
					must(t, other.Suspend(t.Context(), idA, "x"))
				case "shredded":
					want = keys.ErrShredded
					must(t, other.Shred(t.Context(), idA, "x"))
				}
				clock.Add(later)
				if _, err := r.Tenant(t.Context(), idA); !errors.Is(err, want) {
					t.Errorf("%v after the store came back: %v", later, err)
				}
			})
		}
	}
}

// TestAFailureOfTheKEKHasAnAge: the same for a KEK that was withdrawn after the provider came back.
func TestAFailureOfTheKEKHasAnAge(t *testing.T) {
	r, f, clock := timed(t, keys.Options{WhenUnavailable: keys.ServeStale, ReopenAfter: time.Minute})
	provision(t, r, idA)
	clock.Add(time.Minute)
	f.set(errAway, nil)
	open(t, r, idA)
	f.set(nil, nil)
	must(t, f.KEK.Destroy(t.Context(), idA))
	clock.Add(61 * time.Second)
	_, err := r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrNotFound)
}

// TestARefusalEndsAGrace: a store that refuses is not away, whatever it was before, and is asked again.
func TestARefusalEndsAGrace(t *testing.T) {
	r, f, clock := timed(t, keys.Options{WhenUnavailable: keys.ServeStale})
	provision(t, r, idA)
	clock.Add(6 * time.Second)
	f.set(nil, errAway)
	open(t, r, idA)
	refusal := errors.New("permission denied")
	f.set(nil, refusal)
	clock.Add(2 * time.Second)
	_, _ = r.Tenant(t.Context(), idA) // asks in the background
	r.AwaitRefresh(idA)
	for range 10 {
		_, err := r.Tenant(t.Context(), idA)
		wantErr(t, err, refusal)
		clock.Add(10 * time.Minute)
	}
	f.set(nil, nil)
	open(t, r, idA)
}

// TestTheStoreIsAskedAgainAfterEveryOutage has requests meet the ends of flights, and then wants the store to be asked.
func TestTheStoreIsAskedAgainAfterEveryOutage(t *testing.T) {
	for _, workers := range []int{0, 1, 8} {
		synctest.Test(t, func(t *testing.T) {
			f := newFaulty(newLocal(t))
			r := openRing(t, f, f, &keys.Options{WhenUnavailable: keys.ServeStale, StaleLimit: 1000 * time.Hour})
			provision(t, r, idA)
			open(t, r, idA)
			for round := range 50 {
				time.Sleep(6 * time.Second)
				f.set(nil, errAway)
				open(t, r, idA)
				time.Sleep(1500 * time.Millisecond)
				if round%2 == 0 {
					f.set(nil, errors.New("permission denied"))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				for range workers {
					go func() {
						for ctx.Err() == nil {
							_, _ = r.Tenant(ctx, idA)
							time.Sleep(10 * time.Millisecond)
						}
					}()
				}
				<-ctx.Done()
				cancel()
				synctest.Wait()
				f.set(nil, nil)
				time.Sleep(6 * time.Second)
				before := f.gets.Load()
				open(t, r, idA)
				if f.gets.Load() == before {
					t.Fatalf("%d workers, round %d: nobody asks the store", workers, round)
				}
			}
		})
	}
}

// hangingKEK is a KEK that hangs, once told to, for some tenants.
type hangingKEK struct {
	keys.KEK
	on    atomic.Bool
	whom  func(tenant.ID) bool
	calls atomic.Int64
	most  atomic.Int64
}

func (h *hangingKEK) Unwrap(ctx context.Context, id tenant.ID, w []byte) ([]byte, error) {
	n := h.calls.Add(1)
	defer h.calls.Add(-1)
	for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
	}
	if h.on.Load() && h.whom(id) {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", keys.ErrUnavailable, ctx.Err())
	}
	return h.KEK.Unwrap(ctx, id, w)
}

func anyTenant(tenant.ID) bool { return true }

// TestAHangingKEKTakesNobodyDownEarly: until ReopenAfter the store's word is enough, and a change of state that leaves
// the keys alone does not need the KEK provider either.
func TestAHangingKEKTakesNobodyDownEarly(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, 5 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			l := newLocal(t)
			h := &hangingKEK{KEK: l.kek, whom: anyTenant}
			r := openRing(t, h, l.store, &keys.Options{ReopenAfter: 2 * time.Minute, Timeout: timeout})
			provision(t, r, idA)
			other := openRing(t, h, l.store, nil)
			h.on.Store(true)
			for begun := time.Now(); time.Since(begun) < 119*time.Second; time.Sleep(100 * time.Millisecond) {
				at := time.Now()
				if _, err := r.Tenant(t.Context(), idA); err != nil || time.Since(at) > 0 {
					t.Fatalf("at %v, after a wait of %v: %v", time.Since(begun), time.Since(at), err)
				}
				if time.Since(begun)%(20*time.Second) == 0 {
					must(t, other.Suspend(t.Context(), idA, ""))
					must(t, other.Resume(t.Context(), idA, ""))
				}
			}
			time.Sleep(2 * time.Second)
			_, err := r.Tenant(t.Context(), idA)
			wantErr(t, err, keys.ErrUnavailable)
			h.on.Store(false)
			time.Sleep(timeout)
			open(t, r, idA)
		})
	}
}

// TestHangingProvidersDoNotStarveTheOthers: tenants whose provider hangs leave room for those whose is well.
func TestHangingProvidersDoNotStarveTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		h := &hangingKEK{KEK: l.kek, whom: func(id tenant.ID) bool { return id.String()[0] == 's' }}
		setup := openRing(t, h, l.store, nil)
		ids := func(prefix string, n int) (ids []tenant.ID) {
			for i := range n {
				ids = append(ids, tenant.MustParse(fmt.Sprint(prefix, i)))
			}
			provision(t, setup, ids...)
			return ids
		}
		slow, well, inUse := ids("s", 64), ids("w", 20), ids("h", 4)
		r := openRing(t, h, l.store, &keys.Options{Timeout: 500 * time.Millisecond, ReopenAfter: 20 * time.Second})
		for _, id := range inUse {
			open(t, r, id)
		}
		h.on.Store(true)
		h.most.Store(0)
		ctx, cancel := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		defer func() { cancel(); flood.Wait() }()
		for _, id := range slow {
			flood.Go(func() {
				for ctx.Err() == nil {
					_, _ = r.Tenant(ctx, id)
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		for _, id := range well {
			if _, err := r.Tenant(t.Context(), id); err != nil {
				t.Errorf("a tenant whose provider is well: %v", err)
			}
		}
		for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(time.Second) {
			for _, id := range inUse {
				open(t, r, id)
			}
		}
		if n := h.most.Load(); n > 32 {
			t.Errorf("%d KEK calls at once, over the bound of 32", n)
		}
	})
}

// hangingStore hangs for some tenants.
type hangingStore struct {
	keys.Store
	whom        func(tenant.ID) bool
	reads, most atomic.Int64
}

func (s *hangingStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	n := s.reads.Add(1)
	defer s.reads.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if s.whom(id) {
		<-ctx.Done()
		return keys.Record{}, ctx.Err()
	}
	return s.Store.Get(ctx, id)
}

// TestAFloodOfUnknownTenantsStarvesNobody: invented ids, for which the store is slow, leave room for tenants in use, and
// the others come to their turn.
func TestAFloodOfUnknownTenantsStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		s := &hangingStore{Store: l.store, whom: func(id tenant.ID) bool { return id.String()[0] == 'x' }}
		r := openRing(t, l.kek, s, &keys.Options{MaxStoreReads: 16, Timeout: time.Second})
		provision(t, r, idA, idB)
		open(t, r, idA)
		late := openRing(t, l.kek, s, nil)
		cold := tenant.MustParse("cold")
		provision(t, late, cold)
		ctx, cancel := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		defer func() { cancel(); flood.Wait() }()
		var n atomic.Int64
		for range 40 {
			flood.Go(func() {
				for ctx.Err() == nil {
					_, _ = r.Tenant(ctx, tenant.MustParse(fmt.Sprint("x", n.Add(1))))
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(100 * time.Millisecond) {
			at := time.Now()
			open(t, r, idA)
			if waited := time.Since(at); waited > 0 {
				t.Fatalf("a tenant in use waited %v", waited)
			}
		}
		open(t, r, cold)
		if most := s.most.Load(); most > 16 {
			t.Errorf("%d reads at once, over the bound of 16", most)
		}
	})
}

// TestStatusNeedsNoKEK: nor does it show the provider's failures.
func TestStatusNeedsNoKEK(t *testing.T) {
	for _, state := range []keys.Status{keys.StatusActive, keys.StatusSuspended} {
		setup, f, _ := timed(t, keys.Options{})
		provision(t, setup, idA)
		if state == keys.StatusSuspended {
			must(t, setup.Suspend(t.Context(), idA, ""))
		}
		for _, away := range []error{errAway, keys.ErrIntegrity, keys.ErrNotFound} {
			o := keys.Options{}
			clock := new(keys.Clock)
			clock.Set(&o)
			r := openRing(t, f, f, &o)
			f.set(away, nil)
			for range 4 {
				if _, err := r.AuditSealer(t.Context(), idA); !errors.Is(err, away) {
					t.Errorf("a sealer without the KEK: %v", err)
				}
				wantStatus(t, r, idA, state)
				clock.Add(3 * time.Second)
				wantStatus(t, r, idA, state)
			}
			f.set(nil, nil)
		}
	}
}
