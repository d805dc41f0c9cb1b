package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/apart"
)

// Options are the settings of [Open]. The zero value of each field is its default.
type Options struct {
	// Verifiers are the log's public keys, from a source that is trusted. Default: those in log.json.
	Verifiers []string
	// Batch is how many events are delivered at once, at most; of long ones it is as many as have
	// about 4 MiB. Default: 500.
	Batch int
	// Every is how long Run pauses where nothing new was sealed. Default: 1 s.
	Every time.Duration
	// Gather is how long Run lets events gather after a delivery that left nothing: where each
	// delivery is an object or a connection, a minute makes few of them. Default: 0, which is not
	// at all.
	Gather time.Duration
	// Timeout bounds one delivery. Default: 30 s.
	Timeout time.Duration
	// Pauses after a delivery that failed grow from MinPause to MaxPause, each doubled and less up
	// to a quarter at random; a sink that names a time is not asked before. Defaults: 1 s, 1 min.
	MinPause, MaxPause time.Duration
	// Progress is called by Run after every delivery, with nil, and after every failure.
	Progress func(Lag, error)
}

// Lag is how far a sink is behind the log, for a metric.
type Lag struct {
	Delivered int64 // events of the log that the sink has
	Behind    int64 // events that are sealed, and that it has not
	// Oldest is when the first of those was recorded, where that is known: it is being delivered.
	// Zero otherwise.
	Oldest time.Time
}

// Shipper delivers the events of one log to one sink. Lag is safe for concurrent use; Round, Run
// and Close are called by one goroutine.
type Shipper struct {
	opts     Options
	sink     Sink
	follower *audit.Follower
	cursor   *cursor
	pending  []audit.Entry // that the follower is past, and the sink may not have
	unsaved  bool          // the sink has what the cursor does not say

	delivered atomic.Int64
	oldest    atomic.Int64 // of pending, Unix milliseconds; 0 for none
	mu        sync.Mutex
	probe     *audit.Follower // for Lag; guarded by mu
}

// Open returns a shipper of the log in dir to a sink, which goes on where the cursor file says that
// the sink is, or begins with the log's first event where there is none. Each sink has a cursor
// file of its own, outside of the log's directory; a file beside it, with .lock behind its name,
// keeps a second shipper away. Opts may be nil. The sink is closed with the shipper, and where Open
// fails.
func Open(dir, cursorFile string, s Sink, opts *Options) (*Shipper, error) {
	sh, err := open(dir, cursorFile, s, opts)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return sh, nil
}

func open(dir, cursorFile string, s Sink, opts *Options) (*Shipper, error) {
	sh := &Shipper{sink: s}
	if opts != nil {
		sh.opts = *opts
	}
	o := &sh.opts
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Every, time.Second}, {&o.Timeout, 30 * time.Second}, {&o.MinPause, time.Second}, {&o.MaxPause, time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.Batch == 0 {
		o.Batch = 500
	}
	if o.Batch < 1 || o.Every < 0 || o.Gather < 0 || o.Timeout < 0 || o.MinPause < 0 || o.MaxPause < o.MinPause {
		return nil, errors.New("sink: Options has a negative number, or MinPause above MaxPause; use 0 for the defaults")
	}
	if err := outside(dir, cursorFile); err != nil {
		return nil, err
	}
	c, at, err := openCursor(cursorFile)
	if err != nil {
		return nil, err
	}
	sh.cursor = c
	if sh.follower, err = audit.Follow(dir, at, o.Verifiers...); err == nil {
		sh.probe, err = audit.Follow(dir, nil, o.Verifiers...)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sink: the cursor %s: %w", cursorFile, err), c.close())
	}
	sh.delivered.Store(sh.follower.Events())
	return sh, nil
}

// outside refuses a cursor in the log's directory, where only the log's own files belong, whatever names lead there.
func outside(dir, cursorFile string) error {
	log, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // which Follow says better
	}
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	at, err := filepath.EvalSymlinks(filepath.Dir(cursorFile))
	if err == nil {
		at, err = filepath.Abs(at)
	}
	if err != nil {
		return fmt.Errorf("sink: the cursor's directory: %w", err)
	}
	for {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("sink: the cursor's directory: %w", err)
		}
		if os.SameFile(info, log) {
			return fmt.Errorf("sink: the cursor %s is in the log's directory; put it beside", cursorFile)
		}
		above := filepath.Dir(at)
		if above == at {
			return nil
		}
		at = above
	}
}

