package report_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/report"
	"github.com/strongroom-go/strongroom/internal/samplelog"
)

func sample(t *testing.T, hostile bool) *samplelog.Log {
	t.Helper()
	l, err := samplelog.Write(filepath.Join(t.TempDir(), "log"), "audit.example.com/node-1", hostile)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// write verifies a log and returns its page.
func write(t *testing.T, dir string, filter *audit.Filter, opts report.Options) string {
	t.Helper()
	verified, err := audit.Verify(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	opts.Logs = []report.Log{{Report: verified}}
	var page bytes.Buffer
	if err := report.Write(&page, audit.ReadVerified(t.Context(), []*audit.Report{verified}, filter), &opts); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// text is what stands between the tags, a space for each.
func text(page string) string {
	page = regexp.MustCompile(`(?s)<style>.*?</style>|<script>.*?</script>`).ReplaceAllString(page, "")
	return html.UnescapeString(strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")), " "))
}

// section returns a section's text.
func section(t *testing.T, page, id string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, `<section id="`+id+`"`)
	if !ok {
		t.Fatalf("there is no section %s", id)
	}
	rest, _, _ = strings.Cut(rest, "</section>")
	return text("<section" + rest)
}

// rows counts the rows of a table.
func rows(page, table string) int {
	_, rest, ok := strings.Cut(page, `<table id="`+table+`"`)
	if !ok {
		return 0
	}
	rest, _, _ = strings.Cut(rest, "</table>")
	return strings.Count(rest, "<tr") - 1
}

func wants(t *testing.T, where, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("%s: %q is not in\n%s", where, want, text[:min(len(text), 1200)])
		}
	}
}

// TestSections holds the page against what samplelog put into the log.
func TestSections(t *testing.T) {
	l := sample(t, false)
	page := write(t, l.Dir, nil, report.Options{Title: "October & more"})
	pseudonym := func(id, who string) string {
		p, err := l.Sealers[id].Pseudonym(who)
		if err != nil {
			t.Fatal(err)
		}
		return p[:12] + "…" // "p-" and ten more
	}
	wants(t, "title", page, "<title>October &amp; more</title>", "<h1>October &amp; more</h1>")
	wants(t, "verification", section(t, page, "verification"), "Intact, with reservations", "There is no pin", "keys were taken from the log itself",
		"1 unfinished access, of which", "1 event of tenants that the log does not number", "audit.example.com/node-1")
	wants(t, "alerts", section(t, page, "alerts"), "alert.isolation a value did not open failure lakeview", "key.export success harbor "+pseudonym("harbor", "operator"))
	wants(t, "denials", section(t, page, "denials"), "harbor sql.query patients treatment cross-tenant 3 2026-10-31 13:00:00 2026-11-02 13:00:00",
		"northside "+pseudonym("northside", "frontdesk@example.org")+" sql.query patients treatment cross-tenant 3", "lakeview", "curiosity unauthorized 1", "invented")
	wants(t, "first", section(t, page, "first"), "2026-11-09 09:00:00 "+pseudonym("harbor", "temp.17@example.org")+" harbor the tenant 4",
		"2026-11-07 16:00:00 "+pseudonym("northside", "billing@example.org")+" northside labs 1")
	wants(t, "unusual", section(t, page, "unusual"), "2026-11-08 "+pseudonym("lakeview", "nurse.lind@example.org")+" lakeview 4,8", "the actor’s own days")
	wants(t, "keys", section(t, page, "keys"), "key.reveal", "key.shred", "key.suspend", "audit.started", "audit.stopping closed")
	wants(t, "started", section(t, page, "started"), "2026-11-09 17:00:00 sql.query success harbor "+pseudonym("harbor", "dr.okafor@example.org"))
	wants(t, "access", section(t, page, "access"), pseudonym("northside", "dr.adams@example.org")+" northside visits research 1 40 0 0",
		pseudonym("harbor", "temp.17@example.org")+" harbor patients audit 4 48 0 0 2026-11-09 09:00:00 2026-11-09 09:03:00", "scans (objects)")
	wants(t, "time line", section(t, page, "timeline"), "A column is 1 day", "The time line in numbers")
	if strings.Contains(page, "example.org") {
		t.Error("an actor's name is on the page")
	}
}

// TestTotals counts again, in the simplest way.
func TestTotals(t *testing.T) {
	l := sample(t, false)
	page := write(t, l.Dir, nil, report.Options{})
	var events, reads, rowsRead, denials int
	for e, err := range audit.Read(t.Context(), l.Dir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		events++
		isRead := e.Code == audit.CodeQuery || slices.Contains([]string{"blob.read", "blob.list", "blob.attributes", "blob.grant"}, string(e.Code))
		if isRead && e.Phase == audit.Outcome && e.Status == audit.Success {
			reads++
			rowsRead += max(0, int(e.Rows))
		}
		if e.Status == audit.Denied {
			denials++
		}
	}
	group := func(n int) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }
	wants(t, "tiles", section(t, page, "timeline"), group(events)+" events", group(reads)+" reads", group(rowsRead)+" rows read", fmt.Sprintf("%d denials", denials), "2 alerts", "4 tenants")
	shown := 0
	for _, m := range regexp.MustCompile(`<tr><th scope="row" class="code" data-label="From">.*?data-label="Reads"><span><bdi>([0-9,]+)`).FindAllStringSubmatch(page, -1) {
		n := 0
		fmt.Sscan(strings.ReplaceAll(m[1], ",", ""), &n)
		shown += n
	}
	if shown != reads {
		t.Errorf("the time line has %d reads of %d", shown, reads)
	}
}

