package keys

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// flight is a question under way, or about to be asked, which every caller that wants the same shares.
type flight struct {
	landed chan struct{} // closed when e and err are there
	e      *entry        // what was known when it landed
	err    error         // why there was no answer

	// Under the book's lock.
	queued    bool     // it waits for its turn
	gathered  bool     // it waits for others: see batch
	question  question // that was asked last
	entered   bool     // its answer is known, and it is about to land
	abandoned bool     // nobody waits for it any more, though the call has not returned
}

func newFlight() *flight { return &flight{landed: make(chan struct{}), queued: true} }

// leastTime is what a question is given however short the bound is that its answer has to keep.
const leastTime = 100 * time.Millisecond

// readTime bounds one question to the store, and openTime one to the KEK provider.
func (o *Options) readTime() time.Duration { return o.within(o.SuspendWithin) }
func (o *Options) openTime() time.Duration { return o.within(o.ReopenAfter) }

// within bounds a question whose answer holds for a time from when it was asked. One that comes later than that is worth
// nothing; and that there was none has to be known while it still says something of now, or ServeStale serves nobody: it is
// no reason to serve for longer, since that would put the bound off. So there is patience in it for calls that do not
// listen to their context: nine eighths of this are less than the bound. No more of it is given away, since a store on a slow
// line may need most of it: what a driver does before it asks takes as long again as the question.
func (o *Options) within(bound time.Duration) time.Duration {
	return min(o.Timeout, max(bound*17/20, leastTime))
}

// inTime makes a flight's own timeout an ErrUnavailable: to the flight's callers it is no deadline of theirs.
func inTime(err error, timeout time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: no answer within %v: %w", ErrUnavailable, timeout, err)
	}
	return err
}
