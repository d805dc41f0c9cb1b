package keys_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

const panicSays = "of the application's data"

// broken is how a call of the application's does not return.
type broken struct {
	does string // in errors
	do   func()
}

func ways() []broken {
	return []broken{
		{"panicked", func() { panic(panicSays) }},
		{"ended its goroutine", runtime.Goexit}, // as t.FailNow does
	}
}

// panickyKEK does not return for one tenant, where it is asked about that one alone and about many.
type panickyKEK struct {
	*crowdKEK
	of     tenant.ID
	how    broken
	groups bool // and where it is asked for a group
}

func (k *panickyKEK) say(id tenant.ID) {
	if id == k.of {
		k.how.do()
	}
}

func (k *panickyKEK) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k.say(id)
	return k.crowdKEK.Unwrap(ctx, id, wrapped)
}

func (k *panickyKEK) Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	k.say(id)
	return k.crowdKEK.Rewrap(ctx, id, wrapped)
}

func (k *panickyKEK) Group(ctx context.Context, w keys.Wrapped) string {
	if k.groups {
		k.say(w.Tenant)
	}
	return k.crowdKEK.Group(ctx, w)
}

func (k *panickyKEK) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	for _, w := range all {
		k.say(w.Tenant)
	}
	return k.crowdKEK.UnwrapBatch(ctx, all)
}

func (k *panickyKEK) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	for _, w := range all {
		k.say(w.Tenant)
	}
	return k.crowdKEK.RewrapBatch(ctx, all)
}

// panickyStore does not return for one tenant.
type panickyStore struct {
	batchStore
	of  tenant.ID
	how broken
}

func (s *panickyStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if id == s.of {
		s.how.do()
	}
	return s.batchStore.Get(ctx, id)
}

func (s *panickyStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	if id == s.of {
		s.how.do()
	}
	return s.batchStore.Put(ctx, id, data, version)
}

func (s *panickyStore) GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]keys.Record, error) {
	if slices.Contains(ids, s.of) {
		s.how.do()
	}
	return s.batchStore.GetChanged(ctx, ids, known)
}

// wantBroken checks an error about a call that did not return.
func wantBroken(t *testing.T, err error, of string, how broken) {
	t.Helper()
	wantErr(t, err, keys.ErrUnavailable)
	for what, want := range map[string]bool{of + " " + how.does: true, "panics_test.go": how.does == "panicked", panicSays: false} {
		if strings.Contains(err.Error(), what) != want {
			t.Errorf("%q in the error: %t, want %t: %v", what, !want, want, err)
		}
	}
}

// TestAProviderThatDoesNotReturn for a tenant has no answer about that one; the process goes on, nobody waits, and the others are served. It is
// asked on goroutines of the keyring's, on the callers' own, and by those that others wait for. In the bubble no time goes by until nothing
// else can happen: who waits for a bound of the keyring's is seen to.
func TestAProviderThatDoesNotReturn(t *testing.T) {
	for _, how := range ways() {
		for what, groups := range map[string]bool{"asked about tenants": false, "asked for groups as well": true} {
			t.Run("KEK "+what+" "+how.does, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testBrokenKEK(t, how, groups) }) })
		}
		t.Run("store "+how.does, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testBrokenStore(t, how) }) })
	}
}

func testBrokenKEK(t *testing.T, how broken, groups bool) {
	l := newLocal(t)
	ids := many(t, l, 20)
	bad := ids[3]
	k := &panickyKEK{crowdKEK: &crowdKEK{sharedKEK: sharedKEK{l.kek}}, of: bad, how: how, groups: groups}
	r := openRing(t, k, &batchStore{Store: l.store}, nil)
	defer wantNothingInFlight(t, r)
	defer wantNoTime(t)()
	w, err := r.Warm(t.Context(), slices.Values(ids))
	if w.Opened != 19 || w.Failed != 1 {
		t.Errorf("warmed %+v", w)
	}
	wantBroken(t, err, "KEK provider", how)
	_, err = r.Tenant(t.Context(), bad)
	wantBroken(t, err, "KEK provider", how)
	wantBroken(t, r.Rewrap(t.Context(), bad, ""), "KEK provider", how)
	for id, err := range r.RewrapEach(t.Context(), slices.Values(ids), "") {
		if id == bad {
			wantBroken(t, err, "KEK provider", how)
		} else {
			must(t, err)
		}
	}
}

