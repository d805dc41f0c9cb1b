package audit

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// What is queued is durable when Wait says so, and not before; who gives up may ask again.
func TestQueuedEventsWaitForTheDisk(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.Timeout, opts.fs = time.Minute, fsys
	dir := t.TempDir()
	l := mustOpen(t, dir, opts)
	_, release := gateSync(fsys)
	var events []Pending
	for range 3 {
		p, err := l.Queue(background, query(acme, "r"))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, p)
	}
	given, cancel := context.WithCancel(background)
	cancel()
	for _, p := range events {
		if err := p.Wait(given); !errors.Is(err, context.Canceled) {
			t.Errorf("before fdatasync has returned: %v", err)
		}
	}
	close(release)
	for _, p := range events {
		for range 2 {
			if err := p.Wait(background); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := l.Queue(background, query(acme, "nobody waits")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Events < 6 {
		t.Errorf("%d events", r.Events)
	}
	if _, err := l.Queue(background, query(acme, "late")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a closed log queues: %v", err)
	}
}

// A disk that fails tells everybody who waits, and refuses what comes then.
func TestQueuedEventsHearOfFailures(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs = fsys
	l := mustOpen(t, t.TempDir(), opts)
	release := make(chan struct{})
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			<-release
			return syscall.EIO
		}
		return nil
	}
	p, err := l.Queue(background, query(acme, "r"))
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := p.Wait(background); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Wait: %v", err)
	}
	if _, err := l.Queue(background, query(acme, "r")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Queue: %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Close: %v", err)
	}
}

// An outcome goes to the disk with the event behind it, when somebody waits for it, or when the log is sealed.
func TestOutcomesRideAlong(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.linger = fsys, time.Hour
	dir := t.TempDir()
	l := mustOpen(t, dir, opts)
	var syncs atomic.Int64
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			syncs.Add(1)
		}
		return nil
	}
	outcome := query(acme, "r")
	outcome.Phase = Outcome
	queue := func() Pending {
		t.Helper()
		p, err := l.Queue(background, outcome)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	queue()
	queue()
	mustRecord(t, l, query(acme, "r"))
	if n := syncs.Load(); n != 1 {
		t.Errorf("two outcomes and an intent took %d syncs", n)
	}
	if err := queue().Wait(background); err != nil || syncs.Load() != 2 {
		t.Errorf("%v after %d syncs", err, syncs.Load())
	}
	queue()
	if _, err := l.Checkpoint(background); err != nil {
		t.Fatal(err)
	}
	if l.Stats().Waiting != 0 {
		t.Error("an outcome waits behind a checkpoint")
	}
	queue()
	mustClose(t, l)
	if n := len(entries(t, dir, &Filter{Code: "sql."})); n != 6 {
		t.Errorf("%d events of 6 are in the log", n)
	}
}

// An outcome that nothing follows goes to the disk by itself, long before the next checkpoint, and each time anew.
func TestOutcomesDoNotLinger(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.linger = fsys, time.Millisecond
	synced := make(chan struct{}, 8)
	l := mustOpen(t, t.TempDir(), opts)
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			synced <- struct{}{}
		}
		return nil
	}
	outcome := query(acme, "r")
	outcome.Phase = Outcome
	for range 3 {
		if _, err := l.Queue(background, outcome); err != nil {
			t.Fatal(err)
		}
		<-synced
	}
	mustClose(t, l)
}
