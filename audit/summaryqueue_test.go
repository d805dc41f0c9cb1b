package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// service is a signer that is asked over a network.
type service struct {
	note.Signer
	takes     time.Duration
	summaries atomic.Int64 // signed
}

func (s *service) Sign(msg []byte) ([]byte, error) {
	if strings.HasPrefix(string(msg), summaryText) {
		s.summaries.Add(1)
		time.Sleep(s.takes)
	}
	return s.Signer.Sign(msg)
}

// stateless is a log of many segments whose state was lost, and a signer for it.
func stateless(t *testing.T, takes time.Duration) (dir string, opts *Options, s *service) {
	t.Helper()
	dir, opts = phased(t)
	remove(t, filepath.Join(dir, stateName))
	s = &service{Signer: ownSigner(t, dir), takes: takes}
	opts.Signer, opts.Verifier = s, ownVerifier(t, dir)
	return dir, opts, s
}

// TestSummariesOfStateless: a log whose state was lost is read whole, and of its summaries none is signed again that is there.
func TestSummariesOfStateless(t *testing.T) {
	dir, opts, s := stateless(t, 0)
	l := mustOpen(t, dir, opts)
	segments, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustCheckpoint(t, l)
	if n := s.summaries.Load(); n > 0 {
		t.Errorf("%d summaries of %d segments are signed again", n, len(segments))
	}
	mustClose(t, l)
	wantSummaries(t, dir)
}

// TestSummariesSignedInTurn: what is sealed does not wait for a signer to sign the summaries of all segments; they are signed in between.
func TestSummariesSignedInTurn(t *testing.T) {
	dir, opts, s := stateless(t, 2*signingSummaries)
	removeAll(t, filepath.Join(dir, summariesName))
	l := mustOpen(t, dir, opts)
	mustCheckpoint(t, l)
	if n := s.summaries.Load(); n > 1 {
		t.Errorf("a checkpoint waits for %d summaries", n)
	}
	mustRetain(t, l, nil)
	mustClose(t, l)
	wantSummaries(t, dir)
}

// TestSummariesAreQueued: summaries that wait are bounded by what they take, and the newest are kept.
func TestSummariesAreQueued(t *testing.T) {
	var q summaryQueue
	p := &packedSummary{Tenants: make([]byte, 4<<10)}
	for i := range int64(3 * maxSummaries / len(p.Tenants)) {
		q.add(&packedSummary{First: i, Events: 1, Tenants: p.Tenants})
	}
	bytes := 0
	for _, p := range q.waiting {
		bytes += p.weight()
	}
	if bytes != q.bytes || bytes > maxSummaries || bytes < maxSummaries/2 || q.waiting[len(q.waiting)-1].First != int64(3*maxSummaries/len(p.Tenants))-1 {
		t.Errorf("%d summaries of %d bytes, counted as %d", len(q.waiting), bytes, q.bytes)
	}
}

// TestSummariesStuck: while a summary cannot be written Retain does not read the log again and again for it, says so each time, and
// writes it as soon as it can be.
func TestSummariesStuck(t *testing.T) {
	for what, c := range map[string]struct{ spoil, mend func(all string) error }{
		"the directory cannot be made": {
			func(all string) error { return errors.Join(os.RemoveAll(all), os.WriteFile(all, nil, 0o600)) },
			os.Remove,
		},
		"one is a directory": {
			func(all string) error {
				first := filepath.Join(all, filepath.Base(summaryPath("", 0)))
				return errors.Join(os.Remove(first), os.MkdirAll(filepath.Join(first, "x"), 0o700))
			},
			func(all string) error { return os.RemoveAll(filepath.Join(all, filepath.Base(summaryPath("", 0)))) },
		},
	} {
		for _, later := range []bool{false, true} { // segments that are finished meanwhile
			t.Run(fmt.Sprint(what, later), func(t *testing.T) {
				dir, opts := phased(t)
				var read atomic.Int64
				fsys := faultfs.New()
				fsys.Before = func(s faultfs.Step) error {
					if s.Op == faultfs.Read && filepath.Ext(s.Name) == ".jsonl" {
						read.Add(1)
					}
					return nil
				}
				opts.fs = fsys
				l := mustOpen(t, dir, opts)
				all := filepath.Join(dir, summariesName)
				if err := c.spoil(all); err != nil {
					t.Fatal(err)
				}
				for i := range 4 {
					if later {
						fillLog(t, l, fmt.Sprint("later", i), 20)
					}
					read.Store(0)
					_, err := l.Retain(background, nil)
					if err == nil {
						t.Error("nobody is told that a summary cannot be written")
					}
					if n := read.Load(); n > 0 && i > 0 {
						t.Errorf("time %d: events are read %d times", i, n)
					}
				}
				if err := c.mend(all); err != nil {
					t.Fatal(err)
				}
				read.Store(0)
				mustRetain(t, l, nil)
				if n := read.Load(); n > 0 {
					t.Errorf("mended: events are read %d times", n)
				}
				mustClose(t, l)
				wantSummaries(t, dir)
			})
		}
	}
}

// TestSummariesStuckBeyondMemory: of summaries for which there is no room none is made anew before one could be written.
func TestSummariesStuckBeyondMemory(t *testing.T) {
	var s stuckSummaries
	missing := func() map[int64]bool {
		return map[int64]bool{0: true, 1: true, 2: true, 3: true}
	}
	for i := range int64(4) {
		s.put(summaryFile{i, make([]byte, maxSummaries/2)})
		s.put(summaryFile{i, make([]byte, maxSummaries/2)}) // and again
	}
	if s.bytes > maxSummaries {
		t.Errorf("%d bytes are kept", s.bytes)
	}
	writable := false
	write := func(summaryFile) error {
		if writable {
			return nil
		}
		return syscall.EROFS
	}
	for range 3 {
		left := missing()
		if err := s.retry(left, 4, write); !errors.Is(err, syscall.EROFS) || len(left) != 0 {
			t.Errorf("%v, and %v are made", err, left)
		}
	}
	writable = true
	left := missing()
	if err := s.retry(left, 4, write); err != nil || len(left) != 2 || !left[2] || !left[3] {
		t.Errorf("%v, and %v are made", err, left)
	}
	if len(s.files)+len(s.over)+s.bytes != 0 {
		t.Errorf("there are %d and %d, %d bytes", len(s.files), len(s.over), s.bytes)
	}
}
