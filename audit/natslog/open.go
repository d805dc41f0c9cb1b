package natslog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit"
)

// Options are the settings of [Open].
type Options struct {
	audit.StreamOptions // Signer is required
	// Stream is the JetStream stream's name. Default: [DefaultStream].
	Stream string
	// Connect are the client's options: credentials and TLS.
	Connect []nats.Option
}

// openTimeout bounds how long Open waits for the cluster.
const openTimeout = 30 * time.Second

// Open begins a stream in the cluster and returns its recorder. Servers are the URLs of one or more
// of the cluster's, with commas between; connections are encrypted, unless all of these are on this
// machine. The JetStream stream must be as [Config] makes it, and the user have the rights of
// [Permissions]: one with more is refused, because whoever takes over a service must not be able to
// read or delete what it did. To find out, Open tries what a recorder must not be able to do, in
// words that the servers cannot carry out: their logs say that they refused it.
//
// Open waits until ctx ends, at most 30 s. The recorder has one connection, which goes to another
// server when its own is lost. Close it after the last access.
func Open(ctx context.Context, servers string, opts Options) (*audit.Stream, error) {
	n, err := parseStream(opts.Stream)
	if err != nil {
		return nil, err
	}
	checking, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	c, err := connect(checking, servers, n, recorderInbox(n), "strongroom-audit", opts.Connect)
	if err == nil {
		if err = c.check(checking); err == nil {
			err = c.checkRights(checking)
		}
		if err != nil {
			err = fmt.Errorf("cannot record into %s: %w", c.place, err)
			c.close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: natslog: %w", audit.ErrUnavailable, err)
	}
	return audit.OpenStream(ctx, &engine{client: c}, opts.StreamOptions)
}

// check returns why the stream, or the server, is not one to record into.
func (c *client) check(ctx context.Context) error {
	if got := c.nc.MaxPayload(); got < minPayload {
		return fmt.Errorf("the server takes messages of at most %d bytes, and an event has up to %d: set max_payload to 4MB on all servers", got, minPayload)
	}
	inbox, err := c.nc.SubscribeSync(c.nc.NewInbox())
	if err != nil {
		return describe(err)
	}
	defer inbox.Unsubscribe()
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return describe(err)
	}
	if _, err := inbox.NextMsg(time.Microsecond); errors.Is(err, nats.ErrPermissionViolation) {
		return errors.New("the user may not get answers; give it the rights of natslog.Permissions")
	}
	js, err := jetstream.New(c.nc)
	if err != nil {
		return describe(err)
	}
	info := "$JS.API.STREAM.INFO." + c.names.stream
	asking, stop := c.untilDenied(ctx, info)
	defer stop()
	s, err := js.Stream(asking, c.names.stream)
	if denied, _ := c.isDenied(info); denied {
		return errors.New("the user may not ask about the stream; give it the rights of natslog.Permissions")
	}
	if err != nil {
		return describe(err)
	}
	return c.names.check(&s.CachedInfo().Config)
}