func testBrokenStore(t *testing.T, how broken) {
	l := newLocal(t)
	ids := many(t, l, 20)
	bad := ids[3]
	s := &panickyStore{batchStore{Store: l.store}, bad, how}
	r := openRing(t, sharedKEK{l.kek}, s, nil)
	defer wantNothingInFlight(t, r)
	defer wantNoTime(t)()
	w, err := r.Warm(t.Context(), slices.Values(ids))
	if w.Opened != 19 || w.Failed != 1 {
		t.Errorf("warmed %+v", w)
	}
	wantBroken(t, err, "key store", how)
	_, err = r.Status(t.Context(), bad)
	wantBroken(t, err, "key store", how)
	wantBroken(t, r.Suspend(t.Context(), bad, ""), "key store", how)
	wantBroken(t, r.Rotate(t.Context(), bad, keys.PurposeData, ""), "key store", how)
	for listed, err := range r.Tenants(t.Context()) {
		if listed.ID == bad {
			wantBroken(t, err, "key store", how)
		} else {
			must(t, err)
		}
	}
}

// wantNoTime sees to it that nobody has waited, by the bubble's clock.
func wantNoTime(t *testing.T) func() {
	began := time.Now()
	return func() {
		t.Helper()
		if waited := time.Since(began); waited > 0 {
			t.Errorf("somebody waited for %v", waited)
		}
	}
}

// wantNothingInFlight sees to it that every flight has landed, and every turn was given back.
func wantNothingInFlight(t *testing.T, r *keys.Keyring) {
	t.Helper()
	synctest.Wait()
	if n, m := r.Inflight(), r.Waiting(); n+m > 0 {
		t.Errorf("%d flights do not land, and %d calls do not end", n, m)
	}
}

// watchedStore does not return where it is watched, until it tells of news.
type watchedStore struct {
	keys.Store
	how     broken
	watched int
	heard   chan struct{}
}

func (s *watchedStore) Watch(ctx context.Context, _ func(tenant.ID, int64)) error {
	if s.watched++; s.watched < 3 {
		s.how.do()
	}
	close(s.heard)
	<-ctx.Done()
	return ctx.Err()
}

// TestAWatchThatDoesNotReturn is begun again, as one that fails.
func TestAWatchThatDoesNotReturn(t *testing.T) {
	for _, how := range ways() {
		synctest.Test(t, func(t *testing.T) {
			l := newLocal(t)
			s := &watchedStore{Store: l.store, how: how, heard: make(chan struct{})}
			r := openRing(t, l.kek, s, nil)
			select {
			case <-s.heard:
			case <-time.After(time.Minute):
				t.Errorf("%s: the store is not watched any more", how.does)
			}
			r.Close()
		})
	}
}

// TestWhatCountsDoesNotReturn: a key is left as it is, on the record, and the caller goes on.
func TestWhatCountsDoesNotReturn(t *testing.T) {
	for _, how := range ways() {
		synctest.Test(t, func(t *testing.T) {
			l, log := newLocal(t), &trail{}
			r := openRing(t, l.kek, l.store, &keys.Options{Audit: log})
			provision(t, r, idA)
			old := open(t, r, idA).DataKeyID()
			rotate(t, r, idA, keys.PurposeData)
			log.take()
			over := make(chan error, 1)
			go func() {
				over <- r.DisableKey(t.Context(), idA, keys.PurposeData, old, "", func(context.Context) (int64, error) {
					how.do()
					return 0, nil
				})
			}()
			select {
			case err := <-over:
				if err == nil || !strings.Contains(err.Error(), "what counts "+how.does) || strings.Contains(err.Error(), panicSays) {
					t.Errorf("%v", err)
				}
			case <-time.After(time.Minute):
				t.Error("the caller was ended")
			}
			if got := statuses(t, r, keys.PurposeData); got != "opens seals" {
				t.Error(got)
			}
			if n := len(log.events); n != 2 || log.events[1].Status != audit.Failure {
				t.Errorf("%d events", n)
			}
		})
	}
}

