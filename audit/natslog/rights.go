package natslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// probe is something that is tried at a server, to learn whether the user may.
type probe struct {
	subject string
	power   string // what it lets somebody do; "" for what a recorder must be able to
}

func (n names) probes() []probe {
	const api = "$JS.API."
	s := n.stream
	return []probe{
		{n.events + "probe", ""},
		{n.refused, "pass for the sealer"},
		{api + "STREAM.MSG.GET." + s, "read events"},
		{api + "DIRECT.GET." + s, "read events"},
		{api + "DIRECT.GET." + s + "." + n.events + "probe", "read events"},
		{api + "CONSUMER.CREATE." + s, "read events"},
		{api + "CONSUMER.CREATE." + s + ".probe", "read events"},
		{api + "CONSUMER.DURABLE.CREATE." + s + ".probe", "read events"},
		{api + "CONSUMER.MSG.NEXT." + s + "." + sealerName, "read events"},
		{api + "CONSUMER.DELETE." + s + "." + sealerName, "stop the sealer"},
		{api + "STREAM.SNAPSHOT." + s, "read events"},
		{api + "STREAM.CREATE.strongroom-probe", "make streams, and by them read events"},
		{api + "STREAM.UPDATE." + s, "change the stream"},
		{api + "STREAM.MSG.DELETE." + s, "delete events"},
		{api + "STREAM.PURGE." + s, "delete events"},
		{api + "STREAM.DELETE." + s, "delete the stream"},
	}
}

// checkRights returns what the user may do that a recorder must not be able to, or may not that it
// must. Nothing of it is carried out: requests are malformed, and messages are for a stream with
// another name.
func (c *client) checkRights(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// What is published is seen by everybody who subscribes to its subject, whatever is stored of it.
	spy, err := c.nc.SubscribeSync(c.names.events + "*")
	if err != nil {
		return describe(err)
	}
	defer spy.Unsubscribe()
	answers := make(chan *nats.Msg, 64)
	inbox := c.nc.NewInbox() + "."
	sub, err := c.nc.ChanSubscribe(inbox+"*", answers)
	if err != nil {
		return describe(err)
	}
	defer sub.Unsubscribe()
	probes := c.names.probes()
	ask := func(i int) error {
		m := &nats.Msg{Subject: probes[i].subject, Reply: inbox + strconv.Itoa(i), Header: nats.Header{headerStream: {"strongroom-no-such-stream"}}, Data: []byte("x")}
		return describe(c.nc.PublishMsg(m))
	}
	for i := range probes {
		if err := ask(i); err != nil {
			return err
		}
	}
	// The server has answered the subscription when it answers this.
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return describe(err)
	}
	var more []string
	if _, err := spy.NextMsg(time.Microsecond); !errors.Is(err, nats.ErrPermissionViolation) {
		more = append(more, "read events while they are published")
	}
	allowed, err := c.await(ctx, probes, inbox, answers, ask)
	if err != nil {
		return err
	}
	for i, p := range probes {
		switch {
		case p.power == "" && !allowed[i]:
			return errors.New("the user may not publish events; give it the rights of natslog.Permissions")
		case p.power != "" && allowed[i] && !slices.Contains(more, p.power):
			more = append(more, p.power)
		}
	}
	if len(more) > 0 {
		return fmt.Errorf("the user has more rights than a recorder may have: it may %s; give it those of natslog.Permissions and no others", strings.Join(more, ", "))
	}
	return nil
}

// await waits until each probe was answered, which means that it is allowed, or denied. Those that were not are asked again: a request
// that comes to a stream while its leader changes is answered by nobody.
func (c *client) await(ctx context.Context, probes []probe, inbox string, answers <-chan *nats.Msg, ask func(int) error) (allowed map[int]bool, err error) {
	allowed = map[int]bool{}
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		var news <-chan struct{}
		open := 0
		for i, p := range probes {
			if _, known := allowed[i]; known {
				continue
			}
			var denied bool
			if denied, news = c.isDenied(p.subject); denied {
				allowed[i] = false
			} else {
				open++
			}
		}
		if open == 0 {
			return allowed, nil
		}
		select {
		case m := <-answers:
			if i, err := strconv.Atoi(strings.TrimPrefix(m.Subject, inbox)); err == nil {
				allowed[i] = true
			}
		case <-news:
		case <-again.C:
			for i, p := range probes {
				_, known := allowed[i]
				if denied, _ := c.isDenied(p.subject); known || denied {
					continue
				}
				if err := ask(i); err != nil {
					return nil, err
				}
			}
		case <-ctx.Done():
			return nil, errors.New("the server did not say in time what the user may do")
		}
	}
}
