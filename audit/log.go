package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// Log is an append-only, tamper-evident audit log in one directory; [OpenLog] opens it. It is a [Recorder] and safe for
// concurrent use. One process at a time has a log open; many logs, one for each process, are the way to scale.
type Log struct {
	intake
	dir      string
	opts     Options
	key      string // the verifier key
	lock     locks
	headsDue atomic.Int64

	adopting  sync.Mutex         // held by Adopt
	retaining sync.Mutex         // held by Retain, and by Close in the end
	tasks     chan func(*writer) // for the writer, between two batches
	adoptions chan *adoption     // to the writer
	stuck     stuckSummaries
	streams   map[string]streamEnd // the writer's, and Adopt's while the writer has nothing to adopt
	requests  chan chan<- sealed   // for Checkpoint
	quit      chan struct{}        // closed by Close
	stopped   chan struct{}        // closed when the writer has ended
	closing   sync.Once
	closeErr  error
}

var errClosed = fmt.Errorf("%w: the log was closed", ErrUnavailable)

var _ Recorder = (*Log)(nil)

func newLog(dir string, opts Options) *Log {
	l := &Log{
		dir: dir, opts: opts, streams: map[string]streamEnd{}, tasks: make(chan func(*writer)), adoptions: make(chan *adoption), requests: make(chan chan<- sealed), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	l.intake.init(opts.Timeout, opts.Tenants, opts.linger, "the disk that holds "+dir)
	return l
}

// Record implements [Recorder]. Nil means that the event is in the log with the log's [Durability]. An error that wraps
// [ErrUnavailable] or ctx's error means that this is not known: the event may be in the log yet, as one for which
// nothing followed. Once a write or a sync has failed, every Record fails until the log is closed and opened again.
//
// Record returns within Options.Timeout, however long the disk hangs. It does not keep or change e. Tenants take turns:
// the events of one do not keep those of another waiting, and where more wait than the disk takes, it is the tenant with
// the most that is refused ([Log.Stats] counts).
func (l *Log) Record(ctx context.Context, e *Event) error {
	p, err := l.queue(ctx, e, false)
	if err != nil {
		return err
	}
	return p.Wait(ctx)
}

// Err returns nil while the log records, and what Record would return otherwise. It does not touch the disk.
func (l *Log) Err() error {
	return l.intake.failed()
}

// Verifier returns the public key that the log's checkpoints are signed with, in the form of
// golang.org/x/mod/sumdb/note. It is not secret; keep it with the pins.
func (l *Log) Verifier() string { return l.key }

// Pseudonym returns the name that the log gives an actor in events of the tenant without a [Sealer], such as those about a
// tenant that was shredded: under one log's key always the same one, which nothing links to another tenant's or log's.
func (l *Log) Pseudonym(id tenant.ID, actor string) (string, error) {
	p, err := l.enc.pseudonym(id, actor)
	if err != nil { // withheld: it may show what it was given
		return "", errors.New("audit: the log's own key makes no pseudonym")
	}
	return p, nil
}

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
		l.shut()
		l.mu.Unlock()
		close(l.quit)
		<-l.stopped
		l.telemetry.Close()
		l.mu.Lock()
		if failed == nil && l.err != errClosed {
			failed = l.err
		}
		l.mu.Unlock()
		l.retaining.Lock() // no file is touched once the log is released
		defer l.retaining.Unlock()
		l.closeErr = errors.Join(failed, l.lock.close())
	})
	return l.closeErr
}

// fail makes the log refuse everything from now on, what waits included, and returns what everybody is told.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w; %s", ErrUnavailable, cause, remedy(cause))
	l.mu.Lock()
	if l.err == nil || l.err == errClosed {
		l.err = err
	}
	l.refuse(err)
	l.mu.Unlock()
	return err
}

// locks are what keep other processes out of a log: its LOCK, and beside it the pseudonym key, for a LOCK that somebody
// removes lets another process lock its successor.
type locks struct{ lock, key vfs.Lock }

// Held returns nil while no other process can have begun to write the log.
func (l *locks) Held() error { return l.lock.Held() }

func (l *locks) close() error {
	var err error
	if l.key != nil {
		err = l.key.Close()
	}
	return errors.Join(err, l.lock.Close())
}
