// Package recording calls the recorder that an application keeps its audit trail with. One that panics, or ends its goroutine, has failed
// like any other: it is called within calls of database/sql, which takes no connection back from a call that does not return, nor the lock
// that the end of a transaction waits for, and where a result is closed. What a panic says may be of the event, and is not repeated.
package recording

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/callstack"
)

// Own is a recorder of this module's around another one, which it calls by this package.
type Own interface{ CallsByRecording() }

// trusted tells a recorder that never ends the goroutine that calls it, and is spared one of its own.
func trusted(recorder any) bool {
	switch recorder.(type) {
	case *audit.Log, *audit.Stream, Own:
		return true
	}
	return false
}

// Record calls r.Record.
func Record(ctx context.Context, r audit.Recorder, e *audit.Event) error {
	return call("Record", trusted(r), func() error { return r.Record(ctx, e) })
}

// Queue calls q.Queue.
func Queue(ctx context.Context, q audit.Queuer, e *audit.Event) (p audit.Pending, err error) {
	own := trusted(q)
	err = call("Queue", own, func() (err error) {
		p, err = q.Queue(ctx, e)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case own:
		return p, nil
	}
	return foreign{p}, nil
}

// foreign is what an application's recorder has queued.
type foreign struct{ audit.Pending }

// Wait calls p.Wait, of what Queue returned.
func Wait(ctx context.Context, p audit.Pending) error {
	of, apart := p.(foreign)
	if apart {
		p = of.Pending
	}
	return call("Wait", !apart, func() error { return p.Wait(ctx) })
}

// call calls a method.
func call(method string, trusted bool, code func() error) (err error) {
	if !trusted {
		broke, err := apart.Call(code)
		if broke != "" {
			return failed(method, broke)
		}
		return err
	}
	defer func() {
		if recover() != nil {
			err = failed(method, "panicked\n\n"+callstack.Words())
		}
	}()
	return code()
}

func failed(method, how string) error {
	return fmt.Errorf("%w: the recorder's method %s %s", audit.ErrUnavailable, method, how)
}
