package pglog_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
)

// TestOutages breaks a recorder's connections in either direction, ends its sessions and crashes the server, under load. Every
// event is acknowledged in the end, and is there once, in one stream without a gap.
func TestOutages(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	r, through := testenv.NewRelay(t, tr.recorder)
	s := tr.open(t, through, time.Minute)
	stop := make(chan struct{})
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				request := fmt.Sprint(c, " ", i)
				if err := s.Record(t.Context(), event("tenant-"+fmt.Sprint(c%3), request)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[request] = true
				mu.Unlock()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	recorded := func(more int) {
		mu.Lock()
		goal := len(acked) + more
		mu.Unlock()
		for {
			mu.Lock()
			n := len(acked)
			mu.Unlock()
			if n >= goal || t.Failed() {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	for i := range 6 {
		recorded(20)
		<-r.Lose([]string{"replies", "requests"}[i%2])
		r.Cut()
	}
	const sessions = `FROM pg_stat_activity WHERE application_name = 'strongroom-audit' AND datname = current_database()`
	for range 3 {
		recorded(20)
		mustExec(t, tr.super, `SELECT pg_terminate_backend(pid, 60000) `+sessions)
	}
	// A server process that is killed takes all others with it; the server recovers from its write-ahead log.
	recorded(20)
	var pid int
	if err := connect(t, tr.super).QueryRow(t.Context(), `SELECT pid `+sessions).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	connect(t, tr.super).Exec(t.Context(), `COPY (SELECT 1) TO PROGRAM 'kill -9 `+strconv.Itoa(pid)+`'`) // it has no time to answer
	recorded(50)
	close(stop)
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tr.allSealed(t, dir, acked)
	if report, err := audit.Verify(t.Context(), dir, nil); err != nil || report.Streams != 1 {
		t.Errorf("%v\n%s", err, report)
	}
}

// TestStandbysAreWaitedFor: a commit whose wait for a standby was cancelled is no acknowledgement, and neither is that the rows
// are there when they are inserted again, until a standby has that.
func TestStandbysAreWaitedFor(t *testing.T) {
	tr := newTrail(t)
	s := tr.open(t, tr.recorder, time.Minute)
	set := func(standbys string) {
		mustExec(t, tr.super, `ALTER SYSTEM SET synchronous_standby_names = '`+standbys+`'`, `SELECT pg_reload_conf()`)
	}
	t.Cleanup(func() { set("") })
	super := connect(t, tr.super)
	// waiting returns the session that waits for a standby with a statement like that, once there is one.
	waiting := func(statement string) (pid int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			err := super.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity WHERE application_name = 'strongroom-audit' AND wait_event = 'SyncRep' AND query LIKE $1`, statement).Scan(&pid)
			if err == nil {
				return pid
			}
		}
		t.Fatalf("no session waits for a standby with %s", statement)
		return 0
	}
	set("nobody")
	// The server's processes hear of it one after the other: some events are acknowledged before they do.
	var acked atomic.Int64
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if err := s.Record(t.Context(), event("acme", fmt.Sprint(acked.Load()))); err != nil {
				done <- err
				return
			}
			acked.Add(1)
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	before := int64(-1)
	for i, statement := range []string{"INSERT %", "%pg_logical_emit_message%", "%pg_logical_emit_message%"} {
		pid := waiting(statement)
		if i == 0 {
			before = acked.Load()
		}
		if n := acked.Load(); n != before {
			t.Fatalf("step %d: an event was acknowledged that no standby has", i)
		}
		if i < 2 {
			if _, err := super.Exec(t.Context(), `SELECT pg_cancel_backend($1)`, pid); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	set("")
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Fatal(err)
	}
	dir := newDir(t)
	if sealed, report := tr.seal(t, dir); int64(sealed.Events) != 2+acked.Load() || report.Missing != 0 || len(requests(t, dir)) != sealed.Events-2 {
		t.Errorf("%+v\n%s", sealed, report)
	}
}
