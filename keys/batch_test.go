package keys_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// batchStore is a real store that can be asked about many tenants, and counts how often it is asked. For poisoned tenants
// it has no answer, nor for who asks together with them.
type batchStore struct {
	keys.Store
	gets, batches atomic.Int64
	hang          atomic.Bool

	mu     sync.Mutex
	poison map[tenant.ID]error
	forge  func([]keys.Record) []keys.Record
}

func (s *batchStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	s.gets.Add(1)
	recs, err := s.answer(ctx, []tenant.ID{id})
	if err != nil {
		return keys.Record{}, err
	}
	return recs[0], nil
}

func (s *batchStore) GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]keys.Record, error) {
	s.batches.Add(1)
	if len(ids) > keys.MaxBatch || len(ids) == 0 {
		return nil, fmt.Errorf("asked about %d tenants", len(ids))
	}
	recs, err := s.answer(ctx, ids)
	for i := range recs {
		if recs[i].Version == known[i] {
			recs[i].Data = nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forge != nil && err == nil {
		recs = s.forge(recs)
	}
	return recs, err
}

func (s *batchStore) answer(ctx context.Context, ids []tenant.ID) (recs []keys.Record, err error) {
	if s.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, id := range ids {
		s.mu.Lock()
		err := s.poison[id]
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		rec, err := s.Store.Get(ctx, id)
		if err != nil && (!errors.Is(err, keys.ErrNotFound) || len(ids) == 1) {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

func (s *batchStore) asked() int64 { return s.gets.Load() + s.batches.Load() }

// sharedKEK wraps for every tenant under one key, since a local file is written as a whole for each key.
type sharedKEK struct{ keys.KEK }

func (k sharedKEK) Create(context.Context, tenant.ID) error { return nil }

func (k sharedKEK) Wrap(ctx context.Context, _ tenant.ID, plaintext []byte) ([]byte, error) {
	return k.KEK.Wrap(ctx, idA, plaintext)
}

func (k sharedKEK) Unwrap(ctx context.Context, _ tenant.ID, wrapped []byte) ([]byte, error) {
	return k.KEK.Unwrap(ctx, idA, wrapped)
}

// many returns tenants that are provisioned, which share a KEK.
func many(t *testing.T, l *local, n int) (ids []tenant.ID) {
	must(t, l.kek.Create(t.Context(), idA))
	for i := range n {
		ids = append(ids, tenant.MustParse(fmt.Sprint("m", i)))
	}
	provision(t, openRing(t, sharedKEK{l.kek}, l.store, nil), ids...)
	return ids
}

// inUse has each tenant asked for twice a second, and hands what came of it to judge.
func inUse(r *keys.Keyring, ids []tenant.ID, d time.Duration, judge func(id tenant.ID, err error, waited time.Duration)) {
	for begun := time.Now(); time.Since(begun) < d; time.Sleep(500 * time.Millisecond) {
		for _, id := range ids {
			at := time.Now()
			_, err := r.Tenant(context.Background(), id)
			judge(id, err, time.Since(at))
		}
	}
}

// TestTenantsInUseAreConfirmedTogether: what the store is asked does not grow with their number, nobody waits, and a
// suspension is seen within the bound all the same.
func TestTenantsInUseAreConfirmedTogether(t *testing.T) {
	l := newLocal(t)
	all := many(t, l, 200)
	perMinute := map[int]int64{}
	for _, n := range []int{20, 200} {
		synctest.Test(t, func(t *testing.T) {
			s := &batchStore{Store: l.store}
			r := openRing(t, sharedKEK{l.kek}, s, nil)
			for _, id := range all[:n] {
				open(t, r, id)
			}
			before := s.asked()
			inUse(r, all[:n], time.Minute, func(id tenant.ID, err error, waited time.Duration) {
				if err != nil || waited > 0 {
					t.Errorf("%s, after a wait of %v: %v", id, waited, err)
				}
			})
			perMinute[n] = s.asked() - before
			other := openRing(t, sharedKEK{l.kek}, l.store, nil)
			must(t, other.Suspend(t.Context(), all[7], ""))
			time.Sleep(500 * time.Millisecond)
			suspended := time.Now()
			inUse(r, all[:n], 15*time.Second, func(id tenant.ID, err error, _ time.Duration) {
				if id != all[7] && err != nil || id == all[7] && time.Since(suspended) > 5*time.Second && !errors.Is(err, keys.ErrSuspended) {
					t.Errorf("%s, %v after the suspension of %s: %v", id, time.Since(suspended), all[7], err)
				}
			})
			must(t, other.Resume(t.Context(), all[7], ""))
		})
	}
	// They are confirmed every 4 s or so; those that come due at other times have a question of their own.
	if few, lots := perMinute[20], perMinute[200]; few == 0 || lots > 2*few || lots > 60 {
		t.Errorf("the store was asked %d times a minute about 20 tenants in use, and %d times about 200", few, lots)
	}
}

// TestOneTenantSpoilsNoBatch: a record for which the store fails, or that it answers wrongly, is that tenant's matter.
func TestOneTenantSpoilsNoBatch(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 30)
	bad := ids[3]
	for name, spoil := range map[string]func(*batchStore){
		"refused": func(s *batchStore) { s.poison = map[tenant.ID]error{bad: errors.New("invalid page in block 7")} },
		"short":   func(s *batchStore) { s.forge = func(recs []keys.Record) []keys.Record { return recs[1:] } },
		"empty": func(s *batchStore) {
			s.forge = func(recs []keys.Record) []keys.Record { return make([]keys.Record, 1) }
		},
		"newer without a record": func(s *batchStore) {
			s.forge = func(recs []keys.Record) []keys.Record {
				for i := range recs {
					recs[i] = keys.Record{Version: recs[i].Version + 1}
				}
				return recs
			}
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &batchStore{Store: l.store}
				r := openRing(t, sharedKEK{l.kek}, s, nil)
				for _, id := range ids {
					open(t, r, id)
				}
				s.mu.Lock()
				spoil(s)
				s.mu.Unlock()
				refused := 0
				inUse(r, ids, 30*time.Second, func(id tenant.ID, err error, _ time.Duration) {
					switch {
					case err != nil && id == bad && s.poison != nil:
						refused++
					case err != nil:
						t.Errorf("%s: %v", id, err)
					}
				})
				if s.poison != nil && refused == 0 {
					t.Error("the tenant whose record cannot be read is served")
				}
			})
		})
	}
}

// TestAHangingBatch: tenants that were confirmed together are refused within the bound, and served again when the store is
// back.
func TestAHangingBatch(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 100)
	synctest.Test(t, func(t *testing.T) {
		s := &batchStore{Store: l.store}
		r := openRing(t, sharedKEK{l.kek}, s, nil)
		for _, id := range ids {
			open(t, r, id)
		}
		inUse(r, ids, 20*time.Second, func(id tenant.ID, err error, _ time.Duration) { must(t, err) })
		s.hang.Store(true)
		hung := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for _, id := range ids {
			callers.Go(func() {
				for ctx.Err() == nil {
					if _, err := r.Tenant(ctx, id); err == nil && s.hang.Load() && time.Since(hung) > 5*time.Second {
						t.Errorf("%s is served %v after the store went", id, time.Since(hung))
					}
					time.Sleep(200 * time.Millisecond)
				}
			})
		}
		time.Sleep(time.Minute)
		s.hang.Store(false)
		time.Sleep(10 * time.Second)
		cancel()
		callers.Wait()
		for _, id := range ids {
			open(t, r, id)
		}
		r.Close()
	})
}

