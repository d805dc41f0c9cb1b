package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// fill makes the page of what was counted.
func (p *page) fill(c *collector, o *Options, limits Limits, damage error) {
	p.Title, p.Made = clean(o.Title), moment(o.Made)+" UTC"
	p.Verdict = verdictOf(o.Logs, damage)
	if damage != nil {
		p.Verdict.Text += " " + clean(damage.Error())
	}
	p.Selection = c.selection(o)
	for _, l := range o.Logs {
		p.Logs = append(p.Logs, viewLog(l))
		if l.Report == nil {
			continue
		}
		name := ""
		if len(o.Logs) > 1 {
			name = shown(l.Report.Origin) + ": "
		}
		for _, text := range slices.Concat(reservations(l), gaps(l)) {
			p.Uncovered = append(p.Uncovered, name+text)
		}
	}
	p.Uncovered = append(p.Uncovered, c.uncovered()...)
	p.Tiles = c.tiles()
	p.Timeline = viewTimeline(&c.line)
	p.Sections = []section{
		c.alertSection(), c.denialSection(limits), c.accessSection(limits), c.firstSection(limits), c.unusualSection(limits),
		c.keySection(), c.startedSection(limits), c.eventSection(),
	}
	if o.Controls {
		p.Controls, p.Cannot = c.viewControls(), cannot
	}
}

