package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// aging is a log of many small segments in which every event is some minutes younger than the one before.
func aging(t testing.TB) (dir string, opts *Options) {
	t.Helper()
	var minutes atomic.Int64
	opts = quiet()
	opts.SegmentBytes, opts.HeadEvery, opts.stateEvents = 12<<10, 4, 10
	opts.now = func() time.Time { return time.Date(2026, 1, 1, 0, int(minutes.Add(1)), 0, 0, time.UTC) }
	return filepath.Join(t.TempDir(), "log"), opts
}

// fillLog records n events of each of two tenants and seals them.
func fillLog(t testing.TB, l *Log, name string, n int) (pin TreeHead) {
	t.Helper()
	for i := range n {
		mustRecord(t, l, query(acme, fmt.Sprintf("%s-a%d", name, i)), query(globex, fmt.Sprintf("%s-g%d", name, i)))
		if i == n/2 {
			mustCheckpoint(t, l)
		}
	}
	return mustCheckpoint(t, l)
}

func mustCheckpoint(t testing.TB, l *Log) TreeHead {
	t.Helper()
	msg, err := l.Checkpoint(background)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := ParseCheckpoint(msg, []string{l.Verifier()})
	if err != nil {
		t.Fatal(err)
	}
	return pin
}

func mustRetain(t testing.TB, l *Log, r *Retention) *RetentionResult {
	t.Helper()
	done, err := l.Retain(background, r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// queried are those of the events that a log has.
func queried(t testing.TB, dir string) (all []string) {
	t.Helper()
	for _, e := range entries(t, dir, &Filter{Code: CodeQuery}) {
		all = append(all, e.Request)
	}
	return all
}

// filesIn lists the segments' directory by the ends of the names.
func filesIn(t testing.TB, dir string) map[string]int {
	t.Helper()
	count := map[string]int{}
	names, err := os.ReadDir(filepath.Join(dir, segmentsName))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		_, ext, _ := strings.Cut(e.Name(), ".")
		count[ext]++
	}
	return count
}

// TestCompressedSegments: a log whose segments are compressed is the same log to everybody who reads it.
func TestCompressedSegments(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	pin := fillLog(t, l, "s", 30)
	before, bundle := entries(t, dir, nil), func() []byte { b, _ := writeBundle(t, dir, acme); return b }
	whole := bundle()
	segmentsBefore := filesIn(t, dir)["jsonl"]
	done := mustRetain(t, l, &Retention{Compress: true})
	if files := filesIn(t, dir); files["jsonl.zst"] != done.Compressed || done.Compressed < 3 || files["jsonl"]+files["jsonl.zst"] != segmentsBefore || done.Freed <= 0 || done.Deleted != 0 {
		t.Errorf("%+v, %v", done, files)
	}
	if r, err := Verify(background, dir, &VerifyOptions{Pins: []TreeHead{pin}}); err != nil || r.Pins != 1 || r.Deleted != 0 {
		t.Errorf("%v\n%s", err, r)
	}
	if after := entries(t, dir, nil); !slices.EqualFunc(before, after, func(a, b Entry) bool { return bytes.Equal(a.Raw, b.Raw) && a.Index == b.Index }) {
		t.Errorf("%d entries, and %d before", len(after), len(before))
	}
	if !bytes.Equal(bundle(), whole) {
		t.Error("the bundle differs")
	}
	if again := mustRetain(t, l, &Retention{Compress: true}); again.Compressed != 0 {
		t.Errorf("%+v", again)
	}
	mustClose(t, l)
	if err := os.Remove(filepath.Join(dir, stateName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, opts) // which reads everything
	fillLog(t, l, "t", 10)
	mustClose(t, l)
	mustVerify(t, dir)
}

// pruned is a log from which events were deleted, with a checkpoint of before and one of after.
func prunedLog(t testing.TB) (dir string, opts *Options, key string, early, late TreeHead) {
	t.Helper()
	dir, opts = aging(t)
	l := mustOpen(t, dir, opts)
	early = fillLog(t, l, "s", 20)
	fillLog(t, l, "t", 20)
	done := mustRetain(t, l, &Retention{Compress: true, Bytes: 19 << 10})
	if done.Deleted == 0 || done.First != done.Deleted || done.First <= early.Size/2 {
		t.Fatalf("%+v: the test wants events deleted, beyond half of the first %d", done, early.Size)
	}
	late = fillLog(t, l, "u", 5)
	mustClose(t, l)
	return dir, opts, l.Verifier(), early, late
}

// TestPrunedLog: what remains of a log verifies, says from where on, agrees with pins of before, and goes on.
func TestPrunedLog(t *testing.T) {
	dir, opts, key, early, late := prunedLog(t)
	first, err := Retained(dir)
	if err != nil || first == 0 {
		t.Fatal(first, err)
	}
	verify := func(when string) *Report {
		t.Helper()
		r, err := Verify(background, dir, &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{early, late}})
		if err != nil || r.Pins != 2 || r.Deleted != first || !strings.Contains(r.String(), fmt.Sprintf("from index %d on", first)) {
			t.Errorf("%s: %v\n%s", when, err, r)
		}
		return r
	}
	before := verify("closed")
	all := entries(t, dir, nil)
	if all[0].Index != first || all[len(all)-1].Index != before.Events-1 {
		t.Errorf("entries %d to %d", all[0].Index, all[len(all)-1].Index)
	}
	for e, err := range ReadAll(background, []string{dir}, nil) {
		if err != nil || e.Index != first {
			t.Error(e.Index, err)
		}
		break
	}
	said := entries(t, dir, &Filter{Code: CodeLogPruned})
	if len(said) != 1 || said[0].Severity != "Medium" || !strings.Contains(said[0].Reason, fmt.Sprintf("before index %d", first)) {
		t.Errorf("%v", said)
	}
	p, err := NewProver(dir, []string{key})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{0, 1, first / 2, first, early.Size} {
		if g, err := p.Prove(background, size); err != nil || g.To.Size != before.Sealed {
			t.Errorf("growth from %d: %v", size, err)
		}
	}
	// With its state, without it, and deleting once more.
	for round, state := range []bool{true, false} {
		if !state {
			if err := os.Remove(filepath.Join(dir, stateName)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		l := mustOpen(t, dir, opts)
		mustRecord(t, l, query(acme, fmt.Sprint("again", round)))
		mustClose(t, l)
		if r := verify("opened again"); r.Unsealed+r.Torn != 0 || len(r.Unauthenticated) > 0 {
			t.Errorf("%s", r)
		}
	}
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "v", 20)
	if done := mustRetain(t, l, &Retention{Bytes: 30 << 10}); done.First <= first || done.Deleted != done.First-first {
		t.Errorf("%+v, after %d", done, first)
	} else {
		first = done.First
	}
	mustClose(t, l)
	verify("pruned again")
}

// TestBundleOfAPrunedLog: a bundle has the tenant's events from a number on, none of those is missing, and it says so.
func TestBundleOfAPrunedLog(t *testing.T) {
	dir, _, key, _, _ := prunedLog(t)
	data, about := writeBundle(t, dir, acme)
	var own []Entry
	for _, e := range entries(t, dir, &Filter{Tenant: acme}) {
		if e.Sequence > 0 && e.Sequence <= about.Events {
			own = append(own, e)
		}
	}
	got, err := VerifyBundle(background, bytes.NewReader(data), []string{key})
	if err != nil {
		t.Fatal(err)
	}
	if got.After == 0 || got.After != own[0].Sequence-1 || got.Events-got.After != int64(len(own)) || got.After != about.After ||
		!strings.Contains(got.String(), "first "+fmt.Sprint(got.After)+" events are not here") {
		t.Errorf("%d events, the log has %d\n%s", got.Events, len(own), got)
	}
	all := lines(data)
	for name, tamper := range map[string]func([][]byte) [][]byte{
		"one left out": func(l [][]byte) [][]byte { return slices.Delete(l, 3, 4) },
		"the first left out, and counted as deleted": func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], fmt.Appendf(nil, `"after":%d`, got.After), fmt.Appendf(nil, `"after":%d`, got.After+1), 1)
			return slices.Delete(l, 1, 2)
		},
		"one changed": func(l [][]byte) [][]byte {
			l[2] = bytes.Replace(l[2], []byte("treatment"), []byte("marketing"), 1)
			return l
		},
		"another edge": func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte(`"edge":["`), []byte(`"edge":["AAAA`), 1)
			return l
		},
		"said to be whole": func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte(`"version":2`), []byte(`"version":1`), 1)
			return l
		},
		"after what is none": func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte(`"after":`), []byte(`"after":-`), 1)
			return l
		},
	} {
		changed := make([][]byte, len(all))
		for i := range all {
			changed[i] = bytes.Clone(all[i])
		}
		if _, err := VerifyBundle(background, bytes.NewReader(bytes.Join(tamper(changed), nil)), []string{key}); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRetentionPolicy: what is deleted is what the policy says, and never what is not sealed or still needed.
func TestRetentionPolicy(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 40)
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) < 5 {
		t.Fatal(firsts, err)
	}
	if done := mustRetain(t, l, nil); *done != (RetentionResult{}) {
		t.Errorf("%+v", done)
	}
	cause := errors.New("the cursor cannot be read")
	if _, err := l.Retain(background, &Retention{Bytes: 1, Needed: func(context.Context) (int64, error) { return 0, cause }}); !errors.Is(err, cause) {
		t.Error(err)
	}
	needed := func(context.Context) (int64, error) { return firsts[2] + 1, nil }
	if done := mustRetain(t, l, &Retention{Bytes: 1, Needed: needed}); done.First != firsts[2] {
		t.Errorf("%+v: event %d is needed", done, firsts[2]+1)
	}
	// An age that the events of two more segments have, and those of the one behind have not.
	began := entries(t, dir, nil)[firsts[4]-firsts[2]].Time
	if done := mustRetain(t, l, &Retention{Age: opts.now().Sub(began)}); done.First != firsts[4] {
		t.Errorf("%+v, want %d: the segments begin with %v", done, firsts[4], firsts)
	}
	mustRecord(t, l, query(acme, "not sealed"))
	if firsts, err = listSegments(dir); err != nil {
		t.Fatal(err)
	}
	if done := mustRetain(t, l, &Retention{Bytes: 1, Compress: true}); done.First != firsts[len(firsts)-1] && done.First != firsts[len(firsts)-2] {
		t.Errorf("%+v; the segments began with %v", done, firsts)
	}
	mustClose(t, l)
	mustVerify(t, dir)
	if all := queried(t, dir); all[len(all)-1] != "not sealed" {
		t.Errorf("%v", all)
	}
	if _, err := l.Retain(background, &Retention{Bytes: 1}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("of a closed log: %v", err)
	}
	// Whichever of the two it is told of first: that the log is closed, or that its context has ended for that.
	ctx, cancel := l.untilClosed(background)
	defer cancel(nil)
	<-ctx.Done()
	for range 20 {
		if err := l.do(ctx, func(*writer) {}); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("of a closed log: %v", err)
		}
	}
}

