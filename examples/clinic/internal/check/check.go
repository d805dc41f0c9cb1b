// Package check accounts for what a load did: it holds the journal against the rows, the objects and the trail, and shares no
// code with the service. It reads the database without a guard, opens values and objects with the tenants' keys by the formats
// of internal/envelope/FORMAT.md, with Tink alone, and takes the trail from its log.
package check

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"gocloud.dev/blob"
)

// Sources are what is held against each other.
type Sources struct {
	Journal io.Reader
	DB      *sql.DB // of somebody who sees the rows of all tenants
	Bucket  *blob.Bucket
	Label   string   // the bucket's
	Trail   []string // directories of logs
	// Keys returns the keys of a tenant's for "data" or "blobs".
	Keys func(ctx context.Context, clinic, purpose string) (*keyset.Handle, error)
}

// Report is what was found.
type Report struct {
	Requests     int // in the journal
	Acknowledged int
	Writes       int // of those
	Unknown      int // requests without an answer, or with a failure: each may have taken place or not
	TookPlace    int // writes of those that did
	Rows         int // opened, and compared where they were acknowledged
	Objects      int
	Events       int
	Accesses     int      // intents
	CutShort     int      // of those, without an outcome, or a COMMIT, because their process was killed
	Problems     []string // nothing is accounted for where there is one
}

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < 100 {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *Report) String() string {
	return fmt.Sprintf(`%7d requests in the journal, %d acknowledged, of which %d writes
%7d without an answer, or failed; of these %d writes took place
%7d rows and %d objects, opened and compared
%7d events in the trail, of %d accesses, of which %d were cut short by the end of their process
%7d problems`, r.Requests, r.Acknowledged, r.Writes, r.Unknown, r.TookPlace, r.Rows, r.Objects, r.Events, r.Accesses, r.CutShort, len(r.Problems))
}

// entry is a line of the journal. It is declared here again on purpose.
type entry struct {
	Request, Clinic, Op, Patient, ID, Name, Text, SHA256 string
	Status, Size                                         int
}

// acknowledgement is the status that says that an operation took place.
var acknowledgement = map[string]int{"admit": 201, "visit": 201, "scan": 201, "upload": 201, "read": 200, "foreign": 404, "named": 403}

var writes = map[string]bool{"admit": true, "visit": true, "scan": true, "upload": true}

func (e *entry) acknowledged() bool { return e.Status == acknowledgement[e.Op] }

// place is where something is: whose, and its id.
type place struct{ clinic, id string }

// checker is the state of a run.
type checker struct {
	Sources
	report    Report
	journal   []*entry
	byRequest map[string][]*entry
	patients  map[place]*entry // of admissions
	visits    map[place]*entry
	scans     map[place]*entry
	uploads   map[place]*entry
	took      map[*entry]bool // writes that are there
	events    *events
	keys      map[string]*opener
}

// Run accounts for everything. An error means that it could not be tried; what does not add up is in the report.
func Run(ctx context.Context, s Sources) (*Report, error) {
	c := &checker{Sources: s, byRequest: map[string][]*entry{}, patients: map[place]*entry{}, visits: map[place]*entry{}, scans: map[place]*entry{},
		uploads: map[place]*entry{}, took: map[*entry]bool{}, keys: map[string]*opener{}}
	for _, step := range []func(context.Context) error{c.readJournal, c.readRows, c.readObjects, c.readTrail} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	c.account()
	return &c.report, nil
}

func (c *checker) readJournal(context.Context) error {
	lines := bufio.NewScanner(c.Journal)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := &entry{}
		if err := json.Unmarshal(lines.Bytes(), e); err != nil {
			return fmt.Errorf("check: line %d of the journal: %w", len(c.journal)+1, err)
		}
		c.journal = append(c.journal, e)
		c.byRequest[e.Request] = append(c.byRequest[e.Request], e)
		switch e.Op {
		case "admit":
			c.patients[place{e.Clinic, e.Patient}] = e
			c.visits[place{e.Clinic, e.ID}] = e
		case "visit":
			c.visits[place{e.Clinic, e.ID}] = e
		case "scan":
			c.scans[place{e.Clinic, e.ID}] = e
		case "upload":
			c.uploads[place{e.Clinic, e.Patient + "/" + e.ID}] = e
		}
		c.report.Requests++
		switch {
		case e.acknowledged():
			c.report.Acknowledged++
			if writes[e.Op] {
				c.report.Writes++
			}
		default:
			c.report.Unknown++
		}
	}
	return lines.Err()
}
