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

// crowdKEK is a KEK that can be asked about many tenants, and counts how often it is asked.
type crowdKEK struct {
	sharedKEK
	singles, batches atomic.Int64
	takes            time.Duration // each call
	group            func(tenant.ID) string
	forge            func([]keys.Wrapped, []keys.Result) ([]keys.Result, error) // of the first answer about many
	hang             atomic.Bool
	deaf             atomic.Bool // calls do not listen to their context, and end with release
	release          chan struct{}
	one              []byte // what is answered about each, whoever it is, from the second answer about many on
}

func (k *crowdKEK) Group(_ context.Context, w keys.Wrapped) string {
	if k.group != nil {
		return k.group(w.Tenant)
	}
	return "all"
}

func (k *crowdKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k.singles.Add(1)
	if k.deaf.Load() {
		<-k.release
		return nil, errAway
	}
	time.Sleep(k.takes)
	if k.one != nil {
		return slices.Clone(k.one), nil
	}
	return k.KEK.Unwrap(ctx, idA, wrapped)
}

func (k *crowdKEK) Rewrap(ctx context.Context, _ tenant.ID, wrapped []byte) ([]byte, error) {
	k.singles.Add(1)
	return k.KEK.Rewrap(ctx, idA, wrapped)
}

func (k *crowdKEK) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return k.batch(ctx, all, k.KEK.Unwrap)
}

func (k *crowdKEK) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return k.batch(ctx, all, k.KEK.Rewrap)
}

func (k *crowdKEK) batch(ctx context.Context, all []keys.Wrapped, one func(context.Context, tenant.ID, []byte) ([]byte, error)) ([]keys.Result, error) {
	n := k.batches.Add(1)
	if k.deaf.Load() {
		<-k.release
		return nil, errAway
	}
	if k.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(k.takes)
	if len(all) > keys.MaxBatch {
		return nil, fmt.Errorf("asked about %d tenants", len(all))
	}
	results := make([]keys.Result, len(all))
	for i, w := range all {
		if k.group != nil && k.group(w.Tenant) != k.group(all[0].Tenant) {
			return nil, errors.New("asked about two groups")
		}
		results[i].Bytes, results[i].Err = one(ctx, idA, w.Bytes)
	}
	if k.forge != nil && n == 1 {
		return k.forge(all, results)
	}
	for i := range results {
		if k.one != nil {
			results[i].Bytes = slices.Clone(k.one)
		}
	}
	return results, nil
}

func (k *crowdKEK) calls() int64 { return k.singles.Load() + k.batches.Load() }

// TestTenantsAreOpenedTogether: by a warm-up, whether the store can be asked about many or not, and by requests that come at
// once; the fewer calls the more wait.
func TestTenantsAreOpenedTogether(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 600)
	for _, batches := range []bool{true, false} {
		k := &crowdKEK{sharedKEK: sharedKEK{l.kek}}
		var s keys.Store = l.store
		if batches {
			s = &batchStore{Store: l.store}
		}
		r := openRing(t, k, s, nil)
		w, err := r.Warm(t.Context(), slices.Values(ids))
		if err != nil || w.Opened != 600 {
			t.Errorf("warmed %+v, %v", w, err)
		}
		if n := k.calls(); batches && n != 4 || n > 600 {
			t.Errorf("%d KEK calls for 600 tenants; the store can be asked about many: %t", n, batches)
		}
		before := k.calls()
		for _, id := range ids {
			open(t, r, id)
		}
		if k.calls() != before {
			t.Error("asked about tenants that are open")
		}
	}
	synctest.Test(t, func(t *testing.T) {
		k := &crowdKEK{sharedKEK: sharedKEK{l.kek}, takes: 10 * time.Millisecond}
		r := openRing(t, k, l.store, nil)
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() { open(t, r, id) })
		}
		wg.Wait()
		if n := k.calls(); n > 30 {
			t.Errorf("%d KEK calls for 600 requests at once", n)
		}
		if open(t, openRing(t, k, l.store, nil), ids[0]); k.batches.Load() == 0 || k.singles.Load() == 0 {
			t.Error("one alone is asked about as one of many, or many as alone")
		}
		r.Close()
	})
}

