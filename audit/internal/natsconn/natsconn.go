// Package natsconn connects to NATS clusters as audit/natslog and audit/sink/natssink do: over TLS,
// or to this machine.
package natsconn

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/strongroom-go/strongroom/internal/loopback"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// The times within which a connection on which nothing comes any more is given up. A write that
// does not get anywhere keeps its caller for the first.
const (
	writeTimeout = 2 * time.Second
	pingEvery    = 2 * time.Second
)

// Hosts returns the hosts of a list of servers' URLs, with commas between, and whether all are this
// machine. It refuses those that cannot be spoken to with TLS and are elsewhere.
func Hosts(servers string) (local bool, hosts []string, err error) {
	local = true
	for s := range strings.SplitSeq(servers, ",") {
		if s = strings.TrimSpace(s); !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" { // withheld: it may hold a password
			return false, nil, errors.New("the servers' addresses are not understood; give URLs with commas between, such as tls://a.example.com:4222,tls://b.example.com:4222")
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return false, nil, errors.New("a server's address has an unknown scheme; use tls, or nats for this machine")
		}
		if u.Scheme == "ws" && !loopback.Is(u.Hostname()) {
			return false, nil, fmt.Errorf("the address ws://%s would send events and credentials in plaintext over the network; use wss or tls", u.Host)
		}
		local = local && loopback.Is(u.Hostname())
		hosts = append(hosts, u.Host)
	}
	return local, hosts, nil
}

// Connect connects to the first server that answers, and to another whenever that one is lost,
// without end. Options are the caller's; required ones come behind them. Its errors hold no
// secrets.
func Connect(ctx context.Context, servers, name string, options []nats.Option, required ...nats.Option) (*nats.Conn, error) {
	local, hosts, err := Hosts(servers)
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 100*time.Millisecond),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2),
	}
	opts = append(opts, options...)
	// What follows is not for callers to change: what was published while there was no connection
	// is not kept and sent later, and so on.
	opts = append(opts, nats.ReconnectBufSize(-1), nats.FlusherTimeout(writeTimeout), nats.RetryOnFailedConnect(false))
	opts = append(opts, required...)
	if local {
		// Servers elsewhere, of which one here tells, would be spoken to in the clear.
		opts = append(opts, nats.IgnoreDiscoveredServers())
	} else {
		opts = append(opts, func(o *nats.Options) error { o.Secure = true; return nil })
	}
	if deadline, ok := ctx.Deadline(); ok {
		opts = append(opts, nats.Timeout(max(time.Until(deadline)/time.Duration(len(hosts)), time.Millisecond)))
	}
	nc, err := nats.Connect(servers, opts...)
	if err != nil {
		return nil, Describe(err)
	}
	return nc, nil
}

// Describe returns an error of the client without what might be a secret in it, and says what to do
// where that is known.
func Describe(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return errors.New("no answer came in time")
	case errors.Is(err, nats.ErrNoResponders):
		return errors.New("nobody answers for the stream: it is missing, or has no leader now")
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return errors.New("there is no connection to any server")
	case errors.Is(err, nats.ErrSecureConnWanted):
		return errors.New("the server offers no TLS, and is not on this machine: events and credentials would be sent in plaintext; give the servers certificates")
	case errors.Is(err, nats.ErrMaxPayload):
		return errors.New("the server takes no message of that size: set max_payload to 4MB on all servers")
	}
	return redact.Error(err)
}