// TestAnOnStaleThatDoesNotReturnIsAnError: it is called within calls of database/sql, which does not take a connection back then.
func TestAnOnStaleThatDoesNotReturnIsAnError(t *testing.T) {
	for _, how := range ways() {
		r, f, clock := timed(t, keys.Options{WhenUnavailable: keys.ServeStale, OnStale: func(tenant.ID, time.Duration) { how.do() }})
		provision(t, r, idA)
		open(t, r, idA)
		f.set(nil, errAway)
		clock.Add(10 * time.Second)
		over := make(chan struct{})
		go func() {
			defer close(over)
			err := errors.New("the caller was ended")
			defer func() {
				if err == nil || strings.Contains(err.Error(), panicSays) || !strings.Contains(err.Error(), "OnStale "+how.does) {
					t.Errorf("%v; want an error that names the option, and nothing of what a panic says", err)
				}
			}()
			_, err = r.Tenant(t.Context(), idA)
		}()
		<-over
	}
}

// brokenVersions is a shared key of which disabling versions does not return the first time, though they are disabled.
type brokenVersions struct {
	*sharedProcess
	how  broken
	once sync.Once
}

func (b *brokenVersions) DisableVersions(ctx context.Context, oldest int) error {
	err := b.sharedProcess.DisableVersions(ctx, oldest)
	b.once.Do(b.how.do)
	return err
}

// TestADestructionOfVersionsThatDoesNotReturn, by the provider or by the function that is told of its progress, is undone: no version stays
// disabled that somebody may need, and the caller goes on.
func TestADestructionOfVersionsThatDoesNotReturn(t *testing.T) {
	for _, how := range ways() {
		for _, progress := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := &sharedWorld{newest: 1, oldest: 1, opens: 1, records: map[tenant.ID]keys.Record{}, begun: time.Now()}
				p := &sharedProcess{sharedWorld: w}
				ring := openRing(t, p, sharedRecords{p}, nil)
				provision(t, ring, idA, idB)
				var kek keys.SharedKEK = &brokenVersions{sharedProcess: p, how: how}
				opts := &keys.DestroySharedOptions{}
				if progress {
					kek = p
					opts.Progress = func(at keys.DestroySharedProgress) {
						if at.Proving {
							how.do()
						}
					}
				}
				over := make(chan error, 1)
				go func() {
					_, err := ring.DestroySharedKEK(t.Context(), kek, 1, opts)
					over <- err
				}()
				select {
				case err := <-over:
					if err == nil || !strings.Contains(err.Error(), how.does) || strings.Contains(err.Error(), panicSays) {
						t.Error(err)
					}
				case <-time.After(24 * time.Hour):
					t.Error("the caller was ended")
				}
				if w.opens != 1 || w.oldest != 1 {
					t.Errorf("progress %t: versions from %d on open", progress, w.opens)
				}
			})
		}
	}
}

// silent is a shared key that cannot tell which version something needs, and perhaps does not return where it is asked.
type silent struct {
	*sharedProcess
	how broken
}

func (s silent) Needs([]byte, int) bool {
	s.how.do()
	return true
}

// disabledMeanwhile takes long to store a record, and somebody disables the version that it needs.
type disabledMeanwhile struct{ sharedRecords }

func (s disabledMeanwhile) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	version, err := s.sharedRecords.Put(ctx, id, data, version)
	time.Sleep(2 * time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest, s.opens = 3, 3
	return version, err
}

// TestAProviderThatCannotTellWhatIsNeeded: what took long to be stored, and does not open for now, is not deleted for that. Others may have
// sealed with its keys, and the version that it needs is there.
func TestAProviderThatCannotTellWhatIsNeeded(t *testing.T) {
	for _, how := range append(ways(), broken{"", func() {}}) {
		synctest.Test(t, func(t *testing.T) {
			w := &sharedWorld{newest: 2, oldest: 2, opens: 2, records: map[tenant.ID]keys.Record{}, begun: time.Now()}
			p := &sharedProcess{sharedWorld: w}
			ring := openRing(t, silent{p, how}, disabledMeanwhile{sharedRecords{p}}, nil)
			err := ring.Provision(t.Context(), idA)
			if wantErr(t, err, keys.ErrUnavailable); how.does != "" {
				wantBroken(t, err, "KEK provider", how)
			}
			if _, err := (sharedRecords{p}).Get(t.Context(), idA); err != nil {
				t.Fatalf("the record: %v", err)
			}
			w.opens = 2
			open(t, openRing(t, p, sharedRecords{p}, nil), idA)
		})
	}
}
