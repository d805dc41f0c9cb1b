package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// phased is a log in whose segments tenants and times differ: acme's events come first, then globex's, each a minute younger than
// the one before.
func phased(t testing.TB) (dir string, opts *Options) {
	t.Helper()
	dir, opts = aging(t)
	l := mustOpen(t, dir, opts)
	for i := range 80 {
		id := acme
		if i >= 40 {
			id = globex
		}
		e := query(id, fmt.Sprint(i))
		if i%40 == 39 {
			e.Code, e.Phase, e.Tables = CodeBlobRead, Single, nil
		}
		mustRecord(t, l, e)
	}
	mustClose(t, l)
	return dir, opts
}

// read returns what a filter selects and how many segments were skipped.
func read(t testing.TB, dir string, f Filter) (all []Entry, skipped int) {
	t.Helper()
	f.Skipped = func(n, _ int) { skipped += n }
	return entries(t, dir, &f), skipped
}

func sameEntries(a, b []Entry) bool {
	return slices.EqualFunc(a, b, func(a, b Entry) bool { return a.Index == b.Index && bytes.Equal(a.Raw, b.Raw) })
}

// summaryNames are the summaries that a log has.
func summaryNames(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, summariesName, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// wantSummaries wants one for each segment but the last, and each to be right.
func wantSummaries(t testing.TB, dir string) {
	t.Helper()
	segments, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r, n := mustVerify(t, dir), len(summaryNames(t, dir)); r.Summaries != len(segments)-1 || n != len(segments)-1 {
		t.Errorf("%d segments, %d right summaries, %d files", len(segments), r.Summaries, n)
	}
}

// TestSummaries: readers pass over segments in which a filter selects nothing, and find all the same what it selects.
func TestSummaries(t *testing.T) {
	dir, _ := phased(t)
	wantSummaries(t, dir)
	all := entries(t, dir, nil)
	middle := all[len(all)/2].Time
	for name, f := range map[string]Filter{
		"tenant": {Tenant: acme}, "the other tenant": {Tenant: globex}, "no tenant's": {Tenant: tenant.MustParse("nobody")},
		"since": {Since: middle}, "until": {Until: middle}, "an hour": {Since: middle, Until: middle.Add(time.Hour)},
		"before everything": {Until: all[0].Time}, "after everything": {Since: all[len(all)-1].Time.Add(1)},
		"code": {Code: CodeBlobRead}, "kind": {Code: "blob."}, "tenant and time": {Tenant: acme, Since: middle},
	} {
		whole := f
		whole.Whole = true
		got, skipped := read(t, dir, f)
		want, none := read(t, dir, whole)
		if !sameEntries(got, want) || skipped == 0 || none != 0 {
			t.Errorf("%s: %d entries, %d segments skipped; reading all: %d and %d", name, len(got), skipped, len(want), none)
		}
	}
	for name, f := range map[string]Filter{"nothing": {}, "status": {Status: Denied}, "purpose": {Purpose: "treatment"}} {
		if _, skipped := read(t, dir, f); skipped > 0 {
			t.Errorf("%s: %d segments skipped, and summaries say nothing of it", name, skipped)
		}
	}
}

// TestSummariesProgress: what is not read is not counted.
func TestSummariesProgress(t *testing.T) {
	dir, _ := phased(t)
	var whole, part int64
	entries(t, dir, &Filter{Progress: func(_, total int64) { whole = total }})
	entries(t, dir, &Filter{Tenant: acme, Progress: func(done, total int64) {
		if part = total; done > total {
			t.Errorf("%d of %d", done, total)
		}
	}})
	if part == 0 || part >= whole {
		t.Errorf("%d of %d bytes", part, whole)
	}
}

// forgeSummary replaces what a summary says and signs it.
func forgeSummary(t testing.TB, dir string, first int64, signer note.Signer, change func(*packedSummary)) {
	t.Helper()
	_, body, _ := bytes.Cut(readFile(t, summaryPath(dir, first)), []byte("\n\n"))
	_, body, _ = bytes.Cut(body, []byte("\n\n"))
	var p packedSummary
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatal(err)
	}
	change(&p)
	f, err := p.sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, summaryPath(dir, first), f.content)
}

