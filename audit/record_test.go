package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/tenant"
)

func isLines(s faultfs.Step, op faultfs.Op) bool {
	return s.Op == op && strings.HasSuffix(s.Name, ".jsonl")
}

// TestRecordAfterSync: whoever is told that an event is recorded finds it among the bytes that fdatasync has covered.
func TestRecordAfterSync(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	opts := quiet()
	opts.fs = fsys
	opts.SegmentBytes = 64 << 10
	l := mustOpen(t, dir, opts)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 20 {
				request := fmt.Sprintf("r-%d-%d", g, i)
				if err := l.Record(t.Context(), query(acme, request)); err != nil {
					t.Error(err)
					return
				}
				if !durablyHolds(fsys, dir, request) {
					t.Errorf("%s was acknowledged and a loss of power would lose it", request)
				}
			}
		})
	}
	wg.Wait()
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Segments < 3 || r.Tenants != 1 {
		t.Errorf("%s", r)
	}
}

// durablyHolds looks for an event with the request among the bytes that would survive a loss of power.
func durablyHolds(fsys *faultfs.FS, dir, request string) bool {
	names, _ := filepath.Glob(filepath.Join(dir, segmentsName, "*.jsonl"))
	for _, name := range names {
		size := fsys.Durable(name)
		data, err := os.ReadFile(name)
		if err == nil && bytes.Contains(data[:min(size, int64(len(data)))], []byte(`"request":"`+request+`"`)) {
			return true
		}
	}
	return false
}

// TestRecordWaitsForSync holds the disk's sync back: nobody is told anything until it is done.
func TestRecordWaitsForSync(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Timeout = fsys, time.Minute
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), opts)
	syncing, release := make(chan struct{}), make(chan struct{})
	var released atomic.Bool
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			syncing <- struct{}{}
			<-release
		}
		return nil
	}
	done := make(chan error)
	go func() {
		err := l.Record(context.Background(), query(acme, "1"))
		if !released.Load() {
			err = errors.Join(err, errors.New("Record returned before the sync did"))
		}
		done <- err
	}()
	<-syncing
	select {
	case err := <-done:
		t.Fatalf("Record returned while the disk was syncing: %v", err)
	default:
	}
	released.Store(true)
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() {
		for range syncing { // of the closing
		}
	}()
	mustClose(t, l)
	close(syncing)
}

// TestGroupCommit: what waits while the disk is busy goes to it with one write and one sync.
func TestGroupCommit(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Timeout = fsys, time.Minute
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), opts)
	var writes, syncs atomic.Int64
	first, release := make(chan struct{}), make(chan struct{})
	fsys.Before = func(s faultfs.Step) error {
		switch {
		case isLines(s, faultfs.Write):
			writes.Add(1)
		case isLines(s, faultfs.Datasync):
			if syncs.Add(1) == 1 {
				close(first)
				<-release
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	record := func() {
		if err := l.Record(context.Background(), query(acme, "x")); err != nil {
			t.Error(err)
		}
	}
	wg.Go(record)
	<-first
	for range 50 {
		wg.Go(record)
	}
	for queued := 0; queued < 50; { // all of them wait behind the first
		l.mu.Lock()
		if queued = 0; len(l.active) > 0 {
			queued = len(l.active[0].items) - l.active[0].head
		}
		l.mu.Unlock()
	}
	close(release)
	wg.Wait()
	if writes.Load() != 2 || syncs.Load() != 2 {
		t.Errorf("51 events took %d writes and %d syncs, want 2 and 2", writes.Load(), syncs.Load())
	}
}

// TestRecordDeadline: a disk that hangs holds no caller longer than the deadline, and loses nothing.
func TestRecordDeadline(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Timeout = fsys, 20*time.Millisecond
	l := mustOpen(t, dir, opts)
	syncing, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			once.Do(func() { close(syncing); <-release })
		}
		return nil
	}
	if err := l.Record(t.Context(), query(acme, "deadline")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "20ms") {
		t.Errorf("while the disk hangs: %v", err)
	}
	<-syncing
	// A caller that gives up while its event waits for the disk gets its own error.
	ctx, cancel := context.WithCancel(t.Context())
	l.timeout = time.Minute
	done := make(chan error)
	go func() { done <- l.Record(ctx, query(acme, "cancelled")) }()
	for waiting := false; !waiting; {
		waiting = l.Stats().Waiting > 0
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("after the caller gave up: %v", err)
	}
	// One that had given up before never enters the log.
	if err := l.Record(ctx, query(acme, "late")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	mustRecord(t, l, query(acme, "after"))
	mustClose(t, l)
	mustVerify(t, dir)
	var got []string
	for _, e := range entries(t, dir, &Filter{Code: "sql."}) {
		got = append(got, fmt.Sprint(e.Request, e.Sequence))
	}
	if fmt.Sprint(got) != "[deadline1 cancelled2 after3]" {
		t.Errorf("the log holds %v", got)
	}
}

// TestRecordBound: while the disk hangs, memory is bounded, and what room there is is shared among the tenants.
func TestRecordBound(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Timeout = fsys, time.Minute
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), opts)
	release := make(chan struct{})
	fsys.Before = func(s faultfs.Step) error { <-release; return nil }
	late := make(chan time.Time)
	close(late)
	try := func(e *Event) error {
		it := &item{done: make(chan error, 1)}
		err := l.reserve(t.Context(), late, e, it)
		if err == nil {
			err = l.write(it, e)
		}
		return err
	}
	fill := func(id tenant.ID) (n int) {
		t.Helper()
		e := query(id, "big")
		e.Statement = strings.Repeat("x", maxSQL)
		var err error
		for ; err == nil; n++ {
			err = try(e)
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", id, err)
		}
		return n - 1
	}
	const all = maxWaiting / (33 << 10)
	if n := fill(acme); n < all/9-20 || n > all/9+60 { // the first batch may have left already
		t.Errorf("one tenant got in %d events, want a ninth of %d", n, all)
	}
	// Many more bursts leave room for whoever comes next.
	for i := range 20 {
		if n := fill(tenant.MustParse(fmt.Sprintf("burst-%d", i))); n < 3 {
			t.Errorf("burst %d got in %d events", i, n)
		}
	}
	if err := try(query(globex, "small")); err != nil {
		t.Errorf("a quiet tenant: %v", err)
	}
	if s := l.Stats(); s.Refused != 21 || s.WaitingBytes > maxWaiting || s.Waiting != 22 {
		t.Errorf("%+v", s)
	}
	close(release)
}