// TestSelection: a filter is on the page, and what came before Since tells what is new.
func TestSelection(t *testing.T) {
	l := sample(t, false)
	f := &audit.Filter{Since: samplelog.Start.AddDate(0, 0, 20), Until: samplelog.Start.AddDate(0, 0, 40)}
	all := *f
	all.Since = time.Time{}
	page := write(t, l.Dir, &all, report.Options{Filter: f})
	first := section(t, page, "first")
	if n := rows(page, "first-table"); n < 3 || n > 12 || strings.Contains(first, "2026-10-0") {
		t.Errorf("%d pairs are new:\n%s", n, first)
	}
	wants(t, "first", first, "before 2026-10-21 00:00:00 do not have", "the tenant 4")
	wants(t, "selection", text(page), "Since 2026-10-21 00:00:00 Until 2026-11-10 00:00:00")
	if strings.Contains(section(t, page, "timeline"), "2026-10-20") {
		t.Error("the time line has what came before")
	}
	wants(t, "unusual", section(t, page, "unusual"), "2026-11-08") // and days before are what it is compared with
}

// TestNames: actors are named where somebody has the keys.
func TestNames(t *testing.T) {
	l := sample(t, false)
	asked := 0
	page := write(t, l.Dir, nil, report.Options{Actor: func(e *audit.Entry) (string, error) {
		asked++
		k := l.Sealers[e.Tenant]
		if k == nil || e.Tenant == "lakeview" {
			return "", errors.New("no keys")
		}
		p, err := audit.Reveal(e, k)
		return p.Actor, err
	}})
	wants(t, "access", section(t, page, "access"), "temp.17@example.org harbor patients")
	wants(t, "verification", section(t, page, "verification"), "7 actors could not be named")
	wants(t, "selection", text(page), "Actors named, with the tenants' keys")
	if asked > 25 {
		t.Errorf("asked %d times", asked)
	}
}

// TestHostile has each text that an attacker might try wherever one can be put.
func TestHostile(t *testing.T) {
	l := sample(t, true)
	page := write(t, l.Dir, nil, report.Options{Title: samplelog.Hostile[0], Controls: true, Actor: func(e *audit.Entry) (string, error) {
		p, err := audit.Reveal(e, l.Sealers[e.Tenant])
		return p.Actor, err
	}})
	for what, want := range map[string]int{"<script": 1, "</script": 1, "<style": 1, "</style": 1, "<img": 0, "<h1": 1, "</main>": 1, "<iframe": 0, "<link": 0, "<base": 0, "<object": 0} {
		if got := strings.Count(strings.ToLower(page), what); got != want {
			t.Errorf("%d times %q, want %d", got, what, want)
		}
	}
	bare := regexp.MustCompile(`="[^"]*"`).ReplaceAllString(page, `=""`)
	if m := regexp.MustCompile(`(?i)<[a-z][^>]*\s(on[a-z]+|src|srcset|style|action|formaction|xlink:href)=`).FindString(bare); m != "" {
		t.Errorf("the page has %q", m)
	}
	for _, r := range "\x1b\x00\u202e\u200b" {
		if strings.ContainsRune(page, r) {
			t.Errorf("the page has U+%04X", r)
		}
	}
	for _, visible := range append(samplelog.Hostile[:7:7], `\u{1b}[2J\u{1b}[1;1Hforged`, `\u{202e}gnp.exe`, `a\u{200b}b`, `x\u{0}y`, "<!--", "]]>", "&lt;b&gt;", "  two  spaces  ") {
		for _, column := range []string{"Actor", "Purpose", "Object"} {
			cell := regexp.MustCompile(`data-label="` + column + `"><span><bdi>` + regexp.QuoteMeta(template(visible)) + `</bdi>`)
			if !cell.MatchString(page) {
				t.Errorf("%q is in no cell of the column %s", visible, column)
			}
		}
	}
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "#") {
			t.Errorf("the page refers to %s", m[1])
		}
	}
	if strings.Contains(page, "@import") || strings.Contains(page, "url(") {
		t.Error("the style loads something")
	}
}

