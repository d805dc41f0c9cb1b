package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// genuine are the verifiers of a log that nobody has touched.
func genuine(t testing.TB, dir string) (string, note.Verifiers) {
	t.Helper()
	c, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifierList(c.Verifiers, c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	return c.Origin, v
}

func recordIn(t testing.TB, dir string) *pruned {
	t.Helper()
	origin, v := genuine(t, dir)
	p, err := readPruned(vfs.OS{}, dir, origin, v)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// droppedFrom is what a log's record says of its checkpoints.
func droppedFrom(t testing.TB, dir string) dropped {
	t.Helper()
	return recordIn(t, dir).droppedCheckpoints()
}

func notesIn(t testing.TB, dir string) []string {
	t.Helper()
	return splitNotes(string(readFile(t, filepath.Join(dir, checkpointsName))))
}

func firstNote(t testing.TB, dir string) int64 {
	t.Helper()
	n, err := firstNumber(bytes.NewReader(readFile(t, filepath.Join(dir, checkpointsName))), func() string { o, _ := genuine(t, dir); return o }())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shortenedLog is a log of which events and checkpoints were deleted, twice, with a checkpoint of before and one of after. Whole are
// the checkpoints that it ever had but for those behind the second time, and older the record of the first time.
func shortenedLog(t testing.TB, r Retention) (dir string, opts *Options, key string, early, late TreeHead, whole []string, older []byte) {
	t.Helper()
	dir, opts = aging(t)
	l := mustOpen(t, dir, opts)
	early = fillLog(t, l, "s", 20)
	for range 2 {
		for i := range 5 {
			fillLog(t, l, strings.Repeat("t", i+1), 4)
		}
		if older != nil {
			whole = append(whole[:droppedFrom(t, dir).Number:droppedFrom(t, dir).Number], notesIn(t, dir)...)
		} else {
			whole = notesIn(t, dir)
		}
		firsts, err := listSegments(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.Bytes, r.DropCheckpoints = 1, true
		r.Needed = func(context.Context) (int64, error) { return firsts[len(firsts)-3], nil }
		before := droppedFrom(t, dir)
		done := mustRetain(t, l, &r)
		d := droppedFrom(t, dir)
		if done.Deleted == 0 || d.Number <= before.Number || d.Size > done.First || d.Before != before.Bytes {
			t.Fatalf("%+v, %+v after %+v: the test wants events and checkpoints deleted", done, d, before)
		}
		if first := firstNote(t, dir); first != d.Number+1 {
			t.Fatalf("the first checkpoint is number %d, and those up to %d were deleted", first, d.Number)
		}
		if older == nil {
			older = readFile(t, filepath.Join(dir, prunedName))
		}
	}
	late = fillLog(t, l, "u", 5)
	mustClose(t, l)
	return dir, opts, l.Verifier(), early, late, whole, older
}

// TestDropCheckpoints: without the checkpoints of what was deleted a log verifies, says from where on, agrees with pins of before, is
// opened from its state and without it, and goes on.
func TestDropCheckpoints(t *testing.T) {
	dir, opts, key, early, late, whole, _ := shortenedLog(t, Retention{Compress: true})
	d := droppedFrom(t, dir)
	if early.Size > d.Size {
		t.Fatalf("%+v: the test wants the checkpoint of %d events deleted", d, early.Size)
	}
	verify := func(when string) *Report {
		t.Helper()
		r, err := Verify(background, dir, &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{early, late}})
		if err != nil || r.Pins != 2 || r.Dropped != droppedFrom(t, dir).Number || r.Checkpoints <= int64(len(whole)) ||
			!strings.Contains(r.String(), "from number ") || r.Unsealed+r.Torn != 0 {
			t.Fatalf("%s: %v\n%s", when, err, r)
		}
		forged := early
		forged.Root[3] ^= 1
		if _, err := Verify(background, dir, &VerifyOptions{Pins: []TreeHead{forged}}); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: a pin of before that is not the log's: %v", when, err)
		}
		return r
	}
	verify("closed")
	if said := entries(t, dir, &Filter{Code: CodeLogPruned}); !strings.Contains(said[len(said)-1].Reason, "of the checkpoints those behind number") {
		t.Errorf("%s", said[len(said)-1].Reason)
	}
	fromState := func() bool {
		t.Helper()
		origin, v := genuine(t, dir)
		r := &replay{fs: vfs.OS{}, dir: dir, origin: origin, verifiers: v, chained: true, fromState: v}
		if err := r.run(background); err != nil {
			t.Fatal(err)
		}
		return r.resumed != nil
	}
	if !fromState() {
		t.Error("the state does not fit")
	}
	for _, state := range []bool{true, false} {
		if !state {
			remove(t, filepath.Join(dir, stateName))
		}
		l := mustOpen(t, dir, opts)
		fillLog(t, l, "again", 10)
		mustClose(t, l)
		verify("opened again")
		if !fromState() {
			t.Error("the state does not fit")
		}
	}
	// An interruption: the record is there, and so are still the checkpoints.
	names := notesIn(t, dir)
	writeFile(t, filepath.Join(dir, checkpointsName), []byte(strings.Join(whole[d.Number-1:d.Number], "")+strings.Join(names, "")))
	if r, err := Verify(background, dir, nil); err != nil || r.Dropped != d.Number-1 {
		t.Errorf("%v\n%s", err, r)
	}
}

// TestDropCheckpointsAndHashes: of what nothing is left that a pin could be compared with, an error says so and accuses nobody.
func TestDropCheckpointsAndHashes(t *testing.T) {
	dir, _, key, early, late, _, _ := shortenedLog(t, Retention{DropHashes: true})
	if r, err := Verify(background, dir, &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{late}}); err != nil || r.Pins != 1 {
		t.Errorf("%v\n%s", err, r)
	}
	if _, err := Verify(background, dir, &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{early, late}}); err == nil || errors.Is(err, ErrTampered) {
		t.Errorf("a pin that nothing can be compared with: %v", err)
	}
}

