package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// stating writes the state after few events, over several segments.
func stating() *Options {
	o := quiet()
	o.SegmentBytes, o.stateEvents, o.HeadEvery = 32<<10, 10, 7
	return o
}

// replayed is what an opening knows of a log.
func replayed(t *testing.T, dir string, fromState bool) *replay {
	t.Helper()
	c, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifierList(c.Verifiers, c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	r := &replay{fs: vfs.OS{}, dir: dir, origin: c.Origin, verifiers: v, chained: true}
	if fromState {
		r.fromState = v
	}
	if err := r.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

// same tells how two openings differ in what they know.
func sameReplay(a, b *replay) error {
	switch {
	case a.tree.size != b.tree.size || !slices.Equal(a.tree.nodes, b.tree.nodes):
		return fmt.Errorf("trees of %d and %d events", a.tree.size, b.tree.size)
	case len(a.tenants) != len(b.tenants):
		return fmt.Errorf("%d and %d tenants", len(a.tenants), len(b.tenants))
	case !bytes.Equal(a.sealed.note, b.sealed.note) || a.cpEnd != b.cpEnd || a.cpTorn != b.cpTorn:
		return fmt.Errorf("checkpoints %d and %d, which end at %d and %d", a.sealed.number, b.sealed.number, a.cpEnd, b.cpEnd)
	case a.tail != b.tail:
		return fmt.Errorf("tails %+v and %+v", a.tail, b.tail)
	case a.end.ended() != b.end.ended() || !a.end.ended() && (a.end.nonce != b.end.nonce || a.end.position != b.end.position):
		return fmt.Errorf("ends %+v and %+v", a.end, b.end)
	case (a.lastCode == CodeLogStopping) != (b.lastCode == CodeLogStopping):
		return fmt.Errorf("last codes %q and %q", a.lastCode, b.lastCode)
	}
	for id, x := range a.tenants {
		y := b.tenants[id]
		if y == nil || x.id != y.id || x.covered != y.covered || x.tree.size != y.tree.size || !slices.Equal(x.tree.nodes, y.tree.nodes) {
			return fmt.Errorf("tenant %q: %+v and %+v", id, x, y)
		}
	}
	return nil
}

// work records events of several tenants and takes a checkpoint now and then, and a copy of the log after each, as a crash
// at that time would leave it.
func work(t *testing.T, l *Log, dir string, n int) (crashed []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for range n {
		for range r.IntN(9) + 1 {
			mustRecord(t, l, query(tenant.MustParse(fmt.Sprint("t", r.IntN(5))), "r"))
		}
		if r.IntN(3) > 0 {
			if _, err := l.Checkpoint(background); err != nil {
				t.Fatal(err)
			}
		}
		crashed = append(crashed, copyDir(t, dir))
	}
	return crashed
}

// An opening that goes on from the state knows what one that reads everything knows, whenever the process was killed and
// wherever the state was written; and the log that goes on from it is whole.
func TestStateIsAsGoodAsReading(t *testing.T) {
	dir := t.TempDir()
	stated := 0
	for session := range 3 {
		l := mustOpen(t, dir, stating())
		for _, crashed := range work(t, l, dir, 15) {
			a, b := replayed(t, crashed, true), replayed(t, crashed, false)
			if err := sameReplay(a, b); err != nil {
				t.Errorf("session %d: %v", session, err)
			}
			if a.resumed != nil {
				stated++
			}
			mustClose(t, mustOpen(t, crashed, stating()))
			mustVerify(t, crashed)
		}
		mustClose(t, l)
		if err := sameReplay(replayed(t, dir, true), replayed(t, dir, false)); err != nil {
			t.Error(err)
		}
	}
	mustVerify(t, dir)
	if stated < 20 {
		t.Errorf("%d openings went on from a state", stated)
	}
}

// closedWithState makes a log of three sessions whose last one was closed.
func closedWithState(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for range 3 {
		l := mustOpen(t, dir, stating())
		work(t, l, dir, 10)
		mustClose(t, l)
	}
	return dir
}

// Opening reads what stands behind the state alone; what was done to the rest, Verify finds.
func TestOpeningReadsTheTail(t *testing.T) {
	dir := closedWithState(t)
	r := replayed(t, dir, true)
	if r.resumed == nil || len(r.segments) < 3 {
		t.Fatalf("no state, or %d segments", len(r.segments))
	}
	name := segmentPath(dir, r.segments[1])
	line := readFile(t, name)
	line[100] ^= 1
	writeFile(t, name, line)
	mustClose(t, mustOpen(t, dir, stating()))
	if _, err := Verify(background, dir, nil); !errors.Is(err, ErrTampered) {
		t.Errorf("Verify says %v", err)
	}
}

// A state that is not as it was written, or is another log's or of another time, takes nothing from an opening.
func TestStatesThatAreNone(t *testing.T) {
	dir := closedWithState(t)
	whole := readFile(t, filepath.Join(dir, stateName))
	other := readFile(t, filepath.Join(closedWithState(t), stateName))
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 200 {
		content := bytes.Clone(whole)
		switch {
		case i == 0:
			content = other
		case i == 1:
			content = nil
		case i == 2:
			content = append(content, "1 0 AAAA x\n"...)
		case i%2 == 0:
			content = content[:r.IntN(len(content))]
		default:
			content[r.IntN(len(content))] ^= byte(1 << r.IntN(8))
		}
		writeFile(t, filepath.Join(dir, stateName), content)
		got := replayed(t, dir, true)
		if got.resumed != nil {
			t.Errorf("case %d: a state was taken that nobody signed", i)
		}
	}
	before := replayed(t, dir, false)
	mustClose(t, mustOpen(t, dir, stating()))
	if after := replayed(t, dir, true); after.tree.size <= before.tree.size {
		t.Errorf("%d events after %d", after.tree.size, before.tree.size)
	}
	// An older state is good: more is read.
	writeFile(t, filepath.Join(dir, stateName), whole)
	got := replayed(t, dir, true)
	if got.resumed == nil {
		t.Error("an older state was not used")
	}
	if err := sameReplay(got, replayed(t, dir, false)); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, stateName)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir, stating()))
	mustVerify(t, dir)
}

