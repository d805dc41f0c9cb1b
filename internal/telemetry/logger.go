package telemetry

import (
	"context"
	"log/slog"
	"time"
)

const (
	// lineWait is how long whoever has something to tell waits until the handler has it.
	lineWait = time.Second
	// maxLines is how many lines a handler may have at once that it does not return from. Those that come then are lost.
	maxLines = 64
)

// apart is a handler of the application's that neither holds up nor ends what is reported: accesses, with what they hold of a database's
// connections, and suspensions. A line of which it does not return for lineWait is left to it, and its panics are nobody's.
type apart struct {
	handler slog.Handler
	turns   chan struct{}
}

func newLogger(l *slog.Logger) *slog.Logger {
	return slog.New(apart{l.Handler(), make(chan struct{}, maxLines)})
}

// Enabled implements slog.Handler. The handler itself is asked in Handle, where it may take its time.
func (a apart) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (a apart) Handle(ctx context.Context, r slog.Record) error {
	select {
	case a.turns <- struct{}{}:
	default:
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer func() {
			recover()
			<-a.turns
			close(done)
		}()
		if a.handler.Enabled(ctx, r.Level) {
			a.handler.Handle(ctx, r)
		}
	}()
	wait := time.NewTimer(lineWait)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (a apart) WithAttrs(attrs []slog.Attr) slog.Handler {
	return apart{a.handler.WithAttrs(attrs), a.turns}
}

// WithGroup implements slog.Handler.
func (a apart) WithGroup(name string) slog.Handler { return apart{a.handler.WithGroup(name), a.turns} }
