package audit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// history is a log's life in two sessions, with segments that end, checkpoints and head leaves. It returns the requests
// of the events that were acknowledged, and of those that were tried.
func history(dir string, opts *Options) (acked, tried []string, err error) {
	return historyOf("s", dir, opts)
}

// historyOf is a history whose events' requests begin with a name.
func historyOf(name, dir string, opts *Options) (acked, tried []string, err error) {
	record := func(l *Log, request string) {
		tried = append(tried, request)
		if rerr := l.Record(background, query(acme, request)); rerr == nil {
			acked = append(acked, request)
		} else {
			err = errors.Join(err, rerr)
		}
	}
	for session := range 2 {
		l, operr := OpenLog(dir, opts)
		if operr != nil {
			return acked, tried, errors.Join(err, operr)
		}
		for i := range 5 {
			record(l, fmt.Sprintf("%s%d-%d", name, session, i))
			if i == 1 {
				_, cerr := l.Checkpoint(background)
				err = errors.Join(err, cerr)
			}
		}
		err = errors.Join(err, l.Close())
	}
	return acked, tried, err
}

// check opens a log that went through something, and wants all that was acknowledged, nothing twice, and no doubt.
func checkHistory(t *testing.T, what, dir string, opts *Options, acked, tried []string) {
	t.Helper()
	l, err := OpenLog(dir, opts)
	if err != nil {
		t.Errorf("%s: opening it again: %v", what, err)
		return
	}
	if err := l.Record(background, query(acme, "last")); err != nil {
		t.Errorf("%s: recording again: %v", what, err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("%s: closing it again: %v", what, err)
	}
	report, err := Verify(background, dir, nil)
	if err != nil || report.Unsealed+report.Torn != 0 {
		t.Errorf("%s: %v\n%v", what, err, report)
		return
	}
	count := map[string]int{}
	for e, err := range Read(background, dir, &Filter{Code: "sql."}) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		count[e.Request]++
	}
	for _, request := range acked {
		if count[request] == 0 {
			t.Errorf("%s: %s was acknowledged and is lost", what, request)
		}
	}
	for _, request := range append(tried, "last") {
		if count[request] > 1 {
			t.Errorf("%s: %s is there %d times", what, request, count[request])
		}
		delete(count, request)
	}
	if len(count) > 0 {
		t.Errorf("%s: nobody recorded %v", what, count)
	}
}

func faulty(fsys *faultfs.FS, d Durability) *Options {
	opts := quiet()
	opts.fs, opts.Durability, opts.SegmentBytes, opts.HeadEvery, opts.AheadBytes = fsys, d, 8<<10, 3, 2<<10
	return opts
}

// countSteps returns how many steps the whole history takes when nothing fails.
func countSteps(t *testing.T, d Durability) int64 {
	t.Helper()
	fsys := faultfs.New()
	fsys.Volatile = true
	var n atomic.Int64
	fsys.Before = func(faultfs.Step) error { n.Add(1); return nil }
	dir := filepath.Join(t.TempDir(), "log")
	acked, tried, err := history(dir, faulty(fsys, d))
	if err != nil || len(acked) != 10 {
		t.Fatalf("without faults: %v, %v", acked, err)
	}
	fsys.Before = nil
	checkHistory(t, "without faults", dir, faulty(fsys, d), acked, tried)
	if n.Load() < 80 {
		t.Fatalf("only %d steps", n.Load())
	}
	return n.Load()
}

// TestFaultAtEveryStep makes each single step of a log's life fail, in each way that a step can.
func TestFaultAtEveryStep(t *testing.T) {
	t.Parallel()
	parent := memoryDir(t)
	for _, d := range []Durability{Durable, Written} {
		steps := countSteps(t, d)
		for kind, fault := range map[string]error{
			"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC,
			"short EIO": &faultfs.Short{N: 33, Err: syscall.EIO}, "short ENOSPC": &faultfs.Short{N: 33, Err: syscall.ENOSPC},
		} {
			if d == Written && (kind == "EIO" || kind == "short ENOSPC") {
				continue // the other two have taken every path
			}
			for i := range steps {
				fsys := faultfs.New()
				fsys.Volatile = true
				var n atomic.Int64
				what := ""
				fsys.Before = func(s faultfs.Step) error {
					if n.Add(1)-1 != i {
						return nil
					}
					what = fmt.Sprintf("%v, step %d (%s %s), %s", d, i, s.Op, filepath.Base(s.Name), kind)
					return fault
				}
				dir := filepath.Join(parent, fmt.Sprint(d, kind, i))
				acked, tried, err := history(dir, faulty(fsys, d))
				if n.Load() <= i {
					continue // Written syncs by time as well: the count varies
				}
				if err != nil && !errors.Is(err, fault) && !errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
				fsys.Before = nil
				if i == 0 || len(tried) == 0 {
					leftNothing(t, what, dir)
				}
				checkHistory(t, what, dir, faulty(fsys, d), acked, tried)
				os.RemoveAll(dir)
			}
		}
	}
}

// leftNothing wants that a log which could not be created left nothing half-made.
func leftNothing(t *testing.T, what, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
		// A step that fails in the undoing itself cannot be undone.
		for _, e := range left {
			t.Errorf("%s: creation failed and left %s", what, e.Name())
		}
	}
}

