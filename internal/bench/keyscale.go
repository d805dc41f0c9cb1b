package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// keyScale is many tenants whose records are in one store, and a keyring whose cache holds a part of them. The calls of both
// providers are counted.
type keyScale struct {
	prefix  string
	ids     []tenant.ID
	cached  int
	within  time.Duration // Options.SuspendWithin; 0 for the default
	kek     *countedKEK
	store   *countedStore
	results []Result
}

// countedKEK is a KEK provider that counts what it opens.
type countedKEK struct {
	keys.KEK
	unwraps atomic.Int64
}

func (k *countedKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k.unwraps.Add(1)
	return k.KEK.Unwrap(ctx, id, wrapped)
}

// countedStore is a store that counts how often it is asked, and about how many tenants.
type countedStore struct {
	keys.BatchStore
	questions, records atomic.Int64
}

func (s *countedStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	s.questions.Add(1)
	s.records.Add(1)
	return s.BatchStore.Get(ctx, id)
}

func (s *countedStore) GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]keys.Record, error) {
	s.questions.Add(1)
	s.records.Add(int64(len(ids)))
	return s.BatchStore.GetChanged(ctx, ids, known)
}

func (s *countedStore) List(ctx context.Context, after tenant.ID, limit int) ([]tenant.ID, error) {
	s.questions.Add(1)
	return s.BatchStore.List(ctx, after, limit)
}

func newKeyScale(prefix string, tenants, cached int, kek keys.KEK, store keys.BatchStore) *keyScale {
	s := &keyScale{prefix: prefix, cached: cached, kek: &countedKEK{KEK: kek}, store: &countedStore{BatchStore: store}}
	for i := range tenants {
		s.ids = append(s.ids, tenant.MustParse(fmt.Sprintf("tenant-%06d", i)))
	}
	return s
}

func (s *keyScale) open(store keys.Store, o keys.Options) (*keys.Keyring, error) {
	o.CacheSize, o.InsecureWithoutAudit = s.cached, true // the figures are about keys
	return keys.Open(context.Background(), s.kek, store, &o)
}

func (s *keyScale) add(name, unit string, value float64, note string) {
	s.results = append(s.results, Result{ID: s.prefix + "." + name, Ours: value, Unit: unit, Peer: note})
}

func (s *keyScale) each(name string, took time.Duration, n int, note string) {
	s.add(name, "ns", float64(took)/float64(n), note)
}

// run measures everything, on storage where no tenant is provisioned yet. What is measured for a time is for that long.
func (s *keyScale) run(accesses int, each time.Duration) ([]Result, error) {
	for _, step := range []func() error{s.provision, s.list, func() error { return s.serve(accesses) }, func() error { return s.confirm(each) }, s.news} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s.results, nil
}

