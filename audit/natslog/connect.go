package natslog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/strongroom-go/strongroom/audit/internal/natsconn"
)

// client is a connection to a cluster, which mends itself by going to another of its servers.
type client struct {
	nc    *nats.Conn
	names names
	place string

	mu     sync.Mutex
	denied []string      // what servers have said of rights that are missing; guarded by mu
	news   chan struct{} // closed and made anew whenever something is added to denied; guarded by mu
}

func connect(ctx context.Context, servers string, n names, inbox, name string, options []nats.Option) (*client, error) {
	_, hosts, err := natsconn.Hosts(servers)
	if err != nil {
		return nil, err
	}
	c := &client{names: n, news: make(chan struct{}), place: fmt.Sprintf("the stream %s of the NATS cluster at %s", n.stream, strings.Join(hosts, ", "))}
	// The rights admit one inbox, and what servers say of rights is looked at.
	c.nc, err = natsconn.Connect(ctx, servers, name, options, nats.CustomInboxPrefix(inbox), nats.PermissionErrOnSubscribe(true), func(o *nats.Options) error {
		next := o.AsyncErrorCB
		o.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
			c.note(err)
			if next != nil {
				next(nc, sub, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", c.place, err)
	}
	return c, nil
}

// note keeps what a server says of rights that are missing.
func (c *client) note(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.denied) < 64 {
		c.denied = append(c.denied, err.Error())
	}
	close(c.news)
	c.news = make(chan struct{})
}

// isDenied tells whether a server has said that a subject may not be published to or subscribed to,
// and returns a channel that is closed when there is news.
func (c *client) isDenied(subject string) (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.denied {
		if strings.Contains(d, `"`+subject+`"`) {
			return true, c.news
		}
	}
	return false, c.news
}

// untilDenied returns a context that also ends when a server says that a subject may not be
// published to: nothing will answer.
func (c *client) untilDenied(ctx context.Context, subject string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for ctx.Err() == nil {
			denied, news := c.isDenied(subject)
			if denied {
				cancel()
			}
			select {
			case <-news:
			case <-ctx.Done():
			}
		}
	}()
	return ctx, cancel
}

func (c *client) close() {
	c.nc.Close()
}
