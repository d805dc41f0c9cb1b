package recordertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// acknowledged: what Record has returned nil for is there, at once.
func acknowledged(s *suite) {
	for i := range 5 {
		s.record(event(idA, fmt.Sprint(i)))
		if got := s.requests(idA); len(got) != i+1 || got[i] != fmt.Sprint(i) {
			s.Fatalf("after %d events: %q", i+1, got)
		}
	}
}

// order: the events of one caller stand in the order in which it recorded them.
func order(s *suite) {
	const each = 40
	var wg sync.WaitGroup
	for _, who := range []string{"x", "y", "z"} {
		wg.Go(func() {
			for i := range each {
				if err := s.Recorder.Record(s.ctx, event(idA, fmt.Sprintf("%s%02d", who, i))); err != nil {
					s.Errorf("Record: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	got := s.requests(idA)
	if len(got) != 3*each {
		s.Fatalf("%d events are there, want %d", len(got), 3*each)
	}
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	if !slices.IsSorted(got) {
		s.Errorf("a caller's events are out of order: %q", got)
	}
}

// concurrent: of many callers and tenants at once nothing is lost, doubled or given to another tenant.
func concurrent(s *suite) {
	const callers, each = 16, 25
	var wg sync.WaitGroup
	for c := range callers {
		id := tenant.MustParse(fmt.Sprintf("tenant-%d", c%5))
		wg.Go(func() {
			for i := range each {
				if err := s.Recorder.Record(s.ctx, event(id, fmt.Sprintf("%s %d %d", id, c, i))); err != nil {
					s.Errorf("Record: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, l := range s.events() {
		seen[l.Unmapped.Request]++
		if id, _, _ := strings.Cut(l.Unmapped.Request, " "); l.Metadata.Tenant != id {
			s.Errorf("an event of %s is recorded as one of %s", id, l.Metadata.Tenant)
		}
	}
	if len(seen) != callers*each {
		s.Errorf("%d different events are there, want %d", len(seen), callers*each)
	}
	for request, n := range seen {
		if n != 1 {
			s.Errorf("%s is there %d times", request, n)
		}
	}
}

// operation: an intent and its outcome have one correlation and stand in their order, each with an id of its own. The same
// event recorded twice is two events: a recorder repeats one by itself only, under the id that it had.
func operation(s *suite) {
	id := uuid.NewString()
	intent, outcome := event(idA, "r"), event(idA, "r")
	intent.Correlation, outcome.Correlation = id, id
	outcome.Phase, outcome.Status, outcome.Rows = audit.Outcome, audit.Unknown, 3
	s.record(intent)
	s.record(outcome)
	s.record(outcome)
	got := s.events()
	if len(got) != 3 {
		s.Fatalf("%d events are there, want 3", len(got))
	}
	for i, phase := range []audit.Phase{audit.Intent, audit.Outcome, audit.Outcome} {
		if l := got[i]; l.Unmapped.Phase != phase || l.Metadata.Correlation != id || (l.StatusCode == "unknown") != (i > 0) || l.Metadata.Code != audit.CodeQuery {
			s.Errorf("event %d is %s", i, l.raw)
		}
	}
}

// cancelled: an ended context ends the call with its error, and what it would have recorded is not there.
func cancelled(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	s.fails("Record", s.Recorder.Record(ctx, event(idA, "never")), context.Canceled)
	if q, ok := s.Recorder.(audit.Queuer); ok {
		_, err := q.Queue(ctx, event(idA, "never"))
		s.fails("Queue", err, context.Canceled)
	}
	s.record(event(idA, "later"))
	if got := s.requests(idA); !slices.Equal(got, []string{"later"}) {
		s.Errorf("recorded: %q", got)
	}
}

// closed: a recorder that was closed refuses, and keeps what it has.
func closed(s *suite) {
	s.record(event(idA, "before"))
	if err := s.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	s.fails("Record", s.Recorder.Record(s.ctx, event(idA, "after")), audit.ErrUnavailable)
	if q, ok := s.Recorder.(audit.Queuer); ok {
		_, err := q.Queue(s.ctx, event(idA, "after"))
		s.fails("Queue", err, audit.ErrUnavailable)
	}
	if err := s.Close(); err != nil {
		s.Errorf("the second Close: %v", err)
	}
	if got := s.requests(idA); !slices.Equal(got, []string{"before"}) {
		s.Errorf("recorded: %q", got)
	}
}

// malformed: what the format has no place for is refused, with nothing of it in the error, and hurts nothing else.
func malformed(s *suite) {
	const canary = "canary-5c1f"
	for what, change := range map[string]func(*audit.Event){
		"Code":        func(e *audit.Event) { e.Code = "sql.explode" },
		"Phase":       func(e *audit.Event) { e.Phase = canary },
		"Status":      func(e *audit.Event) { e.Status = canary },
		"Correlation": func(e *audit.Event) { e.Correlation = canary },
		"Rows":        func(e *audit.Event) { e.Rows = -2 },
	} {
		e := event(idA, canary)
		change(e)
		err := s.Recorder.Record(s.ctx, e)
		s.fails(what, err, audit.ErrUnavailable)
		if err != nil && strings.Contains(err.Error(), canary) {
			s.Errorf("%s: the error shows what was recorded: %v", what, err)
		}
	}
	s.record(event(idA, "well"))
	if got := s.requests(idA); !slices.Equal(got, []string{"well"}) {
		s.Errorf("recorded: %q", got)
	}
}

// tooLong: what may be cut is cut, and says so; what may not refuses an intent, and is left out of any other event. The
// events around it are recorded.
func tooLong(s *suite) {
	long := event(idA, strings.Repeat("é", 4<<10))
	long.Statement = strings.Repeat("SELECT \u0001 ", 64<<10)
	for range 20_000 {
		long.Columns = append(long.Columns, "table.column")
	}
	intent, single := event(idA, "intent"), event(idA, "single")
	intent.Sealer, single.Sealer = sealer{}, sealer{}
	intent.Details = map[string]string{"key": strings.Repeat("k", 65<<10)}
	single.Phase, single.Status, single.Details = audit.Single, audit.Denied, intent.Details
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := s.Recorder.Record(s.ctx, event(idB, fmt.Sprint(i))); err != nil {
				s.Errorf("an event beside it: %v", err)
			}
		})
	}
	s.record(long)
	s.fails("an intent with too long details", s.Recorder.Record(s.ctx, intent), audit.ErrUnavailable)
	s.record(single)
	wg.Wait()
	if got := s.requests(idB); len(got) != 8 {
		s.Errorf("%d of 8 events beside it are there", len(got))
	}
	var kept []line
	for _, l := range s.events() {
		if l.Metadata.Tenant == idA.String() {
			kept = append(kept, l)
		}
	}
	if len(kept) != 2 || !kept[0].Metadata.Truncated || !kept[1].Metadata.Truncated || len(kept[0].raw) > 2<<20 || len(kept[1].Unmapped.Enc) > 1<<10 {
		s.Errorf("%d events are there, or not cut, or do not say so", len(kept))
	}
}

// batches: many large events at once, more than go into one write.
func batches(s *suite) {
	const n = 60
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			e := event(tenant.MustParse(fmt.Sprintf("t%d", i%3)), fmt.Sprint(i))
			e.Statement = strings.Repeat("x", 30<<10)
			for range 1 + i%5*400 {
				e.Columns = append(e.Columns, "a.column_with_quite_a_long_name")
			}
			if err := s.Recorder.Record(s.ctx, e); err != nil {
				s.Errorf("Record: %v", err)
			}
		})
	}
	wg.Wait()
	if got := s.requests(tenant.ID{}); len(got) != n {
		s.Errorf("%d events are there, want %d", len(got), n)
	}
}

// failingSealer: a tenant whose keys are away loses its intents, not its denials, and nobody else's events.
func failingSealer(s *suite) {
	const canary = "canary-77aa"
	broken := sealer{errors.New("the vault said " + canary)}
	intent, denied := event(idA, "intent"), event(idA, "denied")
	intent.Sealer, denied.Sealer = broken, broken
	denied.Phase, denied.Status, denied.Details = audit.Single, audit.Denied, map[string]string{"key": canary}
	err := s.Recorder.Record(s.ctx, intent)
	s.fails("an intent", err, audit.ErrUnavailable)
	if err != nil && strings.Contains(err.Error(), canary) {
		s.Errorf("the error shows what the Sealer said: %v", err)
	}
	s.record(denied)
	s.record(event(idB, "other"))
	if got := s.requests(tenant.ID{}); !slices.Equal(got, []string{"denied", "other"}) {
		s.Errorf("recorded: %q", got)
	}
}

// privacy: nothing personal is recorded in the clear, with a Sealer or without.
func privacy(s *suite) {
	const who, what = "dr.okafor@example.org", "s3cret-object-name"
	with, without, stranger := event(idA, "with"), event(idA, "without"), denial(tenant.MustParse("invented"))
	with.Sealer = sealer{}
	stranger.Actor = who
	for _, e := range []*audit.Event{with, without, stranger} {
		e.Details = map[string]string{"key": what}
	}
	without.Phase = audit.Single
	s.record(with)
	s.record(without)
	s.record(stranger)
	var names []string
	for _, l := range s.events() {
		if bytes.Contains(l.raw, []byte(who)) || bytes.Contains(l.raw, []byte(what)) {
			s.Errorf("in the clear: %s", l.raw)
		}
		names = append(names, l.Actor.User.UID)
	}
	if len(names) != 3 || names[0] != "nobody-1" || names[1] == "" || names[1] == names[2] {
		s.Errorf("the actor of two tenants is called %q", names)
	}
}

// notKept: the caller may change an event once Record or Queue has returned.
func notKept(s *suite) {
	e := event(idA, "one")
	s.record(e)
	e.Request, e.Tables[0] = "two", "changed"
	if q, ok := s.Recorder.(audit.Queuer); ok {
		p, err := q.Queue(s.ctx, e)
		if err != nil {
			s.Fatal(err)
		}
		e.Request, e.Tables[0] = "three", "later"
		if err := p.Wait(s.ctx); err != nil {
			s.Fatal(err)
		}
	} else {
		s.record(e)
		e.Request = "three"
	}
	if got := s.requests(idA); !slices.Equal(got, []string{"one", "two"}) {
		s.Errorf("recorded: %q", got)
	}
	for _, l := range s.events() {
		if bytes.Contains(l.raw, []byte("later")) {
			s.Errorf("a change afterwards is recorded: %s", l.raw)
		}
	}
}

// ownCodes: what a recorder says of itself nobody else can make it say.
func ownCodes(s *suite) {
	for code := range own {
		s.fails(string(code), s.Recorder.Record(s.ctx, &audit.Event{Code: code, Phase: audit.Single, Status: audit.Success}), audit.ErrUnavailable)
	}
	if got := s.events(); len(got) != 0 {
		s.Errorf("recorded: %s", got[0].raw)
	}
}