// What is done to the files behind the state is found when the log is opened, as it is without one.
func TestTamperingBehindTheState(t *testing.T) {
	for name, tamper := range map[string]func(t *testing.T, dir string, r *replay){
		"a segment is cut": func(t *testing.T, dir string, r *replay) {
			name := segmentPath(dir, r.tail.first)
			writeFile(t, name, readFile(t, name)[:r.tail.size-10])
		},
		"leaves are cut": func(t *testing.T, dir string, r *replay) {
			name := leavesPath(dir, r.tail.first)
			writeFile(t, name, readFile(t, name)[:32])
		},
		"a segment is missing": func(t *testing.T, dir string, r *replay) {
			if err := os.Remove(segmentPath(dir, r.segments[0])); err != nil {
				t.Fatal(err)
			}
		},
		"an event is added": func(t *testing.T, dir string, r *replay) {
			name := segmentPath(dir, r.tail.first)
			content := readFile(t, name)
			last := content[bytes.LastIndexByte(content[:len(content)-1], '\n')+1:]
			writeFile(t, name, append(content, last...))
		},
		"the newest checkpoint is another": func(t *testing.T, dir string, r *replay) {
			name := filepath.Join(dir, checkpointsName)
			content := readFile(t, name)
			content[r.cpEnd-20] ^= 1
			writeFile(t, name, content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := closedWithState(t)
			r := replayed(t, dir, true)
			if r.resumed == nil {
				t.Fatal("no state")
			}
			tamper(t, dir, r)
			if l, err := OpenLog(dir, stating()); !errors.Is(err, ErrTampered) {
				t.Errorf("opened: %v", err)
				if err == nil {
					l.Close()
				}
			}
		})
	}
}
