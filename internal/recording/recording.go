// Package recording calls the recorder that an application keeps its audit trail with. One that panics, or ends its goroutine, has failed
// like any other: it is called within calls of database/sql, which takes no connection back from a call that does not return, nor the lock
// that the end of a transaction waits for, and where a result is closed. What a panic says may be of the event, and is not repeated.
package recording

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
func Record(ctx context.Context, r audit.Recorder, e *audit.Event) (err error) {
	if !trusted(r) {
		e = own(e)
		return call("Record", func() error { return r.Record(ctx, e) })
	}
	defer recovered("Record", &err)
	return r.Record(ctx, e)
}

// Queue calls q.Queue.
func Queue(ctx context.Context, q audit.Queuer, e *audit.Event) (p audit.Pending, err error) {
	if !trusted(q) {
		return queueForeign(ctx, q, e)
	}
	defer func() {
		if err != nil {
			p = nil
		}
	}()
	defer recovered("Queue", &err)
	return q.Queue(ctx, e)
}

// own is an event that a recorder may keep, and change, as one that shortens names before it stores them: those in a statement's events are of
// its plan, which all requests share, and by which the authorizer decides.
func own(e *audit.Event) *audit.Event {
	o := *e
	o.Tables, o.Columns, o.SealedColumns, o.Details = slices.Clone(e.Tables), slices.Clone(e.Columns), slices.Clone(e.SealedColumns), maps.Clone(e.Details)
	return &o
}

func queueForeign(ctx context.Context, q audit.Queuer, e *audit.Event) (audit.Pending, error) {
	e = own(e)
	var p audit.Pending
	err := call("Queue", func() (err error) {
		p, err = q.Queue(ctx, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return foreign{p}, nil
}

// foreign is what an application's recorder has queued.
type foreign struct{ audit.Pending }

// Wait calls p.Wait, of what Queue returned.
func Wait(ctx context.Context, p audit.Pending) (err error) {
	if of, ok := p.(foreign); ok {
		return call("Wait", func() error { return of.Pending.Wait(ctx) })
	}
	defer recovered("Wait", &err)
	return p.Wait(ctx)
}

// call calls a method of an application's recorder.
func call(method string, code func() error) error {
	broke, err := apart.Call(code)
	if broke != "" {
		return failed(method, broke)
	}
	return err
}

// recovered makes a panic an error.
func recovered(method string, err *error) {
	if recover() != nil {
		*err = failed(method, "panicked\n\n"+callstack.Words())
	}
}

func failed(method, how string) error {
	return fmt.Errorf("%w: the recorder's method %s %s", audit.ErrUnavailable, method, how)
}