// TestWarm opens what can be opened, for one KEK call each and few questions to the store.
func TestWarm(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 70)
	setup := openRing(t, sharedKEK{l.kek}, l.store, nil)
	must(t, setup.Suspend(t.Context(), ids[1], ""))
	defer setup.Resume(context.Background(), ids[1], "")
	log := &trail{}
	for _, batches := range []bool{true, false} {
		s := &batchStore{Store: l.store, poison: map[tenant.ID]error{ids[2]: errors.New("permission denied")}}
		h := &hangingKEK{KEK: sharedKEK{l.kek}, whom: anyTenant}
		o := keys.Options{MaxKEKCalls: 16, Audit: log}
		r := openRing(t, h, s, &o)
		if !batches {
			r = openRing(t, h, struct{ keys.Store }{s}, &o)
		}
		open(t, r, ids[0])
		before := s.asked()
		w, err := r.Warm(t.Context(), slices.Values(append(ids, tenant.MustParse("nobody"))))
		if want := (keys.Warmed{Opened: 68, Refused: 2, Failed: 1}); w != want || err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("warmed %+v, %v; want %+v", w, err, want)
		}
		if n := h.most.Load(); n > 12 {
			t.Errorf("%d KEK calls at once; a quarter of 16 are for requests", n)
		}
		// One batch has the bad record in it, and is asked for again one by one.
		if n := s.asked() - before; batches && n > 3+32 {
			t.Errorf("the store was asked %d times", n)
		}
		before = s.asked()
		for _, id := range ids[3:] {
			open(t, r, id)
		}
		if n := s.asked() - before; n > 0 {
			t.Errorf("the store was asked %d times about tenants that are open", n)
		}
	}
	if got := log.take(); len(got) > 0 {
		t.Errorf("recorded %q, although nothing was handed out", got)
	}
}

