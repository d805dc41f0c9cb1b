package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// handler is an application's that does not return while it is closed, or panics.
type handler struct {
	slog.Handler
	open   chan struct{}
	panics bool
	lines  atomic.Int64
}

func (h *handler) Enabled(context.Context, slog.Level) bool { <-h.open; return true }

func (h *handler) Handle(context.Context, slog.Record) error {
	if h.lines.Add(1); h.panics {
		panic("of the application's")
	}
	return nil
}

// TestALoggerHoldsNobodyUp: what is reported goes on whatever becomes of the line, and a handler that hangs holds a bounded number of them.
func TestALoggerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{Handler: slog.DiscardHandler, open: make(chan struct{})}
		trail, err := NewTrail(&Config{Logger: slog.New(h)})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range maxLines {
			trail.Denied(t.Context(), Event{Code: "sql.query"})
		}
		if took := time.Since(began); took != maxLines*lineWait {
			t.Errorf("%d lines took %v", maxLines, took)
		}
		began = time.Now()
		trail.Denied(t.Context(), Event{Code: "sql.query"})
		if took := time.Since(began); took != 0 {
			t.Errorf("a line behind those that are stuck took %v", took)
		}
		close(h.open)
		synctest.Wait()
		h.panics = true
		trail.Denied(t.Context(), Event{Code: "sql.query"})
		if n := h.lines.Load(); n != maxLines+1 {
			t.Errorf("the handler had %d lines", n)
		}
	})
}
