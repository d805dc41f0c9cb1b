package audit

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// crashed returns what a crash leaves of a log: two sealed events, and three batches that no checkpoint seals.
func crashed(t *testing.T, opts *Options) (dir string, live *Log) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "sealed-1"), query(globex, "sealed-2"))
	if _, err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, l, query(acme, "tail-1"), query(globex, "tail-2"), query(acme, "tail-3"))
	return copyDir(t, dir), l
}

// lineOf returns the line of the event with a request.
func lineOf(t *testing.T, data []byte, request string) []byte {
	t.Helper()
	for _, line := range lines(data) {
		if bytes.Contains(line, []byte(`"request":"`+request+`"`)) {
			return line
		}
	}
	t.Fatalf("no event %s", request)
	return nil
}

var (
	sequenceOf = regexp.MustCompile(`"sequence":\d+`)
	labelsOf   = regexp.MustCompile(`,"labels":\[[^]]*\]`)
)

// forge makes a line of an event that was never recorded from a genuine one.
func forge(line []byte, sequence int, tagged bool) []byte {
	line = regexp.MustCompile(`"request":"[^"]*"`).ReplaceAll(line, []byte(`"request":"forged"`))
	line = sequenceOf.ReplaceAll(line, fmt.Appendf(nil, `"sequence":%d`, sequence))
	if !tagged {
		line = labelsOf.ReplaceAll(line, nil)
	}
	return line
}

// ownLine makes a line of the log itself from its first.
func ownLine(data []byte, code Code, sequence int) []byte {
	line := bytes.Replace(lines(data)[0], []byte(CodeLogStarted), []byte(code), 1)
	line = bytes.Replace(line, []byte("opened, durable"), []byte("forged"), 1)
	return sequenceOf.ReplaceAll(line, fmt.Appendf(nil, `"sequence":%d`, sequence))
}

// TestForgedBehindAClosedLog: whoever has not the key puts lines behind the end of a log that was closed.
func TestForgedBehindAClosedLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "1"), query(acme, "2"))
	key := l.Verifier()
	mustClose(t, l)
	data := readFile(t, segmentPath(dir, 0))
	one, stop := lineOf(t, data, "2"), lines(data)[len(lines(data))-1]
	for name, c := range map[string]struct {
		more  []byte
		found bool // otherwise it is cut off
	}{
		"an event":                    {forge(one, 3, false), true},
		"an event with an old tag":    {forge(one, 3, true), true},
		"an event of another tenant":  {bytes.Replace(forge(one, 1, false), []byte("acme"), []byte("globex"), 1), true},
		"an unnumbered event":         {bytes.Replace(forge(one, 9, false), []byte(`,"sequence":9`), nil, 1), true},
		"a head leaf":                 {bytes.Replace(ownLine(data, CodeLogHead, 3), []byte(`"metadata":{`), []byte(`"metadata":{"tenant_uid":"acme",`), 1), true},
		"another end":                 {stop, true},
		"two beginnings and an event": {slices.Concat(ownLine(data, CodeLogRecovered, 3), ownLine(data, CodeLogStarted, 4), forge(one, 3, false)), true},
		"a beginning":                 {ownLine(data, CodeLogStarted, 3), false},
		"a recovery and a beginning":  {slices.Concat(ownLine(data, CodeLogRecovered, 3), ownLine(data, CodeLogStarted, 4)), false},
		"half an event":               {one[:100], false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, dir)
			grow(t, segmentPath(dir, 0), c.more)
			r, err := Verify(t.Context(), dir, &VerifyOptions{Verifiers: []string{key}})
			if c.found {
				var where *TamperError
				if !errors.As(err, &where) || where.Index < 4 {
					t.Errorf("Verify: %v\n%s", err, r)
				}
				writeFile(t, filepath.Join(dir, lockName), nil)
				before := snapshot(t, dir)
				if l, err := OpenLog(dir, quiet()); !errors.Is(err, ErrTampered) {
					t.Errorf("OpenLog: %v", err)
					l.Close()
				}
				if snapshot(t, dir) != before {
					t.Error("the evidence was changed")
				}
				return
			}
			if err != nil || r.Torn != int64(len(c.more)) || r.Closed || r.Unsealed != 0 {
				t.Errorf("Verify: %v\n%s", err, r)
			}
			mustClose(t, mustOpen(t, dir, quiet()))
			if data := readFile(t, segmentPath(dir, 0)); bytes.Contains(data, []byte("forged")) {
				t.Errorf("a forged line was signed: %s", data)
			}
			mustVerify(t, dir)
		})
	}
}