// TestFewCheckpointsStay: what is kept is not written anew for the sake of a few that go.
func TestFewCheckpointsStay(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 30)
	for range 20 {
		fillLog(t, l, "t", 2)
	}
	firsts, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := until(firsts[2])
	r.DropCheckpoints = true
	if done := mustRetain(t, l, r); done.Deleted == 0 {
		t.Fatalf("%+v", done)
	}
	if d, first := droppedFrom(t, dir), firstNote(t, dir); d.Number != 0 || first != 1 {
		t.Errorf("%+v, and the first is number %d", d, first)
	}
	mustClose(t, l)
	mustVerify(t, dir)
}

// TestDroppedCheckpointsTampering: a checkpoint that is missing without the log's own word, or in the place of one, is tampering.
func TestDroppedCheckpointsTampering(t *testing.T) {
	origin, opts, key, early, late, whole, older := shortenedLog(t, Retention{Compress: true})
	d := droppedFrom(t, origin)
	kept := notesIn(t, origin)
	put := func(t *testing.T, dir string, notes ...string) {
		writeFile(t, filepath.Join(dir, checkpointsName), []byte(strings.Join(notes, "")))
	}
	changed := func(n string) string {
		return strings.Replace(n, "\n"+strings.Split(n, "\n")[2]+"\n", "\n"+strings.Split(kept[0], "\n")[2]+"\n", 1)
	}
	for name, tamper := range map[string]func(*testing.T, string){
		"one more taken away":    func(t *testing.T, dir string) { put(t, dir, kept[1:]...) },
		"many more taken away":   func(t *testing.T, dir string) { put(t, dir, kept[len(kept)-2:]...) },
		"all taken away":         func(t *testing.T, dir string) { put(t, dir) },
		"the first kept one cut": func(t *testing.T, dir string) { put(t, dir, append([]string{kept[0][9:]}, kept[1:]...)...) },
		"another before them":    func(t *testing.T, dir string) { put(t, dir, append([]string{changed(whole[d.Number-1])}, kept...)...) },
		"an old one before them": func(t *testing.T, dir string) { put(t, dir, append([]string{whole[d.Number-2]}, kept...)...) },
		"only old ones":          func(t *testing.T, dir string) { put(t, dir, whole[:d.Number]...) },
		"only the last old one":  func(t *testing.T, dir string) { put(t, dir, whole[d.Number-1]) },
		"the record of before":   func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, prunedName), older) },
		"the record taken away":  func(t *testing.T, dir string) { remove(t, filepath.Join(dir, prunedName)) },
		"the record changed": func(t *testing.T, dir string) {
			data := readFile(t, filepath.Join(dir, prunedName))
			at := bytes.Index(data, []byte(`"checkpoints":{"number":`)) + len(`"checkpoints":{"number":`)
			data[at] ^= 1
			writeFile(t, filepath.Join(dir, prunedName), data)
		},
		"a record by the log's key that no event states": func(t *testing.T, dir string) {
			p := recordIn(t, dir)
			p.Checkpoints.Number, p.Checkpoints.Bytes = p.Checkpoints.Number+1, p.Checkpoints.Bytes+int64(len(kept[0]))
			hash := hashNote([]byte(strings.TrimSuffix(kept[0], "\n")))
			c, err := parseCheckpoint([]byte(strings.TrimSuffix(kept[0], "\n")), strings.Split(kept[0], "\n")[0])
			if err != nil {
				t.Fatal(err)
			}
			p.Checkpoints.Hash, p.Checkpoints.Size = hash[:], c.tree.N
			p.Events = max(p.Events, c.tree.N)
			signRecord(t, dir, p)
			put(t, dir, kept[1:]...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, origin)
			mustVerify(t, dir)
			tamper(t, dir)
			for what, opts := range map[string]*VerifyOptions{"unpinned": {Verifiers: []string{key}}, "pinned": {Pins: []TreeHead{early, late}}} {
				if r, err := Verify(background, dir, opts); !errors.Is(err, ErrTampered) {
					t.Errorf("%s: %v\n%s", what, err, r)
				}
			}
			if err := os.Remove(filepath.Join(dir, stateName)); err != nil {
				t.Fatal(err)
			}
			if l, err := OpenLog(dir, opts); !errors.Is(err, ErrTampered) {
				t.Errorf("opening: %v", err)
				if err == nil {
					l.Close()
				}
			}
		})
	}
	t.Run("from a log that deleted none", func(t *testing.T) {
		for _, events := range []bool{false, true} {
			dir, opts := aging(t)
			l := mustOpen(t, dir, opts)
			fillLog(t, l, "s", 20)
			fillLog(t, l, "t", 20)
			if events {
				mustRetain(t, l, &Retention{Bytes: 19 << 10})
			}
			mustClose(t, l)
			mustVerify(t, dir)
			put(t, dir, notesIn(t, dir)[1:]...)
			if r, err := Verify(background, dir, nil); !errors.Is(err, ErrTampered) {
				t.Errorf("%v\n%s", err, r)
			}
		}
	})
}

