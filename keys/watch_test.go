package keys_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// telling is a store that tells what the test has it tell.
type telling struct {
	*delayedStore
	mu      sync.Mutex
	changed func(tenant.ID, int64)
	err     error
	watches int
	watched chan struct{} // of each watch
}

func (s *telling) Watch(ctx context.Context, changed func(tenant.ID, int64)) error {
	s.mu.Lock()
	s.changed, s.watches = changed, s.watches+1
	err := s.err
	s.mu.Unlock()
	s.watched <- struct{}{}
	if err == nil {
		<-ctx.Done()
		err = ctx.Err()
	}
	return err
}

func newTelling(l *local) *telling {
	return &telling{delayedStore: &delayedStore{Store: l.store}, watched: make(chan struct{}, 100)}
}

// hourly are the options of a keyring that asks nothing by itself while a test runs.
func hourly() *keys.Options { return &keys.Options{SuspendWithin: time.Hour} }

// until waits for what must come about.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func suspended(t testing.TB, r *keys.Keyring, id tenant.ID) func() bool {
	return func() bool {
		_, err := r.Tenant(t.Context(), id)
		return errors.Is(err, keys.ErrSuspended)
	}
}

func TestNewsOfASuspensionEndsAccess(t *testing.T) {
	l := newLocal(t)
	s := newTelling(l)
	other, r := openRing(t, l.kek, l.store, nil), openRing(t, l.kek, s, hourly())
	provision(t, other, idA, idB)
	open(t, r, idA)
	open(t, r, idB)
	<-s.watched
	must(t, other.Suspend(t.Context(), idA, ""))
	open(t, r, idA) // it has not heard: the test can tell
	s.changed(idA, record(t, l, idA).Version)
	until(t, "suspended", suspended(t, r, idA))
	open(t, r, idB)
	must(t, other.Resume(t.Context(), idA, ""))
	s.changed(idA, record(t, l, idA).Version)
	until(t, "resumed", func() bool { _, err := r.Tenant(t.Context(), idA); return err == nil })
}

// TestNewsDuringAQuestion: the answer under way is from before the change, and is not all that is asked.
func TestNewsDuringAQuestion(t *testing.T) {
	l := newLocal(t)
	s := newTelling(l)
	other, r := openRing(t, l.kek, l.store, nil), openRing(t, l.kek, s, hourly())
	provision(t, other, idA)
	open(t, r, idA)
	<-s.watched
	// Somebody changes something, and the question because of it is answered before the suspension, and late.
	must(t, other.Rewrap(t.Context(), idA, ""))
	finish := whileHeld(&s.gets, func() { s.changed(idA, record(t, l, idA).Version); r.AwaitNews(idA) })
	must(t, other.Suspend(t.Context(), idA, ""))
	s.changed(idA, record(t, l, idA).Version)
	finish()
	until(t, "suspended", suspended(t, r, idA))
}

// TestForgedNews cost questions about tenants in the cache, one at a time, and do nothing else.
func TestForgedNews(t *testing.T) {
	l := newLocal(t)
	s := newTelling(l)
	f := newFaulty(l)
	f.Store = s
	r := openRing(t, l.kek, watchedFaulty{f, s}, hourly())
	provision(t, openRing(t, l.kek, l.store, nil), idA)
	open(t, r, idA)
	<-s.watched
	gets := f.gets.Load()
	for range 100 {
		s.changed(idA, 1) // known
		s.changed(idB, 1<<62)
		s.changed(tenant.ID{}, 1<<62)
		s.changed(idA, -1)
	}
	r.AwaitNews(idA)
	if n := f.gets.Load() - gets; n != 0 {
		t.Errorf("%d questions", n)
	}
	s.changed(idA, 1<<62)
	r.AwaitNews(idA)
	if n := f.gets.Load() - gets; n != 1 {
		t.Errorf("%d questions", n)
	}
	open(t, r, idA)
	// A store that is away when the news comes changes nothing either.
	f.set(nil, errAway)
	s.changed(idA, 1<<62)
	r.AwaitNews(idA)
	open(t, r, idA)
	must(t, r.Close())
	s.changed(idA, 1<<62)
}

type watchedFaulty struct {
	*faulty
	w *telling
}

func (w watchedFaulty) Watch(ctx context.Context, changed func(tenant.ID, int64)) error {
	return w.w.Watch(ctx, changed)
}

// TestAWatchThatEndsIsBegunAgain unless there is none to be had.
func TestAWatchThatEndsIsBegunAgain(t *testing.T) {
	l := newLocal(t)
	s := newTelling(l)
	s.err = errAway
	openRing(t, l.kek, s, nil)
	for range 3 {
		<-s.watched
	}
	never := newTelling(l)
	never.err = errors.Join(errAway, errors.ErrUnsupported)
	openRing(t, l.kek, never, nil)
	<-never.watched
	<-s.watched
	<-s.watched
	if len(never.watched) != 0 {
		t.Error("it was asked again")
	}
}
