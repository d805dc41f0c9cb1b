package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

func (c *collector) denialSection(limits Limits) section {
	t := newTableView("denials-table", "Denials by kind, the most frequent first", "Tenant", "Actor", "What", "Object", "Purpose", "Reason", "#Times", "First", "Last")
	t.Empty = "Nothing was denied."
	keys := c.denials.sorted(func(a, b denial) int {
		return cmp.Or(cmp.Compare(c.denials.of[b].n, c.denials.of[a].n), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.actor, b.actor),
			cmp.Compare(a.code, b.code), cmp.Compare(a.table, b.table), cmp.Compare(a.purpose, b.purpose), cmp.Compare(a.reason, b.reason))
	})
	shownTimes := int64(0)
	for _, k := range keys[:min(len(keys), limits.Denials)] {
		d := c.denials.of[k]
		shownTimes += d.n
		t.row("", text(k.tenant), actor(k.actor), code(k.code), text(k.table), text(k.purpose), text(k.reason), count(d.n), at(d.first), at(d.last))
	}
	t.More = more(c.denied-shownTimes, "denial")
	t.Filter = len(t.Rows) > 0
	return section{ID: "denials", Title: "Denials", Lead: []string{"What was not admitted. An attempt at another tenant’s data is two events: one for the tenant whose data it was, one for the actor’s own."}, Tables: []tableView{t}}
}

// accessSection is who saw what.
func (c *collector) accessSection(limits Limits) section {
	t := newTableView("matrix", "Actor × table × purpose, the most rows first", "Actor", "Tenant", "Table", "Purpose", "#Reads", "#Rows read", "#Writes", "#Rows written", "First", "Last")
	t.Empty, t.Filter = "Nothing was read or written.", true
	keys := c.cells.sorted(func(a, b cell) int {
		return cmp.Or(cmp.Compare(c.cells.of[b].rows(), c.cells.of[a].rows()), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.actor, b.actor),
			cmp.Compare(a.table, b.table), cmp.Compare(a.purpose, b.purpose))
	})
	for _, k := range keys[:min(len(keys), limits.Matrix)] {
		s := c.cells.of[k]
		t.row("", actor(k.actor), text(k.tenant), text(k.table), text(k.purpose), count(s.reads), count(s.rowsRead), count(s.writes), count(s.rowsWritten), at(s.first), at(s.last))
	}
	t.More = more(int64(len(keys)-len(t.Rows)), "combination")
	if n := c.cells.extra; n > 0 && t.More != "" {
		t.More += fmt.Sprintf(", and %s in combinations beyond the first %s", plural(n, "access"), number(int64(c.limits.Kept)))
	}
	t.Choices = []choice{{Column: 1, Name: "Tenant"}, {Column: 2, Name: "Table"}, {Column: 3, Name: "Purpose"}}
	for i := range t.Choices {
		t.Choices[i].Options = values(&t, t.Choices[i].Column)
	}
	tables := []tableView{t}
	if len(keys) > 1 {
		tables = []tableView{c.heat(), t}
	}
	lead := fmt.Sprintf("In all %s of %s, and %s of %s. A statement over several tables stands with each of them here.",
		plural(c.total.reads, "read"), plural(c.total.rowsRead, "row"), plural(c.total.writes, "write"), plural(c.total.rowsWritten, "row"))
	return section{ID: "access", Title: "Who saw what", Lead: []string{lead}, Tables: tables}
}

const (
	heatActors = 15
	heatTables = 10
)

