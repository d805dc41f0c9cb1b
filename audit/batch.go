package audit

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// maxPending bounds the bytes that wait for the disk. It is reached only while the disk hangs.
const maxPending = 32 << 20

// batch is a group of events that share one write and one sync.
type batch struct {
	buf    []byte
	events []queued
	done   chan struct{} // closed when err is set
	err    error
}

// queued is one line of a batch.
type queued struct {
	end    int          // its end in buf, newline included
	tenant *tenantState // nil for a head leaf
}

// enqueue gives the line that encoder.event began its sequence number and puts it into the batch that goes to the disk
// next.
func (l *Log) enqueue(id tenant.ID, line []byte) (*batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	b := l.pending
	if b == nil {
		b = l.newBatch()
		l.pending = b
	}
	if len(b.buf)+len(line) > maxPending {
		return nil, fmt.Errorf("%w: %d MiB of events wait for the disk that holds %s; see what keeps it busy", ErrUnavailable, maxPending>>20, l.dir)
	}
	t := l.tenants[id]
	if t == nil {
		t = &tenantState{id: id}
		l.tenants[id] = t
	}
	t.assigned++
	b.buf = append(b.buf, line...)
	b.buf = strconv.AppendInt(b.buf, t.assigned, 10)
	b.buf = append(b.buf, lineEnd...)
	b.events = append(b.events, queued{len(b.buf), t})
	if len(b.events) == 1 {
		select {
		case l.wake <- struct{}{}:
		default: // the writer has not yet seen an earlier one and will find this batch too
		}
	}
	return b, nil
}

// newBatch returns an empty batch that reuses the memory of an older one. l.mu is held.
func (l *Log) newBatch() *batch {
	b := &batch{done: make(chan struct{})}
	if n := len(l.free); n > 0 {
		b.buf, b.events = l.free[n-1].buf[:0], l.free[n-1].events[:0]
		l.free = l.free[:n-1]
	}
	return b
}

// recycle keeps a finished batch's memory for later ones; the batch itself stays with those who wait for it.
func (l *Log) recycle(b *batch) {
	const keep = 1 << 20 // a burst's buffers are not kept for ever
	l.mu.Lock()
	defer l.mu.Unlock()
	if cap(b.buf) <= keep && len(l.free) < 2 {
		l.free = append(l.free, batch{buf: b.buf, events: b.events})
	}
	b.buf, b.events = nil, nil
}

// take returns the waiting batch, or nil.
func (l *Log) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.pending
	l.pending = nil
	return b
}

// wait waits until the batch is as durable as the log promises.
func (l *Log) wait(ctx context.Context, b *batch) error {
	timer := l.timers.Get().(*time.Timer)
	timer.Reset(l.opts.Timeout)
	defer func() {
		timer.Stop()
		l.timers.Put(timer)
	}()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
	case <-timer.C:
	}
	select {
	case <-b.done: // it came true at the same moment
		return b.err
	default:
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("audit: the caller gave up before the event was known to be on the disk; it may get there yet: %w", err)
	}
	return fmt.Errorf("%w: the disk that holds %s did not confirm the event within %v; it may get there yet", ErrUnavailable, l.dir, l.opts.Timeout)
}