// uncovered is what the events themselves leave open.
func (c *collector) uncovered() (list []string) {
	say := func(n int64, format string, args ...any) {
		if n > 0 {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	n := int64(len(c.started.of)) + c.started.extra
	say(n, "%s, of which the selection has no outcome: still running, ended by a crash, or beyond its border.", plural(n, "unfinished access"))
	say(c.unknown, "%s of which nobody knows how many rows it was.", plural(c.unknown, "access"))
	say(c.hidden, "%s could not be named: the keys that sealed them are gone, or they were never sealed.", plural(c.hidden, "actor"))
	for _, t := range []struct {
		n    int64
		what string
	}{
		{c.cells.extra, "accesses in combinations of actor, table and purpose"}, {c.denials.extra, "denials of kinds"},
		{c.pairs.extra, "accesses of pairs of actor and table"}, {c.days.extra, "accesses on days of actors"},
	} {
		say(t.n, "%s %s beyond the first %s are in the totals alone.", number(t.n), t.what, number(int64(c.limits.Kept)))
	}
	return append(list,
		"The trail has what went through Strongroom. Whoever reads the database, the bucket or a backup by other means is not in it, and gets sealed values there.",
		"Actor and purpose are what the application said. The trail proves that it said so, not that it was right.")
}

func (c *collector) selection(o *Options) []fact {
	from, to := moment(c.span.first), moment(c.span.last)
	list := []fact{{"From", from, "code"}, {"To", to, "code"}}
	if f := o.Filter; f != nil {
		add := func(name, value string) {
			if value != "" {
				list = append(list, fact{name, shown(value), "code"})
			}
		}
		if !f.Since.IsZero() {
			add("Since", moment(f.Since))
		}
		if !f.Until.IsZero() {
			add("Until", moment(f.Until))
		}
		if !f.Tenant.IsZero() {
			add("Tenant", f.Tenant.String())
		}
		add("Code", string(f.Code))
		add("Status", string(f.Status))
		add("Actor", f.Actor)
		add("Purpose", f.Purpose)
		add("Object", f.Object)
	}
	if o.Actor != nil {
		list = append(list, fact{"Actors", "named, with the tenants' keys", ""})
	} else {
		list = append(list, fact{"Actors", "pseudonyms, one for each tenant", ""})
	}
	return append(list, fact{"Made", moment(o.Made), "code"})
}

func (c *collector) tiles() []fact {
	class := func(n int64, class string) string {
		if n == 0 {
			return ""
		}
		return class
	}
	return []fact{
		{"events", number(c.events), ""},
		{"reads", number(c.total.reads), ""}, {"rows read", number(c.total.rowsRead), ""},
		{"writes", number(c.total.writes), ""}, {"rows written", number(c.total.rowsWritten), ""},
		{"tenants", c.tenants.count(), ""}, {"actors", c.actors.count(), ""},
		{"denials", number(c.denied), class(c.denied, "warn")}, {"alerts", number(c.alerted), class(c.alerted, "bad")},
		{"failures", number(c.failed), ""},
	}
}

func (c *collector) alertSection() section {
	t := lineTable("alerts-table", "Alerts, the newest first", c.alerts.newest())
	t.Empty = "No event of severity high or more."
	t.More = more(c.alerts.left(), "older alert")
	return section{ID: "alerts", Title: "Alerts", Lead: []string{"Events of severity high or more: values that did not open where they were found, keys that were handed out, a trail that was forged or could not go on."}, Tables: []tableView{t}}
}

func (c *collector) keySection() section {
	t := lineTable("keys-table", "Events about keys and the trail, the newest first", c.keys.newest())
	t.Empty = "No event about keys, and none about the trail itself."
	t.More = more(c.keys.left(), "older event")
	return section{ID: "keys", Title: "Keys and the trail itself", Lead: []string{"What was done with tenants’ keys, who had actors revealed, and when the trail was opened, recovered and closed."}, Tables: []tableView{t}}
}

func (c *collector) startedSection(limits Limits) section {
	keys := c.started.sorted(func(a, b string) int {
		if d := c.started.of[b].at.Compare(c.started.of[a].at); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var lines []line
	for _, k := range keys[:min(len(keys), limits.Keys)] {
		lines = append(lines, *c.started.of[k])
	}
	t := lineTable("started-table", "Accesses begun that have no outcome, the newest first", lines)
	t.Empty = "Every access that was begun has its outcome."
	t.More = more(int64(len(keys)-len(lines))+c.started.extra, "access")
	return section{ID: "started", Title: "Begun, and no outcome", Lead: []string{"What was announced stands before what came of it. Where that is missing, the access was going on at the end of the selection, or its process died: it may have taken place."}, Tables: []tableView{t}}
}

func (c *collector) eventSection() section {
	lines := slices.Concat(c.notable.newest(), c.ordinary.newest())
	t := lineTable("events-table", "Events, the newest first", lines)
	t.Filter, t.Empty = true, "No event."
	t.More = more(c.notable.left()+c.ordinary.left(), "older event")
	t.Choices = []choice{{Column: 1, Name: "What"}, {Column: 2, Name: "Status"}, {Column: 3, Name: "Tenant"}}
	for i := range t.Choices {
		t.Choices[i].Options = values(&t, t.Choices[i].Column)
	}
	return section{ID: "events", Title: "Events", Lead: []string{fmt.Sprintf("The newest %d that were denied, failed or are severe, and the newest %d others; of an access the outcome. “auditctl query” lists all.", c.notable.most, c.ordinary.most)}, Tables: []tableView{t}}
}

// values are those of a column, at most 100.
func values(t *tableView, column int) (list []string) {
	seen := map[string]bool{}
	for _, r := range t.Rows {
		if v := r.Cells[column].Text; v != "" && !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return list[:min(len(list), 100)]
}

// more says what a table does not show.
func more(n int64, what string) string {
	if n <= 0 {
		return ""
	}
	return "and " + strings.Replace(plural(n, what), " ", " more ", 1)
}

// table puts columns and cells together.
func newTableView(id, caption string, columns ...string) tableView {
	t := tableView{ID: id, Caption: caption}
	for _, name := range columns {
		name, numeric := strings.CutPrefix(name, "#")
		t.Columns = append(t.Columns, columnView{name, numeric})
	}
	return t
}

func (t *tableView) row(class string, cells ...cellView) {
	for i := range cells {
		cells[i].Label, cells[i].Head = t.Columns[i].Name, i == 0
		if t.Columns[i].Numeric {
			cells[i].Class += " num"
		}
		if cells[i].Text == "" {
			cells[i].Class += " empty"
		}
	}
	t.Rows = append(t.Rows, rowView{class, cells})
}

func text(s string) cellView     { return cellView{Text: s} }
func at(t time.Time) cellView    { return cellView{Text: moment(t), Class: "code"} }
func code(c audit.Code) cellView { return cellView{Text: string(c), Class: "code"} }
func status(s audit.Status) cellView {
	return cellView{Text: string(s), Class: "chip " + string(statusClass(s))}
}

func count(n int64) cellView {
	if n == 0 {
		return cellView{Text: "0", Class: "zero"}
	}
	return cellView{Text: number(n)}
}

func under(c cellView, s string) cellView {
	c.Sub = s
	return c
}

// statusClass keeps what stands in a log out of the page's classes.
func statusClass(s audit.Status) string {
	switch s {
	case audit.Success, audit.Failure, audit.Denied:
		return string(s)
	}
	return "unknown"
}

func actor(name string) cellView {
	c := cellView{Text: short(name)}
	if c.Text != name {
		c.Class, c.Title = "code", name
	}
	return c
}

// lineTable lists events.
func lineTable(id, caption string, lines []line) tableView {
	t := newTableView(id, caption, "Time", "What", "Status", "Tenant", "Actor", "Purpose", "Object", "#Rows", "Event")
	slices.SortStableFunc(lines, func(a, b line) int { return b.at.Compare(a.at) })
	for _, l := range lines {
		rows := ""
		if l.rows >= 0 && actOf(l.code) != other {
			rows = number(l.rows)
		}
		class := ""
		if l.severity == "High" || l.severity == "Critical" || l.severity == "Fatal" {
			class = "severe"
		}
		t.row(class, at(l.at), under(code(l.code), l.reason), status(l.status), text(l.tenant), actor(l.actor), text(l.purpose),
			under(text(l.object), l.statement), text(rows), cellView{Text: fmt.Sprint(l.index), Sub: l.request, Title: l.log, Class: "code"})
	}
	return t
}
