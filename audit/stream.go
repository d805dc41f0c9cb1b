package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/prf/subtle"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/tenant"
)

// Engine keeps the events of a [Stream] until a sealer takes them into a [Log]: a database or a message store that
// replicates. It need not be safe for concurrent use.
type Engine interface {
	// Append stores rows, all or none, and returns nil when they are as durable as the engine makes anything. Rows that
	// have been stored already are [ErrRepeated], and a number that a row of somebody else has is [ErrTaken]. After any
	// other error they may be there or come to be there yet: Append is called with the same rows again. It keeps nothing
	// of rows, and returns soon after ctx has ended. Its errors hold nothing of a row. One that panics is asked again like one that fails.
	Append(ctx context.Context, rows []Row) error
	Close() error
	// String names the engine in errors, without secrets: "the table audit at db.example.com".
	String() string
}

// The errors that an [Engine] tells apart.
var (
	ErrRepeated = errors.New("audit: the rows are there already, and durable")
	ErrTaken    = errors.New("audit: somebody else's row has the number")
)

// Row is one event in an [Engine]. The number counts the stream's rows from 1 without gaps.
type Row struct {
	Key    uint32 // the KeyHash of the stream's signer
	Stream string // a UUIDv7, of one recorder from its opening on
	Number int64
	Batch  int64  // the position in the stream of the write that the row came with, from 0
	UID    string // the event's
	Line   []byte // the event as it will stand in the log, but for metadata.sequence, and without a newline
	MAC    []byte // 32 bytes; see "Streams" in the package documentation
}

// StreamOptions are the settings of [OpenStream]. The zero value of each field but Signer is its default.
type StreamOptions struct {
	// Signer is what authenticates the stream's rows: whoever seals them needs the same. Its name is that of the trail, and
	// is common to all processes of a service. Signatures must be a function of what is signed, as those of Ed25519 are. It
	// is asked when the stream is opened, and not again unless somebody else writes into the stream; where it has another key by then,
	// nothing is recorded until it has the first again. Required.
	Signer note.Signer
	// Service names the application in every event, in the clear. Default: "strongroom".
	Service string
	// Timeout is how long Record waits for the engine before it returns [ErrUnavailable]. Default: 2 s.
	Timeout time.Duration
	// Tenants bounds the memory for tenants, as [Options].Tenants does; events beyond share one queue. Default: 1,048,576.
	Tenants int
	// Telemetry gets spans, metrics and log lines. Default: none.
	Telemetry *Telemetry

	now     func() time.Time
	linger  time.Duration
	batches int64 // of one stream
}

// Stream is a [Recorder] and [Queuer] for services without a disk of their own: it numbers and authenticates events and
// hands them to an [Engine], all that wait at the same time with one call. It is safe for concurrent use.
type Stream struct {
	intake
	opts   StreamOptions
	engine Engine
	ctx    context.Context // ends when Close gives up
	cancel context.CancelFunc

	// The writer's.
	signed [sha256.Size]byte // of a key that the signer has made, which stays the same
	chain  *chain
	id     string
	number int64 // of the next row
	rows   []Row
	lines  []byte // of the rows
	macs   []byte // of the rows
	shared sharing
	leave  string // why the next rows begin another stream; "" for not
	hasher *leafHasher

	down     error // the engine's last failure; nil while it answers; guarded by mu
	quit     chan struct{}
	stopped  chan struct{}
	closing  sync.Once
	closeErr error
}

var _ Queuer = (*Stream)(nil)

const (
	streamText    = "strongroom/audit-stream/v1"
	pseudonymText = "strongroom/audit-pseudonym/v1"
	// A recorder goes on in another stream after so many batches, and an epoch has so many: whoever can put rows into an
	// engine, under whatever number, has a sealer take no more than two times 8,192 steps for each, some 20 ms.
	maxStreamBatch = 1 << 26
	streamEpoch    = 1 << 13
)

// openTimeout bounds how long OpenStream waits for an engine, which may have to be connected to first.
const openTimeout = 30 * time.Second

// OpenStream begins a stream in the engine, with an event stream.started as its first row; that one is in the engine when
// OpenStream returns. It waits until ctx ends, at most 30 s. The engine is closed with the stream, and where OpenStream fails.
func OpenStream(ctx context.Context, engine Engine, opts StreamOptions) (*Stream, error) {
	guarded, err := guardEngine(engine)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), (&guardedEngine{Engine: engine}).Close())
	}
	s, err := newStream(guarded, opts)
	if err == nil {
		opening, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		err = s.begin(opening, "opened")
	}
	if err != nil {
		if s != nil {
			s.telemetry.Close()
		}
		return nil, errors.Join(err, guarded.Close())
	}
	go s.run()
	return s, nil
}

