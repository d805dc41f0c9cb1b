package keys_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// timed is a keyring with a fake clock and a valve.
func timed(t testing.TB, o keys.Options) (*keys.Keyring, *faulty, *keys.Clock) {
	t.Helper()
	f, c := newFaulty(newLocal(t)), &keys.Clock{}
	c.Set(&o)
	return openRing(t, f, f, &o), f, c
}

func TestHotTenantCostsNothing(t *testing.T) {
	r, f, _ := timed(t, keys.Options{})
	provision(t, r, idA)
	hot := open(t, r, idA)
	gets, unwraps := f.gets.Load(), f.unwraps.Load()
	ctx := t.Context()
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := r.Tenant(ctx, idA); err != nil {
			t.Fatal(err)
		}
		if k, err := tenantkeys.Open(ctx, r, idA); err != nil || k.ID() != idA || k != hot {
			t.Fatal(err)
		}
		if _, err := r.Status(ctx, idA); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 || f.gets.Load() != gets || f.unwraps.Load() != unwraps {
		t.Fatalf("%v allocations, %d store reads, %d KEK calls", allocs, f.gets.Load()-gets, f.unwraps.Load()-unwraps)
	}
}

func TestOneKEKCallOpensAColdTenant(t *testing.T) {
	r, f, _ := timed(t, keys.Options{})
	provision(t, r, idA)
	cold := openRing(t, f, f, hourly())
	gets, unwraps := f.gets.Load(), f.unwraps.Load()
	wantStatus(t, cold, idA, keys.StatusActive)
	k := open(t, cold, idA)
	if _, err := k.Audit().Pseudonym("x"); err != nil {
		t.Fatal(err)
	}
	if g, u := f.gets.Load()-gets, f.unwraps.Load()-unwraps; g != 1 || u != 1 {
		t.Fatalf("%d store reads and %d KEK calls; want one of each", g, u)
	}
}

func TestSuspensionElsewhereTakesEffectWithinTheBound(t *testing.T) {
	r, f, clock := timed(t, keys.Options{SuspendWithin: 5 * time.Second})
	provision(t, r, idA)
	open(t, r, idA)
	other := openRing(t, f, f, nil)
	if err := other.Suspend(t.Context(), idA, ""); err != nil {
		t.Fatal(err)
	}
	clock.Add(5 * time.Second)
	_, err := r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrSuspended)
	wantStatus(t, r, idA, keys.StatusSuspended)
	if err := other.Resume(t.Context(), idA, ""); err != nil {
		t.Fatal(err)
	}
	clock.Add(5 * time.Second)
	open(t, r, idA)
	if err := other.Shred(t.Context(), idA, ""); err != nil {
		t.Fatal(err)
	}
	clock.Add(5 * time.Second)
	_, err = r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrShredded)
}

func TestRefreshAheadIsInTheBackground(t *testing.T) {
	r, f, clock := timed(t, keys.Options{SuspendWithin: 4 * time.Second})
	provision(t, r, idA)
	for range 3 {
		clock.Add(3 * time.Second) // three quarters: due, not yet over
		gets := f.gets.Load()
		open(t, r, idA)
		r.AwaitRefresh(idA)
		if f.gets.Load() != gets+1 {
			t.Fatalf("%d store reads ahead of expiry; want 1", f.gets.Load()-gets)
		}
	}
}

func TestKeysAreUnwrappedAgain(t *testing.T) {
	r, f, clock := timed(t, keys.Options{ReopenAfter: time.Minute})
	provision(t, r, idA)
	unwraps := f.unwraps.Load()
	clock.Add(time.Minute)
	open(t, r, idA)
	if f.unwraps.Load() != unwraps+1 {
		t.Fatal("the KEK provider was not asked again")
	}
	if err := f.KEK.Destroy(t.Context(), idA); err != nil { // behind the keyring's back
		t.Fatal(err)
	}
	clock.Add(time.Minute)
	_, err := r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrNotFound)
	_, err = r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrNotFound)
}