// signRecord puts a record by the log's key in its place.
func signRecord(t *testing.T, dir string, p *pruned) {
	t.Helper()
	body, err := p.body()
	if err != nil {
		t.Fatal(err)
	}
	file, err := signBody(mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName))))), prunedText, body)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, prunedName), file)
}

// TestDropCheckpointsUnderAReader: the checkpoints take another file's place while a log is looked at, and then it goes on in another
// session. Whoever reads it finds it intact.
func TestDropCheckpointsUnderAReader(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 30)
	origin, v := genuine(t, dir)
	fsys, once := faultfs.New(), false
	fsys.Before = func(s faultfs.Step) error {
		if s.Op != faultfs.ReadDir || once {
			return nil
		}
		once = true
		firsts, err := listSegments(dir)
		if err != nil {
			return err
		}
		r := until(firsts[len(firsts)-2])
		r.DropCheckpoints = true
		mustRetain(t, l, r)
		mustClose(t, l)
		l = mustOpen(t, dir, opts)
		mustRecord(t, l, query(acme, "later"))
		mustCheckpoint(t, l)
		return nil
	}
	r := &replay{fs: fsys, dir: dir, origin: origin, verifiers: v}
	if err := r.run(background); err != nil || r.sealed.number != mustVerify(t, dir).Checkpoints || r.report().Dropped == 0 {
		t.Errorf("%v\n%s", err, r.report())
	}
	mustClose(t, l)
}

