package keys_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// TestColdTenantsPushNobodyOutWhileTheKEKIsAway: whoever asks for tenants that cannot be opened does not take the keys of those
// that are open, and asks the KEK provider once a second for each.
func TestColdTenantsPushNobodyOutWhileTheKEKIsAway(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 40)
	for _, policy := range []keys.Policy{keys.FailNow, keys.ServeStale} {
		f, clock, o := newFaulty(l), new(keys.Clock), keys.Options{CacheSize: 10, WhenUnavailable: policy}
		f.KEK = sharedKEK{l.kek}
		clock.Set(&o)
		r := openRing(t, f, f, &o)
		for _, id := range ids[:10] {
			open(t, r, id)
		}
		f.set(errAway, nil)
		before := f.unwraps.Load()
		for range 5 {
			for _, id := range ids[10:] {
				_, err := r.Tenant(t.Context(), id)
				wantErr(t, err, keys.ErrUnavailable)
				wantStatus(t, r, id, keys.StatusActive)
			}
		}
		if n := f.unwraps.Load() - before; n != 30 {
			t.Errorf("%d KEK calls for 30 tenants that cannot be opened", n)
		}
		clock.Add(6 * time.Second) // they are to be confirmed, too
		for _, id := range ids[:10] {
			open(t, r, id)
		}
		f.set(nil, nil)
		for _, id := range ids[10:] {
			open(t, r, id)
		}
		if n := r.Cached(); n != 10 {
			t.Errorf("%d tenants are in a cache of 10", n)
		}
	}
}

// TestAFailureOutlivesItsPlaceInTheCache: more tenants that have no answer than there is room for are not asked for again and
// again because each takes the other's place.
func TestAFailureOutlivesItsPlaceInTheCache(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 8)
	ring := func(t *testing.T) (*keys.Keyring, *faulty, *keys.Clock) {
		f, clock, o := newFaulty(l), new(keys.Clock), keys.Options{CacheSize: 2}
		f.KEK = sharedKEK{l.kek}
		clock.Set(&o)
		return openRing(t, f, f, &o), f, clock
	}
	fail := func(t *testing.T, r *keys.Keyring, ids ...tenant.ID) {
		t.Helper()
		for _, id := range ids {
			_, err := r.Tenant(t.Context(), id)
			wantErr(t, err, keys.ErrUnavailable)
		}
	}
	t.Run("of the KEK provider", func(t *testing.T) {
		r, f, clock := ring(t)
		f.set(errAway, nil)
		for round := range 3 {
			before := f.unwraps.Load()
			for range 5 {
				fail(t, r, ids...)
				wantStatus(t, r, ids[0], keys.StatusActive)
			}
			if n := f.unwraps.Load() - before; n != int64(len(ids)) {
				t.Errorf("round %d: %d KEK calls for %d tenants that cannot be opened", round, n, len(ids))
			}
			clock.Add(time.Second)
		}
		f.set(nil, nil)
		for _, id := range ids {
			open(t, r, id)
		}
	})
	t.Run("of the KEK provider, about the sealers of tenants who were suspended", func(t *testing.T) {
		r, _, _ := ring(t)
		for _, id := range ids {
			must(t, r.Suspend(t.Context(), id, "x"))
		}
		defer func(r *keys.Keyring) {
			for _, id := range ids {
				must(t, r.Resume(t.Context(), id, ""))
			}
		}(r)
		r, f, clock := ring(t)
		f.set(errAway, nil)
		for round := range 3 {
			before := f.unwraps.Load()
			for range 5 {
				for _, id := range ids { // as the gate does for each of their requests
					wantStatus(t, r, id, keys.StatusSuspended)
					_, err := r.AuditSealer(t.Context(), id)
					wantErr(t, err, keys.ErrUnavailable)
				}
			}
			if n := f.unwraps.Load() - before; n != int64(len(ids)) {
				t.Errorf("round %d: %d KEK calls for %d tenants whose sealers cannot be opened", round, n, len(ids))
			}
			clock.Add(time.Second)
		}
		f.set(nil, nil)
		for _, id := range ids {
			_, err := r.Tenant(t.Context(), id)
			wantErr(t, err, keys.ErrSuspended)
			if _, err := r.AuditSealer(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("of the store", func(t *testing.T) {
		r, f, clock := ring(t)
		open(t, r, ids[0])
		clock.Add(6 * time.Second)
		f.set(nil, errAway)
		fail(t, r, ids[0])
		f.set(nil, nil)
		for _, id := range ids[1:] {
			open(t, r, id)
		}
		before := f.gets.Load()
		fail(t, r, ids[0])
		if n := f.gets.Load() - before; n != 0 {
			t.Errorf("the store is asked %d times within a second of a failure", n)
		}
		clock.Add(time.Second)
		open(t, r, ids[0])
	})
}

// TestAStaleUseTellsTheAgeOfWhatIsAway: how long ago the KEK provider answered does not matter before ReopenAfter.
func TestAStaleUseTellsTheAgeOfWhatIsAway(t *testing.T) {
	var age time.Duration
	r, f, clock := timed(t, keys.Options{WhenUnavailable: keys.ServeStale, ReopenAfter: 50 * time.Minute,
		OnStale: func(_ tenant.ID, a time.Duration) { age = a }})
	provision(t, r, idA)
	clock.Add(30 * time.Minute)
	open(t, r, idA) // confirms, and does not reopen yet
	f.set(nil, errAway)
	for _, c := range []struct{ after, want time.Duration }{{10 * time.Minute, 10 * time.Minute}, {15 * time.Minute, 55 * time.Minute}} {
		clock.Add(c.after)
		open(t, r, idA)
		if r.AwaitRefresh(idA); age != c.want {
			t.Errorf("the age is said to be %v, not %v", age, c.want)
		}
	}
}

// TestServeStaleNeedsBoundsItCanKeep: settings with which nobody would ever be served are refused.
func TestServeStaleNeedsBoundsItCanKeep(t *testing.T) {
	l := newLocal(t)
	for _, c := range []struct {
		o    keys.Options
		want string
	}{
		{keys.Options{ReopenAfter: 200 * time.Millisecond, SuspendWithin: 200 * time.Millisecond, Timeout: time.Hour}, ""},
		{keys.Options{ReopenAfter: 199 * time.Millisecond}, "Options.ReopenAfter is 199ms"},
		{keys.Options{SuspendWithin: 50 * time.Millisecond}, "Options.SuspendWithin is 50ms"},
		{keys.Options{ReopenAfter: time.Hour}, "Options.StaleLimit is 1h0m0s and Options.ReopenAfter 1h0m0s"},
		{keys.Options{SuspendWithin: 2 * time.Hour, ReopenAfter: time.Minute}, "Options.StaleLimit is 1h0m0s and Options.SuspendWithin 2h0m0s"},
	} {
		c.o.InsecureWithoutAudit = true
		for _, when := range []keys.Policy{keys.FailNow, keys.ServeStale} {
			c.o.WhenUnavailable = when
			r, err := keys.Open(t.Context(), l.kek, l.store, &c.o)
			if err == nil {
				r.Close()
			}
			if ok := when == keys.FailNow || c.want == ""; ok != (err == nil) || !ok && !strings.Contains(err.Error(), c.want) {
				t.Errorf("policy %d: %v; want %q", when, err, c.want)
			}
		}
	}
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
