package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// Log is an append-only, tamper-evident audit log in one directory; [OpenLog] opens it. It is a [Recorder] and safe for
// concurrent use. One process at a time has a log open; many logs, one for each process, are the way to scale.
type Log struct {
	dir  string
	opts Options
	enc  *encoder
	key  string // the verifier key
	lock io.Closer

	mu      sync.Mutex
	err     error  // what Record returns, once the log is closed or has failed
	pending *batch // what goes to the disk next
	free    []batch
	tenants map[tenant.ID]*tenantState

	wake     chan struct{}      // holds a token while there may be something pending
	requests chan chan<- sealed // for Checkpoint
	quit     chan struct{}      // closed by Close
	stopped  chan struct{}      // closed when the writer has ended
	closing  sync.Once
	closeErr error

	lines  sync.Pool // *[]byte
	timers sync.Pool // *time.Timer, stopped
}

var errClosed = fmt.Errorf("%w: the log was closed", ErrUnavailable)

var _ Recorder = (*Log)(nil)

func newLog(dir string, opts Options) *Log {
	return &Log{
		dir: dir, opts: opts, tenants: map[tenant.ID]*tenantState{},
		wake: make(chan struct{}, 1), requests: make(chan chan<- sealed),
		quit: make(chan struct{}), stopped: make(chan struct{}),
		lines: sync.Pool{New: func() any { return new([]byte) }},
		timers: sync.Pool{New: func() any {
			t := time.NewTimer(time.Hour)
			t.Stop()
			return t
		}},
	}
}

// Record implements [Recorder]. Nil means that the event is in the log with the log's [Durability]. An error that wraps
// [ErrUnavailable] or ctx's error means that this is not known: the event may be in the log yet, as one for which
// nothing followed. Once a write or a sync has failed, every Record fails until the log is closed and opened again.
//
// Record returns within Options.Timeout, however long the disk hangs. It does not keep or change e.
func (l *Log) Record(ctx context.Context, e *Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("audit: the event was not recorded: %w", err)
	}
	if k, ok := kindOf(e.Code); ok && k.class.uid == 1008 {
		return fmt.Errorf("%w: only the log itself records %s", ErrUnavailable, e.Code)
	}
	buf := l.lines.Get().(*[]byte)
	line, err := l.enc.event((*buf)[:0], e)
	if err != nil {
		return err
	}
	b, err := l.enqueue(e.Tenant, line)
	*buf = line
	l.lines.Put(buf)
	if err != nil {
		return err
	}
	return l.wait(ctx, b)
}

// Err returns nil while the log records, and what Record would return otherwise. It does not touch the disk.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Verifier returns the public key that the log's checkpoints are signed with, in the form of
// golang.org/x/mod/sumdb/note. It is not secret; keep it with the pins.
func (l *Log) Verifier() string { return l.key }

// sealed is the answer to a request for a checkpoint.
type sealed struct {
	note []byte
	err  error
}

// Checkpoint seals every event recorded so far and returns the signed note that says so. Kept where those who can write
// the log cannot, it is a pin: [Verify] detects with it what no log can show by itself, that its end was cut off or
// that all of it was written anew with a stolen key.
func (l *Log) Checkpoint(ctx context.Context) ([]byte, error) {
	answer := make(chan sealed, 1)
	select {
	case l.requests <- answer:
	case <-l.stopped:
		return nil, l.Err()
	case <-ctx.Done():
		return nil, fmt.Errorf("audit: no checkpoint: %w", ctx.Err())
	}
	select {
	case s := <-answer:
		return s.note, s.err
	case <-ctx.Done():
		return nil, fmt.Errorf("audit: no checkpoint: %w", ctx.Err())
	}
}

// Close records what still waits, writes the head leaves that are due and an audit.stopping event, seals everything
// under a last checkpoint, and releases the log. It waits for the disk. After a failure it returns that failure.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.mu.Lock()
		failed := l.err
		if failed == nil {
			l.err = errClosed
		}
		l.mu.Unlock()
		close(l.quit)
		<-l.stopped
		l.mu.Lock()
		if failed == nil && l.err != errClosed {
			failed = l.err
		}
		l.mu.Unlock()
		l.closeErr = errors.Join(failed, l.lock.Close())
	})
	return l.closeErr
}

// fail makes the log refuse everything from now on, these batches and the waiting one included.
func (l *Log) fail(cause error, batches ...*batch) {
	err := fmt.Errorf("%w: %w; %s", ErrUnavailable, cause, remedy(cause))
	l.mu.Lock()
	if l.err == nil || l.err == errClosed {
		l.err = err
	}
	batches = append(slices.Clip(batches), l.pending)
	l.pending = nil
	l.mu.Unlock()
	for _, b := range batches {
		if b != nil {
			b.err = err
			close(b.done)
		}
	}
}
