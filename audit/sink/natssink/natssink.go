// Package natssink delivers the events of an audit log to a stream of NATS JetStream, for others to
// consume. It is not how a service without a disk records: that is audit/natslog.
//
// Each event is one message: its subject is [Options].Subject and the event's code,
// "audit.sql.query"; its id (Nats-Msg-Id) the uid, by which the stream drops what comes again
// within its window of duplicates, and a consumer what comes later; its data the line in the log,
// JSON of OCSF 1.8. An event is delivered when the stream has acknowledged it. After a failure
// messages may be in another order than in the log: Nats-Msg-Id and the index in the header
// Strongroom-Index tell.
package natssink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/internal/natsconn"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// Options are the settings of [Open].
type Options struct {
	// Stream is the stream that the events must come to. Required.
	Stream string
	// Subject is what stands before the code in a message's subject. Default: "audit".
	Subject string
	// Connect are the client's options: credentials and TLS.
	Connect []nats.Option
}

// stream is a [sink.Sink].
type stream struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	opts     Options
	failover natsconn.Failover // events are delivered by one goroutine
}

const (
	// openTimeout bounds how long New waits for the cluster.
	openTimeout = 30 * time.Second
	// answerTimeout is when a message that was not answered is given up, and makes room for others: a leader that changes leaves
	// some without an answer for ever.
	answerTimeout = 15 * time.Second
	// minPayload is what must go into one message: the longest event, 2 MiB, and its headers. One that did not would be tried
	// again for ever, and those behind it wait.
	minPayload = 2<<20 + 4<<10
)

// Open connects to a cluster; servers are the URLs of one or more of its servers, with commas
// between, and connections are encrypted unless all of these are on this machine. The stream must
// acknowledge, keep its messages on disks, and have a window of duplicates; it and the servers
// (max_payload) must take messages of 2 MiB and 4 KiB. The user needs to
// publish to the subjects of events and to $JS.API.STREAM.INFO and the stream's name.
func Open(ctx context.Context, servers string, opts Options) (sink.Sink, error) {
	if opts.Subject == "" {
		opts.Subject = "audit"
	}
	if opts.Stream == "" || strings.ContainsAny(opts.Stream, ".*> \t\r\n") || strings.ContainsAny(opts.Subject, "*> \t\r\n") || strings.HasPrefix(opts.Subject, ".") || strings.HasSuffix(opts.Subject, ".") {
		return nil, errors.New("natssink: Options.Stream is missing, or it or Subject has a character that NATS does not take there")
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	nc, err := natsconn.Connect(ctx, servers, "strongroom-sink", opts.Connect)
	if err != nil {
		return nil, fmt.Errorf("natssink: cannot connect: %w", err)
	}
	s := &stream{nc: nc, opts: opts}
	if err := s.check(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("natssink: the stream %s: %w", opts.Stream, err)
	}
	return s, nil
}

func (s *stream) check(ctx context.Context) (err error) {
	if s.js, err = jetstream.New(s.nc, jetstream.WithPublishAsyncMaxPending(1000), jetstream.WithPublishAsyncTimeout(answerTimeout)); err != nil {
		return err
	}
	found, err := s.js.Stream(ctx, s.opts.Stream)
	if err != nil {
		return natsconn.Describe(err)
	}
	switch c := found.CachedInfo().Config; {
	case c.NoAck:
		return errors.New("no_ack is on, so that nobody would know what it has; turn it off")
	case c.Storage != jetstream.FileStorage:
		return errors.New("its storage is memory, so that a restart loses what was delivered; use file")
	case s.nc.MaxPayload() < minPayload:
		return fmt.Errorf("the server takes messages of at most %d bytes, and an event has up to %d, with its headers; set max_payload to 4MB on all servers", s.nc.MaxPayload(), minPayload)
	case c.MaxMsgSize >= 0 && c.MaxMsgSize < minPayload:
		return fmt.Errorf("its max_msg_size is %d, and an event has up to %d bytes, with its headers; use -1", c.MaxMsgSize, minPayload)
	case c.Duplicates <= 0:
		return errors.New("its duplicate_window is 0; use 2 minutes or more")
	}
	return nil
}

func (s *stream) String() string { return "the NATS stream " + s.opts.Stream }

// Close implements [sink.Sink].
func (s *stream) Close() error {
	s.nc.Close()
	return nil
}

// Deliver implements [sink.Sink]. All messages are under way at once.
func (s *stream) Deliver(ctx context.Context, events []audit.Entry) (n int, err error) {
	futures := make([]jetstream.PubAckFuture, 0, len(events))
	for i := range events {
		e := &events[i]
		m := &nats.Msg{Subject: s.opts.Subject + "." + string(e.Code), Data: e.Raw, Header: nats.Header{"Strongroom-Index": {strconv.FormatInt(e.Index, 10)}}}
		var f jetstream.PubAckFuture
		if f, err = s.js.PublishMsgAsync(m, jetstream.WithMsgID(e.UID), jetstream.WithExpectStream(s.opts.Stream)); err != nil {
			break
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
			n++
		case err = <-f.Err():
			return n, s.failed(err)
		case <-ctx.Done():
			return n, s.failed(ctx.Err())
		}
	}
	if err != nil {
		return n, s.failed(err)
	}
	s.failover.Ended(s.nc, nil)
	return n, nil
}

func (s *stream) failed(err error) error {
	s.failover.Ended(s.nc, err)
	return describe(err)
}

func describe(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return fmt.Errorf("the server answered error %d, %s", api.ErrorCode, redact.Text(api.Description))
	}
	if errors.Is(err, jetstream.ErrAsyncPublishTimeout) || errors.Is(err, jetstream.ErrTooManyStalledMsgs) {
		return errors.New("the stream's leader does not answer")
	}
	return natsconn.Describe(err)
}
