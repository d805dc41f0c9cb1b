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

// turns bounds the calls to one provider, and has them take turns: by lanes, and within one by who came first. No
// tenant waits in more than one place, since each has one question under way.
type turns struct {
	limit int
	share [lanes]int // the most calls of each lane

	mu    sync.Mutex
	busy  [lanes]int
	total int
	queue [lanes][]chan struct{}
}

// newTurns gives each of the first two lanes at most three quarters of the calls, the third its quarter out of those
// of the second.
func newTurns(limit int) *turns {
	most := limit - limit/4
	return &turns{limit: limit, share: [lanes]int{most, most, max(1, limit/4)}}
}

// take waits for a turn, but not for longer than is given, and not once ctx has ended. Each turn that was taken must be
// given back.
func (t *turns) take(ctx context.Context, l lane, wait time.Duration) error {
	t.mu.Lock()
	if len(t.queue[l]) == 0 && t.free(l) {
		t.enter(l)
		t.mu.Unlock()
		return nil
	}
	called := make(chan struct{})
	t.queue[l] = append(t.queue[l], called)
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-called:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, c := range t.queue[l] {
		if c == called {
			t.queue[l] = append(t.queue[l][:i], t.queue[l][i+1:]...)
			return ctx.Err()
		}
	}
	return nil // called at the last moment
}

// give gives a turn back, to whoever is next.
func (t *turns) give(l lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy[l]--
	t.total--
	for next := range lanes {
		for len(t.queue[next]) > 0 && t.free(next) {
			t.enter(next)
			close(t.queue[next][0])
			t.queue[next] = t.queue[next][1:]
		}
	}
}

func (t *turns) free(l lane) bool {
	if l != hot && t.busy[cold]+t.busy[suspect] >= t.share[cold] {
		return false
	}
	return t.total < t.limit && t.busy[l] < t.share[l]
}

func (t *turns) enter(l lane) {
	t.busy[l]++
	t.total++
}
