package keys_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// weather is how a provider is for a while.
type weather int

const (
	fine    weather = iota
	away            // it fails at once
	slow            // it answers after up to two seconds
	hanging         // it has no answer before its caller gives up
	deaf            // nor then: the call returns long after
	weathers
)

const flapTimeout = 2 * time.Second

// flapping is a real store and a real KEK provider whose weather changes all the time, each by itself.
type flapping struct {
	keys.KEK
	keys.Store
	kek, store atomic.Int32

	mu     sync.Mutex
	rng    *rand.Rand
	failed map[tenant.ID]time.Time // when the last call to the KEK provider failed
	asked  int64
	busy   int
	most   int
	early  []string

	together atomic.Int64 // calls about many tenants
}

func (f *flapping) pass(ctx context.Context, w weather) error {
	f.mu.Lock()
	wait := time.Duration(1 + f.rng.IntN(2000))
	f.mu.Unlock()
	switch w {
	case away:
		return errAway
	case slow:
		select {
		case <-time.After(wait * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	case hanging:
		<-ctx.Done()
		return ctx.Err()
	case deaf:
		time.Sleep(20 * time.Second)
		return errAway
	}
	return nil
}

func (f *flapping) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if err := f.pass(ctx, weather(f.store.Load())); err != nil {
		return keys.Record{}, err
	}
	return f.Store.Get(ctx, id)
}

func (f *flapping) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	begun := f.begin(id)
	err := f.pass(ctx, weather(f.kek.Load()))
	f.end(begun, err, id)
	if err != nil {
		return nil, err
	}
	return f.KEK.Unwrap(ctx, id, wrapped)
}

// flappingTogether can be asked about many tenants.
type flappingTogether struct{ *flapping }

func (f flappingTogether) Group(context.Context, keys.Wrapped) string { return "all" }

func (f flappingTogether) RewrapBatch(context.Context, []keys.Wrapped) ([]keys.Result, error) {
	panic("nobody rewraps")
}

func (f flappingTogether) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	f.together.Add(1)
	results := make([]keys.Result, len(all))
	ids := make([]tenant.ID, len(all))
	for i, w := range all {
		ids[i] = w.Tenant
	}
	begun := f.begin(ids...)
	err := f.pass(ctx, weather(f.kek.Load()))
	f.end(begun, err, ids...)
	if err != nil {
		return nil, err
	}
	for i, w := range all {
		results[i].Bytes, results[i].Err = f.KEK.Unwrap(ctx, w.Tenant, w.Bytes)
	}
	return results, nil
}

func (f *flapping) begin(ids ...tenant.ID) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.busy++
	f.most = max(f.most, f.busy)
	for _, id := range ids {
		f.beginOne(id)
	}
	return time.Now()
}

func (f *flapping) beginOne(id tenant.ID) {
	if at, ok := f.failed[id]; ok && time.Since(at) < time.Second {
		f.early = append(f.early, fmt.Sprintf("%s is asked for %v after a failure", id, time.Since(at)))
	}
	delete(f.failed, id)
}

func (f *flapping) end(begun time.Time, err error, ids ...tenant.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	if err != nil && time.Since(begun) <= flapTimeout { // or it was given up, and what is asked since is another question
		for _, id := range ids {
			f.failed[id] = time.Now()
		}
	}
}

// change changes the weather.
func (f *flapping) change() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range []*atomic.Int32{&f.kek, &f.store} {
		now := fine // half of the time
		if f.rng.IntN(2) == 0 {
			now = weather(f.rng.IntN(int(weathers)))
		}
		w.Store(int32(now))
	}
}

// heap is what is in use once all that can go is gone.
func inUseBytes() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// begunByKeys returns the stacks of the goroutines in this bubble that the package has begun.
func begunByKeys() (left []string) {
	all := make([]byte, 4<<20)
	stacks := strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n")
	_, bubble, _ := strings.Cut(stacks[0], "synctest bubble ")
	bubble, _, _ = strings.Cut(bubble, "]")
	for _, s := range stacks[1:] {
		if strings.Contains(s, "synctest bubble "+bubble+"]") && strings.Contains(s, "created by github.com/strongroom-go/strongroom/keys.") {
			left = append(left, s)
		}
	}
	return left
}

