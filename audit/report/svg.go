package report

import "fmt"

// timelineView is the time line as shapes. The upper lane has accesses, the lower one what was denied and alerts, each to a
// scale of its own: a denial among a million reads would not be seen.
type timelineView struct {
	Width, Height, Base, LowBase int
	Bars                         []bar
	Marks                        []mark
	Most, MostLow                string
	Unit, Text                   string
	Rows                         tableView // the same as a table
}

type bar struct {
	X, Y, W, H string
	Class      string
	Title      string // of the column
}

type mark struct {
	X      string
	Text   string
	Anchor string
}

const (
	plotWidth  = 960
	plotLeft   = 8
	upperLane  = 130
	lowerLane  = 44
	laneGap    = 18
	plotTop    = 16
	axisHeight = 24
)

func viewTimeline(l *timeline) timelineView {
	v := timelineView{Width: plotWidth, Height: plotTop + upperLane + laneGap + lowerLane + axisHeight, Base: plotTop + upperLane, LowBase: plotTop + upperLane + laneGap + lowerLane}
	t := newTableView("timeline-table", "The time line in numbers", "From", "#Reads", "#Writes", "#Denials", "#Alerts")
	if l.columns == nil {
		v.Text = "Nothing was read, written or denied."
		v.Rows = t
		return v
	}
	var most, mostLow int64 = 1, 1
	for _, c := range l.columns {
		most, mostLow = max(most, c.reads+c.writes), max(mostLow, c.denials+c.alerts)
	}
	n := l.high - l.low + 1
	step := float64(plotWidth-2*plotLeft) / float64(n)
	width := min(step*0.82, 40)
	var sum column
	for i := l.low; i < l.low+n; i++ {
		c := l.columns[i]
		if c == nil {
			continue
		}
		sum.add(c)
		x := plotLeft + (float64(i-l.low)+0.5)*step - width/2
		from := moment(l.start(i))
		title := fmt.Sprintf("%s: %s, %s, %s, %s", from, plural(c.reads, "read"), plural(c.writes, "write"), plural(c.denials, "denial"), plural(c.alerts, "alert"))
		stack := func(base, height int, most int64, parts ...struct {
			n     int64
			class string
		}) {
			y := float64(base)
			for _, p := range parts {
				if p.n == 0 {
					continue
				}
				h := max(float64(height)*float64(p.n)/float64(most), 1.5)
				y -= h
				v.Bars = append(v.Bars, bar{px(x), px(y), px(width), px(h), p.class, title})
			}
		}
		type part = struct {
			n     int64
			class string
		}
		stack(v.Base, upperLane, most, part{c.reads, "reads"}, part{c.writes, "writes"})
		stack(v.LowBase, lowerLane, mostLow, part{c.denials, "denials"}, part{c.alerts, "alerts"})
		t.row("", at(l.start(i)), count(c.reads), count(c.writes), count(c.denials), count(c.alerts))
	}
	v.Marks = marks(l, n, step)
	v.Most, v.MostLow, v.Unit, v.Rows = plural(most, "access"), "no denials, no alerts", l.unit(), t
	if sum.denials+sum.alerts > 0 {
		v.MostLow = number(mostLow) + " denials and alerts"
	}
	v.Text = fmt.Sprintf("%s, %s, %s and %s from %s to %s.", plural(sum.reads, "read"), plural(sum.writes, "write"), plural(sum.denials, "denial"), plural(sum.alerts, "alert"),
		moment(l.start(l.low)), moment(l.start(l.low+n)))
	return v
}

// marks are the times below the time line.
func marks(l *timeline, n int64, step float64) (list []mark) {
	layout := "2006-01-02"
	if widths[l.width] < 86400 {
		layout = "01-02 15:04"
	}
	if widths[l.width] < 60 {
		layout = "15:04:05"
	}
	const most = 5
	for k := range int64(most) {
		i := k * n / (most - 1)
		anchor := "middle"
		switch {
		case k == 0:
			anchor = "start"
		case k == most-1:
			anchor = "end"
		}
		list = append(list, mark{px(plotLeft + float64(i)*step), l.start(l.low + i).Format(layout), anchor})
		if n < most-1 {
			break
		}
	}
	return list
}

func px(f float64) string { return fmt.Sprintf("%.1f", f) }