func TestRecordRefuses(t *testing.T) {
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), quiet())
	for what, change := range map[string]func(*Event){
		"an unknown code":       func(e *Event) { e.Code = "sql.frobnicate" },
		"no code":               func(e *Event) { e.Code = "" },
		"the log's own code":    func(e *Event) { e.Code = CodeLogHead },
		"another of its codes":  func(e *Event) { e.Code = CodeLogStopping },
		"no phase":              func(e *Event) { e.Phase = "" },
		"no status":             func(e *Event) { e.Status = "ok" },
		"a correlation":         func(e *Event) { e.Correlation = "request 7" },
		"a time in no calendar": func(e *Event) { e.Time = time.UnixMilli(1 << 60) },
		"negative rows":         func(e *Event) { e.Rows = -2 },
	} {
		e := query(acme, "x")
		change(e)
		if err := l.Record(t.Context(), e); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustClose(t, l)
	if r := mustVerify(t, l.dir); r.Events != 2 {
		t.Errorf("something was recorded:\n%s", r)
	}
	if err := l.Record(t.Context(), query(acme, "x")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := l.Checkpoint(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a checkpoint after Close: %v", err)
	}
}

// TestSequence: each tenant's events are numbered from 1 without gaps, across sessions and segments.
func TestSequence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes = 16 << 10
	for range 3 {
		l := mustOpen(t, dir, opts)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 10 {
					id := acme
					if (g+i)%3 == 0 {
						id = globex
					}
					if err := l.Record(t.Context(), query(id, "x")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		mustClose(t, l)
	}
	next := map[string]int64{}
	for _, e := range entries(t, dir, nil) {
		if e.Code == CodeLogHead {
			continue
		}
		if next[e.Tenant]++; e.Sequence != next[e.Tenant] {
			t.Fatalf("event %d of %q has number %d, want %d", e.Index, e.Tenant, e.Sequence, next[e.Tenant])
		}
	}
	if next["acme"]+next["globex"] != 240 || next[""] != 6 {
		t.Errorf("the numbers end at %v", next)
	}
	mustVerify(t, dir)
}

func TestWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Durability = fsys, Written
	l := mustOpen(t, dir, opts)
	synced := make(chan struct{}, 100)
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			synced <- struct{}{}
		}
		return nil
	}
	mustRecord(t, l, query(acme, "1"), query(acme, "2"))
	if !bytes.Contains(readFile(t, segmentPath(dir, 0)), []byte(`"request":"2"`)) {
		t.Error("acknowledged before it was handed to the kernel")
	}
	<-synced // by itself: no event and no checkpoint asks for it
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Unsealed != 0 || r.Events != 5 {
		t.Errorf("%s", r)
	}
}