// TestFlapping has the store and the KEK provider change between fine, away, slow and hanging every 360 ms, 2,500 times or as
// often as STRONGROOM_TEST_CYCLES says (10,000 are an hour of simulated time), while tenants in use and cold ones are asked for. It
// leaves no goroutine and no memory behind, nobody waits for longer than is documented, the KEK provider is not overrun, and
// all is well once they are, without a restart.
func TestFlapping(t *testing.T) {
	cycles := 2500
	if n, err := strconv.Atoi(os.Getenv("STRONGROOM_TEST_CYCLES")); err == nil {
		cycles = n
	}
	l := newLocal(t)
	ids := many(t, l, 60)
	inUse := ids[:8]
	for name, c := range map[string]struct {
		policy   keys.Policy
		together bool
	}{"FailNow": {keys.FailNow, false}, "ServeStale": {keys.ServeStale, false}, "Together": {keys.FailNow, true}, "ServeStaleTogether": {keys.ServeStale, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := c.policy
				f := &flapping{KEK: sharedKEK{l.kek}, Store: l.store, rng: rand.New(rand.NewPCG(1, 7)), failed: map[tenant.ID]time.Time{}}
				var kek keys.KEK = f
				if c.together {
					kek = flappingTogether{f}
				}
				r := openRing(t, kek, f, &keys.Options{WhenUnavailable: policy, Timeout: flapTimeout, ReopenAfter: time.Minute, StaleLimit: 2 * time.Hour,
					CacheSize: 40, MaxKEKCalls: 8, MaxStoreReads: 16})
				ctx, cancel := context.WithCancel(t.Context())
				var callers sync.WaitGroup
				var served, refused atomic.Int64
				var longest time.Duration
				var mu sync.Mutex
				ask := func(id tenant.ID, hot bool) {
					at := time.Now()
					_, err := r.Tenant(ctx, id)
					mu.Lock()
					longest = max(longest, time.Since(at))
					mu.Unlock()
					switch {
					case err == nil:
						served.Add(1)
					case ctx.Err() != nil:
					case !errors.Is(err, keys.ErrUnavailable):
						t.Errorf("%s: %v", id, err)
					case hot && policy == keys.ServeStale:
						t.Errorf("%s, in use: %v", id, err)
					default:
						refused.Add(1)
					}
				}
				for _, id := range inUse {
					open(t, r, id)
					callers.Go(func() {
						for ctx.Err() == nil {
							ask(id, true)
							time.Sleep(300 * time.Millisecond)
						}
					})
				}
				callers.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						callers.Go(func() { ask(ids[len(inUse)+i%(len(ids)-len(inUse))], false) })
						time.Sleep(500 * time.Millisecond)
					}
				})
				if c.together {
					callers.Go(func() { // those in use last, which stay
						for ctx.Err() == nil {
							r.Warm(ctx, slices.Values(append(slices.Clone(ids[20:36]), inUse...)))
							time.Sleep(20 * time.Second)
						}
					})
				}
				var early uint64
				for i := range cycles {
					f.change()
					time.Sleep(360 * time.Millisecond)
					if i == cycles/10 {
						early = inUseBytes()
					}
				}
				f.kek.Store(int32(fine))
				f.store.Store(int32(fine))
				time.Sleep(30 * time.Second) // the last deaf calls return
				late := inUseBytes()
				cancel()
				callers.Wait()
				for _, id := range ids {
					open(t, r, id)
				}
				if late > early+1<<20 {
					t.Errorf("%d KiB are in use in the end, %d after a tenth of the time", late>>10, early>>10)
				}
				time.Sleep(5 * flapTimeout) // what was asked ahead of need ends
				if n := r.Inflight(); n > 0 {
					t.Errorf("%d questions are under way when nobody asks", n)
				}
				if len(f.early) > 0 {
					t.Errorf("%d times too early: %s", len(f.early), f.early[0])
				}
				if f.most > 8 {
					t.Errorf("%d KEK calls at once, over the bound of 8", f.most)
				}
				// Waiting for a turn and for an answer, of the store and of the KEK provider, and of the store again.
				if most := 3 * (4*flapTimeout + flapTimeout*9/8); longest > most {
					t.Errorf("somebody waited for %v, over %v", longest, most)
				}
				if c.together && f.together.Load() == 0 {
					t.Error("nobody was asked about together")
				}
				t.Logf("%d served, %d refused; %d KEK calls, %d of them about many; the longest wait was %v", served.Load(), refused.Load(), f.asked, f.together.Load(), longest)
				time.Sleep(time.Minute) // idle ones end
				synctest.Wait()
				if left := begunByKeys(); len(left) > 0 {
					t.Errorf("%d goroutines have nothing to do, such as:\n%s", len(left), left[0])
				}
				r.Close()
				synctest.Wait()
				if left := begunByKeys(); len(left) > 0 {
					t.Errorf("%d goroutines are left, such as:\n%s", len(left), left[0])
				}
			})
		})
	}
}
