package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

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
	body, err := s.encodeHead()
	if err != nil {
		t.Fatal(err)
	}
	old, err := signBody(ownSigner(t, dir), stateText, encodeState(body, tenantEnds(tenants)).body)
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

// TestSummariesMadeOfTampered: no summary is made of events that are not those that were recorded, of which some only a checkpoint
// behind their segment tells.
func TestSummariesMadeOfTampered(t *testing.T) {
	earlier := func(line []byte) []byte {
		return bytes.Replace(line, []byte(`{"time":17`), []byte(`{"time":16`), 1)
	}
	for what, spoil := range map[string]func(t *testing.T, dir string, segments []int64){
		"an event": func(t *testing.T, dir string, segments []int64) {
			name := segmentPath(dir, segments[2])
			writeFile(t, name, earlier(readFile(t, name)))
		},
		"an event and its hash": func(t *testing.T, dir string, segments []int64) {
			name := segmentPath(dir, segments[2])
			all := lines(readFile(t, name))
			all[1] = earlier(all[1])
			writeFile(t, name, bytes.Join(all, nil))
			hash := newLeafHasher().leaf(bytes.TrimSuffix(all[1], []byte("\n")))
			leaves := readFile(t, leavesPath(dir, segments[2]))
			copy(leaves[len(hash):], hash[:])
			writeFile(t, leavesPath(dir, segments[2]), leaves)
		},
		"everything, signed with another key": func(t *testing.T, dir string, segments []int64) {
			origin, err := Origin(dir)
			if err != nil {
				t.Fatal(err)
			}
			other, _ := phased(t, origin)
			for _, first := range segments[:len(segments)-1] {
				for _, name := range []func(string, int64) string{segmentPath, leavesPath} {
					writeFile(t, name(dir, first), readFile(t, name(other, first)))
				}
			}
			writeFile(t, filepath.Join(dir, checkpointsName), readFile(t, filepath.Join(other, checkpointsName)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir, opts := phased(t)
			removeAll(t, filepath.Join(dir, summariesName))
			l := mustOpen(t, dir, opts)
			segments, err := listSegments(dir)
			if err != nil {
				t.Fatal(err)
			}
			before := copyDir(t, dir)
			spoil(t, dir, segments)
			if _, err := l.Retain(background, nil); !errors.Is(err, ErrTampered) {
				t.Errorf("%v", err)
			}
			if names := summaryNames(t, dir); slices.ContainsFunc(names, func(n string) bool { return n >= summaryPath(dir, segments[2]) }) || len(names) > 0 && strings.Contains(what, "everything") {
				t.Errorf("there are %v", names)
			}
			if err := os.RemoveAll(filepath.Join(dir, segmentsName)); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(what, "everything") {
				return
			}
			if err := os.CopyFS(filepath.Join(dir, segmentsName), os.DirFS(filepath.Join(before, segmentsName))); err != nil {
				t.Fatal(err)
			}
			mustRetain(t, l, nil)
		})
	}
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