// TestHeads: a head leaf after so many events, after so long, and at the end.
func TestHeads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	now := time.Now()
	var mu sync.Mutex
	opts := quiet()
	opts.HeadEvery, opts.HeadAfter = 3, time.Minute
	opts.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	l := mustOpen(t, dir, opts)
	count := func() int64 {
		t.Helper()
		if _, err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		return mustVerify(t, dir).Heads
	}
	mustRecord(t, l, query(acme, "1"), query(globex, "1"), query(acme, "2"))
	if n := count(); n != 0 {
		t.Errorf("%d head leaves before any was due", n)
	}
	mustRecord(t, l, query(acme, "3"))
	if n := count(); n != 1 {
		t.Errorf("%d head leaves after three events of one tenant", n)
	}
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	if n := count(); n != 2 {
		t.Errorf("%d head leaves after two minutes", n)
	}
	mustRecord(t, l, query(acme, "4"))
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Heads != 3 || r.Uncovered != 0 {
		t.Errorf("at the end:\n%s", r)
	}
}

func TestOwnSigner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	keyed := mustOpen(t, filepath.Join(t.TempDir(), "other"), &Options{Origin: "audit.example.com/node-7", ReserveBytes: -1})
	secret := strings.TrimSpace(string(readFile(t, filepath.Join(keyed.dir, signerName))))
	opts := quiet()
	opts.Signer, opts.Verifier = mustSigner(t, secret), keyed.Verifier()
	l := mustOpen(t, dir, opts)
	mustRecord(t, l, query(acme, "1"))
	mustClose(t, l)
	if _, err := os.Stat(filepath.Join(dir, signerName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key file beside the caller's signer: %v", err)
	}
	if r, err := Verify(t.Context(), dir, &VerifyOptions{Verifiers: []string{keyed.Verifier()}}); err != nil || r.Origin != "audit.example.com/node-7" {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := OpenLog(dir, quiet()); err == nil || !strings.Contains(err.Error(), signerName) {
		t.Errorf("without the signer: %v", err)
	}
	mustClose(t, mustOpen(t, dir, opts))
}

// TestFailureIsFinal: after any failed write or sync nothing more is recorded, and nothing is tried on the descriptor.
func TestFailureIsFinal(t *testing.T) {
	for name, fault := range map[string]struct {
		op  faultfs.Op
		err error
	}{
		"EIO on write":   {faultfs.Write, syscall.EIO},
		"EIO on sync":    {faultfs.Datasync, syscall.EIO},
		"short write":    {faultfs.Write, &faultfs.Short{N: 100, Err: syscall.EIO}},
		"ENOSPC on sync": {faultfs.Datasync, syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			fsys := faultfs.New()
			opts := quiet()
			opts.fs = fsys
			l := mustOpen(t, dir, opts)
			mustRecord(t, l, query(acme, "before"))
			var failed, later atomic.Bool
			fsys.Before = func(s faultfs.Step) error {
				if failed.Load() && (s.Op == faultfs.Write || s.Op == faultfs.Datasync) {
					later.Store(true)
				}
				if isLines(s, fault.op) {
					failed.Store(true)
					return fault.err
				}
				return nil
			}
			if err := l.Record(t.Context(), query(acme, "lost")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, fault.err) {
				t.Errorf("the failed one: %v", err)
			}
			if err := l.Record(t.Context(), query(acme, "later")); !errors.Is(err, ErrUnavailable) {
				t.Errorf("the next one: %v", err)
			}
			if l.Err() == nil {
				t.Error("Err is nil")
			}
			if err := l.Close(); !errors.Is(err, fault.err) {
				t.Errorf("Close: %v", err)
			}
			if later.Load() {
				t.Error("something was written or synced after the failure")
			}
			fsys.Before = nil
			l = mustOpen(t, dir, opts)
			mustRecord(t, l, query(acme, "again"))
			mustClose(t, l)
			mustVerify(t, dir)
			recovered := entries(t, dir, &Filter{Code: CodeLogRecovered})
			if len(recovered) != 1 || name == "short write" && !strings.Contains(recovered[0].Reason, "cut off: 100 bytes of unfinished events") {
				t.Errorf("recovered: %v", recovered)
			}
		})
	}
}
