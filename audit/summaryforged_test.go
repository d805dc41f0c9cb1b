package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/tenant"
)

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
	second, like := pair(t, segments)
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
			writeFile(t, name(dir), readFile(t, summaryPath(dir, like)))
		}, true, false},
		"of a version to come":          {change(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("summary/v2"), []byte("summary/v3")) }), false, false},
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

// pair returns two segments with as many events, as far from each other as there are.
func pair(t *testing.T, segments []int64) (one, other int64) {
	t.Helper()
	for apart := len(segments) - 3; apart > 0; apart-- {
		for i := 1; i+apart+1 < len(segments); i++ {
			if j := i + apart; segments[i+1]-segments[i] == segments[j+1]-segments[j] {
				return segments[i], segments[j]
			}
		}
	}
	t.Fatalf("no two of the segments %v have as many events", segments)
	return 0, 0
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