// TestForgedBehindACrash: the same behind the last batch of a log that was not closed, and among its batches.
func TestForgedBehindACrash(t *testing.T) {
	origin, live := crashed(t, quiet())
	data := readFile(t, segmentPath(origin, 0))
	all := lines(data) // started, sealed-1, sealed-2, tail-1, tail-2, tail-3
	other, _ := crashed(t, quiet())
	foreign := lines(readFile(t, segmentPath(other, 0)))
	swap := func(lines ...[]byte) []byte { return bytes.Join(lines, nil) }
	for name, c := range map[string]struct {
		tail  []byte // instead of the three batches
		found bool   // otherwise what is not genuine is cut off
		keeps int    // genuine batches
	}{
		"nothing":                              {swap(all[3:]...), false, 3},
		"an event":                             {swap(all[3], all[4], all[5], forge(all[5], 4, false)), false, 3},
		"two events":                           {swap(all[3], all[4], all[5], forge(all[5], 4, false), forge(all[5], 5, false)), false, 3},
		"an event with an old tag":             {swap(all[3], all[4], all[5], forge(all[5], 4, true)), true, 0},
		"a batch again":                        {swap(all[3], all[4], all[5], all[5]), true, 0},
		"a forged event and a batch again":     {swap(all[3], all[4], all[5], forge(all[5], 4, false), all[4]), true, 0},
		"a changed event":                      {swap(all[3], forge(all[4], 2, true), all[5]), true, 0},
		"a changed event that loses its tag":   {swap(all[3], forge(all[4], 2, false), all[5]), true, 0},
		"a batch less":                         {swap(all[3], all[5]), true, 0},
		"batches swapped":                      {swap(all[4], all[3], all[5]), true, 0},
		"an event before a batch":              {swap(forge(all[3], 2, false), sequenceOf.ReplaceAll(all[3], []byte(`"sequence":3`)), all[4], all[5]), true, 0},
		"another log's batches":                {swap(foreign[3:]...), true, 0},
		"the last batch's tag lost":            {swap(all[3], all[4], labelsOf.ReplaceAll(all[5], nil)), false, 2},
		"a forged end":                         {swap(all[3], all[4], all[5], ownLine(data, CodeLogStopping, 2)), false, 3},
		"a forged beginning":                   {swap(all[3], all[4], all[5], ownLine(data, CodeLogStarted, 2)), false, 3},
		"an event of a position never reached": {swap(all[3], all[4], all[5], bytes.Replace(forge(all[5], 4, true), []byte("batch:4:"), []byte("batch:5:"), 1)), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, origin)
			writeFile(t, segmentPath(dir, 0), append(bytes.Join(all[:3], nil), c.tail...))
			if r, err := Verify(t.Context(), dir, nil); err == nil && r.Sealed != 3 {
				t.Errorf("Verify:\n%s", r)
			}
			l, err := OpenLog(dir, quiet())
			if c.found {
				if !errors.Is(err, ErrTampered) {
					t.Errorf("OpenLog: %v", err)
					l.Close()
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustClose(t, l)
			r := mustVerify(t, dir)
			var got []string
			for _, e := range entries(t, dir, &Filter{Code: "sql."}) {
				got = append(got, e.Request)
			}
			want := []string{"sealed-1", "sealed-2", "tail-1", "tail-2", "tail-3"}[:2+c.keeps]
			if !slices.Equal(got, want) || len(r.Unauthenticated) > 0 {
				t.Errorf("the log holds %v, want %v\n%s", got, want, r)
			}
			if strings.Contains(string(readFile(t, segmentPath(dir, 0))), "forged\"") {
				t.Error("something forged was signed")
			}
			recovered := entries(t, dir, &Filter{Code: CodeLogRecovered})
			if cut := bytes.Count(c.tail, []byte("\n")) - c.keeps; len(recovered) != 1 ||
				cut > 0 != strings.Contains(recovered[0].Reason, fmt.Sprintf("whole lines of events among what was cut off: %d", cut)) {
				t.Errorf("recovered: %v", recovered)
			}
		})
	}
	mustClose(t, live)
}

// TestTailOfEachSession: a crash after a crash, each with batches that no checkpoint seals, and one within the opening.
func TestTailOfEachSession(t *testing.T) {
	dir, _ := crashed(t, quiet())
	want := []string{"sealed-1", "sealed-2", "tail-1", "tail-2", "tail-3"}
	for session := range 3 {
		l := mustOpen(t, dir, quiet())
		for i := range 2 + session {
			request := fmt.Sprintf("s%d-%d", session, i)
			mustRecord(t, l, query(acme, request))
			want = append(want, request)
		}
		dir = copyDir(t, dir)
		// An opening that died before it sealed what it wrote.
		last := ownLine(readFile(t, segmentPath(dir, 0)), CodeLogStarted, 100)
		grow(t, segmentPath(dir, 0), last)
	}
	mustClose(t, mustOpen(t, dir, quiet()))
	r := mustVerify(t, dir)
	var got []string
	for _, e := range entries(t, dir, &Filter{Code: "sql."}) {
		got = append(got, e.Request)
	}
	if !slices.Equal(got, want) || len(r.Unauthenticated) > 0 {
		t.Errorf("the log holds %v, want %v\n%s", got, want, r)
	}
}

