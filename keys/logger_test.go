package keys_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
)

// hungHandler is a log on a pipe that nobody reads.
type hungHandler struct {
	slog.Handler
	until chan struct{}
}

func (h hungHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h hungHandler) Handle(context.Context, slog.Record) error { <-h.until; return nil }

// TestALoggerThatHangsKeepsNoAccessOpen: a suspension that is told to nobody, neither to the trail nor to operators, takes effect.
func TestALoggerThatHangsKeepsNoAccessOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, rec := hungHandler{slog.DiscardHandler, make(chan struct{})}, &trail{}
		r, f, _ := timed(t, keys.Options{Audit: rec, Telemetry: &audit.Telemetry{Logger: slog.New(h)}})
		defer close(h.until)
		provision(t, r, idA)
		open(t, r, idA)
		rec.fail = func(*audit.Event) error { return fmt.Errorf("%w: unplugged by the test", audit.ErrUnavailable) }
		f.set(errAway, nil) // the KEK provider too
		wantErr(t, r.Suspend(t.Context(), idA, "at once"), audit.ErrUnavailable)
		_, err := r.Tenant(t.Context(), idA)
		wantErr(t, err, keys.ErrSuspended)
	})
}
