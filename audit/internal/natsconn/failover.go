package natsconn

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// failoverAfter is how long a server may refuse what it is asked before another is.
const failoverAfter = 2 * time.Second

// Failover goes to another server of the cluster where the one that is connected to is of no use.
// A server that is cut off from the others answers its clients all the same: it takes messages that
// it can confirm to nobody, and refuses those that it has taken before. Only the others know better.
//
// The zero value is ready. It is not safe for concurrent use.
type Failover struct {
	failing time.Time // since when; zero if what was asked last was answered
}

// Ended notes how something that a server was asked has ended. One that did not answer in time is
// left at once, one that refuses after a while.
func (f *Failover) Ended(nc *nats.Conn, err error) {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		f.failing = time.Time{}
		return
	case f.failing.IsZero():
		f.failing = time.Now()
	}
	silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrAsyncPublishTimeout)
	if nc.IsConnected() && (silent || time.Since(f.failing) >= failoverAfter) {
		nc.ForceReconnect() // fails where the connection was closed, which is the caller's doing
		f.failing = time.Time{}
	}
}
