package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
)

// events are those of the trail, by access and by request.
type events struct {
	accesses  map[string]*access // by correlation
	byRequest map[string][]*access
	ended     map[string]bool // streams that have an end; "" for a log that was closed
	streams   map[string]bool
}

// access is an intent with its outcome, or a single event such as a denial.
type access struct {
	first   audit.Entry
	intents int
	outcome []audit.Entry
	single  bool
}

func (a *access) succeeded() bool {
	return len(a.outcome) == 1 && a.outcome[0].Status == audit.Success
}

// readTrail verifies the logs, and puts their events in order.
func (c *checker) readTrail(ctx context.Context) error {
	v := &events{accesses: map[string]*access{}, byRequest: map[string][]*access{}, ended: map[string]bool{}, streams: map[string]bool{}}
	c.events = v
	for _, dir := range c.Trail {
		report, err := audit.Verify(ctx, dir, nil)
		if err != nil {
			return fmt.Errorf("check: the trail: %w", err)
		}
		if report.Missing > 0 || report.Refusals > 0 || len(report.Unauthenticated) > 0 {
			c.report.problem("the trail in %s lacks %d events, refused rows %d times, and has %d ranges that nothing authenticates", dir, report.Missing, report.Refusals, len(report.Unauthenticated))
		}
		v.ended[""] = v.ended[""] || report.Closed
		for e, err := range audit.Read(ctx, dir, nil) {
			if err != nil {
				return fmt.Errorf("check: the trail: %w", err)
			}
			c.report.Events++
			c.event(e)
		}
	}
	return nil
}

func (c *checker) event(e audit.Entry) {
	v := c.events
	if e.Stream != "" {
		v.streams[e.Stream] = true
	}
	code := string(e.Code)
	switch {
	case e.Code == "stream.stopped":
		v.ended[e.Stream] = true
		return
	case strings.HasPrefix(code, "audit."), e.Code == "stream.started", strings.HasPrefix(code, "key."):
		return // the log's own, the stream's, and of keys, which no request of the journal touches
	case e.Code == "stream.gap", e.Code == "alert.isolation":
		c.report.problem("the trail has an event %s: %s", e.Code, e.Reason)
		return
	}
	// What a token for an object was used for has the token's id and, behind a space, the request that it was issued in.
	e.Request = e.Request[strings.LastIndexByte(e.Request, ' ')+1:]
	key := cmp.Or(e.Correlation, e.UID) // a single event may have none
	a := v.accesses[key]
	if a == nil {
		a = &access{first: e}
		v.accesses[key] = a
		v.byRequest[e.Request] = append(v.byRequest[e.Request], a)
	}
	if e.Request != a.first.Request || e.Tenant != a.first.Tenant || e.Stream != a.first.Stream {
		c.report.problem("event %s is of another request, tenant or stream than its access", e.UID)
	}
	switch e.Phase {
	case audit.Intent:
		a.intents++
		c.report.Accesses++
	case audit.Outcome:
		a.outcome = append(a.outcome, e)
	default:
		a.single = true
		a.outcome = append(a.outcome, e)
	}
}

// account holds the trail against the journal, both ways.
func (c *checker) account() {
	// Every event belongs to a request that somebody sent, for the clinic that sent it; every access has one intent and one outcome.
	for _, a := range c.events.accesses {
		sent := c.byRequest[a.first.Request]
		if len(sent) == 0 || sent[0].Clinic != a.first.Tenant {
			c.report.problem("the trail has an access %s of %s by request %s, which is in no journal", a.first.Code, a.first.Tenant, a.first.Request)
		}
		killed := !c.events.ended[a.first.Stream]
		switch {
		case a.single && a.intents == 0 && len(a.outcome) == 1:
		case a.intents == 1 && len(a.outcome) == 1:
		case a.intents == 1 && len(a.outcome) == 0 && killed:
			c.report.CutShort++
		default:
			c.report.problem("the access %s by request %s has %d intents and %d outcomes", a.first.Code, a.first.Request, a.intents, len(a.outcome))
		}
	}
	for _, e := range c.journal {
		if writes[e.Op] && !e.acknowledged() && c.took[e] {
			c.report.TookPlace++
		}
		if e.acknowledged() || c.took[e] {
			c.recorded(e)
		}
	}
}

// expected are the accesses that each operation must have left: the code, and a table or the bucket.
var expected = map[string][][2]string{
	"admit":   {{"sql.exec", "patients"}, {"sql.exec", "visits"}, {"sql.commit", ""}},
	"visit":   {{"sql.exec", "visits"}},
	"scan":    {{"blob.grant", ""}, {"sql.exec", "scans"}},
	"upload":  {{"blob.write", ""}},
	"read":    {{"sql.query", "patients"}, {"sql.query", "visits"}, {"sql.query", "scans"}},
	"foreign": {{"sql.query", "patients"}},
	"named":   {{"sql.query", "patients"}},
}

// recorded makes sure that the trail has what a request did.
func (c *checker) recorded(e *entry) {
	for _, want := range expected[e.Op] {
		var found *access
		for _, a := range c.events.byRequest[e.Request] {
			if string(a.first.Code) == want[0] && (want[1] == "" || slices.Contains(a.first.Tables, want[1])) {
				found = a
			}
		}
		if found == nil && want[0] == "sql.commit" && !e.acknowledged() && c.cutShort(e) {
			c.report.CutShort++ // killed behind COMMIT, and before the event that follows it; its statements are in the trail
			continue
		}
		killed := found != nil && len(found.outcome) == 0 && !c.events.ended[found.first.Stream]
		switch {
		case found == nil:
			c.report.problem("UNSEEN: request %s (%s of %s, answered %d) left no event %s %s", e.Request, e.Op, e.Clinic, e.Status, want[0], want[1])
		case e.Op == "named":
			if len(found.outcome) != 1 || found.outcome[0].Status != audit.Denied {
				c.report.problem("request %s for another clinic's patient is not in the trail as denied", e.Request)
			}
		case killed || !e.acknowledged(): // its outcome may be lost, or unknown
		case !found.succeeded():
			c.report.problem("request %s was acknowledged, and its %s %s is in the trail without success", e.Request, want[0], want[1])
		case e.Op == "foreign" && found.outcome[0].Rows != 0:
			c.report.problem("LEAK: request %s got %d rows of another clinic's", e.Request, found.outcome[0].Rows)
		}
	}
}

// cutShort tells that a request was in a process that was killed.
func (c *checker) cutShort(e *entry) bool {
	return slices.ContainsFunc(c.events.byRequest[e.Request], func(a *access) bool { return !c.events.ended[a.first.Stream] })
}
