package keys_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

const panicSays = "of the application's data"

// panickyKEK panics for one tenant, where it is asked about that one alone and about many.
type panickyKEK struct {
	*crowdKEK
	of     tenant.ID
	groups bool // and where it is asked for a group
}

func (k *panickyKEK) say(id tenant.ID) {
	if id == k.of {
		panic(panicSays)
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

// panickyStore panics for one tenant.
type panickyStore struct {
	batchStore
	of tenant.ID
}

func (s *panickyStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	if id == s.of {
		panic(panicSays)
	}
	return s.batchStore.Get(ctx, id)
}

func (s *panickyStore) GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]keys.Record, error) {
	if slices.Contains(ids, s.of) {
		panic(panicSays)
	}
	return s.batchStore.GetChanged(ctx, ids, known)
}

// wantPanicked checks an error about a panic.
func wantPanicked(t *testing.T, err error, of string) {
	t.Helper()
	wantErr(t, err, keys.ErrUnavailable)
	for what, want := range map[string]bool{of + " panicked": true, "panics_test.go": true, panicSays: false} {
		if strings.Contains(err.Error(), what) != want {
			t.Errorf("%q in the error: %t, want %t: %v", what, !want, want, err)
		}
	}
}

// TestAProviderThatPanics for a tenant has no answer about that one; the process goes on, and the others are served. It is asked on
// goroutines of the keyring's.
func TestAProviderThatPanics(t *testing.T) {
	l := newLocal(t)
	ids := many(t, l, 20)
	bad := ids[3]
	for what, groups := range map[string]bool{"asked about tenants": false, "asked for groups as well": true} {
		t.Run("KEK "+what, func(t *testing.T) {
			k := &panickyKEK{crowdKEK: &crowdKEK{sharedKEK: sharedKEK{l.kek}}, of: bad, groups: groups}
			r := openRing(t, k, &batchStore{Store: l.store}, nil)
			w, err := r.Warm(t.Context(), slices.Values(ids))
			if w.Opened != 19 || w.Failed != 1 {
				t.Errorf("warmed %+v", w)
			}
			wantPanicked(t, err, "KEK provider")
			_, err = r.Tenant(t.Context(), bad)
			wantPanicked(t, err, "KEK provider")
			wantPanicked(t, r.Rewrap(t.Context(), bad, ""), "KEK provider")
			for id, err := range r.RewrapEach(t.Context(), slices.Values(ids), "") {
				if id == bad {
					wantPanicked(t, err, "KEK provider")
				} else {
					must(t, err)
				}
			}
		})
	}
	t.Run("store", func(t *testing.T) {
		s := &panickyStore{batchStore{Store: l.store}, bad}
		r := openRing(t, sharedKEK{l.kek}, s, nil)
		w, err := r.Warm(t.Context(), slices.Values(ids))
		if w.Opened != 19 || w.Failed != 1 {
			t.Errorf("warmed %+v", w)
		}
		wantPanicked(t, err, "key store")
		_, err = r.Status(t.Context(), bad)
		wantPanicked(t, err, "key store")
	})
}

// watchedStore panics where it is watched, until it tells of news.
type watchedStore struct {
	keys.Store
	watched int
	heard   chan struct{}
}

func (s *watchedStore) Watch(ctx context.Context, _ func(tenant.ID, int64)) error {
	if s.watched++; s.watched < 3 {
		panic(panicSays)
	}
	close(s.heard)
	<-ctx.Done()
	return ctx.Err()
}

// TestAWatchThatPanics is begun again, as one that fails.
func TestAWatchThatPanics(t *testing.T) {
	l := newLocal(t)
	synctest.Test(t, func(t *testing.T) {
		s := &watchedStore{Store: l.store, heard: make(chan struct{})}
		r := openRing(t, l.kek, s, nil)
		select {
		case <-s.heard:
		case <-time.After(time.Minute):
			t.Error("the store is not watched any more")
		}
		r.Close()
	})
}
