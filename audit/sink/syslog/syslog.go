// Package syslog delivers the events of an audit log to a syslog server: messages of RFC 5424 over
// TLS as RFC 5425 frames them.
//
//	<110>1 2026-11-29T15:59:59.999Z app-1.example.com strongroom - sql.query [meta sequenceId="42"] {"time":…}
//
// The facility is 13 (log audit), the severity 6 (informational), 4 (warning) for what OCSF calls
// low or medium and 2 (critical) above; the message id is the event's code, and the message its
// line in the log, byte for byte: JSON of OCSF 1.8, with the uid in metadata.uid.
//
// # When an event is delivered
//
// Syslog has no acknowledgements: what was written to a connection may be lost with it, and nobody
// is told. So a connection is for one batch. When all of it is written, the sink closes its side
// (close_notify, RFC 5425, section 4.4) and waits until the server, which has then read everything,
// closes the other. Only then are the events delivered; a connection that breaks, or a server that
// does not close it in time, has the batch sent again, under the same uids. That a server closed
// the connection with something unread, as one does that is restarted, is noticed on Linux. What
// the server does with what it has read is its own: give it a queue on its disk.
package syslog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// Options are the settings of [New].
type Options struct {
	// TLS is how the server is spoken to: its roots, and a client's certificate where it wants one.
	// The server's name is that of the address where none is given. Versions below 1.2 are not
	// spoken, and InsecureSkipVerify is refused. Default: the system's roots.
	TLS *tls.Config
	// Hostname is that of the messages' HEADER, up to 255 printable ASCII characters. Default: "-",
	// which is none.
	Hostname string
	// AppName is that of the HEADER, up to 48 such characters. Default: "strongroom".
	AppName string
	// MaxMessage is how long a message may be, in bytes, where the server takes none of 2 MiB, the
	// longest event: of a longer one the sink delivers, in place of the line, its uid, index and
	// SHA-256, by which it is found in the log. At least 2,048 (RFC 5425, section 4.3.1). Default:
	// no limit.
	MaxMessage int
}

// server is a [sink.Sink].
type server struct {
	address string
	tls     *tls.Config
	host    string
	app     string
	max     int
}

// New returns a sink that sends to a server, host:port or host for port 6514.
func New(address string, opts Options) (sink.Sink, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "6514"
	}
	if host == "" || strings.ContainsAny(host, "/@ ") || port == "" {
		return nil, errors.New("syslog: the address is none of the form host:port")
	}
	s := &server{address: net.JoinHostPort(host, port), tls: &tls.Config{}, host: opts.Hostname, app: opts.AppName, max: opts.MaxMessage}
	if opts.TLS != nil {
		s.tls = opts.TLS.Clone()
	}
	if s.tls.InsecureSkipVerify && s.tls.VerifyConnection == nil {
		return nil, errors.New("syslog: Options.TLS has InsecureSkipVerify: anybody on the way could read the events, and take them away; set RootCAs to the server's authority")
	}
	s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
	if s.tls.ServerName == "" {
		s.tls.ServerName = host
	}
	if s.tls.ClientSessionCache == nil { // a connection is for one batch
		s.tls.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	for _, f := range []struct {
		field   *string
		value   string
		longest int
	}{{&s.host, "-", 255}, {&s.app, "strongroom", 48}} {
		if *f.field == "" {
			*f.field = f.value
		}
		if len(*f.field) > f.longest || strings.ContainsFunc(*f.field, func(r rune) bool { return r < '!' || r > '~' }) {
			return nil, fmt.Errorf("syslog: Options.Hostname or AppName is unusable; use up to 255 and 48 printable ASCII characters without spaces")
		}
	}
	if s.max != 0 && s.max < 2048 {
		return nil, errors.New("syslog: Options.MaxMessage is below 2,048 bytes, which every server takes; use that or more, or 0 for no limit")
	}
	return s, nil
}

func (s *server) String() string { return "the syslog server at " + s.address }

// Close implements [sink.Sink].
func (s *server) Close() error { return nil }

// Deliver implements [sink.Sink].
func (s *server) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	if err := s.send(ctx, events); err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			err = errors.New("the server did not read everything and close the connection in time")
		}
		return 0, redact.Error(err)
	}
	return len(events), nil
}

func (s *server) send(ctx context.Context, events []audit.Entry) (err error) {
	dialer := tls.Dialer{Config: s.tls}
	c, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	conn := c.(*tls.Conn)
	defer conn.Close()
	// Whatever blocks ends with ctx.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var frames []byte
	for i := range events {
		message := s.message(&events[i])
		frames = strconv.AppendInt(frames, int64(len(message)), 10)
		frames = append(append(frames, ' '), message...)
		if len(frames) >= 64<<10 || i == len(events)-1 {
			if _, err := conn.Write(frames); err != nil {
				return err
			}
			frames = frames[:0]
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	// A server has nothing to say (RFC 5425 has no answers); what it says all the same is passed over.
	n, err := io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	if err != nil {
		return fmt.Errorf("the server ended the connection without closing it, so that it may not have read everything: %w", err)
	}
	if n == 1<<20 {
		return errors.New("the server talks, and does not close the connection")
	}
	// It may have closed the connection before it had read everything. Then it ends with a reset,
	// and not with the end of its data.
	if _, err := io.Copy(io.Discard, io.LimitReader(conn.NetConn(), 1<<10)); err != nil {
		return fmt.Errorf("the server closed the connection before it had read everything: %w", err)
	}
	if err := acknowledged(ctx, conn.NetConn()); err != nil {
		return fmt.Errorf("the server closed the connection before it had read everything: %w", err)
	}
	return nil
}

// message returns an event as a message of RFC 5424.
func (s *server) message(e *audit.Entry) []byte {
	const facility = 13
	severity := 6
	switch e.Severity {
	case "Low", "Medium":
		severity = 4
	case "High", "Critical", "Fatal":
		severity = 2
	}
	head := fmt.Appendf(nil, "<%d>1 %s %s %s - %s [meta sequenceId=\"%d\"] ", facility*8+severity, e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), s.host, s.app,
		messageID(string(e.Code)), e.Index%(1<<31-1)+1)
	if s.max > 0 && len(head)+len(e.Raw) > s.max {
		return fmt.Appendf(head, `{"metadata":{"uid":%q,"is_truncated":true},"unmapped":{"index":%d,"line_sha256":"%x"}}`, e.UID, e.Index, sha256.Sum256(e.Raw))
	}
	return append(head, e.Raw...)
}

// messageID returns a code as a MSGID, which has at most 32 printable characters.
func messageID(code string) []byte {
	id := bytes.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return '_'
		}
		return r
	}, []byte(code))
	if len(id) == 0 {
		return []byte("-")
	}
	return id[:min(len(id), 32)]
}