// TestRequestsWhileAnswersAreEntered wait until those are opened that were read together, and do not open them one by one.
func TestRequestsWhileAnswersAreEntered(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 64) // as many as a warm-up asks about first
	k := &crowdKEK{sharedKEK: sharedKEK{l.kek}}
	var r *keys.Keyring
	var wg sync.WaitGroup
	s := &batchStore{Store: l.store, forge: func(answers []keys.Record) []keys.Record {
		for _, id := range ids {
			wg.Go(func() { open(t, r, id) })
		}
		return answers
	}}
	r = openRing(t, k, s, nil)
	if w, err := r.Warm(t.Context(), slices.Values(ids)); err != nil || w.Opened != len(ids) {
		t.Errorf("warmed %+v, %v", w, err)
	}
	wg.Wait()
	if k.singles.Load() > 0 {
		t.Errorf("%d tenants that were read together were opened alone", k.singles.Load())
	}
}

// TestTenantsOfDifferentGroups are not asked about together, and those without a group alone.
func TestTenantsOfDifferentGroups(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 90)
	k := &crowdKEK{sharedKEK: sharedKEK{l.kek}}
	k.group = func(id tenant.ID) string {
		switch s := id.String(); s[len(s)-1] {
		case '0':
			return ""
		case '1', '2', '3':
			return "a"
		}
		return "b"
	}
	r := openRing(t, k, &batchStore{Store: l.store}, nil)
	if w, err := r.Warm(t.Context(), slices.Values(ids)); err != nil || w.Opened != 90 {
		t.Errorf("warmed %+v, %v", w, err)
	}
	if k.singles.Load() != 9 || k.batches.Load() != 4 { // of 64 tenants, and of 26
		t.Errorf("%d calls about one tenant, and %d about many", k.singles.Load(), k.batches.Load())
	}
}

// TestAnswersAboutMany that are wrong: what is one tenant's opens as no other's, what is wrong with one is that one's affair, and is
// asked for once more with its record read anew; an answer that is none is asked for again alone, unless nobody answers.
func TestAnswersAboutMany(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 20)
	var k *crowdKEK
	allOnes := func(_ []keys.Wrapped, r []keys.Result) ([]keys.Result, error) {
		for i := range r {
			r[i].Bytes = slices.Clone(r[7].Bytes)
		}
		return r, nil
	}
	for name, c := range map[string]struct {
		forge   func([]keys.Wrapped, []keys.Result) ([]keys.Result, error)
		opened  int
		singles int64 // at the least
		bad     map[int]error
	}{
		"exchanged": {func(_ []keys.Wrapped, r []keys.Result) ([]keys.Result, error) {
			r[3], r[4] = r[4], r[3]
			return r, nil
		}, 20, 0, nil},
		"all one's": {allOnes, 20, 0, nil},
		"all one's, again and again": {func(all []keys.Wrapped, r []keys.Result) ([]keys.Result, error) {
			k.one = slices.Clone(r[7].Bytes)
			return allOnes(all, r)
		}, 1, 0, map[int]error{0: keys.ErrIntegrity, 19: keys.ErrIntegrity}},
		"too few":  {func(_ []keys.Wrapped, r []keys.Result) ([]keys.Result, error) { return r[1:], nil }, 20, 20, nil},
		"too many": {func(_ []keys.Wrapped, r []keys.Result) ([]keys.Result, error) { return append(r, r[0]), nil }, 20, 20, nil},
		"one damaged, one away, one empty": {func(_ []keys.Wrapped, r []keys.Result) ([]keys.Result, error) {
			r[0] = keys.Result{Err: fmt.Errorf("it is damaged: %w", keys.ErrIntegrity)}
			r[1] = keys.Result{Err: fmt.Errorf("no answer: %w", keys.ErrUnavailable)}
			r[2] = keys.Result{}
			return r, nil
		}, 19, 0, map[int]error{1: keys.ErrUnavailable}},
		"refused as a whole": {func([]keys.Wrapped, []keys.Result) ([]keys.Result, error) {
			return nil, errors.New("request too large")
		}, 20, 20, nil},
		"away": {func([]keys.Wrapped, []keys.Result) ([]keys.Result, error) {
			return nil, fmt.Errorf("%w: refused", keys.ErrUnavailable)
		}, 0, 0, map[int]error{0: keys.ErrUnavailable, 19: keys.ErrUnavailable}},
	} {
		t.Run(name, func(t *testing.T) {
			k = &crowdKEK{sharedKEK: sharedKEK{l.kek}, forge: c.forge}
			r := openRing(t, k, &batchStore{Store: l.store}, nil)
			w, err := r.Warm(t.Context(), slices.Values(ids))
			if w.Opened != c.opened || w.Failed != 20-c.opened || (err == nil) != (c.opened == 20) || k.singles.Load() < c.singles {
				t.Errorf("warmed %+v, %v; %d calls about one", w, err, k.singles.Load())
			}
			for i, want := range c.bad {
				_, err := r.Tenant(t.Context(), ids[i])
				wantErr(t, err, want)
				if !strings.Contains(err.Error(), ids[i].String()) {
					t.Errorf("the error does not name the tenant: %v", err)
				}
			}
		})
	}
}

