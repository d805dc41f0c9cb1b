package vaultkek

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"time"
)

// handshakeWait bounds what is spent on learning why a connection ended.
const handshakeWait = 2 * time.Second

// ended looks why a login's connection ended without an answer. In TLS 1.3 (RFC 8446, section 4.4.2.4 and appendix E.1.2)
// a server refuses a client's certificate after the client holds the handshake done: its alert races with the request,
// and the HTTP client reports whichever error it meets first, a broken pipe or a connection that is not usable. That
// would look like an outage that passes. Here the alert is read, where there is one: nothing is written after the
// handshake that could fail first. Other errors, and those of servers that say nothing, are left as they are.
func (k *KEK) ended(ctx context.Context, err error) error {
	var (
		onTheWay *url.Error
		network  *net.OpError
	)
	switch {
	case k.tls == nil, !errors.As(err, &onTheWay), onTheWay.Timeout(), ctx.Err() != nil:
		return err
	case errors.As(err, &network) && (network.Op == "dial" || network.Op == "remote error"):
		return err
	}
	u, uerr := url.Parse(k.client.Address())
	if uerr != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, min(handshakeWait, k.opts.Timeout))
	defer cancel()
	// http/1.1 alone: a server of HTTP/2 would speak first.
	config := k.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, derr := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if derr == nil {
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		_, derr = conn.Read(make([]byte, 1))
	}
	if errors.As(derr, &network) && network.Op == "remote error" {
		return network
	}
	return err
}