func ownSigner(t testing.TB, dir string) note.Signer {
	t.Helper()
	return mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName)))))
}

func hideTenants(p *packedSummary) { p.Tenants = []byte{} }
func hideTimes(p *packedSummary)   { p.From, p.To = 0, 0 }
func hideCodes(p *packedSummary)   { p.Codes = nil }

// TestForgedSummaries: whatever somebody without the log's key makes of the summaries hides nothing, and what somebody with a key
// makes of them that readers go by, verifying finds.
func TestForgedSummaries(t *testing.T) {
	origin, _ := phased(t)
	segments, err := listSegments(origin)
	if err != nil || len(segments) < 4 {
		t.Fatal(segments, err)
	}
	key, err := os.ReadFile(filepath.Join(origin, configName))
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(key, &c); err != nil {
		t.Fatal(err)
	}
	otherSecret, otherKey, err := note.GenerateKey(nil, c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	other := mustSigner(t, otherSecret)
	second := segments[1]
	name := func(dir string) string { return summaryPath(dir, second) }
	change := func(f func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { writeFile(t, name(dir), f(readFile(t, name(dir)))) }
	}
	admit := func(t *testing.T, dir string) { // another key into log.json
		text := strings.Replace(string(readFile(t, filepath.Join(dir, configName))), `"verifiers": [`, `"verifiers": ["`+otherKey+`",`, 1)
		writeFile(t, filepath.Join(dir, configName), []byte(text))
	}
	instead := func(put func(name string) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			remove(t, name(dir))
			if err := put(name(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, c := range map[string]struct {
		spoil    func(*testing.T, string)
		tampered bool // verifying finds it
		hides    bool // from those who do not verify, and trust log.json or the key
	}{
		"removed":     {func(t *testing.T, dir string) { remove(t, name(dir)) }, false, false},
		"all removed": {func(t *testing.T, dir string) { removeAll(t, filepath.Join(dir, summariesName)) }, false, false},
		"a file for all": {func(t *testing.T, dir string) {
			removeAll(t, filepath.Join(dir, summariesName))
			writeFile(t, filepath.Join(dir, summariesName), nil)
		}, false, false},
		"empty":            {change(func([]byte) []byte { return nil }), false, false},
		"cut":              {change(func(b []byte) []byte { return b[:len(b)-20] }), true, false},
		"cut in the note":  {change(func(b []byte) []byte { return b[:60] }), true, false},
		"one bit":          {change(func(b []byte) []byte { b[len(b)-30] ^= 1; return b }), true, false},
		"something behind": {change(func(b []byte) []byte { return append(b, "x\n"...) }), true, false},
		"very long":        {change(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }), true, false},
		"another segment's": {func(t *testing.T, dir string) {
			writeFile(t, name(dir), readFile(t, summaryPath(dir, segments[2])))
		}, true, false},
		"of a version to come":          {change(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("summary/v1"), []byte("summary/v2")) }), false, false},
		"another kind of file":          {func(t *testing.T, dir string) { writeFile(t, name(dir), readFile(t, filepath.Join(dir, stateName))) }, false, false},
		"another key's, tenants hidden": {func(t *testing.T, dir string) { forgeSummary(t, dir, second, other, hideTenants) }, true, false},
		"a key's in log.json, tenants hidden": {func(t *testing.T, dir string) {
			forgeSummary(t, dir, second, other, hideTenants)
			admit(t, dir)
		}, true, true},
		"the stolen key's, tenants hidden": {func(t *testing.T, dir string) { forgeSummary(t, dir, second, ownSigner(t, origin), hideTenants) }, true, true},
		"the stolen key's, times hidden":   {func(t *testing.T, dir string) { forgeSummary(t, dir, second, ownSigner(t, origin), hideTimes) }, true, true},
		"the stolen key's, codes hidden":   {func(t *testing.T, dir string) { forgeSummary(t, dir, second, ownSigner(t, origin), hideCodes) }, true, true},
		"the stolen key's, fewer events": {func(t *testing.T, dir string) {
			forgeSummary(t, dir, second, ownSigner(t, origin), func(p *packedSummary) { p.Events--; hideTenants(p) })
		}, true, false},
		"the stolen key's, times backward": {func(t *testing.T, dir string) {
			forgeSummary(t, dir, second, ownSigner(t, origin), func(p *packedSummary) { p.From = p.To + 1 })
		}, true, false},
		"the stolen key's, another root": {func(t *testing.T, dir string) {
			forgeSummary(t, dir, second, ownSigner(t, origin), func(p *packedSummary) { p.Root[0]++ })
		}, true, false},
		"one for the newest": {func(t *testing.T, dir string) {
			writeFile(t, summaryPath(dir, segments[len(segments)-1]), readFile(t, name(dir)))
		}, false, false},
		"a pipe":      {instead(func(name string) error { return syscall.Mkfifo(name, 0o600) }), false, false},
		"a directory": {instead(func(name string) error { return os.Mkdir(name, 0o700) }), false, false},
		"a link":      {instead(func(name string) error { return os.Symlink(summaryPath(origin, second), name) }), false, false},
	} {
		t.Run(what, func(t *testing.T) {
			dir := copyDir(t, origin)
			want := entries(t, origin, nil)
			c.spoil(t, dir)
			r, err := Verify(background, dir, nil)
			if errors.Is(err, ErrTampered) != c.tampered || err != nil && !c.tampered {
				t.Errorf("verifying: %v", err)
			}
			var bad *TamperError
			if c.tampered && (!errors.As(err, &bad) || bad.File != summariesName || bad.Index != second) {
				t.Errorf("verifying: %v", err)
			}
			hidden := false
			for _, f := range []Filter{{Tenant: acme}, {Tenant: globex}, {Code: CodeQuery}, {Since: want[2].Time}, {Until: want[len(want)-2].Time}} {
				selected := slices.DeleteFunc(slices.Clone(want), func(e Entry) bool { return !f.match(&e) })
				got, _ := read(t, dir, f)
				hidden = hidden || !sameEntries(got, selected)
				f.Whole = true
				if all, _ := read(t, dir, f); !sameEntries(all, selected) {
					t.Errorf("%+v: reading all gives %d of %d", f, len(all), len(selected))
				}
				f.Whole = false
				// Who verified has what was verified, whatever the summaries say.
				var verified []Entry
				for e, err := range ReadVerified(background, []*Report{r}, &f) {
					if err != nil {
						t.Fatal(err)
					}
					verified = append(verified, e)
				}
				if !sameEntries(verified, selected) {
					t.Errorf("%+v: after verifying there are %d of %d", f, len(verified), len(selected))
				}
			}
			if hidden != c.hides {
				t.Errorf("events hidden: %v", hidden)
			}
			if strings.Contains(what, "log.json") {
				got, _ := read(t, dir, Filter{Tenant: acme, Verifiers: []string{ownVerifier(t, origin)}})
				whole, _ := read(t, dir, Filter{Tenant: acme, Whole: true})
				if !sameEntries(got, whole) {
					t.Errorf("with the key given: %d of %d", len(got), len(whole))
				}
			}
		})
	}
}

func ownVerifier(t testing.TB, dir string) string {
	t.Helper()
	c, err := readConfig(faultfs.New(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return c.Verifiers[len(c.Verifiers)-1]
}

func removeAll(t testing.TB, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

// TestSummariesOfAnotherLife: a log that was put back from a backup goes on with other events. A summary of its first life, signed by
// the same key, about as many events, is found.
func TestSummariesOfAnotherLife(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "1"))
	mustClose(t, l)
	again := copyDir(t, dir)
	for i, dir := range []string{dir, again} {
		l := mustOpen(t, dir, opts)
		for range 40 {
			mustRecord(t, l, query([]tenant.ID{acme, globex}[i], "2")) // ids of one length: segments end alike
		}
		mustClose(t, l)
	}
	// Of both lives, where segments end at the same event only by chance: the text of a number decides.
	first, err1 := listSegments(dir)
	second, err2 := listSegments(again)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	writeFile(t, summaryPath(again, 0), readFile(t, summaryPath(dir, 0)))
	if _, err := Verify(background, again, nil); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), summariesName) {
		t.Errorf("segments %v and %v: %v", first, second, err)
	}
	l = mustOpen(t, again, opts) // which goes by none
	mustClose(t, l)
}

