package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// until is a policy that deletes what is before an index, and compresses what follows.
func until(index int64) *Retention {
	return &Retention{Compress: true, Bytes: 1, Needed: func(context.Context) (int64, error) { return index, nil }}
}

// oldLog is a log that was closed, with segments to compress and to delete, some of both done already, and the policy that does.
func oldLog(t *testing.T) (dir string, opts *Options, shortening *Retention, lines [][]byte) {
	t.Helper()
	dir, opts = aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 20)
	before, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := until(before[len(before)-3])
	first.DropCheckpoints = true
	mustRetain(t, l, first)
	if d := droppedFrom(t, dir); d.Number == 0 || d.Before != 0 {
		t.Fatalf("%+v: the test wants checkpoints deleted", d)
	}
	fillLog(t, l, "t", 10)
	mustClose(t, l)
	shortening = until(before[len(before)-1])
	shortening.DropHashes, shortening.DropCheckpoints = true, true // those of the first time as well
	kept, err := Retained(dir)
	if err != nil || kept == 0 {
		t.Fatal(kept, err)
	}
	lines = make([][]byte, kept)
	for _, e := range entries(t, dir, nil) {
		lines = append(lines, e.Raw)
	}
	return dir, opts, shortening, lines
}

// checkShortened wants that a log has what it had, from its first event on, and has not fewer than it should.
func checkShortened(t *testing.T, what, dir string, lines [][]byte, most int64) {
	t.Helper()
	r, err := Verify(background, dir, nil)
	if err != nil || r.Deleted > most {
		t.Errorf("%s: %v\n%s", what, err, r)
		return
	}
	next := r.Deleted
	for e, err := range Read(background, dir, nil) {
		if err != nil && r.Torn > 0 && next >= int64(len(lines)) {
			break // at what a loss of power left, which opening cuts off
		}
		if err != nil || e.Index != next || e.Index < int64(len(lines)) && !bytes.Equal(e.Raw, lines[e.Index]) {
			t.Errorf("%s: event %d, want %d as it was: %v", what, e.Index, next, err)
			return
		}
		next++
	}
	if next < int64(len(lines)) {
		t.Errorf("%s: %d events, and there were %d", what, next, len(lines))
	}
}

// retainSteps returns the steps that Retain takes without faults, and the first event that it keeps.
func retainSteps(t *testing.T, parent, origin string, opts *Options, shortening *Retention) (steps []faultfs.Op, first int64) {
	t.Helper()
	dir := filepath.Join(parent, "whole")
	copyInto(t, origin, mustMkdir(t, dir))
	var mu sync.Mutex
	armed := false
	fsys := faultfs.New()
	fsys.Before = func(s faultfs.Step) error {
		mu.Lock()
		defer mu.Unlock()
		if armed {
			steps = append(steps, s.Op)
		}
		return nil
	}
	arm := func(on bool) { mu.Lock(); armed = on; mu.Unlock() }
	l := openFaulty(t, dir, opts, fsys)
	arm(true)
	done := mustRetain(t, l, shortening)
	arm(false)
	mustClose(t, l)
	if done.Deleted == 0 || done.Compressed == 0 || len(steps) < 50 {
		t.Fatalf("%+v in %d steps", done, len(steps))
	}
	return steps, done.First
}

// changes tells whether a step changes what is on the disk.
func changes(op faultfs.Op) bool {
	switch op {
	case faultfs.Read, faultfs.Stat, faultfs.Lstat, faultfs.ReadDir, faultfs.Close:
		return false
	}
	return true
}

func mustMkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openFaulty(t *testing.T, dir string, opts *Options, fsys *faultfs.FS) *Log {
	t.Helper()
	with := *opts
	with.fs = fsys
	l, err := OpenLog(dir, &with)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRetainFaultAtEveryStep makes each step of Retain fail: nothing but what its record says is gone, and the next one
// completes it.
func TestRetainFaultAtEveryStep(t *testing.T) {
	t.Parallel()
	parent := memoryDir(t)
	origin, opts, shortening, lines := oldLog(t)
	steps, most := retainSteps(t, parent, origin, opts, shortening)
	for kind, fault := range map[string]error{"EIO": syscall.EIO, "short ENOSPC": &faultfs.Short{N: 33, Err: syscall.ENOSPC}} {
		for at, op := range steps {
			if fault != error(syscall.EIO) && op != faultfs.Write || !changes(op) && at%3 > 0 {
				continue // it fails in one way only; of what is only looked at, some
			}
			i := int64(at)
			dir := filepath.Join(parent, fmt.Sprint(kind, i))
			copyInto(t, origin, mustMkdir(t, dir))
			fsys := faultfs.New()
			fsys.Volatile = true
			var n atomic.Int64
			var armed atomic.Bool
			what := ""
			fsys.Before = func(s faultfs.Step) error {
				if !armed.Load() || n.Add(1)-1 != i {
					return nil
				}
				what = fmt.Sprintf("step %d (%s %s), %s", i, s.Op, filepath.Base(s.Name), kind)
				return fault
			}
			l := openFaulty(t, dir, opts, fsys)
			armed.Store(true)
			_, err := l.Retain(background, shortening)
			armed.Store(false)
			if err != nil && !errors.Is(err, fault) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
			checkShortened(t, what, dir, lines, most)
			l.Close()
			finishShortening(t, what, dir, opts, shortening, lines)
			os.RemoveAll(dir)
		}
	}
}

// finishShortening opens a log again and does what was interrupted.
func finishShortening(t *testing.T, what, dir string, opts *Options, shortening *Retention, lines [][]byte) {
	t.Helper()
	l, err := OpenLog(dir, opts)
	if err != nil {
		t.Errorf("%s: opening it again: %v", what, err)
		return
	}
	done, err := l.Retain(background, shortening)
	if err = errors.Join(err, l.Close()); err != nil || done.First == 0 {
		t.Errorf("%s: again: %+v, %v", what, done, err)
		return
	}
	checkShortened(t, what+", again", dir, lines, done.First)
	names, err := os.ReadDir(filepath.Join(dir, segmentsName))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, e := range names {
		first, ext, _ := splitName(e.Name())
		if ext == "leaves" {
			if first < done.First {
				t.Errorf("%s: %s was left", what, e.Name())
			}
		} else {
			if first < done.First || seen[first] {
				t.Errorf("%s: %s was left", what, e.Name())
			}
			seen[first] = true
		}
	}
	for _, begun := range []string{compressing, checkpointsName + temporary} {
		if _, err := os.Stat(filepath.Join(dir, begun)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s was left", what, begun)
		}
	}
	if d, first := droppedFrom(t, dir), firstNote(t, dir); d.Before == 0 || first != d.Number+1 {
		t.Errorf("%s: %+v, and the first checkpoint is number %d", what, d, first)
	}
}

// TestRetainPowerLossAtEveryStep cuts the power at each step of Retain, and leaves an arbitrary part of what was not synced.
func TestRetainPowerLossAtEveryStep(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	parent := memoryDir(t)
	origin, opts, shortening, lines := oldLog(t)
	steps, most := retainSteps(t, parent, origin, opts, shortening)
	for at, op := range steps {
		if !changes(op) {
			continue // as at the next step that does
		}
		i := int64(at)
		for round := range 2 { // Durable and Written
			dir := filepath.Join(parent, fmt.Sprint(i, "-", round))
			copyInto(t, origin, mustMkdir(t, dir))
			fsys := faultfs.New()
			fsys.Volatile = true
			fsys.Survives = func(faultfs.Op, string) bool { return round > 0 && random.IntN(2) == 0 }
			var n atomic.Int64
			var armed, off atomic.Bool
			what := ""
			fsys.Before = func(s faultfs.Step) error {
				switch {
				case off.Load():
					return syscall.EIO
				case armed.Load() && n.Add(1)-1 == i:
					what = fmt.Sprintf("power lost at step %d (%s %s), round %d", i, s.Op, filepath.Base(s.Name), round)
					off.Store(true)
					return &faultfs.Short{N: random.IntN(s.Size + 1), Err: syscall.EIO}
				}
				return nil
			}
			with := *opts
			with.Durability = Durability(round)
			l := openFaulty(t, dir, &with, fsys)
			armed.Store(true)
			l.Retain(background, shortening)
			off.Store(true)
			l.Close()
			if err := fsys.PowerLoss(func(name string, unsynced []byte) []byte { return loseSome(t, random, name, unsynced) }); err != nil {
				t.Fatal(err)
			}
			checkShortened(t, what, dir, lines, most)
			finishShortening(t, what, dir, opts, shortening, lines)
			os.RemoveAll(dir)
		}
	}
}

const retainDir = "STRONGROOM_AUDIT_RETAIN_DIR"

// retainUntilKilled records from several goroutines while it compresses and deletes, and prints what is acknowledged.
func retainUntilKilled(dir string) {
	l, err := OpenLog(dir, &Options{
		SegmentBytes: 16 << 10, CheckpointEvery: 5 * time.Millisecond, HeadEvery: 50, ReserveBytes: 1 << 16, Timeout: time.Minute,
		stateEvents: 50, Retention: &Retention{Compress: true, Bytes: 40 << 10, DropHashes: os.Getpid()%2 == 0, DropCheckpoints: os.Getpid()%3 > 0}, RetainEvery: time.Millisecond,
	})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for g := range 4 {
		go func() {
			for i := 0; ; i++ {
				request := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				err := l.Record(background, query(acme, request))
				if err == nil {
					err = l.Stats().Retention
				}
				if err != nil {
					fmt.Println("failed", err)
					os.Exit(1)
				}
				mu.Lock()
				os.Stdout.WriteString(request + "\n")
				mu.Unlock()
			}
		}()
	}
	select {}
}

// TestRetainSIGKILL kills a process that compresses and deletes while it records, again and again. The log always verifies,
// what was acknowledged and is not deleted is there, and what is deleted is what was recorded first.
func TestRetainSIGKILL(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	var acked []string
	deleted := int64(0)
	for round := 0; round < 8 || deleted == 0 && round < 40; round++ { // a slow disk may not come to deleting anything between two kills
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), retainDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kept := len(acked)
		for in, n := bufio.NewScanner(out), 0; in.Scan(); n++ {
			if bytes.HasPrefix(in.Bytes(), []byte("failed")) {
				t.Fatal(in.Text())
			}
			acked = append(acked, in.Text())
			if n == 200+round*37 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd.Wait() // it was killed
		if _, err := Verify(t.Context(), dir, nil); err != nil {
			t.Fatalf("round %d, before it is opened: %v", round, err)
		}
		mustClose(t, mustOpen(t, dir, quiet()))
		r := mustVerify(t, dir)
		if r.Unsealed+r.Torn != 0 || r.Deleted < deleted {
			t.Errorf("round %d: %s", round, r)
		}
		deleted = r.Deleted
		there := map[string]int{}
		for _, e := range entries(t, dir, &Filter{Code: CodeQuery}) {
			there[e.Request]++
		}
		// The log keeps some 40 KiB of segments and what came while it looked: of each process the last events are there.
		missing := 0
		for _, request := range acked {
			if there[request] == 0 {
				missing++
			} else if there[request] > 1 {
				t.Errorf("round %d: %s is there %d times", round, request, there[request])
			}
		}
		if last := acked[len(acked)-1]; len(acked) == kept || there[last] != 1 || int64(missing) > deleted {
			t.Errorf("round %d: %s was acknowledged and is there %d times; %d are missing and %d deleted", round, last, there[last], missing, deleted)
		}
	}
	if deleted == 0 {
		t.Error("nothing was deleted")
	}
	t.Logf("%d events acknowledged, %d deleted", len(acked), deleted)
}

// TestRetainBesideReaders: who verifies, reads and bundles a log while it is shortened finds it intact, or that a file is
// gone, and never tampering.
func TestRetainBesideReaders(t *testing.T) {
	dir, opts := aging(t)
	opts.now = nil
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 20)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	reader := func(read func() error) {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := read(); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrNoEvents) {
					t.Error(err)
					return
				}
			}
		})
	}
	reader(func() error { _, err := Verify(background, dir, nil); return err })
	reader(func() error {
		for _, err := range Read(background, dir, nil) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	reader(func() error { _, err := WriteBundle(background, new(bytes.Buffer), dir, acme, nil); return err })
	first := int64(0)
	for round := range 15 {
		fillLog(t, l, fmt.Sprint(round), 6)
		first = mustRetain(t, l, &Retention{Compress: true, Bytes: 14 << 10, DropHashes: round%3 > 0, DropCheckpoints: true}).First
	}
	close(stop)
	readers.Wait()
	mustClose(t, l)
	if r := mustVerify(t, dir); first == 0 || r.Deleted < first {
		t.Errorf("%s", r)
	}
}
