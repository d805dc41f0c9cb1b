package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/internal/natsconn"
)

// SealOptions are the settings of [OpenSealer].
type SealOptions struct {
	// Signers are what authenticates the recorders' streams: the one that their recorders have, and
	// while those change to another both. Required.
	Signers []note.Signer
	// Stream is the JetStream stream's name. Default: [DefaultStream].
	Stream string
	// Connect are the client's options: credentials and TLS.
	Connect []nats.Option
	// Every is how long [Sealer.Run] pauses where a round found nothing more. Default: 200 ms.
	Every time.Duration
	// Rows is how many messages one round takes. Default: 20,000.
	Rows int
	// Lease is how long the stream stays with a sealer that was killed, or is cut off. Default: 15 s.
	Lease time.Duration
	// Progress is called after every round that found something new, and every failure that Run goes on after.
	Progress func(Sealed, error)
}

// Sealed is what one round found. Messages that were refused are moved to the subject
// strongroom.STREAM.refused.
type Sealed = audit.Sealed

// Sealer takes the messages of a stream into a log. It is not safe for concurrent use.
type Sealer struct {
	client  *client
	names   names
	js      jetstream.JetStream
	opts    SealOptions
	log     *audit.Log
	adopter *audit.Adopter
	keys    map[uint32]bool

	failover natsconn.Failover

	holder   string
	asked    time.Time          // when the consumer was known to be this sealer's
	making   int                // how many consumers it has made
	consumer jetstream.Consumer // nil for none
	ordinal  uint64             // of the last message that the consumer delivered
	next     uint64             // the first sequence number of the stream that was not read
	alone    uint64             // the first message that was left alone; 0 for none
	others   int                // how many were
	leaps    leaps              // behind the first one that was
}

// OpenSealer connects as the user who has the sealer's rights of [Permissions], and takes the
// stream for this sealer and for the log, which must be [audit.Durable]: of several sealers that
// are opened one goes on, and a stream that one log seals is refused to any other, for ever. After
// a sealer that was killed it waits, for up to SealOptions.Lease and five seconds.
//
// Close the sealer, and then the log.
func OpenSealer(ctx context.Context, servers string, log *audit.Log, opts SealOptions) (*Sealer, error) {
	if log == nil {
		return nil, errors.New("natslog: the log is missing")
	}
	n, err := parseStream(opts.Stream)
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&opts.Every, 200 * time.Millisecond}, {&opts.Lease, 15 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if opts.Rows == 0 {
		opts.Rows = 20_000
	}
	if opts.Every < 0 || opts.Lease < time.Second || opts.Rows < 1 {
		return nil, errors.New("natslog: SealOptions.Every or Rows is negative, or Lease below a second; use 0 for the defaults")
	}
	s := &Sealer{names: n, opts: opts, log: log, keys: map[uint32]bool{}, holder: nuid.Next()}
	if s.adopter, err = log.Adopter(opts.Signers...); err != nil {
		return nil, err
	}
	for _, k := range s.adopter.Keys() {
		s.keys[k] = true
	}
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if s.client, err = connect(opening, servers, n, sealerInbox(n), "strongroom-seal", opts.Connect); err != nil {
		return nil, fmt.Errorf("natslog: %w", err)
	}
	if s.js, err = jetstream.New(s.client.nc); err == nil {
		if err = s.client.check(opening); err != nil {
			err = s.failed(err)
		} else {
			err = s.open(ctx)
		}
	}
	if err != nil {
		s.client.close()
		return nil, err
	}
	return s, nil
}

func (s *Sealer) open(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.own(asking); err != nil {
		return err
	}
	return s.waitForTurn(ctx)
}

func (s *Sealer) failed(err error) error {
	return fmt.Errorf("natslog: cannot seal %s: %w", s.client.place, describe(err))
}

// purge deletes messages, and returns how many there were.
func (s *Sealer) purge(ctx context.Context, what jetstream.StreamPurgeRequest) (int, error) {
	data, err := json.Marshal(what)
	if err != nil {
		return 0, err
	}
	answer, err := s.client.nc.RequestWithContext(ctx, "$JS.API.STREAM.PURGE."+s.names.stream, data)
	if err != nil {
		return 0, err
	}
	var doc struct {
		Error  *apiError `json:"error"`
		Purged int       `json:"purged"`
	}
	switch err := json.Unmarshal(answer.Data, &doc); {
	case err != nil:
		return 0, errors.New("the answer is not one of JetStream")
	case doc.Error != nil:
		return 0, doc.Error
	}
	return doc.Purged, nil
}

// Close gives the stream up. The log stays open.
func (s *Sealer) Close() error {
	if s.consumer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		// Where this fails the consumer goes by itself.
		if c, err := s.js.Consumer(ctx, s.names.stream, sealerName); err == nil && s.made(c.CachedInfo().Config.Metadata[metaHolder]) {
			s.js.DeleteConsumer(ctx, s.names.stream, sealerName)
		}
		s.consumer = nil
	}
	s.client.close()
	return nil
}

// Run seals until ctx ends, and then returns nil. It goes on after failures of the cluster, and
// takes the stream again where another sealer had it and has ended; an error is one of the log, or
// one that trying again does not mend.
func (s *Sealer) Run(ctx context.Context) error {
	return s.log.Seal(ctx, s.opts.Every, s.Round, s.opts.Progress)
}
