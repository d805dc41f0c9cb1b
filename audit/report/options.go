package report

import (
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// Options are the optional settings of [Write].
type Options struct {
	// Title stands on top. Default: "Access report".
	Title string
	// Logs is what verification found of the logs that the events are from. Without any, the page says that nothing was
	// verified.
	Logs []Log
	// Filter is what selected the events, for the page to say. Events before Filter.Since are taken for what is known from before: see
	// the package documentation. Do not give Since to what reads them, then.
	Filter *audit.Filter
	// Made is when the report is made. Default: now.
	Made time.Time
	// Actor returns the name to show for the actor of an event, which otherwise is the pseudonym; see [audit.Reveal]. It is
	// asked once for each actor of a tenant, and the page says that names were revealed. An error leaves the pseudonym.
	Actor func(*audit.Entry) (string, error)
	// Controls adds what the trail proves of common standards: see [Controls].
	Controls bool
	// Limits bound page and memory.
	Limits Limits
}

// Log is what verification found of one log.
type Log struct {
	Report *audit.Report // of [audit.Verify]
	Err    error         // of audit.Verify
	// Pinned is how many events the newest pin covers, a witness's included: 0 for none.
	Pinned int64
	// Witnesses are sentences about what witnesses signed.
	Witnesses []string
}

// Limits say how many rows each table of the page has at most, and how much is remembered to find them. The zero value of each
// is its default.
type Limits struct {
	Matrix    int // combinations of tenant, actor, table and purpose: 400
	Denials   int // kinds of denials: 200
	Alerts    int // the newest: 200
	Keys      int // events about keys and the trail, the newest: 200
	FirstSeen int // 200
	Unusual   int // 100
	Notable   int // events of the list that are denied, failed or severe, the newest: 500
	Ordinary  int // and others, the newest: 500
	Kept      int // combinations of each kind in memory: 100,000
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		n        *int
		default_ int
	}{
		{&l.Matrix, 400}, {&l.Denials, 200}, {&l.Alerts, 200}, {&l.Keys, 200}, {&l.FirstSeen, 200}, {&l.Unusual, 100},
		{&l.Notable, 500}, {&l.Ordinary, 500}, {&l.Kept, 100_000},
	} {
		if *f.n <= 0 {
			*f.n = f.default_
		}
	}
	return l
}