// TestSummariesAfterKill: a process that is killed before it wrote a segment's summary leaves it to the next.
func TestSummariesAfterKill(t *testing.T) {
	for _, stated := range []bool{false, true} {
		dir, opts := aging(t)
		opts.HeadEvery = 1000
		if !stated {
			opts.stateEvents = 1 << 30
		}
		l := mustOpen(t, dir, opts)
		for i := range 20 {
			mustRecord(t, l, query(acme, fmt.Sprint(i)))
		}
		if stated { // in the middle of a segment
			mustCheckpoint(t, l)
			wait(t, func() bool { _, err := os.Stat(filepath.Join(dir, stateName)); return err == nil })
		}
		for i := range 20 {
			mustRecord(t, l, query(globex, fmt.Sprint(i)))
		}
		killed := copyDir(t, dir)
		before := len(summaryNames(t, killed))
		mustClose(t, l)
		l = mustOpen(t, killed, opts)
		mustRecord(t, l, query(globex, "again"))
		mustClose(t, l)
		wantSummaries(t, killed)
		if now := len(summaryNames(t, killed)); now <= before {
			t.Errorf("%d summaries, and %d before", now, before)
		}
		if got, skipped := read(t, killed, Filter{Tenant: globex}); skipped == 0 || len(got) < 21 {
			t.Errorf("stated %v: %d entries, %d skipped", stated, len(got), skipped)
		}
	}
}

