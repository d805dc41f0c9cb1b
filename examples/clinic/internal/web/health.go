package web

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Check is one thing that the service cannot do without.
type Check struct {
	Name string
	Ask  func(context.Context) error
	// Grace is for how long it may be away before the service says it is not ready. Vault has one: tenants in use need no Vault for
	// keys.Options.ReopenAfter, so to take every instance out of the load balancer while Vault elects a leader would turn an
	// outage that nobody notices into one for all. It has none before it answered for the first time.
	Grace time.Duration
}

// Health answers /readyz: 200 or 503, and the state of each thing.
type Health struct {
	checks []Check
	now    func() time.Time

	mu    sync.Mutex
	state []state
	asked time.Time
}

type state struct {
	err      error
	since    time.Time // of the first of the failures, if err is not nil
	answered bool      // once
}

const (
	askEvery  = time.Second     // a probe that comes more often gets the last answer
	askWithin = 3 * time.Second // for all checks together
)

// NewHealth returns the health of what is checked.
func NewHealth(checks ...Check) *Health {
	return &Health{checks: checks, now: time.Now, state: make([]state, len(checks))}
}

// Ready asks, unless it has just been asked, and returns what is away and for how long, and whether the service is ready.
func (h *Health) Ready(ctx context.Context) (what map[string]string, ready bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); now.Sub(h.asked) >= askEvery {
		h.ask(context.WithoutCancel(ctx)) // the answer is also that of the next probe
		h.asked = now
	}
	what, ready = map[string]string{}, true
	for i, c := range h.checks {
		s := h.state[i]
		if s.err == nil {
			what[c.Name] = "ok"
			continue
		}
		away := h.now().Sub(s.since)
		// Not the error: whoever may ask for readiness is not told what is behind the service.
		what[c.Name] = "away for " + away.Round(time.Second).String()
		ready = ready && s.answered && away < c.Grace
	}
	return what, ready
}

func (h *Health) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var group sync.WaitGroup
	for i, c := range h.checks {
		group.Go(func() {
			err := c.Ask(ctx)
			s := &h.state[i]
			if err != nil && s.err == nil {
				s.since = h.now()
			}
			s.err, s.answered = err, s.answered || err == nil
		})
	}
	group.Wait()
}

func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what, ready := h.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(map[string]any{"ready": ready, "checks": what})
}