// TestPowerLossAtEveryStep cuts the power at each step, leaves an arbitrary part of what was not synced, and opens the
// log again.
func TestPowerLossAtEveryStep(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	parent := memoryDir(t)
	for _, d := range []Durability{Durable, Written} {
		steps := countSteps(t, d)
		for i := range steps {
			for round := range powerRounds {
				powerLoss(t, random, filepath.Join(parent, fmt.Sprint(d, i, round)), d, i, round)
			}
		}
	}
}

// powerRounds is how often the power is cut at each step.
const powerRounds = 3

func powerLoss(t *testing.T, random *rand.Rand, dir string, d Durability, step int64, round int) {
	fsys := faultfs.New()
	fsys.Volatile = true
	what := ""
	cut := func(name string, step int64) (acked, tried []string) {
		var n atomic.Int64
		fsys.Before = func(s faultfs.Step) error {
			switch at := n.Add(1) - 1; {
			case at == step:
				what += fmt.Sprintf("%v, power lost at step %d (%s %s), round %d; ", d, step, s.Op, filepath.Base(s.Name), round)
				return &faultfs.Short{N: random.IntN(s.Size + 1), Err: syscall.EIO}
			case at > step:
				return syscall.EIO
			}
			return nil
		}
		acked, tried, _ = historyOf(name, dir, faulty(fsys, d))
		fsys.Survives = func(faultfs.Op, string) bool { return round > 0 && random.IntN(2) == 0 }
		if err := fsys.PowerLoss(func(name string, unsynced []byte) []byte { return loseSome(t, random, name, unsynced) }); err != nil {
			t.Fatal(err)
		}
		fsys.Before = nil
		// Before it is opened, a reader sees nothing that looks like tampering either.
		if _, err := os.Stat(filepath.Join(dir, configName)); err == nil {
			if r, err := Verify(background, dir, nil); err != nil {
				t.Errorf("%sbefore it is opened: %v\n%s", what, err, r)
			}
		}
		return acked, tried
	}
	acked, tried := cut("s", step)
	if round > 0 { // and again, mostly while the log is opened and repaired
		more, all := cut("again", random.Int64N(70))
		acked, tried = append(acked, more...), append(tried, all...)
	}
	if d == Written {
		acked = nil // its promise is about the process, not about power
	}
	checkHistory(t, what, dir, faulty(fsys, d), acked, tried)
	os.RemoveAll(dir)
}

// loseSome returns what is left of unsynced bytes: the beginning, or the beginning and zeros, or any of their sectors with
// zeros instead of the others.
func loseSome(t *testing.T, random *rand.Rand, name string, unsynced []byte) []byte {
	left := unsynced[:random.IntN(len(unsynced)+1)]
	switch random.IntN(3) {
	case 0:
		return left
	case 1:
		if len(left) < len(unsynced)-1 { // no disk loses one byte alone
			clear(unsynced[len(left):]) // extended, and never filled in
		}
		return unsynced
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	const sector = 512
	for at := 0; at < len(unsynced); {
		next := min(at+sector-int((info.Size()-int64(len(unsynced))+int64(at))%sector), len(unsynced))
		if random.IntN(2) == 0 {
			clear(unsynced[at:next])
		}
		at = next
	}
	return unsynced
}

// TestFullDisk: the log says so with its reserve, and goes on when there is room again.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	opts := quiet()
	opts.fs = fsys
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "before"))
	var full atomic.Bool
	fsys.Before = func(s faultfs.Step) error {
		if s.Op == faultfs.Remove && filepath.Base(s.Name) == reserveName {
			full.Store(false)
		}
		if s.Op == faultfs.Write && full.Load() {
			return &faultfs.Short{N: s.Size / 2, Err: syscall.ENOSPC}
		}
		return nil
	}
	full.Store(true)
	err := l.Record(t.Context(), query(acme, "lost"))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free space") {
		t.Errorf("on a full disk: %v", err)
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("closing it: %v", err)
	}
	all := entries(t, dir, nil)
	last := all[len(all)-1]
	if last.Code != CodeLogStopping || last.Status != Failure || last.Severity != "High" || last.Reason != "the disk is full" {
		t.Errorf("the last event is %s %s: %s", last.Code, last.Status, last.Reason)
	}
	if r := mustVerify(t, dir); r.Unsealed+r.Torn != 0 {
		t.Errorf("%s", r)
	}
	if _, err := os.Stat(filepath.Join(dir, reserveName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve: %v", err)
	}
	l = mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "after"))
	mustClose(t, l)
	mustVerify(t, dir)
	if info, err := os.Stat(filepath.Join(dir, reserveName)); err != nil || info.Size() != opts.ReserveBytes {
		t.Errorf("no new reserve: %v", err)
	}
	var got []string
	for _, e := range entries(t, dir, &Filter{Code: "sql."}) {
		got = append(got, e.Request)
	}
	if fmt.Sprint(got) != "[before after]" {
		t.Errorf("the log holds %v", got)
	}
}

// TestFailedWriteBack: after a failed sync the kernel keeps what it could not write in its memory as though it were on
// the disk. A log that is opened again reads it from there, and must not sign it before it is on the disk in truth.
func TestFailedWriteBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	opts := quiet()
	opts.fs = fsys
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "1"))
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			return syscall.EIO
		}
		return nil
	}
	if err := l.Record(t.Context(), query(acme, "2")); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	l.Close()
	fsys.Before = nil
	l = mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "3"))
	mustClose(t, l)
	if err := fsys.PowerLoss(func(string, []byte) []byte { return nil }); err != nil {
		t.Fatal(err)
	}
	checkHistory(t, "power lost after a failed write-back", dir, opts, []string{"1", "3"}, []string{"1", "2", "3"})
}
