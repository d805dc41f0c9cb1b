package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestZeroTails: a file that was extended and never filled in is a torn tail, whichever file it is and however long.
func TestZeroTails(t *testing.T) {
	origin, live := crashed(t, quiet())
	for _, file := range []string{"leaves", checkpointsName, "jsonl"} {
		for _, n := range []int{1, 32, 64, 4096, 3 << 20} {
			t.Run(fmt.Sprint(file, n), func(t *testing.T) {
				dir := copyDir(t, origin)
				name := map[string]string{"leaves": leavesPath(dir, 0), checkpointsName: filepath.Join(dir, checkpointsName), "jsonl": segmentPath(dir, 0)}[file]
				grow(t, name, make([]byte, n))
				torn := int64(n)
				if file == "jsonl" {
					torn = 0 // room for events to come
				}
				if r, err := Verify(t.Context(), dir, nil); err != nil || r.Unsealed != 3 || r.Torn != torn {
					t.Errorf("Verify: %v\n%s", err, r)
				}
				if got := entries(t, dir, &Filter{Code: "sql."}); len(got) != 5 {
					t.Errorf("Read: %d events", len(got))
				}
				mustClose(t, mustOpen(t, dir, quiet()))
				if r := mustVerify(t, dir); r.Torn != 0 || r.Events != 11 { // and two head leaves, recovered, started, stopping
					t.Errorf("afterwards:\n%s", r)
				}
			})
		}
	}
	mustClose(t, live)
}

// TestZerosAreNoCover: zeros do not hide a change of what is sealed, nor anything behind a checkpoint that zeros in whole
// sectors do not explain.
func TestZerosAreNoCover(t *testing.T) {
	origin, live := crashed(t, quiet())
	mustClose(t, live)
	for name, tamper := range map[string]func(*testing.T, string){
		"a sealed leaf":        func(t *testing.T, dir string) { zero(t, leavesPath(dir, 0), 32, 64) },
		"part of a leaf":       func(t *testing.T, dir string) { zero(t, leavesPath(dir, 0), 40, 44) },
		"in a sealed event":    func(t *testing.T, dir string) { zero(t, segmentPath(dir, 0), 700, 701) },
		"in a checkpoint":      func(t *testing.T, dir string) { zero(t, filepath.Join(dir, checkpointsName), 300, 303) },
		"the first checkpoint": func(t *testing.T, dir string) { zero(t, filepath.Join(dir, checkpointsName), 0, 100) },
		"all checkpoints": func(t *testing.T, dir string) {
			name := filepath.Join(dir, checkpointsName)
			writeFile(t, name, make([]byte, len(readFile(t, name))))
		},
		"text behind zeros": func(t *testing.T, dir string) {
			grow(t, filepath.Join(dir, checkpointsName), append(make([]byte, 7), "hello"...))
		},
		"a leaf behind zeros": func(t *testing.T, dir string) { grow(t, leavesPath(dir, 0), append(make([]byte, 96), 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, origin)
			tamper(t, dir)
			if r, err := Verify(t.Context(), dir, nil); !errors.Is(err, ErrTampered) {
				t.Errorf("Verify: %v\n%s", err, r)
			}
			if l, err := OpenLog(dir, quiet()); !errors.Is(err, ErrTampered) {
				t.Errorf("OpenLog: %v", err)
				l.Close()
			}
		})
	}
}

func zero(t *testing.T, name string, from, to int) {
	t.Helper()
	data := readFile(t, name)
	clear(data[from:to])
	writeFile(t, name, data)
}

