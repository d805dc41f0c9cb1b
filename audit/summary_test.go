package audit

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// phased is a log in whose segments tenants and times differ: acme's events come first, then globex's, each a minute younger than
// the one before.
func phased(t testing.TB, origin ...string) (dir string, opts *Options) {
	t.Helper()
	dir, opts = aging(t)
	opts.Origin = strings.Join(origin, "")
	opts.HeadEvery, opts.HeadAfter = 1000, 1000*time.Hour // when they come, nobody can tell, and so not where segments end
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
		if i%20 == 10 {
			mustCheckpoint(t, l)
		}
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
	logs, err := watchers(background, []string{dir}, &WatchOptions{Filter: &Filter{Since: since}})
	if err != nil || logs[0].first == 0 {
		t.Errorf("it begins with event %d, %v", logs[0].first, err)
	}
}