// TestRetentionOnAFullDisk: that there is no room to compress segments keeps none that is too old; nor is more deleted than would be if
// they were compressed.
func TestRetentionOnAFullDisk(t *testing.T) {
	dir, opts := aging(t)
	fsys := faultfs.New()
	fsys.Before = func(s faultfs.Step) error {
		if s.Op == faultfs.Write && filepath.Base(s.Name) == compressing {
			return syscall.ENOSPC
		}
		return nil
	}
	opts.fs = fsys
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 40)
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) < 5 {
		t.Fatal(firsts, err)
	}
	began := entries(t, dir, nil)[firsts[2]].Time
	done, err := l.Retain(background, &Retention{Compress: true, Age: opts.now().Sub(began), Bytes: 1})
	if !errors.Is(err, syscall.ENOSPC) || done.First != firsts[2] || done.Compressed != 0 {
		t.Errorf("%+v, want the first event %d: the segments begin with %v; %v", done, firsts[2], firsts, err)
	}
	mustClose(t, l)
	mustVerify(t, dir)
}

// TestRetentionWithoutRoomForCheckpoints: that there is no room to write the checkpoints anew that are kept keeps no events that are to go.
func TestRetentionWithoutRoomForCheckpoints(t *testing.T) {
	dir, opts := aging(t)
	var full atomic.Bool
	fsys := faultfs.New()
	fsys.Before = func(s faultfs.Step) error {
		if full.Load() && s.Op == faultfs.Write && filepath.Base(s.Name) == checkpointsName+temporary {
			return syscall.ENOSPC
		}
		return nil
	}
	opts.fs = fsys
	l := mustOpen(t, dir, opts)
	full.Store(true)
	retain := func() (*RetentionResult, int64, error) {
		for i := range 6 {
			fillLog(t, l, strings.Repeat("s", i+1), 4)
		}
		firsts, err := listSegments(dir)
		if err != nil {
			t.Fatal(err)
		}
		keep := firsts[len(firsts)-2]
		done, err := l.Retain(background, &Retention{Bytes: 1, DropCheckpoints: true, Needed: func(context.Context) (int64, error) { return keep, nil }})
		return done, keep, err
	}
	for range 3 {
		done, keep, err := retain()
		if !errors.Is(err, syscall.ENOSPC) || done.First != keep || done.Deleted == 0 {
			t.Errorf("%+v, want the first event %d; %v", done, keep, err)
		}
		if r := mustVerify(t, dir); r.Dropped > 0 || r.Deleted != done.First {
			t.Errorf("%s", r)
		}
		if d := droppedFrom(t, dir); d.Number == 0 || d.Before != 0 {
			t.Errorf("the record says of checkpoints: %+v", d)
		}
	}
	full.Store(false)
	before := droppedFrom(t, dir)
	mustRetain(t, l, nil)
	if r := mustVerify(t, dir); r.Dropped != before.Number {
		t.Errorf("%d checkpoints were deleted of %d", r.Dropped, before.Number)
	}
	if done, keep, err := retain(); err != nil || done.First != keep {
		t.Errorf("%+v, %v", done, err)
	}
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Dropped <= before.Number {
		t.Errorf("%d checkpoints were deleted, and %d before", r.Dropped, before.Number)
	}
	mustClose(t, mustOpen(t, dir, opts))
}

