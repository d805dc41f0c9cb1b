package report

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// TestEveryCodeIsJudged: of a new code somebody has to say whether it is an access.
func TestEveryCodeIsJudged(t *testing.T) {
	others := []audit.Code{
		audit.CodeReseal, audit.CodeBlobReseal, audit.CodeMigrate, audit.CodeCommit, audit.CodeRollback, audit.CodeIsolation,
	}
	for _, c := range audit.Codes() {
		kind, _, _ := strings.Cut(string(c), ".")
		if actOf(c) == other && !slices.Contains(others, c) && !slices.Contains([]string{"key", "audit", "stream"}, kind) {
			t.Errorf("%s is neither a read nor a write nor listed here as neither", c)
		}
	}
}

// TestVerdictOfDeleted: what is deleted on record is missing, and the verdict does not say that nothing is.
func TestVerdictOfDeleted(t *testing.T) {
	whole := Log{Report: &audit.Report{Events: 10, TrustedKeys: true}, Pinned: 10}
	shortened := Log{Report: &audit.Report{Events: 10, Deleted: 4, TrustedKeys: true}, Pinned: 10}
	for _, c := range []struct {
		logs    []Log
		deleted string
	}{{[]Log{whole}, ""}, {[]Log{whole, shortened}, "the oldest 4 events"}, {[]Log{shortened, shortened}, "the oldest 8 events"}} {
		v := verdictOf(c.logs, nil)
		if v.Class != "good" || v.Word != "Intact" || strings.Contains(v.Text, "deleted") != (c.deleted != "") || !strings.Contains(v.Text, c.deleted) {
			t.Errorf("%d logs: %+v", len(c.logs), v)
		}
	}
	deleted := func(l Log) bool {
		return slices.ContainsFunc(viewLog(l).Facts, func(f fact) bool { return f.Name == "Deleted" })
	}
	if deleted(whole) || !deleted(shortened) {
		t.Errorf("the facts do not say what was deleted: %v", viewLog(shortened).Facts)
	}
}

func TestTimeline(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, span := range []int64{1, 60, 3000, 86400, 40 * 86400, 4000 * 86400, 1 << 36} {
		var l timeline
		for range 2000 {
			l.at(time.Unix(random.Int64N(span)-span/3, 0)).reads++
		}
		sum := int64(0)
		for i, c := range l.columns {
			if i < l.low || i > l.high {
				t.Errorf("%d s: column %d is outside of %d to %d", span, i, l.low, l.high)
			}
			sum += c.reads
		}
		if sum != 2000 || l.high-l.low >= maxColumns {
			t.Errorf("%d s: %d events in columns %d to %d of %s", span, sum, l.low, l.high, l.unit())
		}
		if v := viewTimeline(&l); len(v.Bars) == 0 || len(v.Bars) > maxColumns {
			t.Errorf("%d s: %d bars", span, len(v.Bars))
		}
	}
	for i := 1; i < len(widths); i++ {
		if widths[i]%widths[i-1] != 0 {
			t.Errorf("%d does not divide %d", widths[i-1], widths[i])
		}
	}
	var l timeline // times that no clock should have
	l.at(time.Unix(1<<40, 0)).alerts++
	l.at(time.Unix(-1<<40, 0)).alerts++
	viewTimeline(&l)
}

func TestUnusual(t *testing.T) {
	days := map[actorDay]int64{}
	put := func(tenant, actor string, rows ...int64) {
		for i, n := range rows {
			days[actorDay{tenant, actor, int64(i)}] = n
		}
	}
	put("a", "steady", 100, 110, 95, 105, 100, 90, 100, 108, 900)
	put("a", "heavy", 5000, 5100, 4900, 5000, 5050, 4950, 5000, 5020, 5100) // is always so
	put("a", "small", 1, 1, 1, 1, 1, 1, 1, 1, 90)                           // below what counts
	put("b", "new", 4000)                                                   // against others' days
	put("b", "x", 100, 110, 95, 105, 100, 90, 100)
	put("c", "few", 1, 1, 9000) // nothing to compare with
	put("d", "same", 500, 500, 500, 500, 500, 500, 500, 500, 500, 2000)
	put("e", "all the same", 500, 500, 500, 500, 500, 500, 500, 500)
	var got []string
	for _, v := range unusual(days, 0) {
		got = append(got, v.tenant+" "+v.actor)
		if v.own != (v.actor != "new") {
			t.Errorf("%s is compared with own days: %v", v.actor, v.own)
		}
	}
	slices.Sort(got)
	if want := []string{"a steady", "b new", "d same"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if late := unusual(days, 9); len(late) != 1 || late[0].actor != "same" {
		t.Errorf("from day 9 on: %v", late)
	}
	// 0.6745 × (900 − 100) ÷ MAD 5
	for _, v := range unusual(days, 0) {
		if v.actor == "steady" && (v.score < 107 || v.score > 109 || v.median != 100) {
			t.Errorf("score %v, median %v", v.score, v.median)
		}
	}
}

func TestShown(t *testing.T) {
	long := strings.Repeat("é", 500)
	a, b := shown(long+"a"), shown(long+"b")
	if a == b || len(a) > 400 || !strings.HasPrefix(a, strings.Repeat("é", maxShown)+"… (1001 bytes, #") {
		t.Errorf("%q and %q", a, b)
	}
	if n := len(shown(strings.Repeat("\u202e", 5000))); n > 400 {
		t.Errorf("%d bytes of what nobody sees", n)
	}
	for in, want := range map[string]string{"": "", "a b": "a b", "a\tb": `a\u{9}b`, "é": "é", "\u2028": `\u{2028}`, "\xff": "\ufffd", "\u00a0": `\u{a0}`} {
		if got := shown(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for want, got := range map[string]string{
		"1 event": plural(1, "event"), "2 events": plural(2, "event"), "1,000 denials": plural(1000, "denial"), "0 head leaves": plural(0, "head leaf"),
		"2 accesses": plural(2, "access"), "1 unfinished access": plural(1, "unfinished access"), "2 queries": plural(2, "query"), "3 days": plural(3, "day"),
		"1,234,567": number(1234567), "unknown": number(-1), "and 2 more rows": more(2, "row"), "": more(0, "row"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