// TestWarmEnds: when the cache is full, when nobody answers, and when nobody waits.
func TestWarmEnds(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 40)
	f := newFaulty(l)
	f.KEK = sharedKEK{l.kek}
	r := openRing(t, f, f, &keys.Options{CacheSize: 10, MaxKEKCalls: 4})
	if w, err := r.Warm(t.Context(), slices.Values(ids)); err != nil || w.Opened != 10 || r.Cached() != 10 || f.unwraps.Load() != 10 {
		t.Errorf("warmed %+v, %v, with %d KEK calls; %d tenants are in a cache of 10", w, err, f.unwraps.Load(), r.Cached())
	}
	for _, id := range ids[:10] {
		if open(t, r, id); f.unwraps.Load() != 10 {
			t.Fatalf("%s, of the first, was pushed out", id)
		}
	}
	f.set(errAway, nil)
	r = openRing(t, f, f, &keys.Options{MaxKEKCalls: 4})
	before := f.unwraps.Load()
	w, err := r.Warm(t.Context(), slices.Values(ids))
	wantErr(t, err, keys.ErrUnavailable)
	if n := f.unwraps.Load() - before; w.Failed != 8 || n > 8 {
		t.Errorf("warmed %+v with %d KEK calls, while the provider is away", w, n)
	}
	f.set(nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = openRing(t, f, f, nil).Warm(ctx, slices.Values(ids))
	wantErr(t, err, context.Canceled)
	closed := openRing(t, f, f, nil)
	closed.Close()
	_, err = closed.Warm(t.Context(), slices.Values(ids))
	wantErr(t, err, keys.ErrClosed)
}

// TestTenantsAreListedByPages: by two questions a page, and one record that cannot be read ends no list.
func TestTenantsAreListedByPages(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 300)
	for _, poison := range []map[tenant.ID]error{nil, {ids[5]: errors.New("invalid page in block 7")}} {
		s := &batchStore{Store: l.store, poison: poison}
		r := openRing(t, sharedKEK{l.kek}, s, nil)
		listed, failed := 0, 0
		for x, err := range r.Tenants(t.Context()) {
			if err != nil {
				failed++
			} else if listed++; x.Status != keys.StatusActive {
				t.Errorf("%s is %s", x.ID, x.Status)
			}
		}
		if listed != 300-len(poison) || failed != len(poison) {
			t.Errorf("%d tenants and %d errors are listed", listed, failed)
		}
		if n := s.asked(); n != 2 && poison == nil {
			t.Errorf("the store was asked %d times for two pages of records", n)
		}
	}
}