// TestFindingsOutliveTheirEvents: what Verify says for ever of a log, it says when the events that it is about were deleted.
func TestFindingsOutliveTheirEvents(t *testing.T) {
	dir := copyDir(t, filepath.Join("testdata", "unchained", "log"))
	_, opts := aging(t)
	l := mustOpen(t, dir, opts)
	signer := mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName)))))
	rows := streamRows(t, signer, query(acme, "r"), query(acme, "lost"), query(acme, "forged"), denial(globex))
	rows[3].MAC[0] ^= 1
	mustAdopt(t, l, signer, slices.Concat(rows[:2], rows[3:]))
	mustRecord(t, l, denial(tenant.MustParse("invented")))
	mustCheckpoint(t, l)
	before := mustVerify(t, dir)
	if len(before.Unauthenticated) == 0 || before.Missing == 0 || before.Refusals == 0 || before.Unnumbered == 0 {
		t.Fatalf("%s", before)
	}
	fillLog(t, l, "s", 30)
	if done := mustRetain(t, l, &Retention{Bytes: 1}); done.First <= before.Events {
		t.Fatalf("%+v", done)
	}
	mustClose(t, l)
	after := mustVerify(t, dir)
	if !slices.Equal(after.Unauthenticated, before.Unauthenticated) || after.Missing != before.Missing || !slices.Equal(after.Gaps, before.Gaps) ||
		after.Refusals != before.Refusals || after.Unnumbered != before.Unnumbered || after.Streams != before.Streams || after.OpenStreams != before.OpenStreams {
		t.Errorf("%s\nbefore:\n%s", after, before)
	}
	// A row that was taken in and deleted is not taken in again.
	l = mustOpen(t, dir, opts)
	if a := mustAdopt(t, l, signer, rows[:1]); a.Events != 0 || a.Repeated != 1 {
		t.Errorf("%+v", a)
	}
	mustClose(t, l)
}

