package report

import (
	"maps"
	"slices"
	"time"
)

// widths are those of the time line's columns in seconds. Each divides the next, so that counts can be put together.
var widths = []int64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400, 28 * 86400, 364 * 86400, 3640 * 86400, 36400 * 86400}

// maxColumns is how many columns the time line has at most: enough for the years 1 to 9999 in the widest.
const maxColumns = 120

const (
	earliest = -62135596800 // 0001-01-01
	latest   = 253402300799 // 9999-12-31
)

// column is what happened in one piece of time.
type column struct{ reads, writes, denials, alerts int64 }

func (c *column) add(o *column) {
	c.reads += o.reads
	c.writes += o.writes
	c.denials += o.denials
	c.alerts += o.alerts
}

// timeline counts by time without knowing how long that will be.
type timeline struct {
	width   int // of widths
	columns map[int64]*column
	low     int64 // the first column and the last one
	high    int64
}

// at returns the column of a time.
func (l *timeline) at(t time.Time) *column {
	second := min(max(t.Unix(), earliest), latest)
	i := floor(second, widths[l.width])
	if l.columns == nil {
		l.columns, l.low, l.high = map[int64]*column{}, i, i
	}
	for max(l.high, i)-min(l.low, i) >= maxColumns && l.width < len(widths)-1 {
		l.widen()
		i = floor(second, widths[l.width])
	}
	c := l.columns[i]
	if c == nil {
		c = &column{}
		l.columns[i] = c
		l.low, l.high = min(l.low, i), max(l.high, i)
	}
	return c
}

func (l *timeline) widen() {
	old := l.columns
	l.columns = map[int64]*column{}
	by := widths[l.width+1] / widths[l.width]
	l.width++
	for i, c := range old {
		i = floor(i, by)
		if l.columns[i] == nil {
			l.columns[i] = &column{}
		}
		l.columns[i].add(c)
	}
	keys := slices.Collect(maps.Keys(l.columns))
	l.low, l.high = slices.Min(keys), slices.Max(keys)
}

// floor divides, down to the smaller one for times before 1970.
func floor(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// start is when a column begins.
func (l *timeline) start(i int64) time.Time { return time.Unix(i*widths[l.width], 0).UTC() }

// unit says what one column is.
func (l *timeline) unit() string {
	switch w := time.Duration(widths[l.width]) * time.Second; {
	case w < time.Minute:
		return plural(int64(w/time.Second), "second")
	case w < time.Hour:
		return plural(int64(w/time.Minute), "minute")
	case w < 24*time.Hour:
		return plural(int64(w/time.Hour), "hour")
	default:
		return plural(int64(w/(24*time.Hour)), "day")
	}
}
