// Package recordertest is the conformance suite of [audit.Recorder], and of [audit.Queuer] where a recorder is one. Every
// recorder passes it; run it from the tests of your own:
//
//	func TestConformance(t *testing.T) {
//		recordertest.Run(t, func(t *testing.T) *recordertest.Target { … })
//	}
//
// What it asks for is what the gate relies on: nil from Record or Wait means that the event is where it stays, exactly
// once; anything else wraps [audit.ErrUnavailable], or the caller's own context error; and nobody's events keep those of
// others waiting.
package recordertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// Target is a recorder under test and what the suite has to know of it. It must wait at least a minute for its engine
// where nothing is broken, for a machine that others keep busy, and is empty at first.
type Target struct {
	Recorder audit.Recorder
	// Lines returns every event that is recorded, in the order in which an auditor reads them, as JSON objects. Events of
	// the recorder itself may be among them. It is called while Recorder is open and after it was closed.
	Lines func(t *testing.T) [][]byte
	// Close ends Recorder. What was queued before is recorded when it returns nil.
	Close func() error
	// Break makes the engine stop answering: nothing that it is asked from then on is answered until Mend is called. Only
	// what Impatient returns needs it.
	Break func()
	// Mend makes it answer again; what it was asked meanwhile may or may not have been done. Nil where the recorder does
	// not go on after a failure.
	Mend func()
	// Impatient opens another recorder, which waits for its engine no longer than a second, and which has Break. With it
	// nil, the tests that need it are skipped.
	Impatient func(t *testing.T) *Target
}

// Run runs the suite. Open is called once for each test.
func Run(t *testing.T, open func(t *testing.T) *Target) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Acknowledged", acknowledged}, {"Order", order}, {"Concurrent", concurrent}, {"Operation", operation}, {"Cancelled", cancelled},
		{"Closed", closed}, {"Malformed", malformed}, {"TooLong", tooLong}, {"Batches", batches}, {"FailingSealer", failingSealer},
		{"Privacy", privacy}, {"NotKept", notKept}, {"OwnCodes", ownCodes}, {"Strangers", strangers}, {"Burst", burst},
		{"Queue", queue}, {"QueuedOutcome", queuedOutcome}, {"CloseRecords", closeRecords}, {"Silent", silent}, {"Mended", mended}, {"Share", share},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := open(t)
			test.run(&suite{t, target, t.Context()})
		})
	}
}

type suite struct {
	*testing.T
	*Target
	ctx context.Context
}

var (
	idA = tenant.MustParse("a")
	idB = tenant.MustParse("b")
)

// line is what the suite reads of an event.
type line struct {
	StatusCode string `json:"status_code"`
	Actor      struct {
		User struct {
			UID string `json:"uid"`
		} `json:"user"`
	} `json:"actor"`
	Unmapped struct {
		Phase   audit.Phase `json:"phase"`
		Request string      `json:"request"`
		Enc     []byte      `json:"enc"`
	} `json:"unmapped"`
	Metadata struct {
		UID         string     `json:"uid"`
		Code        audit.Code `json:"event_code"`
		Tenant      string     `json:"tenant_uid"`
		Correlation string     `json:"correlation_uid"`
		Truncated   bool       `json:"is_truncated"`
	} `json:"metadata"`
	raw []byte
}

// events returns what is recorded, without the recorder's own events, and checks that no uid is there twice.
func (s *suite) events() []line {
	s.Helper()
	var list []line
	seen := map[string]bool{}
	for _, raw := range s.Lines(s.T) {
		l := line{raw: raw}
		if err := json.Unmarshal(raw, &l); err != nil || bytes.ContainsAny(raw, "\n\r\x00") {
			s.Fatalf("an event is no line of JSON: %v: %q", err, raw)
		}
		if uid := l.Metadata.UID; uid == "" || seen[uid] {
			s.Fatalf("the uid %q is missing or there twice", uid)
		} else {
			seen[uid] = true
		}
		if _, own := own[l.Metadata.Code]; !own {
			list = append(list, l)
		}
	}
	return list
}

// own are the codes that recorders write by themselves.
var own = map[audit.Code]struct{}{
	audit.CodeLogStarted: {}, audit.CodeLogRecovered: {}, audit.CodeLogStopping: {}, audit.CodeLogHead: {},
	audit.CodeStreamStarted: {}, audit.CodeStreamStopped: {}, audit.CodeStreamGap: {},
}

// requests returns the requests of the tenant's events in their order; of all tenants for the zero id.
func (s *suite) requests(id tenant.ID) []string {
	s.Helper()
	var list []string
	for _, l := range s.events() {
		if id.IsZero() || l.Metadata.Tenant == id.String() {
			list = append(list, l.Unmapped.Request)
		}
	}
	return list
}

func (s *suite) record(e *audit.Event) {
	s.Helper()
	if err := s.Recorder.Record(s.ctx, e); err != nil {
		s.Fatalf("Record: %v", err)
	}
}

func (s *suite) fails(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got the error %v, want one that wraps %q", what, err, want)
	}
}

// event is an ordinary one.
func event(id tenant.ID, request string) *audit.Event {
	return &audit.Event{
		Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: id, Actor: "dr.okafor@example.org", Purpose: "treatment",
		Request: request, Correlation: "01a204e8-0f7f-7098-b286-6ac91e50c401", Store: "postgresql", Name: "clinic", Tables: []string{"patients"},
		Columns: []string{"patients.id", "patients.name"}, SealedColumns: []string{"patients.name"},
		Statement: "SELECT id, name FROM patients WHERE ssn = $1", Fingerprint: "d41d8cd98f00b204", KeyVersion: 77, Rows: -1, Bytes: -1,
	}
}

// denial is an event that whoever sends requests can bring about, of a tenant that does not exist.
func denial(id tenant.ID) *audit.Event {
	return &audit.Event{Code: audit.CodeQuery, Phase: audit.Single, Status: audit.Denied, Tenant: id, Actor: "someone", Reason: "not provisioned", Rows: -1, Bytes: -1}
}

// sealer hides what it is given without being able to show it again.
type sealer struct{ err error }

func (s sealer) Pseudonym(string) (string, error) { return "nobody-1", s.err }

func (s sealer) SealDetails(details []byte, uid string) ([]byte, error) {
	return make([]byte, len(details)), s.err
}