// heat is the matrix of the actors and tables with the most rows.
func (c *collector) heat() tableView {
	type key struct{ tenant, name string }
	cells, actors, tables := map[[2]key]int64{}, map[key]int64{}, map[key]int64{}
	for k, s := range c.cells.of {
		a, t := key{k.tenant, k.actor}, key{"", k.table}
		n := s.rows()
		actors[a] += n
		tables[t] += n
		cells[[2]key{a, t}] += n
	}
	top := func(of map[key]int64, most int) []key {
		list := make([]key, 0, len(of))
		for k, n := range of {
			if n > 0 {
				list = append(list, k)
			}
		}
		slices.SortFunc(list, func(a, b key) int {
			return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.name, b.name))
		})
		return list[:min(len(list), most)]
	}
	withRows := func(of map[key]int64) (n int) {
		for _, rows := range of {
			if rows > 0 {
				n++
			}
		}
		return n
	}
	rows, columns := top(actors, heatActors), top(tables, heatTables)
	names := []string{"Actor"}
	for _, t := range columns {
		names = append(names, "#"+t.name)
	}
	v := newTableView("heat", "Rows by actor and table: those with the most", append(names, "#All tables")...)
	v.Wide = true
	most := int64(1)
	for _, a := range rows {
		for _, t := range columns {
			most = max(most, cells[[2]key{a, t}])
		}
	}
	for _, a := range rows {
		line := []cellView{under(actor(a.name), a.tenant)}
		for _, t := range columns {
			n := cells[[2]key{a, t}]
			cell := cellView{Text: number(n), Class: heatClass(n, most)}
			if n == 0 {
				cell.Text = ""
			}
			line = append(line, cell)
		}
		v.row("", append(line, count(actors[a]))...)
	}
	if left := int64(withRows(actors) - len(rows)); left > 0 {
		v.More = more(left, "actor")
	}
	if left := int64(withRows(tables) - len(columns)); left > 0 {
		if v.More != "" {
			v.More += "; "
		}
		v.More += more(left, "table")
	}
	return v
}

// heatClass is one of eight shades, by the square root so that small numbers differ.
func heatClass(n, most int64) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("heat h%d", 1+int(7.99*math.Sqrt(float64(n)/float64(most))))
}

func (c *collector) firstSection(limits Limits) section {
	from, lead := c.since, ""
	if c.before > 0 {
		lead = fmt.Sprintf("Pairs that %s before %s do not have.", plural(c.before, "event"), moment(c.since))
	} else {
		length := c.total.last.Sub(c.total.first)
		from = c.total.first.Add(length / 4 * 3)
		lead = fmt.Sprintf("Pairs that are new in the last quarter of the time, from %s on. With -since, all events before it count as known.", moment(from))
	}
	keys := c.pairs.sorted(func(a, b pair) int {
		return cmp.Or(c.pairs.of[b].first.Compare(c.pairs.of[a].first), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.actor, b.actor), cmp.Compare(a.table, b.table))
	})
	t := newTableView("first-table", "Pairs seen for the first time, the newest first", "Seen first", "Actor", "Tenant", "New with", "#Accesses", "Last")
	t.Empty = "No pair is new."
	left := int64(0)
	for _, k := range keys {
		p := c.pairs.of[k]
		if p.first.Before(from) {
			continue
		}
		if len(t.Rows) >= limits.FirstSeen {
			left++
			continue
		}
		with := "the tenant"
		if k.table != "" {
			with = k.table
		}
		t.row("", at(p.first), actor(k.actor), text(k.tenant), text(with), count(p.n), at(p.last))
	}
	t.More = more(left, "pair")
	return section{ID: "first", Title: "Seen for the first time", Lead: []string{lead}, Tables: []tableView{t}}
}

func (c *collector) unusualSection(limits Limits) section {
	days := map[actorDay]int64{}
	for d, n := range c.days.of {
		days[d] = *n
	}
	from := int64(math.MinInt64)
	if !c.since.IsZero() {
		from = floor(c.since.Unix(), 86400)
	}
	found := unusual(days, from)
	t := newTableView("unusual-table", "Days on which an actor read unusually much, the most unusual first", "Day", "Actor", "Tenant", "#Rows read", "#Median", "#Score", "Compared with")
	t.Empty = "No day stands out."
	for _, v := range found[:min(len(found), limits.Unusual)] {
		with := "all actors’ days of the tenant"
		if v.own {
			with = "the actor’s own days"
		}
		t.row("", cellView{Text: day(time.Unix(v.day*86400, 0)), Class: "code"}, actor(v.actor), text(v.tenant), count(v.rows),
			text(fmt.Sprintf("%.0f", v.median)), text(fmt.Sprintf("%.1f", v.score)), text(with))
	}
	t.More = more(int64(len(found)-len(t.Rows)), "day")
	lead := fmt.Sprintf("Rows that an actor read on one day (UTC), where their modified z-score is above %.1f (Iglewicz and Hoaglin, 1993): 0.6745 × (rows − median) ÷ MAD. "+
		"It is compared with the actor’s own days where there are %d or more, else with those of all the tenant’s actors; below %d rows nothing is unusual.", threshold, leastDays, leastRows)
	return section{ID: "unusual", Title: "Unusual volumes", Lead: []string{lead}, Tables: []tableView{t}}
}
