package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// gateSync makes every sync of lines wait until release is closed; the first one tells first.
func gateSync(fsys *faultfs.FS) (first, release chan struct{}) {
	first, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	fsys.Before = func(s faultfs.Step) error {
		if isLines(s, faultfs.Datasync) {
			once.Do(func() { close(first) })
			<-release
		}
		return nil
	}
	return first, release
}

// TestTenantsTakeTurns: an event that comes behind a thousand of another tenant goes to the disk among the first.
func TestTenantsTakeTurns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Timeout = fsys, time.Minute
	l := mustOpen(t, dir, opts)
	first, release := gateSync(fsys)
	var wg sync.WaitGroup
	record := func(id tenant.ID, request string) {
		e := query(id, request)
		e.Statement = strings.Repeat("x", 4<<10)
		wg.Go(func() {
			if err := l.Record(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	waiting := func(n int) {
		for events := -1; events != n; { // all of them wait behind the first
			l.mu.Lock()
			events = 0
			for _, q := range l.active {
				events += len(q.items) - q.head
			}
			l.mu.Unlock()
		}
	}
	record(acme, "first")
	<-first
	const burst = 1000
	for i := range burst {
		record(acme, fmt.Sprint("burst-", i))
	}
	waiting(burst)
	record(globex, "quiet")
	waiting(burst + 1)
	if s := l.Stats(); s.Waiting != 2 || s.WaitingBytes < burst*4<<10 || s.Tenants != 2 {
		t.Errorf("%+v", s)
	}
	close(release)
	wg.Wait()
	mustClose(t, l)
	at := int64(-1)
	for _, e := range entries(t, dir, &Filter{Tenant: globex, Code: CodeQuery}) {
		at = e.Index
	}
	if at < 0 || at > 10 {
		t.Errorf("the quiet tenant's event is number %d of the log", at)
	}
	mustVerify(t, dir)
}

// TestTenantOverItsShare: a tenant's burst beyond its share is refused, counted, and no other tenant's loss.
func TestTenantOverItsShare(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Timeout = fsys, 500*time.Millisecond
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), opts)
	first, release := gateSync(fsys)
	var refused, late, other atomic.Int64
	var wg sync.WaitGroup
	for range 600 {
		e := query(acme, "secret-request")
		e.Statement = strings.Repeat("x", maxSQL)
		wg.Go(func() {
			err := l.Record(t.Context(), e)
			switch {
			case err == nil:
			case !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "acme"):
				other.Add(1)
			case strings.Contains(err.Error(), "its share"):
				refused.Add(1)
			default:
				late.Add(1)
			}
		})
	}
	<-first
	wg.Wait()
	if s := l.Stats(); refused.Load() < 200 || late.Load() < 100 || other.Load() > 0 || s.Refused != refused.Load() || s.TimedOut != late.Load() {
		t.Errorf("%d refused, %d late, %d otherwise; %+v", refused.Load(), late.Load(), other.Load(), s)
	}
	l.timeout = time.Minute // from here on the disk takes as long as it takes
	close(release)
	mustRecord(t, l, query(globex, "quiet"))
	mustClose(t, l)
	r := mustVerify(t, l.dir)
	if r.Events < late.Load() || r.Events > late.Load()+10 {
		t.Errorf("%d events after %d that may have been recorded", r.Events, late.Load())
	}
}

// TestCloseTurnsAway: callers that wait for room when the log is closed, or fails, learn it at once.
func TestCloseTurnsAway(t *testing.T) {
	for name, failing := range map[string]bool{"closed": false, "failed": true} {
		t.Run(name, func(t *testing.T) {
			fsys := faultfs.New()
			opts := quiet()
			opts.fs, opts.Timeout = fsys, time.Hour
			l := mustOpen(t, filepath.Join(t.TempDir(), "log"), opts)
			first, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			fsys.Before = func(s faultfs.Step) error {
				if !isLines(s, faultfs.Datasync) {
					return nil
				}
				once.Do(func() { close(first) })
				<-release
				if failing {
					return errors.New("the disk is gone")
				}
				return nil
			}
			var failed atomic.Int64
			var wg sync.WaitGroup
			const callers = 500
			for range callers {
				e := query(acme, "x")
				e.Statement = strings.Repeat("x", maxSQL)
				wg.Go(func() {
					if err := l.Record(t.Context(), e); errors.Is(err, ErrUnavailable) {
						failed.Add(1)
					} else if err != nil {
						t.Error(err)
					}
				})
			}
			<-first
			for blocked := 0; blocked < 100; {
				l.mu.Lock()
				if len(l.full) > 0 {
					blocked = len(l.full[0].blocked)
				}
				l.mu.Unlock()
			}
			closed := make(chan error)
			go func() { closed <- l.Close() }()
			<-l.quit
			close(release)
			if err := <-closed; failing != (err != nil) {
				t.Errorf("Close: %v", err)
			}
			wg.Wait()
			if n := failed.Load(); n < 100 || failing && n != callers {
				t.Errorf("%d of %d callers were told", n, callers)
			}
		})
	}
}

// panicking is a Sealer with a fault.
type panicking struct{ *tinkSealer }

func (panicking) Pseudonym(string) (string, error) { panic("a fault") }

// TestRoomIsGivenBack: neither callers that give up nor Sealers that panic keep room in the queue.
func TestRoomIsGivenBack(t *testing.T) {
	fsys := faultfs.New()
	opts := quiet()
	opts.fs, opts.Timeout = fsys, time.Hour
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), opts)
	first, release := gateSync(fsys)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 400 {
		e := query(acme, "x")
		e.Statement = strings.Repeat("x", maxSQL)
		wg.Go(func() {
			if err := l.Record(ctx, e); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	<-first
	for blocked := 0; blocked < 100; {
		l.mu.Lock()
		if len(l.full) > 0 {
			blocked = len(l.full[0].blocked)
		}
		l.mu.Unlock()
	}
	cancel()
	wg.Wait()
	for range 10 {
		func() {
			defer func() { recover() }()
			e := query(globex, "x")
			e.Sealer = panicking{}
			t.Errorf("it did not panic: %v", l.Record(t.Context(), e))
		}()
	}
	close(release)
	mustRecord(t, l, query(acme, "last"), query(globex, "last"))
	if s := l.Stats(); s.Waiting+s.WaitingBytes != 0 || s.Refused+s.TimedOut != 0 {
		t.Errorf("%+v", s)
	}
	mustClose(t, l)
	mustVerify(t, l.dir)
}