// TestAgeOfUnorderedEvents: a segment with one young event is kept, however old those around it are.
func TestAgeOfUnorderedEvents(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 10)
	young := query(acme, "young")
	young.Time = opts.now().AddDate(1, 0, 0)
	mustRecord(t, l, young)
	fillLog(t, l, "t", 20)
	old := opts.now
	l.Close()
	opts.now = func() time.Time { return old().AddDate(0, 6, 0) }
	l = mustOpen(t, dir, opts)
	if done := mustRetain(t, l, &Retention{Age: 24 * time.Hour}); done.Deleted == 0 || !slices.Contains(queried(t, dir), "young") {
		t.Errorf("%+v", done)
	}
	mustClose(t, l)
	mustVerify(t, dir)
}

// TestRetentionLeavesWhatIsNotSealed: segments whose events no checkpoint seals stay as they are.
func TestRetentionLeavesWhatIsNotSealed(t *testing.T) {
	for name, r := range map[string]*Retention{"compress": {Compress: true}, "delete": {Bytes: 1}} {
		dir, opts := aging(t)
		l := mustOpen(t, dir, opts)
		sealed := fillLog(t, l, "s", 20).Size
		for i := range 40 {
			mustRecord(t, l, query(acme, fmt.Sprint("not sealed ", i)))
		}
		want, err := listSegments(dir)
		if err != nil {
			t.Fatal(err)
		}
		want = slices.DeleteFunc(want, func(first int64) bool { return first < sealed })
		mustRetain(t, l, r)
		for _, first := range want {
			if _, err := os.Stat(segmentPath(dir, first)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(want) < 3 {
			t.Errorf("%d segments are not sealed; the test wants some", len(want))
		}
		mustClose(t, l)
		mustVerify(t, dir)
	}
}

// TestRetentionInTheBackground: Options.Retention is kept to.
func TestRetentionInTheBackground(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 40)
	mustClose(t, l)
	opts.Retention = &Retention{Compress: true, Bytes: 30 << 10}
	opts.RetainEvery = time.Millisecond
	l = mustOpen(t, dir, opts)
	for first := int64(0); first == 0; {
		var err error
		if first, err = Retained(dir); err != nil {
			t.Fatal(err)
		}
		mustRecord(t, l, query(acme, "meanwhile"))
	}
	mustClose(t, l)
	if err := l.Stats().Retention; err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if r := mustVerify(t, dir); r.Deleted == 0 {
		t.Errorf("%s", r)
	}
	if _, err := OpenLog(dir, &Options{Retention: &Retention{Age: -1}}); err == nil {
		t.Error("a negative age was accepted")
	}
}