// TestDropCheckpointsKeepsTheNewest: a checkpoint that was handed out while the others were copied is there when power is lost as soon as
// the copy has its name.
func TestDropCheckpointsKeepsTheNewest(t *testing.T) {
	dir, opts := aging(t)
	fsys := faultfs.New()
	fsys.Volatile = true
	fsys.Survives = func(faultfs.Op, string) bool { return true } // the names
	var l *Log
	var handed []byte
	var asked, renamed, off atomic.Bool
	fsys.Before = func(s faultfs.Step) error {
		switch {
		case off.Load():
			return syscall.EIO
		case s.Op == faultfs.Rename && strings.Contains(filepath.Base(s.Name), checkpointsName):
			renamed.Store(true)
		case s.Op == faultfs.SyncDir && renamed.Load() && filepath.Base(s.Name) != segmentsName:
			off.Store(true)
			return syscall.EIO
		case s.Op == faultfs.Datasync && strings.HasSuffix(s.Name, checkpointsName+temporary) && !asked.Swap(true):
			mustRecord(t, l, query(acme, "meanwhile"))
			var err error
			handed, err = l.Checkpoint(background)
			return err
		}
		return nil
	}
	l = openFaulty(t, dir, opts, fsys)
	fillLog(t, l, "s", 30)
	firsts, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := until(firsts[len(firsts)-2])
	r.DropCheckpoints = true
	if _, err := l.Retain(background, r); err == nil {
		t.Error("Retain had no power and returned no error")
	}
	if err := l.Err(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the log goes on, and nobody knows which of the files is there: %v", err)
	}
	l.Close()
	if err := fsys.PowerLoss(func(_ string, unsynced []byte) []byte { return nil }); err != nil {
		t.Fatal(err)
	}
	if handed == nil || !bytes.Contains(readFile(t, filepath.Join(dir, checkpointsName)), handed) || firstNote(t, dir) == 1 {
		t.Errorf("the checkpoint that was handed out is gone:\n%s", handed)
	}
	mustClose(t, mustOpen(t, dir, opts))
	mustVerify(t, dir)
}

// TestCheckpointsContinueTheDropped: what a file of checkpoints begins with must lead on from the last that was deleted, or to it.
func TestCheckpointsContinueTheDropped(t *testing.T) {
	dir, _ := aging(t)
	l := mustOpen(t, dir, quiet())
	fillLog(t, l, "s", 3)
	mustClose(t, l)
	origin, _ := genuine(t, dir)
	notes := notesIn(t, dir)
	c, err := parseCheckpoint([]byte(strings.TrimSuffix(notes[1], "\n")), origin)
	if err != nil || len(notes) < 4 {
		t.Fatal(len(notes), err)
	}
	hash := hashNote(c.note)
	is := dropped{Number: c.number, Size: c.tree.N, Hash: hash[:]}
	other := is
	other.Hash = make([]byte, len(hash))
	larger := is
	larger.Size = c.tree.N + 1000
	for name, test := range map[string]struct {
		notes   []string
		dropped dropped
		ok      bool
	}{
		"whole":                     {notes, dropped{}, true},
		"not yet deleted":           {notes, is, true},
		"some of them deleted":      {notes[1:], is, true},
		"deleted":                   {notes[2:], is, true},
		"one more":                  {notes[3:], is, false},
		"without a record":          {notes[2:], dropped{}, false},
		"behind another":            {notes[2:], other, false},
		"leads to another":          {notes[1:], other, false},
		"behind one of more events": {notes[2:], larger, false},
		"leads to one of more":      {notes, larger, false},
	} {
		r := newCheckpointReader(strings.NewReader(strings.Join(test.notes, "")), origin)
		r.dropped = test.dropped
		n := 0
		for ; err == nil; n++ {
			_, err = r.next()
		}
		if ok := err == io.EOF && n == len(test.notes)+1; ok != test.ok {
			t.Errorf("%s: %d notes, then %v", name, n-1, err)
		}
		err = nil
	}
}