// template escapes as html/template does.
func template(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;", "+", "&#43;").Replace(s)
}

// TestPolicy: what runs and styles is what the policy names, and that is nothing else.
func TestPolicy(t *testing.T) {
	page := write(t, sample(t, false).Dir, nil, report.Options{})
	policy := html.UnescapeString(regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)[1])
	for _, kind := range []string{"style", "script"} {
		inside := regexp.MustCompile(`(?s)<` + kind + `>(.*?)</` + kind + `>`).FindStringSubmatch(page)[1]
		sum := sha256.Sum256([]byte(inside))
		wants(t, "policy", policy, kind+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	wants(t, "policy", policy, "default-src 'none'", "base-uri 'none'", "form-action 'none'")
	if strings.Contains(policy, "unsafe") || regexp.MustCompile(` style="`).MatchString(page) {
		t.Errorf("the policy is %s", policy)
	}
	for what, want := range map[string]string{"<caption>": "<table ", `<th scope="col`: "", `lang="en"`: "", `name="viewport"`: ""} {
		n := strings.Count(page, what)
		if n == 0 || want != "" && n != strings.Count(page, want) {
			t.Errorf("%d times %s", n, what)
		}
	}
}

// synthetic yields n outcomes, each of another actor, table and purpose, with texts as long as a log has them.
func synthetic(n int) iter.Seq2[audit.Entry, error] {
	long := strings.Repeat("long ", 200)
	return func(yield func(audit.Entry, error) bool) {
		for i := range n {
			status := []audit.Status{audit.Success, audit.Success, audit.Denied}[i%3]
			phase := []audit.Phase{audit.Outcome, audit.Intent, audit.Single}[i%3]
			severity := "Informational"
			if i%5 == 0 {
				severity = "High"
			}
			e := audit.Entry{Code: audit.CodeQuery, Phase: phase, Status: status, Severity: severity, Time: samplelog.Start.Add(time.Duration(i) * time.Minute), Index: int64(i),
				Tenant: fmt.Sprint("t", i%1000), Actor: fmt.Sprint("actor-", i), Purpose: long + fmt.Sprint(i), Reason: long + fmt.Sprint(i), Tables: []string{long + fmt.Sprint(i)},
				Statement: long, Request: long, Correlation: fmt.Sprint(i), Rows: 7, Bytes: 1, Store: "sqlite", Name: long}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestBounds: neither page nor memory grows with the log, and the totals stay exact.
func TestBounds(t *testing.T) {
	limits := report.Limits{Kept: 2000}
	size := map[int]int{}
	for _, n := range []int{15_000, 45_000} {
		var page bytes.Buffer
		if err := report.Write(&page, synthetic(n), &report.Options{Limits: limits}); err != nil {
			t.Fatal(err)
		}
		size[n] = page.Len()
		p := page.String()
		wants(t, "tiles", section(t, p, "timeline"), fmt.Sprintf("%d,000 events", n/1000), fmt.Sprintf("%d,000 reads", n/3000), fmt.Sprintf("%d,000 rows read", n*7/3000),
			fmt.Sprintf("%d,000 denials", n/3000), fmt.Sprintf("%d,000 alerts", n/7500), "over 2,000 actors")
		wants(t, "denials", section(t, p, "denials"), fmt.Sprintf("and %d,800 more denials", n/3000-1))
		wants(t, "alerts", section(t, p, "alerts"), fmt.Sprintf("and %d,800 more older alerts", n/7500-1))
		wants(t, "access", section(t, p, "access"), "and 1,600 more combinations", fmt.Sprintf("and %d,000 accesses in combinations beyond the first 2,000", n/3000-2))
		wants(t, "uncovered", section(t, p, "verification"), "Not verified", "beyond the first 2,000 are in the totals alone", fmt.Sprintf("%d,000 unfinished accesses", n/3000))
		if got := rows(p, "matrix"); got != 400 {
			t.Errorf("%d rows in the matrix", got)
		}
	}
	if a, b := size[15_000], size[45_000]; a > 3<<20 || b > a+a/10 {
		t.Errorf("pages of %d and %d bytes", a, b)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	counted := func(yield func(audit.Entry, error) bool) {
		for e, err := range synthetic(30_000) {
			if e.Index%10_000 == 9_999 {
				runtime.GC()
				runtime.ReadMemStats(&after)
				most = max(most, after.HeapAlloc)
			}
			if !yield(e, err) {
				return
			}
		}
	}
	if err := report.Write(&bytes.Buffer{}, counted, &report.Options{Limits: limits}); err != nil {
		t.Fatal(err)
	}
	if most > before.HeapAlloc+40<<20 {
		t.Errorf("%d MiB while reading", (most-before.HeapAlloc)>>20)
	}
}

// TestVerdicts: the worst of what is known stands on top.
func TestVerdicts(t *testing.T) {
	whole := func() *audit.Report {
		return &audit.Report{Dir: "d", Origin: "o", Events: 10, Sealed: 10, TrustedKeys: true, Closed: true, Head: audit.TreeHead{Size: 10}}
	}
	change := func(f func(*audit.Report)) *audit.Report {
		r := whole()
		f(r)
		return r
	}
	good := report.Log{Report: whole(), Pinned: 10, Witnesses: []string{"w signed 10 events"}}
	bad := report.Log{Report: whole(), Err: fmt.Errorf("%w: seg/0, event 3", audit.ErrTampered), Pinned: 10}
	none := func(func(audit.Entry, error) bool) {}
	for what, c := range map[string]struct {
		logs []report.Log
		seq  iter.Seq2[audit.Entry, error]
		want []string
	}{
		"no log":          {nil, none, []string{"Not verified"}},
		"one":             {[]report.Log{good}, none, []string{" Intact Every event", "w signed 10 events", "up to event 10 of 10"}},
		"unpinned":        {[]report.Log{{Report: whole()}}, none, []string{"Intact, with reservations", "There is no pin"}},
		"behind a pin":    {[]report.Log{{Report: whole(), Pinned: 7}}, none, []string{"Intact, with reservations", "newest 3 events came after"}},
		"keys of the log": {[]report.Log{{Report: change(func(r *audit.Report) { r.TrustedKeys = false }), Pinned: 10}}, none, []string{"with reservations", "taken from the log itself"}},
		"unauthenticated": {[]report.Log{{Report: change(func(r *audit.Report) { r.Unauthenticated = []audit.Span{{First: 3, Count: 4}} }), Pinned: 10}}, none,
			[]string{"with reservations", "Nothing shows that the log wrote 4 events from index 3"}},
		"missing":           {[]report.Log{{Report: change(func(r *audit.Report) { r.Missing, r.Refusals = 2, 1 }), Pinned: 10}}, none, []string{"with reservations", "2 events of streams were taken away", "1 time, rows were left out"}},
		"deleted":           {[]report.Log{{Report: change(func(r *audit.Report) { r.Deleted = 4 }), Pinned: 10}}, none, []string{" Intact Every event", "The oldest 4 events were deleted by retention"}},
		"unsealed":          {[]report.Log{{Report: change(func(r *audit.Report) { r.Unsealed = 1 }), Pinned: 10}}, none, []string{"with reservations", "1 event behind the newest checkpoint"}},
		"one of two":        {[]report.Log{good, bad}, none, []string{"Not intact", "seg/0, event 3"}},
		"the other of two":  {[]report.Log{bad, good, {Report: whole()}}, none, []string{"Not intact"}},
		"one that is mixed": {[]report.Log{{Report: whole()}, good}, none, []string{"Intact, with reservations"}},
		"unreadable":        {[]report.Log{good, {Err: errors.New("no such file")}}, none, []string{"Not verified", "no such file"}},
		"while it was read": {[]report.Log{good}, func(yield func(audit.Entry, error) bool) {
			yield(audit.Entry{}, fmt.Errorf("%w: changed in between", audit.ErrTampered))
		}, []string{"Not intact", "changed in between"}},
	} {
		var page bytes.Buffer
		err := report.Write(&page, c.seq, &report.Options{Logs: c.logs})
		if wanted := what == "while it was read"; errors.Is(err, audit.ErrTampered) != wanted || err != nil && !wanted {
			t.Errorf("%s: %v", what, err)
		}
		wants(t, what, section(t, page.String(), "verification"), c.want...)
	}
}

// TestErrors: a page of which nobody knows how far it goes is not written.
func TestErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var page bytes.Buffer
	dir := sample(t, false).Dir
	if err := report.Write(&page, audit.Read(ctx, dir, nil), nil); !errors.Is(err, context.Canceled) || page.Len() > 0 {
		t.Errorf("cancelled: %v, %d bytes", err, page.Len())
	}
	none := &audit.Filter{Since: time.Unix(2, 0), Until: time.Unix(2, 0)}
	if err := report.Write(&page, audit.Read(t.Context(), dir, nil), &report.Options{Filter: none}); err == nil || page.Len() > 0 {
		t.Errorf("a filter that nothing matches: %v, %d bytes", err, page.Len())
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	defer full.Close()
	if err := report.Write(full, audit.Read(t.Context(), dir, nil), nil); err == nil {
		t.Error("a full disk is no error")
	}
}
