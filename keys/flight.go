package keys

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// flights are the fetches under way: one for each tenant and need, which every caller that wants the same shares. It
// is golang.org/x/sync/singleflight with goroutines that are used again, because opening a tenant grows a new
// goroutine's stack several times, and that costs as much as a keyset.
type flights struct {
	mu   sync.Mutex
	byID map[flightKey]*flight
	idle chan func() // unbuffered: received from by goroutines that have nothing to do
	done <-chan struct{}
}

type flightKey struct {
	id   tenant.ID
	need need
}

type flight struct {
	landed chan struct{} // closed when e and err are there
	e      *entry
	err    error
}

// idleTime is how long a goroutine waits for another flight.
const idleTime = 10 * time.Second

func newFlights(done <-chan struct{}) *flights {
	return &flights{byID: map[flightKey]*flight{}, idle: make(chan func()), done: done}
}

// begin returns the flight for key, and starts it with fetch if there is none.
func (fs *flights) begin(key flightKey, fetch func() (*entry, error)) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f, ok := fs.byID[key]; ok {
		return f
	}
	f := &flight{landed: make(chan struct{})}
	fs.byID[key] = f
	fs.start(func() {
		f.e, f.err = fetch()
		fs.mu.Lock()
		delete(fs.byID, key)
		fs.mu.Unlock()
		close(f.landed)
	})
	return f
}

func (fs *flights) start(job func()) {
	select {
	case fs.idle <- job:
	default:
		go fs.work(job)
	}
}

func (fs *flights) work(job func()) {
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	for {
		job()
		timer.Reset(idleTime)
		select {
		case job = <-fs.idle:
		case <-timer.C:
			return
		case <-fs.done:
			return
		}
	}
}

// fly fetches an entry, together with every other caller that wants the same at the same time. A caller whose ctx
// ends leaves; the flight goes on for the others, and for the cache.
func (r *Keyring) fly(ctx context.Context, id tenant.ID, n need) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := r.begin(id, n)
	select {
	case <-f.landed:
		return f.e, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("keys: waiting for the keys of tenant %s: %w", id, ctx.Err())
	}
}

func (r *Keyring) begin(id tenant.ID, n need) *flight {
	return r.flights.begin(flightKey{id, n}, func() (*entry, error) {
		ctx, cancel := context.WithTimeout(r.base, r.opts.Timeout)
		defer cancel()
		e, err := r.fetch(ctx, id, n)
		if err != nil {
			err = r.missed(id, n, err)
		}
		if cached, ok := r.cache.peek(id); ok {
			cached.flying.Store(false)
		}
		return e, err
	})
}