func TestFailNow(t *testing.T) {
	for _, away := range []string{"store", "KEK provider"} {
		t.Run(away, func(t *testing.T) {
			r, f, clock := timed(t, keys.Options{ReopenAfter: 5 * time.Second})
			provision(t, r, idA, idB)
			open(t, r, idA)
			set := func(err error) { f.set(nil, err) }
			if away != "store" {
				set = func(err error) { f.set(err, nil) }
			}
			set(errAway)
			clock.Add(time.Second)
			open(t, r, idA) // still within the bound
			clock.Add(5 * time.Second)
			_, err := r.Tenant(t.Context(), idA)
			wantErr(t, err, keys.ErrUnavailable)
			if away != "store" {
				wantStatus(t, r, idA, keys.StatusActive) // needs no KEK provider
			}
			cold := openRing(t, f, f, nil)
			_, err = cold.Tenant(t.Context(), idB)
			wantErr(t, err, keys.ErrUnavailable)
			r.AwaitRefresh(idA) // one that fails later is remembered for longer
			set(nil)
			clock.Add(time.Second) // no longer than a failure is remembered
			open(t, r, idA)
		})
	}
}

func TestServeStale(t *testing.T) {
	for _, away := range []string{"store", "KEK provider"} {
		t.Run(away, func(t *testing.T) {
			log, uses := &trail{}, 0
			r, f, clock := timed(t, keys.Options{WhenUnavailable: keys.ServeStale, Audit: log, ReopenAfter: 5 * time.Second,
				OnStale: func(id tenant.ID, age time.Duration) {
					if id != idA || age < 5*time.Second {
						t.Errorf("stale use of %s after %v", id, age)
					}
					uses++
				}})
			provision(t, r, idA)
			log.take()
			f.set(nil, errAway)
			if away != "store" {
				f.set(errAway, nil)
			}
			for range 3 {
				clock.Add(10 * time.Minute)
				open(t, r, idA)
				r.AwaitRefresh(idA)
			}
			if got, want := log.take(), slices.Repeat([]string{"key.stale single success"}, 3); !slices.Equal(got, want) || uses != 3 {
				t.Fatalf("recorded %q and %d uses; want %q", got, uses, want)
			}
			// A use that cannot be recorded does not happen.
			log.fail = func(*audit.Event) error { return errors.New("full") }
			_, err := r.Tenant(t.Context(), idA)
			wantErr(t, err, audit.ErrUnavailable)
			log.fail = nil

			clock.Add(31 * time.Minute) // past the hour
			_, err = r.Tenant(t.Context(), idA)
			wantErr(t, err, keys.ErrUnavailable)
			f.set(nil, nil)
			clock.Add(time.Second)
			_, _ = r.Tenant(t.Context(), idA) // begins the refresh, if need be in the background
			r.AwaitRefresh(idA)
			log.take()
			open(t, r, idA)
			if got := log.take(); len(got) != 0 {
				t.Fatalf("recorded %q after the return", got)
			}
		})
	}
}

func TestAnswersOtherThanAbsenceAreNoGrace(t *testing.T) {
	r, f, clock := timed(t, keys.Options{WhenUnavailable: keys.ServeStale})
	provision(t, r, idA)
	f.set(nil, fmt.Errorf("permission denied"))
	clock.Add(6 * time.Second)
	if _, err := r.Tenant(t.Context(), idA); err == nil {
		t.Fatal("a store that refuses is no store that is away")
	}
}

func TestFailuresAreRememberedBriefly(t *testing.T) {
	r, f, clock := timed(t, keys.Options{})
	for range 50 {
		_, err := r.Tenant(t.Context(), idA)
		wantErr(t, err, keys.ErrNotProvisioned)
	}
	if n := f.gets.Load(); n != 1 {
		t.Fatalf("%d store reads for one missing tenant", n)
	}
	provision(t, openRing(t, f, f, nil), idA)
	clock.Add(time.Second)
	open(t, r, idA)
}

