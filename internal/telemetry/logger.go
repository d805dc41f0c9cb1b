package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// lineWait is how long whoever has something to tell waits until the handler has it.
	lineWait = time.Second
	// maxLines is how many lines a handler may have at once: of errors, which alerts are, and of all others, so that a flood of denials takes
	// no alert's place.
	maxLines = 64
)

// apart is a handler of the application's that neither holds up nor ends what is reported: accesses, with what they hold of a database's
// connections, and suspensions. A line of which it does not return for lineWait is left to it, and its panics are nobody's. What finds no place for
// so long is lost, and so is at once what comes while all places are held by lines that were left.
type apart struct {
	handler slog.Handler
	lanes   *[2]lane
}

type lane struct {
	places chan struct{}
	left   atomic.Int32
}

func newLogger(l *slog.Logger) *slog.Logger {
	return slog.New(apart{l.Handler(), &[2]lane{{places: make(chan struct{}, maxLines)}, {places: make(chan struct{}, maxLines)}}})
}

// Enabled implements slog.Handler. The handler itself is asked in Handle, where it may take its time.
func (a apart) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (a apart) Handle(ctx context.Context, r slog.Record) error {
	l := &a.lanes[0]
	if r.Level >= slog.LevelError {
		l = &a.lanes[1]
	}
	if l.left.Load() >= maxLines {
		return nil
	}
	wait := time.NewTimer(lineWait)
	defer wait.Stop()
	select {
	case l.places <- struct{}{}:
	case <-wait.C:
		return nil
	}
	done := make(chan struct{})
	var decided atomic.Bool // whether the line is left, or the handler returned before
	go func() {
		defer func() {
			recover()
			if !decided.CompareAndSwap(false, true) {
				l.left.Add(-1)
			}
			<-l.places
			close(done)
		}()
		if a.handler.Enabled(ctx, r.Level) {
			a.handler.Handle(ctx, r)
		}
	}()
	select {
	case <-done:
	case <-wait.C:
		if l.left.Add(1); !decided.CompareAndSwap(false, true) {
			l.left.Add(-1)
		}
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (a apart) WithAttrs(attrs []slog.Attr) slog.Handler {
	return apart{a.handler.WithAttrs(attrs), a.lanes}
}

// WithGroup implements slog.Handler.
func (a apart) WithGroup(name string) slog.Handler { return apart{a.handler.WithGroup(name), a.lanes} }
