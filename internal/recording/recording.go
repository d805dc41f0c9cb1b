// Package recording calls the recorder that an application keeps its audit trail with. One that panics has failed like any other: it is
// called within calls of database/sql, which takes no connection back that a panic leaves, nor the lock that the end of a transaction
// waits for, and where a result is closed. What the panic says may be of the event, and is not repeated.
package recording

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/callstack"
)

// Record calls r.Record.
func Record(ctx context.Context, r audit.Recorder, e *audit.Event) (err error) {
	defer func() {
		if recover() != nil {
			err = panicked("Record")
		}
	}()
	return r.Record(ctx, e)
}

// Queue calls q.Queue.
func Queue(ctx context.Context, q audit.Queuer, e *audit.Event) (p audit.Pending, err error) {
	defer func() {
		if recover() != nil {
			p, err = nil, panicked("Queue")
		}
	}()
	return q.Queue(ctx, e)
}

// Wait calls p.Wait.
func Wait(ctx context.Context, p audit.Pending) (err error) {
	defer func() {
		if recover() != nil {
			err = panicked("Wait")
		}
	}()
	return p.Wait(ctx)
}

func panicked(method string) error {
	return fmt.Errorf("%w: the recorder panicked in its method %s\n\n%s", audit.ErrUnavailable, method, callstack.Words())
}