// TestHalfAPair: power was lost when a new segment was begun, and one of its two names is left.
func TestHalfAPair(t *testing.T) {
	for name, closed := range map[string]bool{"closed": true, "crashed": false} {
		origin, live := crashed(t, quiet())
		if closed {
			mustClose(t, live)
			origin = live.dir
		}
		next := mustVerify(t, origin).Events
		for _, half := range []func(string, int64) string{segmentPath, leavesPath} {
			t.Run(name+filepath.Ext(half("", 0)), func(t *testing.T) {
				dir := copyDir(t, origin)
				writeFile(t, half(dir, next), nil)
				mustVerify(t, dir)
				opts := quiet()
				opts.SegmentBytes = 6 << 10 // so that the next event begins that segment
				l := mustOpen(t, dir, opts)
				mustRecord(t, l, query(acme, "after"))
				mustClose(t, l)
				mustVerify(t, dir)
				names, err := os.ReadDir(filepath.Join(dir, segmentsName))
				if err != nil || len(names)%2 != 0 {
					t.Errorf("left: %v, %v", names, err)
				}
			})
		}
		// A half that no loss of power leaves.
		for what, spoil := range map[string]func(dir string){
			"leaves of another place": func(dir string) { writeFile(t, leavesPath(dir, next+1), nil) },
			"leaves that are filled":  func(dir string) { writeFile(t, leavesPath(dir, next), make([]byte, 32)) },
		} {
			dir := copyDir(t, origin)
			spoil(dir)
			if _, err := Verify(t.Context(), dir, nil); !errors.Is(err, ErrTampered) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

// paddingSealer returns more than it was given.
type paddingSealer struct {
	*tinkSealer
	details, pseudonym int
}

func (s paddingSealer) SealDetails(d []byte, uid string) ([]byte, error) {
	return make([]byte, s.details), nil
}
func (s paddingSealer) Pseudonym(string) (string, error) {
	return strings.Repeat("p", s.pseudonym), nil
}

// TestLongLines: whatever an event and its Sealer bring, a line that is acknowledged can be read again.
func TestLongLines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	with := func(change func(*Event)) *Event {
		e := query(acme, "long")
		change(e)
		return e
	}
	worst := strings.Repeat("\x01", 1<<20) // six bytes each in JSON
	everything := func(e *Event) {
		e.Purpose, e.Request, e.Transaction, e.Store, e.Name, e.Fingerprint, e.Statement, e.Reason = worst, worst, worst, worst, worst, worst, worst, worst
		e.Tables, e.Columns, e.SealedColumns = strings.SplitAfter(worst[:64<<10], "\x01"), make([]string, 800_000), []string{worst[:31<<10]}
	}
	for name, c := range map[string]struct {
		e       *Event
		refused bool
	}{
		"names without bytes":          {with(func(e *Event) { e.Columns = make([]string, 800_000) }), false},
		"all of the worst":             {with(everything), false},
		"all and the longest sealed":   {with(func(e *Event) { everything(e); e.Sealer = paddingSealer{nil, maxSealed, maxText} }), false},
		"a sealer that pads":           {with(func(e *Event) { e.Sealer = paddingSealer{nil, 2 << 20, 16} }), true},
		"a sealer just over the limit": {with(func(e *Event) { e.Sealer = paddingSealer{nil, maxSealed + 1, 16} }), true},
		"a pseudonym that is long":     {with(func(e *Event) { e.Sealer = paddingSealer{nil, 16, 4 << 20} }), true},
		"a denial whose sealer pads": {with(func(e *Event) {
			everything(e)
			e.Phase, e.Status, e.Sealer = Single, Denied, paddingSealer{nil, 8 << 20, 8 << 20}
		}), false},
	} {
		err := l.Record(t.Context(), c.e)
		if c.refused != errors.Is(err, ErrUnavailable) || !c.refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.enc.app = `"app_name":"` + strings.Repeat("x", maxLine) + `"}` // whatever else may be long
	if err := l.Record(t.Context(), query(acme, "longest")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "over the limit") {
		t.Errorf("a line over the limit: %v", err)
	}
	l.enc.app = `"app_name":"x"}`
	dir2 := copyDir(t, dir)
	mustClose(t, l)
	for _, dir := range []string{dir, dir2} {
		mustVerify(t, dir)
		mustClose(t, mustOpen(t, dir, quiet()))
		if n := len(entries(t, dir, &Filter{Tenant: acme, Code: CodeQuery})); n != 4 {
			t.Errorf("%d events", n)
		}
	}
}

// TestErrorsShowNoValues: no error of Record repeats what the caller put into the event.
func TestErrorsShowNoValues(t *testing.T) {
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), quiet())
	const canary = "canary-4711"
	for name, change := range map[string]func(*Event){
		"code":        func(e *Event) { e.Code = canary },
		"phase":       func(e *Event) { e.Phase = canary },
		"status":      func(e *Event) { e.Status = canary },
		"correlation": func(e *Event) { e.Correlation = canary },
		"details":     func(e *Event) { e.Details = map[string]string{canary: strings.Repeat(canary, 10_000)} },
		"sealer":      func(e *Event) { e.Sealer = paddingSealer{nil, 0, 0} },
		"too long":    func(e *Event) { e.Sealer = paddingSealer{nil, 4 << 20, 16} },
	} {
		e := query(acme, canary)
		e.Actor, e.Purpose, e.Name, e.Statement, e.Reason, e.Tables = canary, canary, canary, canary, canary, []string{canary}
		e.Sealer = newSealer(t)
		change(e)
		if err := l.Record(t.Context(), e); err == nil || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := bytes.Count(readFile(t, segmentPath(l.dir, 0)), []byte("\n")); n != 1 {
		t.Errorf("%d lines", n)
	}
}
