package sink

import (
	"context"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// Sink is somewhere that events are delivered to. It need not be safe for concurrent use.
type Sink interface {
	// Deliver hands events over in their order, and returns how many of them, from the first on,
	// are where they stay: all, where the error is nil. Their Log is the log that they are in, with its Index, also
	// of those that a stream brought. The others are given to it again, although
	// the sink may have some. It keeps nothing of events, and returns soon after ctx has ended. Its
	// errors hold no secrets, and nothing of an event but its uid. One that panics has taken nothing.
	Deliver(ctx context.Context, events []audit.Entry) (n int, err error)
	Close() error
	// String names the sink in errors, without secrets: "the webhook at siem.example.com".
	String() string
}

// RetryAfter is an error of a sink that says when to try again, as a receiver does that is given too much.
type RetryAfter struct {
	Err   error
	After time.Duration
}

// Error implements error.
func (e *RetryAfter) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *RetryAfter) Unwrap() error { return e.Err }
