package audit

import (
	"context"
	"fmt"
	"time"
)

// Queuer is a [Recorder] that takes events before they are durable, so that what has to wait for an event can be got ready
// meanwhile. [Log] is one. Events of one tenant become durable in the order in which they were queued.
type Queuer interface {
	Recorder
	// Queue takes an event as Record does and does not wait for the disk. It does not keep or change e. An error means, as
	// Record's does, that the event is not known to be recorded.
	Queue(ctx context.Context, e *Event) (Pending, error)
}

// Pending is an event that was queued.
type Pending interface {
	// Wait returns what Record would have returned. Where ctx ended first, it may be called again. It is called by one
	// goroutine at a time; an event of which nobody waits becomes durable like any other.
	Wait(ctx context.Context) error
}

var _ Queuer = (*Log)(nil)

// Queue implements [Queuer]. It waits for room in the queue, at most Options.Timeout, which counts for Wait too. An outcome
// that nobody waits for goes to the disk with the next event, and within 100 ms: by itself it would keep the disk from the
// next intent.
func (l *Log) Queue(ctx context.Context, e *Event) (Pending, error) {
	p, err := l.queue(ctx, e, e.Phase == Outcome)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

func (l *intake) queue(ctx context.Context, e *Event, lazy bool) (pending, error) {
	if err := ctx.Err(); err != nil {
		return pending{}, fmt.Errorf("audit: the event was not recorded: %w", err)
	}
	if k, ok := kindOf(e.Code); ok && k.class.uid == 1008 {
		return pending{}, fmt.Errorf("%w: only the log itself records %s", ErrUnavailable, e.Code)
	}
	now := time.Now()
	deadline := now.Add(l.timeout)
	timer := l.timer(l.timeout)
	defer l.stop(timer)
	it := l.items.Get().(*item)
	it.came, it.lazy = now, lazy
	err := l.reserve(ctx, timer.C, e, it)
	if err == nil {
		err = l.write(it, e)
	}
	if err != nil {
		l.release(it)
		return pending{}, err
	}
	return pending{log: l, item: it, deadline: deadline}, nil
}

type pending struct {
	log      *intake
	item     *item // nil once err is known
	deadline time.Time
	err      error
}

func (p *pending) Wait(ctx context.Context) error {
	if p.item == nil {
		return p.err
	}
	if p.item.lazy {
		p.log.signal()
	}
	timer := p.log.timer(time.Until(p.deadline))
	defer p.log.stop(timer)
	known, err := p.log.wait(ctx, timer.C, p.item)
	if known {
		p.item, p.err = nil, err
	}
	return err
}

func (l *intake) timer(d time.Duration) *time.Timer {
	timer := l.timers.Get().(*time.Timer)
	timer.Reset(d)
	return timer
}

func (l *intake) stop(timer *time.Timer) {
	timer.Stop()
	l.timers.Put(timer)
}
