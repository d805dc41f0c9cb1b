package keys

import (
	"context"
	"sync"
	"time"
)

// lane is what a call is for. Each has a share of a provider's calls that the others cannot take.
type lane int

const (
	hot     lane = iota // a tenant that is in use: somebody will be turned away unless it is confirmed
	cold                // a tenant of which nothing is known: there may be many, and invented ones among them
	suspect             // a tenant whose last question had no answer: the next may hang too
	lanes
)

// limiter bounds the calls to one provider, and has them take turns: by lanes, and within one by who came first. No
// tenant waits in more than one place, since each has one question under way.
type limiter struct {
	limit   int
	share   [lanes]int    // the most calls of each lane
	timeout time.Duration // that a call has, from which the time to wait for a turn follows

	mu    sync.Mutex
	busy  [lanes]int
	lost  int // calls that nobody waits for any more, and that have not returned
	total int
	queue [lanes][]chan struct{}
}

// newLimiter gives each of the first two lanes at most three quarters of the calls, the third its quarter out of those
// of the second.
func newLimiter(limit int, timeout time.Duration) *limiter {
	most := limit - limit/4
	return &limiter{limit: limit, share: [lanes]int{most, most, max(1, limit/4)}, timeout: timeout}
}

// acquire waits for a turn, but not for ever, and not once ctx has ended. Each turn that was acquired must be released.
func (m *limiter) acquire(ctx context.Context, l lane) error {
	m.mu.Lock()
	if len(m.queue[l]) == 0 && m.free(l) {
		m.occupy(l)
		m.mu.Unlock()
		return nil
	}
	called := make(chan struct{})
	m.queue[l] = append(m.queue[l], called)
	m.mu.Unlock()
	wait := m.timeout
	if l != suspect {
		wait *= 4
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-called:
		return nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.queue[l] {
		if c == called {
			m.queue[l] = append(m.queue[l][:i], m.queue[l][i+1:]...)
			return ctx.Err()
		}
	}
	return nil // called at the last moment
}

// release gives a turn back, to whoever is next.
func (m *limiter) release(l lane) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy[l]--
	m.total--
	for next := range lanes {
		for len(m.queue[next]) > 0 && m.free(next) {
			m.occupy(next)
			close(m.queue[next][0])
			m.queue[next] = m.queue[next][1:]
		}
	}
}

// call makes a call that should end within timeout, in a turn that was acquired. One that does not return although its
// context has ended is given up: abandon is told so, and the call keeps its turn until it does return.
func (m *limiter) call(ctx context.Context, timeout time.Duration, abandon func(), do func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	timer := time.AfterFunc(patience(timeout), func() {
		m.lose(1)
		abandon()
	})
	defer func() {
		if !timer.Stop() {
			m.lose(-1)
		}
	}()
	do(ctx)
}

// patience is how long a call is waited for that should have ended after a time, because it does not listen to its
// context: one to a file system that hangs cannot.
func patience(timeout time.Duration) time.Duration {
	return timeout + max(timeout/8, 10*time.Millisecond)
}

// lose notes that calls were given up or, with a negative number, that such have returned.
func (m *limiter) lose(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost += n
}

// stuck reports whether calls that were given up still hold turns: whom they are held from cannot be asked, now.
func (m *limiter) stuck() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost > 0
}

func (m *limiter) free(l lane) bool {
	if l != hot && m.busy[cold]+m.busy[suspect] >= m.share[cold] {
		return false
	}
	return m.total < m.limit && m.busy[l] < m.share[l]
}

func (m *limiter) occupy(l lane) {
	m.busy[l]++
	m.total++
}