func (s *keyScale) provision() error {
	ring, err := s.open(s.store, keys.Options{Timeout: time.Minute, SuspendWithin: time.Hour})
	if err != nil {
		return err
	}
	defer ring.Close()
	began := time.Now()
	next := make(chan tenant.ID)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 16 {
		wg.Go(func() {
			for id := range next {
				if err := ring.Provision(context.Background(), id); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	for _, id := range s.ids {
		next <- id
	}
	close(next)
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	s.each("provision", time.Since(began), len(s.ids), fmt.Sprintf("of %d tenants, 16 at a time", len(s.ids)))
	return nil
}

func (s *keyScale) list() error {
	for _, part := range []int{len(s.ids) / 10, len(s.ids)} {
		ring, err := s.open(s.store, keys.Options{})
		if err != nil {
			return err
		}
		questions, n, began := s.store.questions.Load(), 0, time.Now()
		for x, err := range ring.Tenants(context.Background()) {
			if err != nil || x.Status != keys.StatusActive {
				return fmt.Errorf("list: %s is %q: %w", x.ID, x.Status, err)
			}
			if n++; n == part {
				break
			}
		}
		ring.Close()
		if n != part {
			return fmt.Errorf("%d tenants are listed instead of %d", n, part)
		}
		s.each("list", time.Since(began), n, fmt.Sprintf("a tenant of the first %d, with %d questions to the store", n, s.store.questions.Load()-questions))
	}
	return nil
}

// zipf is the s of the law by which tenants are asked for: the second half as often as the first, and a bit less.
const zipf = 1.1

// serve warms a keyring up with the tenants that are asked for most, and then asks for all.
func (s *keyScale) serve(accesses int) error {
	questions, unwraps, before := s.store.questions.Load(), s.kek.unwraps.Load(), heap()
	ring, err := s.open(s.store, keys.Options{SuspendWithin: s.within})
	if err != nil {
		return err
	}
	defer ring.Close()
	began := time.Now()
	w, err := ring.Warm(context.Background(), slices.Values(s.ids[:s.cached]))
	if err != nil {
		return err
	}
	if w.Opened != s.cached {
		return fmt.Errorf("warmed %+v; want %d opened", w, s.cached)
	}
	s.each("warm", time.Since(began), s.cached, fmt.Sprintf("of %d tenants by Warm, with %d KEK calls and %d questions to the store", s.cached,
		s.kek.unwraps.Load()-unwraps, s.store.questions.Load()-questions))
	s.add("memory", "B", float64(heap()-before)/float64(s.cached), "of a tenant in the cache; the aim is 2 KB")

	ctx := context.Background()
	law := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), zipf, 1, uint64(len(s.ids)-1))
	unwraps, questions = s.kek.unwraps.Load(), s.store.questions.Load()
	var hit, confirmed, miss []float64
	for range accesses {
		id := s.ids[law.Uint64()]
		u, q, at := s.kek.unwraps.Load(), s.store.questions.Load(), time.Now()
		if _, err := ring.Tenant(ctx, id); err != nil {
			return err
		}
		took := float64(time.Since(at))
		switch {
		case s.kek.unwraps.Load() > u:
			miss = append(miss, took)
		case s.store.questions.Load() > q: // or one in the background was meanwhile
			confirmed = append(confirmed, took)
		default:
			hit = append(hit, took)
		}
	}
	if n := s.kek.unwraps.Load() - unwraps; n > int64(len(miss)) {
		return fmt.Errorf("%d KEK calls for %d tenants that were not in the cache", n, len(miss))
	}
	s.add("hits", "%", 100*float64(len(hit)+len(confirmed))/float64(accesses), fmt.Sprintf("of %d accesses by Zipf's law (s = %v) to %d tenants, with a cache of %d",
		accesses, zipf, len(s.ids), s.cached))
	s.add("kekcalls", "calls", 1000*float64(s.kek.unwraps.Load()-unwraps)/float64(accesses), "for 1000 accesses")
	s.add("questions", "questions", 1000*float64(s.store.questions.Load()-questions)/float64(accesses), "to the store for 1000 accesses")
	for _, c := range []struct {
		name  string
		times []float64
	}{{"hit", hit}, {"confirmed", confirmed}, {"miss", miss}} {
		if len(c.times) > 0 {
			s.add(c.name+".p50", "ns", quantile(c.times, 0.50), fmt.Sprintf("of %d accesses", len(c.times)))
			s.add(c.name+".p99", "ns", quantile(c.times, 0.99), fmt.Sprintf("of %d accesses", len(c.times)))
		}
	}
	return nil
}

// confirm has all the tenants in the cache in use, and counts what it costs to know that they are still active.
func (s *keyScale) confirm(d time.Duration) error {
	for _, c := range []struct {
		name, note string
		store      keys.Store
	}{
		{"confirm", "together", s.store},
		{"confirm.alone", "by a store that is no BatchStore", struct{ keys.Store }{s.store}},
	} {
		ring, err := s.open(c.store, keys.Options{SuspendWithin: s.within})
		if err != nil {
			return err
		}
		if _, err := ring.Warm(context.Background(), slices.Values(s.ids[:s.cached])); err != nil {
			return err
		}
		questions, records, refused, began := s.store.questions.Load(), s.store.records.Load(), 0, time.Now()
		for time.Since(began) < d {
			round := time.Now()
			for _, id := range s.ids[:s.cached] {
				if _, err := ring.Tenant(context.Background(), id); errors.Is(err, keys.ErrUnavailable) {
					refused++
				} else if err != nil {
					return err
				}
			}
			time.Sleep(cmp.Or(s.within, 5*time.Second)/10 - time.Since(round)) // each comes due while it is still fresh
		}
		ring.Close()
		seconds := time.Since(began).Seconds()
		s.add(c.name, "/s", float64(s.store.questions.Load()-questions)/seconds, fmt.Sprintf("questions to the store about %d tenants in use, %s: %.0f tenants/s; %d refusals",
			s.cached, c.note, float64(s.store.records.Load()-records)/seconds, refused))
	}
	runtime.KeepAlive(s)
	return nil
}

// newsStore is a store that tells of changes, as the measurement wants it.
type newsStore struct {
	*countedStore
	changed chan func(tenant.ID, int64)
}

func (s newsStore) Watch(ctx context.Context, changed func(tenant.ID, int64)) error {
	select {
	case s.changed <- changed:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return ctx.Err()
}

// news tells keyrings that hold more and less tenants of changes, of tenants that they hold and of others.
func (s *keyScale) news() error {
	for _, held := range []int{s.cached / 10, s.cached} {
		store := newsStore{s.store, make(chan func(tenant.ID, int64))}
		ring, err := s.open(store, keys.Options{SuspendWithin: time.Hour})
		if err != nil {
			return err
		}
		if _, err := ring.Warm(context.Background(), slices.Values(s.ids[:held])); err != nil {
			return err
		}
		hear, questions, began := <-store.changed, s.store.questions.Load(), time.Now()
		others := s.ids[s.cached:]
		const news = 200_000
		for i := range news {
			hear(others[i%len(others)], 2)
		}
		s.each("news.others", time.Since(began), news, fmt.Sprintf("of a change to a tenant that is not held, %d being held: %d questions to the store", held, s.store.questions.Load()-questions))
		changes := max(held/10, 1)
		began = time.Now()
		for _, id := range s.ids[:changes] {
			hear(id, math.MaxInt64) // whatever numbers the store gives
		}
		for s.store.questions.Load()-questions < int64(changes) {
			if time.Sleep(time.Millisecond); time.Since(began) > time.Minute {
				return fmt.Errorf("of %d changes to tenants that are held, the store was asked about %d", changes, s.store.questions.Load()-questions)
			}
		}
		s.each("news.held", time.Since(began), changes, fmt.Sprintf("of a change to a tenant that is held, %d being held: %d questions to the store about %d changes", held,
			s.store.questions.Load()-questions, changes))
		ring.Close()
	}
	return nil
}
