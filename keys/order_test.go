package keys_test

import (
	"context"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// delayedStore is a store whose next answers can be held back after what they say was decided.
type delayedStore struct {
	keys.Store
	gets, puts chan chan struct{} // each call that is held sends what lets it go; nil: none is held
}

func (s *delayedStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	holdBack(s.gets)
	return rec, err
}

func (s *delayedStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	v, err := s.Store.Put(ctx, id, data, version)
	holdBack(s.puts)
	return v, err
}

func holdBack(calls chan chan struct{}) {
	if calls != nil {
		release := make(chan struct{})
		calls <- release
		<-release
	}
}

// whileHeld runs do in the background and returns when its call is held, with what lets it go and waits for do's end.
func whileHeld(calls *chan chan struct{}, do func()) (finish func()) {
	*calls = make(chan chan struct{})
	held := *calls
	done := make(chan struct{})
	go func() { do(); close(done) }()
	release := <-held
	*calls = nil
	return func() { close(release); <-done }
}

func delayedRing(t *testing.T) (*keys.Keyring, *delayedStore, *local, *keys.Clock) {
	l, clock, o := newLocal(t), new(keys.Clock), keys.Options{}
	clock.Set(&o)
	s := &delayedStore{Store: l.store}
	return openRing(t, l.kek, s, &o), s, l, clock
}

// TestALateAnswerToAChangeStretchesNothing: the bound of a suspension elsewhere counts from before the change was asked
// for, not from its answer.
func TestALateAnswerToAChangeStretchesNothing(t *testing.T) {
	r, s, l, clock := delayedRing(t)
	provision(t, r, idA)
	must(t, r.Suspend(t.Context(), idA, "x"))
	finish := whileHeld(&s.puts, func() { _ = r.Resume(context.Background(), idA, "x") })
	must(t, openRing(t, l.kek, l.store, nil).Suspend(t.Context(), idA, "x"))
	clock.Add(20 * time.Second) // the answer to Resume is slow
	finish()
	_, err := r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrSuspended)
}

// TestALateAnswerToAReadHandsNothingOut: what the store said so long ago is asked for again.
func TestALateAnswerToAReadHandsNothingOut(t *testing.T) {
	for _, after := range []time.Duration{4900 * time.Millisecond, 5 * time.Second, 20 * time.Second} {
		r, s, l, clock := delayedRing(t)
		provision(t, openRing(t, l.kek, l.store, nil), idA)
		var err error
		finish := whileHeld(&s.gets, func() { _, err = r.Tenant(context.Background(), idA) })
		must(t, openRing(t, l.kek, l.store, nil).Suspend(t.Context(), idA, "x"))
		clock.Add(after)
		finish()
		if after < 5*time.Second {
			must(t, err)
			clock.Add(5*time.Second - after)
			_, err = r.Tenant(t.Context(), idA)
		}
		wantErr(t, err, keys.ErrSuspended)
	}
}

// TestALateNotFoundUndoesNothing: neither one that was asked for before the provisioning, nor one during it.
func TestALateNotFoundUndoesNothing(t *testing.T) {
	for name, late := range map[string]func(*keys.Keyring){
		"status": func(r *keys.Keyring) { _, _ = r.Status(context.Background(), idA) },
		"keys":   func(r *keys.Keyring) { _, _ = r.Tenant(context.Background(), idA) },
		"sealer": func(r *keys.Keyring) { _, _ = r.AuditSealer(context.Background(), idA) },
		"change": func(r *keys.Keyring) { _ = r.Suspend(context.Background(), idA, "") },
	} {
		t.Run(name, func(t *testing.T) {
			r, s, l, _ := delayedRing(t)
			finish := whileHeld(&s.gets, func() { late(r) })
			provision(t, r, idA)
			open(t, r, idA)
			finish()
			want := keys.StatusActive
			if name == "change" {
				want = keys.StatusSuspended // it is tried again, and finds the record
			} else {
				open(t, r, idA)
			}
			wantStatus(t, r, idA, want)
			wantStatus(t, openRing(t, l.kek, l.store, nil), idA, want)
		})
	}
}

// TestALateRecordUndoesNothing: an answer from before a change does not bring back what was before it, not even where
// the cache has let go of what came after, or the record is gone.
func TestALateRecordUndoesNothing(t *testing.T) {
	for _, change := range []string{"suspend", "shred", "delete"} {
		for _, evicted := range []bool{false, true} {
			l, o := newLocal(t), keys.Options{CacheSize: 1}
			s := &delayedStore{Store: l.store}
			r := openRing(t, l.kek, s, &o)
			provision(t, openRing(t, l.kek, l.store, nil), idA, idB)
			finish := whileHeld(&s.gets, func() { _, _ = r.Tenant(context.Background(), idA) })
			var want error
			switch change {
			case "suspend":
				want = keys.ErrSuspended
				must(t, r.Suspend(t.Context(), idA, ""))
			case "shred":
				want = keys.ErrShredded
				must(t, r.Shred(t.Context(), idA, ""))
			case "delete":
				want = keys.ErrNotProvisioned
				rec, err := l.store.Get(t.Context(), idA)
				must(t, err)
				must(t, l.store.Delete(t.Context(), idA, rec.Version))
				wantErr(t, r.Suspend(t.Context(), idA, ""), want) // sees that it is gone
			}
			if evicted {
				open(t, r, idB)
			}
			finish()
			_, err := r.Tenant(t.Context(), idA)
			wantErr(t, err, want)
		}
	}
}

// TestALateFailureUndoesNothing: a question that failed says nothing of what was asked later.
func TestALateFailureUndoesNothing(t *testing.T) {
	l, o, clock := newLocal(t), keys.Options{}, new(keys.Clock)
	clock.Set(&o)
	f := newFaulty(l)
	s := &delayedStore{Store: f}
	r := openRing(t, l.kek, s, &o)
	provision(t, r, idA)
	clock.Add(4 * time.Second)
	f.set(nil, errAway)
	finish := whileHeld(&s.gets, func() { open(t, r, idA); r.AwaitRefresh(idA) })
	f.set(nil, nil)
	clock.Add(500 * time.Millisecond)
	must(t, r.Resume(t.Context(), idA, "")) // confirms the record
	finish()
	clock.Add(4900 * time.Millisecond)
	open(t, r, idA)
}