func TestACancelledFirstCallerDoesNotFailTheOthers(t *testing.T) {
	r, f, _ := timed(t, keys.Options{})
	provision(t, r, idA)
	cold := openRing(t, f, f, nil)
	f.hold, f.release = make(chan struct{}), make(chan struct{})
	unwraps := f.unwraps.Load()
	ctx, cancel := context.WithCancel(t.Context())
	first, others := make(chan error), make(chan error)
	go func() {
		_, err := cold.Tenant(ctx, idA)
		first <- err
	}()
	<-f.hold // the first caller's flight is at the KEK provider
	for range 10 {
		go func() {
			_, err := cold.Tenant(t.Context(), idA)
			others <- err
		}()
	}
	cancel()
	wantErr(t, <-first, context.Canceled)
	close(f.release)
	for range 10 {
		if err := <-others; err != nil {
			t.Fatal(err)
		}
	}
	if n := f.unwraps.Load() - unwraps; n != 1 {
		t.Fatalf("%d KEK calls for one tenant", n)
	}
}

func TestAHangingKEKEndsWithTheTimeout(t *testing.T) {
	l := newLocal(t)
	f := newFaulty(l)
	provision(t, openRing(t, f, f, nil), idA)
	r := openRing(t, f, f, &keys.Options{Timeout: time.Millisecond})
	f.hold, f.release = make(chan struct{}, 1), make(chan struct{})
	_, err := r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrUnavailable)
}

func TestEvictedKeysStayUsable(t *testing.T) {
	r, _, _ := timed(t, keys.Options{CacheSize: 3})
	var ids []tenant.ID
	for i := range 20 {
		ids = append(ids, tenant.MustParse(fmt.Sprint("t", i)))
	}
	provision(t, r, ids...)
	held := open(t, r, ids[0])
	sealed, err := held.Data().Encrypt([]byte("v"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for _, id := range ids {
				if k, err := r.Tenant(t.Context(), id); err != nil || k.ID() != id {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
	if n := r.Cached(); n > 3 {
		t.Fatalf("%d tenants are cached, over the bound of 3", n)
	}
	if got, err := held.Data().Decrypt(sealed, nil); err != nil || string(got) != "v" {
		t.Fatalf("an evicted tenant's keys, held: %q, %v", got, err)
	}
	r.Close()
	if _, err := held.Data().Decrypt(sealed, nil); err != nil {
		t.Fatalf("a closed keyring's keys, held: %v", err)
	}
}

func TestAStoreThatGoesBackIsNotBelieved(t *testing.T) {
	r, f, clock := timed(t, keys.Options{})
	f.Store = counting(f.Store)
	provision(t, r, idA)
	old, err := f.Store.Get(t.Context(), idA)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Suspend(t.Context(), idA, ""); err != nil {
		t.Fatal(err)
	}
	now, err := f.Store.Get(t.Context(), idA)
	if err != nil {
		t.Fatal(err)
	}
	// Restore the old record under its old version.
	if err := f.Store.Delete(t.Context(), idA, now.Version); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Store.Put(t.Context(), idA, old.Data, 0); err != nil {
		t.Fatal(err)
	}
	clock.Add(5 * time.Second)
	if _, err := r.Tenant(t.Context(), idA); !errors.Is(err, keys.ErrUnavailable) {
		t.Fatalf("a lagging replica undid a suspension: %v", err)
	}
}

// TestManyAtOncePushOutNoneInUse: once a provider is back many tenants are opened at the same time. They push each other out, and none
// of those that are asked for all the time, which a provider that is away again could not open.
func TestManyAtOncePushOutNoneInUse(t *testing.T) {
	const size = 8
	l := newLocal(t)
	ids := many(t, l, 3*size)
	f := newFaulty(l)
	f.KEK = sharedKEK{l.kek}
	r := openRing(t, f, f, &keys.Options{CacheSize: size, SuspendWithin: time.Hour, ReopenAfter: time.Hour})
	inUse, others := ids[:2], ids[2:]
	for range 3 {
		for _, id := range inUse {
			open(t, r, id)
		}
	}
	for len(others) > size {
		for range 2 { // each is asked for again, soon
			for _, id := range others[:size-len(inUse)] {
				open(t, r, id)
			}
		}
		others = others[size-len(inUse):]
		unwraps := f.unwraps.Load()
		for range 3 {
			for _, id := range inUse {
				open(t, r, id)
			}
		}
		if n := f.unwraps.Load() - unwraps; n > 0 {
			t.Fatalf("%d tenants in use were pushed out", n)
		}
	}
}