func newStream(engine Engine, opts StreamOptions) (*Stream, error) {
	set(&opts.Service, "strongroom")
	set(&opts.Timeout, 2*time.Second)
	set(&opts.Tenants, 1<<20)
	set(&opts.linger, linger)
	set(&opts.batches, maxStreamBatch)
	if opts.now == nil {
		opts.now = time.Now
	}
	if opts.Signer == nil {
		return nil, errors.New("audit: StreamOptions.Signer is missing; set it to the key that the trail's sealer has too")
	}
	var err error
	if opts.Signer, err = guardSigner(opts.Signer); err != nil {
		return nil, fmt.Errorf("audit: StreamOptions.Signer: %w", err)
	}
	switch {
	case !validOrigin(opts.Signer.Name()):
		return nil, errors.New("audit: StreamOptions.Signer has no usable name; use 1 to 200 printable characters without spaces and plus signs")
	case len(opts.Service) > 200:
		return nil, fmt.Errorf("audit: StreamOptions.Service has %d bytes, over the limit of 200", len(opts.Service))
	case opts.Timeout < 0 || opts.Tenants < 0:
		return nil, errors.New("audit: StreamOptions.Timeout or Tenants is negative; use a positive number, or 0 for the default")
	}
	key, err := deriveKey(opts.Signer, pseudonymText, "")
	if err != nil {
		return nil, fmt.Errorf("audit: no key for pseudonyms: %w", err)
	}
	signed := sha256.Sum256(key[:])
	names, err := subtle.NewAESCMACPRF(key[:])
	clear(key[:])
	if err != nil {
		return nil, errors.New("audit: the derived key for pseudonyms is unusable")
	}
	s := &Stream{
		opts: opts, engine: engine, signed: signed, hasher: newLeafHasher(), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.intake.init(opts.Timeout, opts.Tenants, opts.linger, engine.String())
	s.enc = newEncoder(opts.Signer.Name(), opts.Service, opts.now,
		pseudonyms(func(in []byte) ([]byte, error) { return names.ComputePRF(in, 16) }))
	s.enc.room = loggerRoom
	if err := s.observe(opts.Telemetry, opts.Signer.Name()); err != nil {
		return nil, fmt.Errorf("audit: StreamOptions.Telemetry: %w", err)
	}
	return s, nil
}

// begin begins a new stream in the engine.
func (s *Stream) begin(ctx context.Context, why string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("%w: no randomness for a stream's id: %w", ErrUnavailable, err)
	}
	s.id = id.String()
	s.number = 1
	if s.chain, err = deriveChain(s.opts.Signer, streamText, s.id, streamEpoch); err == nil {
		err = s.sameSigner() // behind it, so that the chain's key is none that came later
	}
	if err != nil {
		return fmt.Errorf("%w: the stream's rows cannot be authenticated: %w", ErrUnavailable, err)
	}
	it, err := s.own(CodeStreamStarted, why)
	if err != nil {
		return err
	}
	s.assign([]*item{it})
	if err := s.engine.Append(ctx, s.rows); err != nil {
		return fmt.Errorf("%w: cannot begin a stream in %s: %w", ErrUnavailable, s.place, err)
	}
	s.advance()
	return nil
}

// sameSigner returns an error where the signer has another key by now: a sealer would take no row for authentic.
func (s *Stream) sameSigner() error {
	key, err := deriveKey(s.opts.Signer, pseudonymText, "")
	if err == nil && sha256.Sum256(key[:]) != s.signed {
		err = errors.New("the signer signs with another key than it did when the stream was opened; open the recorder with the trail's key")
	}
	clear(key[:])
	return err
}

// own returns an event of the stream itself.
func (s *Stream) own(code Code, why string) (*item, error) {
	line, err := s.enc.event(nil, &Event{Code: code, Phase: Single, Status: Success, Reason: why})
	if err != nil {
		return nil, err
	}
	return &item{line: line, done: make(chan error, 1)}, nil
}

// Record implements [Recorder]. Nil means that the event is in the engine, as durable as that makes anything. An error that
// wraps [ErrUnavailable] or ctx's error means that this is not known: the event may be there yet, as one for which nothing
// followed. Record returns within StreamOptions.Timeout, and succeeds again as soon as the engine does.
func (s *Stream) Record(ctx context.Context, e *Event) error {
	p, err := s.queue(ctx, e, false)
	if err != nil {
		return err
	}
	return p.Wait(ctx)
}

// Queue implements [Queuer], as [Log.Queue] does.
func (s *Stream) Queue(ctx context.Context, e *Event) (Pending, error) {
	p, err := s.queue(ctx, e, e.Phase == Outcome)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// Err returns nil while the engine answers, and otherwise why it does not, or that the stream was closed.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.down == nil {
		return s.err
	}
	return fmt.Errorf("%w: %s does not take events: %w", ErrUnavailable, s.place, s.down)
}

// Stats returns what the stream counts. HeadsDue is 0.
func (s *Stream) Stats() Stats { return s.counters() }

// Pseudonym returns the name that the stream gives an actor in events of the tenant without a [Sealer]: always the same
// under one Signer, and one that nothing links to another tenant's.
func (s *Stream) Pseudonym(id tenant.ID, actor string) (string, error) {
	p, err := s.enc.pseudonym(id, actor)
	if err != nil { // withheld: it may show what it was given
		return "", errors.New("audit: the stream's key makes no pseudonym")
	}
	return p, nil
}

// Close records what still waits and an event stream.stopped, and closes the engine. It waits for the engine at most
// StreamOptions.Timeout, and returns an error that wraps [ErrUnavailable] where something may not have been recorded.
func (s *Stream) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.shut()
		s.mu.Unlock()
		giveUp := time.AfterFunc(s.opts.Timeout, s.cancel)
		close(s.quit)
		<-s.stopped
		s.telemetry.Close()
		giveUp.Stop()
		s.cancel()
		s.closeErr = errors.Join(s.closeErr, s.engine.Close())
	})
	return s.closeErr
}
