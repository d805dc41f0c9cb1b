package web

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// told is a logger's handler that passes on that there was something to tell.
type told struct {
	slog.Handler
	lines chan struct{}
}

func (h told) Enabled(context.Context, slog.Level) bool { return true }

func (h told) Handle(context.Context, slog.Record) error {
	select {
	case h.lines <- struct{}{}:
	default:
	}
	return nil
}

// TestTailLosesNothingOfAMillisecond: a trail that could not be read for a while is gone on with where it was, and no event is passed over
// that has the time of one that was seen, or an earlier one.
func TestTailLosesNothingOfAMillisecond(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	at := time.Now()
	record := func(requests ...string) {
		t.Helper()
		for _, request := range requests {
			if err := log.Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Single, Status: audit.Success, Time: at, Request: request, Rows: -1, Bytes: -1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tail, lines := NewTail(), make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() { defer close(ended); tail.Follow(ctx, dir, slog.New(told{slog.DiscardHandler, lines})) }()
	record("one", "two")
	requests := func(until string) (got []string) {
		t.Helper()
		for seen := 0; ctx.Err() == nil; {
			var entries []audit.Entry
			entries, seen = tail.Newest()
			got = nil
			for _, e := range entries {
				if e.Code == audit.CodeQuery {
					got = append(got, e.Request)
				}
			}
			if slices.Contains(got, until) {
				break
			}
			tail.Wait(ctx, seen)
		}
		return got
	}
	requests("two")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	<-lines
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	record("three")
	at = at.Add(-time.Minute)
	record("four")
	at = time.Now()
	record("five")
	got := requests("five")
	cancel()
	<-ended
	if want := []string{"one", "two", "three", "four", "five"}; !slices.Equal(got, want) {
		t.Errorf("the page has %q, want %q", got, want)
	}
}