// TestABatchThatHangs is given up in time, for all of its tenants, and afterwards each is asked about alone until it answers.
func TestABatchThatHangs(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 40)
	synctest.Test(t, func(t *testing.T) {
		k := &crowdKEK{sharedKEK: sharedKEK{l.kek}}
		k.hang.Store(true)
		r := openRing(t, k, &batchStore{Store: l.store}, &keys.Options{Timeout: time.Second})
		begun := time.Now()
		w, err := r.Warm(t.Context(), slices.Values(ids))
		wantErr(t, err, keys.ErrUnavailable)
		if w.Failed != 40 || time.Since(begun) > 2*time.Second || k.calls() != 1 {
			t.Errorf("warmed %+v after %v, by %d calls", w, time.Since(begun), k.calls())
		}
		k.hang.Store(false)
		time.Sleep(time.Minute)
		for _, id := range ids {
			open(t, r, id)
		}
		r.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = openRing(t, k, l.store, nil).Warm(ctx, slices.Values(ids))
		wantErr(t, err, context.Canceled)
		closed := openRing(t, k, &batchStore{Store: l.store}, nil)
		k.hang.Store(true)
		time.AfterFunc(time.Millisecond, func() { closed.Close() })
		if w, err := closed.Warm(t.Context(), slices.Values(ids)); err == nil || w.Opened > 0 { // ends, and nothing is left running
			t.Errorf("warmed %+v by a keyring that was closed", w)
		}
	})
}

// TestDeafCallsKeepNobodyWaiting: calls that do not end when their time is over are given up, of one tenant and of many, and who waits
// behind them is asked about by others.
func TestDeafCallsKeepNobodyWaiting(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 120)
	synctest.Test(t, func(t *testing.T) {
		k := &crowdKEK{sharedKEK: sharedKEK{l.kek}, release: make(chan struct{})}
		r := openRing(t, k, &batchStore{Store: l.store}, &keys.Options{Timeout: time.Second})
		k.deaf.Store(true)
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { r.Tenant(t.Context(), ids[i]) })
			synctest.Wait() // it is asked about: the next is not asked about together with it
		}
		wg.Go(func() { r.Warm(t.Context(), slices.Values(ids[10:50])) })
		synctest.Wait()
		if n := k.calls(); n != 4 || k.batches.Load() != 1 {
			t.Errorf("%d calls, %d of them about many", n, k.batches.Load())
		}
		k.deaf.Store(false)
		for _, id := range ids[60:] {
			wg.Go(func() {
				begun := time.Now()
				if _, err := r.Tenant(t.Context(), id); err != nil || time.Since(begun) > 2*time.Second {
					t.Errorf("%s, after %v: %v", id, time.Since(begun), err)
				}
			})
		}
		wg.Wait()
		close(k.release)
		time.Sleep(time.Minute)
		for _, id := range ids {
			open(t, r, id)
		}
		synctest.Wait() // a tenant is served before the call about it gives its place back
		if n := r.Waiting(); n > 0 {
			t.Errorf("%d calls are counted when there are none", n)
		}
		r.Close()
	})
}

// TestCallsThatEndAsTheyAreGivenUp, at that very moment, give their place back once.
func TestCallsThatEndAsTheyAreGivenUp(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 200)
	synctest.Test(t, func(t *testing.T) {
		k := &crowdKEK{sharedKEK: sharedKEK{l.kek}, takes: time.Second + time.Second/8}
		r := openRing(t, k, l.store, &keys.Options{Timeout: time.Second})
		for _, id := range ids {
			r.Tenant(t.Context(), id)
		}
		time.Sleep(time.Minute)
		if n := r.Waiting(); n > 0 {
			t.Errorf("%d calls are counted when there are none", n)
		}
		r.Close()
	})
}
