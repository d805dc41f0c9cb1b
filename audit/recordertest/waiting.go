package recordertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// strangers: ids that whoever sends requests made up are recorded.
func strangers(s *suite) {
	const n = 50
	for i := range n {
		s.record(denial(tenant.MustParse(fmt.Sprintf("invented-%d", i))))
	}
	got := s.events()
	if len(got) != n || got[n-1].Metadata.Tenant != fmt.Sprintf("invented-%d", n-1) || got[0].StatusCode != "denied" {
		s.Errorf("%d of %d denials are there", len(got), n)
	}
}

// burst: while one tenant sends all that it can, another's events are recorded, and of neither anything is lost.
func burst(s *suite) {
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				e := event(idA, fmt.Sprintf("burst %d %d", c, i))
				e.Statement = strings.Repeat("x", 8<<10)
				switch err := s.Recorder.Record(ctx, e); {
				case err == nil:
					mu.Lock()
					acked[e.Request] = true
					mu.Unlock()
				case !errors.Is(err, context.Canceled):
					s.Errorf("Record: %v", err)
					return
				}
			}
		})
	}
	for i := range 10 {
		s.record(event(idB, fmt.Sprint(i)))
	}
	stop()
	wg.Wait()
	seen := map[string]int{}
	for _, l := range s.events() {
		seen[l.Unmapped.Request]++
	}
	for request := range acked {
		if seen[request] != 1 {
			s.Errorf("%s was acknowledged and is there %d times", request, seen[request])
		}
	}
	for i := range 10 {
		if seen[fmt.Sprint(i)] != 1 {
			s.Errorf("event %d of the other tenant is there %d times", i, seen[fmt.Sprint(i)])
		}
	}
}

func (s *suite) queuer() audit.Queuer {
	q, ok := s.Recorder.(audit.Queuer)
	if !ok {
		s.Skip("the recorder does not queue: the gate waits for each event")
	}
	return q
}

// queue: queued events are recorded in their order, whoever is waited for, and Wait tells once and again.
func queue(s *suite) {
	q := s.queuer()
	var pending []audit.Pending
	for i := range 30 {
		p, err := q.Queue(s.ctx, event(idA, fmt.Sprintf("%02d", i)))
		if err != nil {
			s.Fatalf("Queue: %v", err)
		}
		pending = append(pending, p)
	}
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := pending[29].Wait(ended); err != nil && !errors.Is(err, context.Canceled) {
		s.Errorf("Wait of a caller that has gone: %v", err)
	}
	for range 2 {
		if err := pending[29].Wait(s.ctx); err != nil {
			s.Fatalf("Wait: %v", err)
		}
	}
	if got := s.requests(idA); len(got) != 30 || !slices.IsSorted(got) {
		s.Errorf("the last of 30 events is recorded, and there are %q", got)
	}
}

// queuedOutcome: an outcome that nobody waits for is recorded all the same, with no further event.
func queuedOutcome(s *suite) {
	q := s.queuer()
	e := event(idA, "outcome")
	e.Phase = audit.Outcome
	if _, err := q.Queue(s.ctx, e); err != nil {
		s.Fatalf("Queue: %v", err)
	}
	s.until("the outcome is recorded", func() bool { return len(s.requests(idA)) == 1 })
}

// closeRecords: what was queued is recorded when Close returns.
func closeRecords(s *suite) {
	q := s.queuer()
	for i := range 20 {
		e := event(idA, fmt.Sprintf("%02d", i))
		e.Phase = []audit.Phase{audit.Intent, audit.Outcome}[i%2]
		if _, err := q.Queue(s.ctx, e); err != nil {
			s.Fatalf("Queue: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	if got := s.requests(idA); len(got) != 20 || !slices.IsSorted(got) {
		s.Errorf("of 20 events there are %q", got)
	}
}

// silent: where the engine does not answer, callers are told that the trail is unavailable, or that they gave up.
func silent(s *suite) {
	s.impatient()
	s.until("an event is recorded", func() bool { return s.Recorder.Record(s.ctx, event(idA, "before")) == nil })
	s.Break()
	s.fails("Record", s.Recorder.Record(s.ctx, event(idA, "during")), audit.ErrUnavailable)
	ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
	defer cancel()
	if err := s.Recorder.Record(ctx, event(idB, "gone")); !errors.Is(err, audit.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("Record of a caller that gave up: %v", err)
	}
	if q, ok := s.Recorder.(audit.Queuer); ok {
		p, err := q.Queue(s.ctx, event(idA, "queued"))
		if err == nil {
			err = p.Wait(s.ctx)
		}
		s.fails("Queue and Wait", err, audit.ErrUnavailable)
	}
}

// mended: once the engine answers again so does the recorder, without a restart; what was acknowledged is there once, and
// what was not at most once.
func mended(s *suite) {
	s.impatient()
	if s.Mend == nil {
		s.Skip("the recorder has to be opened anew after a failure")
	}
	s.until("an event is recorded", func() bool { return s.Recorder.Record(s.ctx, event(idA, "before")) == nil })
	s.Break()
	s.fails("Record", s.Recorder.Record(s.ctx, event(idA, "during")), audit.ErrUnavailable)
	s.Mend()
	s.until("Record succeeds again", func() bool { return s.Recorder.Record(s.ctx, event(idA, "after")) == nil })
	seen := map[string]int{}
	for _, request := range s.requests(idA) {
		seen[request]++
	}
	if seen["before"] < 1 || seen["during"] > 1 || seen["after"] < 1 {
		s.Errorf("recorded: %v", seen)
	}
}

// share: while the engine does not answer, a tenant that sends all that it can is refused, and has taken no room from others.
func share(s *suite) {
	s.impatient()
	q := s.queuer()
	if s.Mend == nil {
		s.Skip("the recorder has to be opened anew after a failure")
	}
	s.Break()
	var refused error
	for i := 0; i < 10_000 && refused == nil; i++ {
		e := event(idA, fmt.Sprint(i))
		e.Statement = strings.Repeat("x", 32<<10)
		_, refused = q.Queue(s.ctx, e)
	}
	s.fails("a tenant without end", refused, audit.ErrUnavailable)
	if _, err := q.Queue(s.ctx, event(idB, "other")); err != nil {
		s.Errorf("another tenant's event: %v", err)
	}
	s.Mend()
	s.until("the other tenant's event is recorded", func() bool { return len(s.requests(idB)) == 1 })
}

// impatient goes on with a recorder that gives its engine up soon, whose engine can be broken.
func (s *suite) impatient() {
	if s.Impatient == nil {
		s.Skip("the engine cannot be broken here")
	}
	s.Target = s.Impatient(s.T)
}

// until waits for something that must come about.
func (s *suite) until(what string, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("it did not come about that %s", what)
		}
	}
}
