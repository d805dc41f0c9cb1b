package keys_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// faulty is a real KEK provider and a real store with a valve in front: calls fail with err while it is set, wait
// while hold is set, and are counted.
type faulty struct {
	keys.KEK
	keys.Store

	mu       sync.Mutex
	kekErr   error
	storeErr error
	hold     chan struct{} // if set, every call announces itself on it, and then waits for release
	release  chan struct{}
	crash    func(step string) error // called before each step that changes something
	unwraps  atomic.Int64
	gets     atomic.Int64
}

func newFaulty(l *local) *faulty { return &faulty{KEK: l.kek, Store: l.store} }

func (f *faulty) set(kek, store error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kekErr, f.storeErr = kek, store
}

func (f *faulty) errs() (kek, store error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kekErr, f.storeErr
}

func (f *faulty) step(name string) error {
	if f.crash == nil {
		return nil
	}
	return f.crash(name)
}

func (f *faulty) wait(ctx context.Context) error {
	if f.hold == nil {
		return nil
	}
	f.hold <- struct{}{}
	select {
	case <-f.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *faulty) Create(ctx context.Context, id tenant.ID) error {
	if err := f.step("before create"); err != nil {
		return err
	}
	if err := f.KEK.Create(ctx, id); err != nil {
		return err
	}
	return f.step("after create")
}

func (f *faulty) Destroy(ctx context.Context, id tenant.ID) error {
	if err := f.step("before destroy"); err != nil {
		return err
	}
	if err := f.KEK.Destroy(ctx, id); err != nil {
		return err
	}
	return f.step("after destroy")
}

func (f *faulty) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	f.unwraps.Add(1)
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	if err, _ := f.errs(); err != nil {
		return nil, err
	}
	return f.KEK.Unwrap(ctx, id, wrapped)
}

func (f *faulty) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	f.gets.Add(1)
	if _, err := f.errs(); err != nil {
		return keys.Record{}, err
	}
	return f.Store.Get(ctx, id)
}

func (f *faulty) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	if err := f.step("before put"); err != nil {
		return 0, err
	}
	if _, err := f.errs(); err != nil {
		return 0, err
	}
	next, err := f.Store.Put(ctx, id, data, version)
	if err != nil {
		return 0, err
	}
	return next, f.step("after put")
}

var errAway = fmt.Errorf("%w: unplugged by the test", keys.ErrUnavailable)

// trail is a recorder that keeps its events, or fails.
type trail struct {
	mu     sync.Mutex
	events []*audit.Event
	fail   func(*audit.Event) error
}

func (r *trail) Record(_ context.Context, e *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(e); err != nil {
			return err
		}
	}
	r.events = append(r.events, e)
	return nil
}

// take returns "code phase status" of the events so far, and forgets them.
func (r *trail) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		out = append(out, fmt.Sprintf("%s %s %s", e.Code, e.Phase, e.Status))
	}
	r.events = nil
	return out
}

var errCrash = errors.New("the process died here")