func wait(t testing.TB, f func() bool) {
	t.Helper()
	for range 3000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it did not come")
}

// TestSummariesOfEarlierRelease: a log without summaries, and with a state that has none, is read as it was, and gets those of segments
// to come; Retain makes the others.
func TestSummariesOfEarlierRelease(t *testing.T) {
	dir, opts := phased(t)
	want := slices.Clone(summaryNames(t, dir))
	contents := map[string][]byte{}
	for _, n := range want {
		contents[n] = readFile(t, n)
	}
	removeAll(t, filepath.Join(dir, summariesName))
	verifiers, err := verifierList([]string{ownVerifier(t, dir)}, ownSigner(t, dir).Name())
	if err != nil {
		t.Fatal(err)
	}
	s, err := readState(faultfs.New(), dir, ownSigner(t, dir).Name(), verifiers)
	if err != nil || s.Summary == nil {
		t.Fatal(s, err)
	}
	s.Summary = nil
	var tenants []*tenantState
	for _, ts := range s.tenants {
		tenants = append(tenants, ts)
	}
	old, err := s.encode(ownSigner(t, dir), tenants)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, stateName), old)

	if got, skipped := read(t, dir, Filter{Tenant: acme}); skipped != 0 || len(got) < 40 {
		t.Errorf("%d entries, %d skipped", len(got), skipped)
	}
	mustVerify(t, dir)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "new", 20)
	segments, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return len(summaryNames(t, dir)) > 0 })
	if n := len(summaryNames(t, dir)); n >= len(segments)-1-len(want) {
		t.Errorf("%d summaries of %d segments, of which %d were there before, the last of those begun by an earlier release", n, len(segments), len(want)+1)
	}
	mustRetain(t, l, &Retention{})
	for n, content := range contents {
		if !bytes.Equal(readFile(t, n), content) {
			t.Errorf("%s is another one", n)
		}
	}
	mustClose(t, l)
	wantSummaries(t, dir)
}

// TestSummariesMadeOfTampered: no summary is made of events that are not those that were recorded.
func TestSummariesMadeOfTampered(t *testing.T) {
	dir, opts := phased(t)
	removeAll(t, filepath.Join(dir, summariesName))
	l := mustOpen(t, dir, opts)
	segments, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := segmentPath(dir, segments[1])
	whole := readFile(t, name)
	writeFile(t, name, bytes.Replace(whole, []byte(`"tenant_uid":"acme"`), []byte(`"tenant_uid":"acmf"`), 1))
	if _, err := l.Retain(background, nil); !errors.Is(err, ErrTampered) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(summaryPath(dir, segments[1])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a summary: %v", err)
	}
	writeFile(t, name, whole)
	mustRetain(t, l, nil)
	mustClose(t, l)
	wantSummaries(t, dir)
}

