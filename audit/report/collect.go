package report

import (
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// act is what an event's code means for who saw what.
type act int

const (
	other act = iota // keys, the trail, the end of a transaction, maintenance that releases nothing
	read
	write
)

func actOf(c audit.Code) act {
	switch c {
	case audit.CodeQuery, audit.CodeBlobRead, audit.CodeBlobList, audit.CodeBlobAttributes, audit.CodeBlobGrant:
		return read
	case audit.CodeExec, audit.CodeBlobWrite, audit.CodeBlobCopy, audit.CodeBlobDelete, audit.CodeBlobSource, audit.CodeOffboard, audit.CodeBlobOffboard:
		return write
	}
	return other
}

// cell is one combination of the access matrix.
type cell struct{ tenant, actor, table, purpose string }

// span is from when to when something was.
type span struct{ first, last time.Time }

// sums is what was done there.
type sums struct {
	reads, rowsRead, writes, rowsWritten, bytes int64
	span
}

func (s *sums) rows() int64 { return s.rowsRead + s.rowsWritten }

// tally is how often something was.
type tally struct {
	n int64
	span
}

func (s *sums) add(a act, e *audit.Entry) {
	rows := max(e.Rows, 0)
	switch a {
	case read:
		s.reads++
		s.rowsRead += rows
	case write:
		s.writes++
		s.rowsWritten += rows
	}
	s.bytes += max(e.Bytes, 0)
	s.include(e.Time)
}

func (s *span) include(t time.Time) {
	if s.first.IsZero() || t.Before(s.first) {
		s.first = t
	}
	if t.After(s.last) {
		s.last = t
	}
}

// denial is a kind of denials.
type denial struct {
	tenant, actor, table, purpose, reason string
	code                                  audit.Code
}

// pair is an actor and what the actor was first seen at; without a table, the tenant itself.
type pair struct{ tenant, actor, table string }

// line is an event as the page lists it.
type line struct {
	at                                                               time.Time
	code                                                             audit.Code
	status                                                           audit.Status
	severity, tenant, actor, purpose, object, statement, reason, log string
	request                                                          string
	rows, index                                                      int64
}

// kind is what events are counted by.
type kind struct {
	code   audit.Code
	status audit.Status
}

// collector counts events as they come. Its memory does not grow with their number.
type collector struct {
	limits  Limits
	since   time.Time
	actor   func(*audit.Entry) (string, error)
	names   map[pair]string
	several bool  // logs: an event says which is its
	hidden  int64 // actors whose name could not be revealed

	before   int64 // events before since
	events   int64
	span     span
	codes    *table[kind, int64]
	total    sums
	denied   int64
	alerted  int64
	failed   int64
	keyed    int64
	unknown  int64 // accesses of which nobody knows how many rows
	tenants  *set[string]
	actors   *set[pair]
	cells    *table[cell, sums]
	denials  *table[denial, tally]
	pairs    *table[pair, tally]
	days     *table[actorDay, int64]
	line     timeline
	alerts   ring[line]
	keys     ring[line]
	notable  ring[line]
	ordinary ring[line]
	started  *table[string, line] // by correlation
	objects  []string
}

func newCollector(opts *Options, limits Limits) *collector {
	c := &collector{
		limits: limits, actor: opts.Actor, several: len(opts.Logs) > 1, names: map[pair]string{}, codes: newTable[kind, int64](1000),
		tenants: newSet[string](limits.Kept), actors: newSet[pair](limits.Kept),
		cells: newTable[cell, sums](limits.Kept), denials: newTable[denial, tally](limits.Kept), pairs: newTable[pair, tally](limits.Kept),
		days: newTable[actorDay, int64](limits.Kept), started: newTable[string, line](limits.Kept),
		alerts: ring[line]{most: limits.Alerts}, keys: ring[line]{most: limits.Keys},
		notable: ring[line]{most: limits.Notable}, ordinary: ring[line]{most: limits.Ordinary},
	}
	if opts.Filter != nil {
		c.since = opts.Filter.Since
	}
	return c
}

// add counts one event.
func (c *collector) add(e *audit.Entry) {
	who := c.name(e)
	where := shown(e.Tenant)
	a := actOf(e.Code)
	c.objects = objects(c.objects[:0], e)
	done := a != other && e.Phase != audit.Intent && (e.Status == audit.Success || e.Status == audit.Unknown)
	if done {
		c.remember(e, a, where, who)
	}
	if e.Time.Before(c.since) {
		c.before++
		return
	}
	c.events++
	c.span.include(e.Time)
	if where != "" {
		c.tenants.add(where)
		if e.Actor != "" {
			c.actors.add(pair{where, who, ""})
		}
	}
	if n := c.codes.at(kind{e.Code, e.Status}); n != nil { // there are few of each, but in a forged log
		*n++
	}
	if e.Phase == audit.Intent && e.Status == audit.Success {
		if e.Correlation != "" {
			c.started.put(e.Correlation, c.lineOf(e, where, who))
		}
		return
	}
	if e.Phase == audit.Outcome {
		c.started.drop(e.Correlation)
	}
	if done {
		c.access(e, a, where, who)
	}
	c.list(e, where, who)
}

// access counts what was released or changed.
func (c *collector) access(e *audit.Entry, a act, where, who string) {
	c.total.add(a, e)
	if e.Rows < 0 && e.Store != "blob" {
		c.unknown++
	}
	if a == read {
		c.line.at(e.Time).reads++
	} else {
		c.line.at(e.Time).writes++
	}
	purpose := shown(e.Purpose)
	for _, t := range c.objects {
		if s := c.cells.at(cell{where, who, t, purpose}); s != nil {
			s.add(a, e)
		}
	}
}

// list sorts an event into what the page lists.
func (c *collector) list(e *audit.Entry, where, who string) {
	severe := e.Severity == "High" || e.Severity == "Critical" || e.Severity == "Fatal"
	switch {
	case e.Status == audit.Denied:
		c.denied++
		c.line.at(e.Time).denials++
		d := denial{where, who, strings.Join(c.objects, ", "), shown(e.Purpose), shown(e.Reason), e.Code}
		d.table = shown(d.table)
		if s := c.denials.at(d); s != nil {
			s.n++
			s.include(e.Time)
		}
	case e.Status == audit.Failure || e.Status == audit.Unknown:
		c.failed++
	}
	l := c.lineOf(e, where, who)
	if severe {
		c.alerted++
		c.line.at(e.Time).alerts++
		c.alerts.add(l)
	}
	prefix, _, _ := strings.Cut(string(e.Code), ".")
	if about := prefix == "key" || prefix == "audit" || prefix == "stream"; about && e.Code != audit.CodeLogHead {
		c.keyed++
		c.keys.add(l)
	}
	switch {
	case e.Code == audit.CodeLogHead: // one every thousand events, and about none
	case severe, e.Status != audit.Success, e.Severity != "Informational":
		c.notable.add(l)
	default:
		c.ordinary.add(l)
	}
}

// remember keeps who was seen at what, and how much was read on which day.
func (c *collector) remember(e *audit.Entry, a act, where, who string) {
	if where == "" || who == "" {
		return
	}
	for _, t := range append(c.objects, "") {
		if s := c.pairs.at(pair{where, who, t}); s != nil {
			s.n++
			s.include(e.Time)
		}
	}
	if a == read && e.Rows > 0 {
		if n := c.days.at(actorDay{where, who, floor(e.Time.Unix(), 86400)}); n != nil {
			*n += e.Rows
		}
	}
}

func (c *collector) lineOf(e *audit.Entry, where, who string) line {
	request := shown(e.Request)
	if c.several {
		request = strings.TrimSuffix(shown(e.Log)+" · "+request, " · ")
	}
	return line{
		at: e.Time, code: e.Code, status: e.Status, severity: shown(e.Severity), tenant: where, actor: who, purpose: shown(e.Purpose),
		object: shown(strings.Join(c.objects, ", ")), statement: shown(e.Statement), reason: shown(e.Reason), log: shown(e.Log),
		request: request, rows: e.Rows, index: e.Index,
	}
}

// name returns who an event's actor is.
func (c *collector) name(e *audit.Entry) string {
	pseudonym := shown(e.Actor)
	if c.actor == nil || e.Actor == "" {
		return pseudonym
	}
	p := pair{shown(e.Tenant), pseudonym, ""}
	name, known := c.names[p]
	if known {
		return name
	}
	if len(c.names) >= c.limits.Kept {
		return pseudonym
	}
	revealed, err := c.actor(e)
	if name = shown(revealed); err != nil || name == "" {
		name = pseudonym
		c.hidden++
	}
	c.names[p] = name
	return name
}

// objects appends what an event is about: each table with its database, or the database or bucket.
func objects(list []string, e *audit.Entry) []string {
	name := shown(e.Name)
	switch {
	case len(e.Tables) > 0:
		for _, t := range e.Tables[:min(len(e.Tables), 64)] { // a statement has some
			list = append(list, shown(t))
		}
	case e.Store == "blob":
		list = append(list, name+" (objects)")
	case name != "":
		list = append(list, name)
	}
	return list
}