// Round delivers the next events, and returns how many the sink took: 0, and no error, where it has
// all that is sealed. After an error the next round delivers what it did not take.
func (s *Shipper) Round(ctx context.Context) (n int, err error) {
	if s.unsaved { // and nothing else: what follows has no place in the cursor yet
		if err := s.save(); err != nil {
			return 0, err
		}
	}
	if len(s.pending) == 0 {
		if s.pending, err = s.follower.Next(ctx, s.opts.Batch); err != nil || len(s.pending) == 0 {
			return 0, err
		}
		s.oldest.Store(s.pending[0].Time.UnixMilli())
		for i := range s.pending { // what names them at the sink; the line has the trail that brought one
			s.pending[i].Log = s.follower.Log()
		}
	}
	delivering, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	n, err = s.deliver(delivering)
	if n < 0 || n > len(s.pending) || err == nil && n < len(s.pending) {
		return 0, fmt.Errorf("sink: %s says that it has taken %d events of %d, and no error", s.sink, n, len(s.pending))
	}
	if err != nil {
		err = fmt.Errorf("sink: %s did not take events %d to %d of the log: %w", s.sink, s.pending[0].Index+int64(n), s.pending[len(s.pending)-1].Index, err)
		// The cursor stays: it stands at what one reading of the log has returned. So a process
		// that ends now delivers these again.
		if s.pending = s.pending[n:]; len(s.pending) > 0 {
			s.oldest.Store(s.pending[0].Time.UnixMilli())
			return n, err
		}
	}
	s.pending, s.unsaved = nil, true
	s.oldest.Store(0)
	return n, errors.Join(err, s.save())
}

// deliver asks the sink, which may be the application's. One that panics or ends its goroutine has taken nothing; what a panic says may be
// of an event, and is not repeated.
func (s *Shipper) deliver(ctx context.Context) (n int, err error) {
	broke, err := apart.Call(func() (err error) {
		n, err = s.sink.Deliver(ctx, s.pending)
		return err
	})
	if broke != "" {
		return 0, errors.New("it " + broke)
	}
	return n, err
}

// save writes the cursor.
func (s *Shipper) save() error {
	if err := s.cursor.write(s.follower.Position()); err != nil {
		return err
	}
	s.unsaved = false
	s.delivered.Store(s.follower.Events())
	return nil
}

// Lag returns how far the sink is behind the log.
func (s *Shipper) Lag() (Lag, error) {
	s.mu.Lock()
	all, err := s.probe.Behind()
	s.mu.Unlock()
	l := Lag{Delivered: s.delivered.Load()}
	if err != nil {
		return l, err
	}
	l.Behind = max(0, all-l.Delivered)
	if ms := s.oldest.Load(); ms != 0 {
		l.Oldest = time.UnixMilli(ms).UTC()
	}
	return l, nil
}

// Run delivers until ctx ends, and then returns nil. It tries again after every failure but one: an
// error that wraps [audit.ErrTampered], after which nothing of the log can be believed, is
// returned.
func (s *Shipper) Run(ctx context.Context) error {
	pause := s.opts.MinPause
	for {
		n, err := s.Round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if s.opts.Progress != nil && (n > 0 || err != nil) {
			lag, lagErr := s.Lag()
			s.opts.Progress(lag, errors.Join(err, lagErr))
		}
		wait := s.opts.Every
		switch {
		case errors.Is(err, audit.ErrTampered):
			return err
		case err != nil:
			if n > 0 { // the sink takes events, if not this one
				pause = s.opts.MinPause
			}
			wait = pause - time.Duration(rand.Int64N(int64(pause)/4+1))
			var retry *RetryAfter
			if errors.As(err, &retry) {
				wait = max(wait, min(retry.After, time.Hour))
			}
			pause = min(2*pause, s.opts.MaxPause)
		case n > 0:
			pause = s.opts.MinPause
			if lag, err := s.Lag(); s.opts.Gather == 0 || err == nil && lag.Behind > 0 {
				continue
			}
			wait = s.opts.Gather
		default:
			pause = s.opts.MinPause
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Close ends the sink and gives the cursor up. What was not delivered is delivered by the next
// shipper with the same cursor.
func (s *Shipper) Close() error {
	return errors.Join(s.sink.Close(), s.cursor.close())
}