// TestEndlessTail: more lines without a tag than any write has are neither kept in memory nor cut off.
func TestEndlessTail(t *testing.T) {
	dir, live := crashed(t, quiet())
	name := segmentPath(dir, 0)
	grow(t, name, bytes.Repeat(forge(lines(readFile(t, name))[5], 4, false), 6<<10))
	if r, err := Verify(t.Context(), dir, nil); !errors.Is(err, ErrTampered) {
		t.Errorf("Verify: %v\n%s", err, r)
	}
	if l, err := OpenLog(dir, quiet()); !errors.Is(err, ErrTampered) {
		t.Errorf("OpenLog: %v", err)
		l.Close()
	}
	mustClose(t, live)
}

// hedged stands for a signer whose signatures differ each time, and so make no key for a chain.
type hedged struct{ note.Signer }

// Sign implements note.Signer. Checkpoints are signed as ever: verifiers know Ed25519 alone.
func (s hedged) Sign(msg []byte) ([]byte, error) {
	sig, err := s.Signer.Sign(msg)
	if bytes.HasPrefix(msg, []byte(chainText)) {
		rand.Read(sig[:8])
	}
	return sig, err
}

// TestTailWithoutAChain: what stood behind the last checkpoint of a log that has no chain is said for ever to be not
// authenticated, in the log and by Verify.
func TestTailWithoutAChain(t *testing.T) {
	secret, verifier, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	opts := quiet()
	opts.Signer, opts.Verifier = hedged{mustSigner(t, secret)}, verifier
	dir, live := crashed(t, opts)
	name := segmentPath(dir, 0)
	grow(t, name, forge(lines(readFile(t, name))[5], 4, false))
	want := []Span{{First: 3, Count: 4}}
	check := func(when string) {
		t.Helper()
		r := mustVerify(t, dir)
		if !slices.Equal(r.Unauthenticated, want) || !strings.Contains(r.String(), "NOT AUTHENTICATED: 4 events from index 3 on") {
			t.Errorf("%s: %v\n%s", when, r.Unauthenticated, r)
		}
	}
	check("before it is opened")
	for range 2 {
		l := mustOpen(t, dir, opts)
		mustRecord(t, l, query(acme, "later"))
		mustClose(t, l)
		check("after it was opened")
	}
	recovered := entries(t, dir, &Filter{Code: CodeLogRecovered})
	if len(recovered) != 1 || !strings.Contains(recovered[0].Reason, "not authenticated: 4 events from index 3 on") {
		t.Errorf("recovered: %v", recovered)
	}
	mustClose(t, live)
	// Behind a closed end nothing may stand without a chain either.
	grow(t, name, forge(lines(readFile(t, name))[5], 7, false))
	if _, err := OpenLog(dir, opts); !errors.Is(err, ErrTampered) {
		t.Errorf("behind a closed end: %v", err)
	}
}

// TestTailOfAnEarlierRelease opens a log that crashed under a release that had no chains.
func TestTailOfAnEarlierRelease(t *testing.T) {
	dir := copyDir(t, filepath.Join("testdata", "unchained", "log"))
	before := mustVerify(t, dir)
	if before.Unsealed != 4 || !slices.Equal(before.Unauthenticated, []Span{{First: before.Sealed, Count: 4}}) {
		t.Errorf("before:\n%s", before)
	}
	l := mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "now"))
	dir = copyDir(t, dir) // it crashes again, with a chain this time
	mustClose(t, mustOpen(t, dir, quiet()))
	r := mustVerify(t, dir)
	if !slices.Equal(r.Unauthenticated, before.Unauthenticated) || r.Unsealed != 0 {
		t.Errorf("after:\n%s", r)
	}
	var got []string
	for _, e := range entries(t, dir, &Filter{Code: "sql."}) {
		got = append(got, e.Request)
	}
	if want := []string{"sealed-1", "sealed-2", "unsealed-1", "unsealed-2", "unsealed-3", "now"}; !slices.Equal(got, want) {
		t.Errorf("the log holds %v, want %v", got, want)
	}
}

func TestMergeSpans(t *testing.T) {
	got := mergeSpans([]Span{{9, 2}, {3, 4}, {0, 0}, {5, 1}, {7, 1}})
	if !slices.Equal(got, []Span{{3, 5}, {9, 2}}) {
		t.Errorf("%v", got)
	}
}