// TestSummariesUnwritable: that no summary can be written is no failure of the log.
func TestSummariesUnwritable(t *testing.T) {
	dir, opts := aging(t)
	fsys := faultfs.New()
	fsys.Before = func(s faultfs.Step) error {
		if strings.Contains(s.Name, summariesName) {
			return syscall.EIO
		}
		return nil
	}
	opts.fs = fsys
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 30)
	if err := l.Err(); err != nil {
		t.Error(err)
	}
	if _, err := l.Retain(background, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	mustClose(t, l)
	mustVerify(t, dir)
	opts.fs = nil
	l = mustOpen(t, dir, opts)
	mustRetain(t, l, nil)
	mustClose(t, l)
	wantSummaries(t, dir)
}

// TestSummariesAreDeleted: the summary of a segment goes with it, and that of one that is compressed stays.
func TestSummariesAreDeleted(t *testing.T) {
	for _, r := range []Retention{{Bytes: 19 << 10, Compress: true}, {Bytes: 19 << 10, DropHashes: true, DropCheckpoints: true}} {
		dir, opts := phased(t)
		l := mustOpen(t, dir, opts)
		want, _ := read(t, dir, Filter{Tenant: globex, Whole: true})
		done := mustRetain(t, l, &r)
		mustClose(t, l)
		if done.Deleted == 0 {
			t.Fatalf("%+v", done)
		}
		wantSummaries(t, dir)
		want = slices.DeleteFunc(want, func(e Entry) bool { return e.Index < done.First })
		if got, _ := read(t, dir, Filter{Tenant: globex}); !sameEntries(got[:len(want)], want) {
			t.Errorf("%d and %d", len(got), len(want))
		}
	}
}

// TestSummariesAnyLog: of logs of every history, a filter selects with summaries what it selects without. Clocks go back, callers
// give times, tenants are unknown, processes are killed, states and summaries are lost, segments compressed and deleted.
func TestSummariesAnyLog(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ids := []tenant.ID{acme, globex}
	for i := range 6 {
		ids = append(ids, tenant.MustParse(fmt.Sprint("tenant-", i)))
	}
	skips := 0
	for range 12 {
		dir, opts := aging(t)
		clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		opts.now = func() time.Time { return clock }
		opts.SegmentBytes, opts.stateEvents = 8<<10+r.Int64N(16<<10), 5+r.Int64N(100)
		for range 2 + r.IntN(4) {
			l := mustOpen(t, dir, opts)
			some := ids[:1+r.IntN(len(ids))]
			for range 10 + r.IntN(60) {
				if clock = clock.Add(time.Duration(r.IntN(100)) * time.Minute); r.IntN(20) == 0 {
					clock = clock.Add(-time.Duration(r.IntN(100)) * time.Hour)
				}
				e := query(some[r.IntN(len(some))], "q")
				switch r.IntN(8) {
				case 0:
					e.Time = clock.Add(-time.Duration(r.IntN(1000)) * time.Hour)
				case 1:
					e.Code, e.Phase, e.Status = CodeBlobRead, Single, Denied
				case 2:
					e = query(tenant.MustParse(fmt.Sprint("stranger-", r.IntN(5))), "q")
					e.Status = Denied
				case 3:
					mustCheckpoint(t, l)
				}
				mustRecord(t, l, e)
			}
			switch r.IntN(6) {
			case 0:
				mustRetain(t, l, &Retention{Compress: true})
			case 1:
				mustRetain(t, l, &Retention{Bytes: 20 << 10})
			case 2:
				mustCheckpoint(t, l)
			}
			if r.IntN(3) == 0 {
				killed := copyDir(t, dir)
				mustClose(t, l)
				dir = killed
			} else {
				mustClose(t, l)
			}
			switch r.IntN(6) {
			case 0:
				os.Remove(filepath.Join(dir, stateName))
			case 1:
				removeAll(t, filepath.Join(dir, summariesName))
			case 2:
				if names := summaryNames(t, dir); len(names) > 0 {
					remove(t, names[r.IntN(len(names))])
				}
			}
		}
		report := mustVerify(t, dir)
		all := entries(t, dir, nil)
		at := func() (when time.Time) {
			if r.IntN(2) == 0 {
				when = all[r.IntN(len(all))].Time.Add(time.Duration(r.IntN(3)-1) * time.Millisecond)
			}
			return when
		}
		for range 40 {
			f := Filter{Since: at(), Until: at()}
			if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
				f.Since, f.Until = f.Until, f.Since.Add(1)
			}
			if r.IntN(2) == 0 {
				f.Tenant = ids[r.IntN(len(ids))]
			} else if r.IntN(4) == 0 {
				f.Tenant = tenant.MustParse(fmt.Sprint("stranger-", r.IntN(5)))
			}
			if r.IntN(4) == 0 {
				f.Code = []Code{CodeQuery, "blob.", CodeLogStarted, CodeLogHead, "sql."}[r.IntN(5)]
			}
			want := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return !f.match(&e) })
			got, n := read(t, dir, f)
			skips += n
			var verified []Entry
			for e, err := range ReadVerified(background, []*Report{report}, &f) {
				if err != nil {
					t.Fatal(err)
				}
				verified = append(verified, e)
			}
			if !sameEntries(got, want) || !sameEntries(verified, want) {
				t.Fatalf("%+v selects %d, with summaries %d, after verifying %d", f, len(want), len(got), len(verified))
			}
		}
	}
	if skips == 0 {
		t.Error("no segment was ever skipped")
	}
}

// TestSummariesOfBundles: a bundle is the same bytes with summaries and without, and one that a forged summary would make incomplete
// is not written.
func TestSummariesOfBundles(t *testing.T) {
	dir, _ := phased(t)
	plain := copyDir(t, dir)
	removeAll(t, filepath.Join(plain, summariesName))
	for _, id := range []tenant.ID{acme, globex} {
		var some, all int64
		var b bytes.Buffer
		if _, err := WriteBundle(background, &b, dir, id, &BundleOptions{Progress: func(_, total int64) { some = total }}); err != nil {
			t.Fatal(err)
		}
		var whole bytes.Buffer
		if _, err := WriteBundle(background, &whole, plain, id, &BundleOptions{Progress: func(_, total int64) { all = total }}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), whole.Bytes()) || some >= all {
			t.Errorf("%s: %d bytes, of a log without summaries %d; read %d and %d", id, b.Len(), whole.Len(), some, all)
		}
		if _, err := VerifyBundle(background, &b, []string{ownVerifier(t, dir)}); err != nil {
			t.Error(err)
		}
	}
	forgeSummary(t, dir, 0, ownSigner(t, dir), hideTenants)
	if _, err := WriteBundle(background, &bytes.Buffer{}, dir, acme, nil); !errors.Is(err, ErrTampered) {
		t.Errorf("with a summary that hides events: %v", err)
	}
}

// TestSummariesOfWatch: what is followed from a time on begins with the segment of that time.
func TestSummariesOfWatch(t *testing.T) {
	dir, _ := phased(t)
	all := entries(t, dir, nil)
	since := all[len(all)*3/4].Time
	want, skipped := read(t, dir, Filter{Since: since})
	var got []Entry
	for e, err := range Watch(t.Context(), []string{dir}, &WatchOptions{Filter: &Filter{Since: since}, Every: time.Millisecond}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e); len(got) == len(want) {
			break
		}
	}
	if !sameEntries(got, want) || skipped == 0 {
		t.Errorf("%d and %d entries", len(got), len(want))
	}
	logs, err := watchers([]string{dir}, &WatchOptions{Filter: &Filter{Since: since}})
	if err != nil || logs[0].first == 0 {
		t.Errorf("it begins with event %d, %v", logs[0].first, err)
	}
}
