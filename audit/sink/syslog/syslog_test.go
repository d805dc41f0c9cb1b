package syslog_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/internal/sinktest"
	"github.com/strongroom-go/strongroom/audit/sink/syslog"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLog(t *testing.T) (dir string, list []audit.Entry) {
	t.Helper()
	return sinktest.NewLog(t, 30, func(i int, e *audit.Event) {
		e.Request, e.Statement = fmt.Sprintf("<%d> \"é\" ]\\", i), strings.Repeat("x", i*500)
		switch i {
		case 7:
			e.Code, e.Phase = audit.CodeIsolation, audit.Single
		case 8:
			e.Phase, e.Status = audit.Single, audit.Denied
		}
	})
}

// collector is a server that reads as RFC 5425 says.
type collector struct {
	listener net.Listener
	address  string
	client   *tls.Config
	mu       sync.Mutex
	messages []string
	conns    int
	// misbehave is asked for each connection: "" for a server as it should be, "cut" for one that
	// breaks when it has read something, "open" for one that never closes, "reset" for one that
	// closes without having read everything.
	misbehave func(conn int) string
}

func collect(t *testing.T, misbehave func(conn int) string) *collector {
	t.Helper()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	certificate, pool := certified.TLS.Certificates[0], x509.NewCertPool()
	pool.AddCert(certified.Certificate())
	certified.Close()
	c := &collector{client: &tls.Config{RootCAs: pool, ServerName: "example.com"}, misbehave: misbehave}
	var err error
	c.listener, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	must(t, err)
	c.address = c.listener.Addr().String()
	var wg sync.WaitGroup
	done, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			conn, err := c.listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(t, done, conn.(*tls.Conn)) })
		}
	})
	t.Cleanup(func() {
		cancel()
		c.listener.Close()
		wg.Wait()
	})
	return c
}

func (c *collector) serve(t *testing.T, done context.Context, conn *tls.Conn) {
	defer conn.Close()
	c.mu.Lock()
	c.conns++
	how := c.misbehave(c.conns)
	c.mu.Unlock()
	if how == "cut" {
		defer conn.NetConn().Close() // before the TLS connection: no close_notify
	}
	r := bufio.NewReader(conn)
	for n := 0; ; n++ {
		length, err := r.ReadString(' ')
		if err == io.EOF && length == "" {
			if how == "open" {
				<-done.Done()
			}
			return
		}
		size, err2 := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil || err2 != nil || length[0] == '0' {
			if how == "" {
				t.Errorf("a frame begins with %q: %v", length, errors.Join(err, err2))
			}
			return
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(r, message); err != nil {
			t.Errorf("a message is cut: %v", err)
			return
		}
		c.mu.Lock()
		c.messages = append(c.messages, string(message))
		c.mu.Unlock()
		if n == 2 && how != "" && how != "open" {
			return
		}
	}
}

func (c *collector) got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

// rfc5424 is the grammar of section 6 as far as these messages go: HEADER, one SD-ELEMENT, MSG.
var rfc5424 = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) \[meta sequenceId="([1-9]\d{0,9})"\] (?s:(.*))$`)

// TestMessages: what arrives is RFC 5424, with the line as its message.
func TestMessages(t *testing.T) {
	_, want := newLog(t)
	c := collect(t, func(int) string { return "" })
	s, err := syslog.New(c.address, syslog.Options{TLS: c.client, Hostname: "app-1.example.com", MaxMessage: 8 << 10})
	must(t, err)
	if n, err := s.Deliver(t.Context(), want); n != len(want) || err != nil {
		t.Fatalf("%d of %d: %v", n, len(want), err)
	}
	got := c.got()
	if len(got) != len(want) {
		t.Fatalf("%d messages of %d events", len(got), len(want))
	}
	cut := 0
	for i, message := range got {
		e := want[i]
		part := rfc5424.FindStringSubmatch(message)
		if part == nil {
			t.Errorf("no message of RFC 5424: %q", message)
			continue
		}
		priority := map[string]string{"Informational": "110", "Low": "108", "Medium": "108", "High": "106"}[e.Severity]
		when, err := time.Parse(time.RFC3339Nano, part[2])
		if part[1] != priority || err != nil || !when.Equal(e.Time) || part[3] != "app-1.example.com" || part[4] != "strongroom" || part[5] != "-" || part[6] != string(e.Code) ||
			part[7] != strconv.FormatInt(e.Index+1, 10) {
			t.Errorf("%q of %s", part[:8], e.Raw)
		}
		switch {
		case len(message) > 8<<10:
			t.Errorf("a message has %d bytes", len(message))
		case part[8] == string(e.Raw):
		case len(e.Raw) < 7<<10 || !strings.Contains(part[8], `"uid":"`+e.UID+`"`) || strings.Contains(part[8], "xxx"):
			t.Errorf("the message is %s", part[8])
		default:
			cut++
		}
	}
	if cut == 0 {
		t.Error("no message was too long")
	}
}

// TestLostConnections: what a connection may have lost is sent again. In the end all has arrived,
// and what is there twice has one uid.
func TestLostConnections(t *testing.T) {
	dir, want := newLog(t)
	c := collect(t, func(conn int) string { return []string{"", "cut", "", "reset", "", "open"}[conn%6] })
	s, err := syslog.New(c.address, syslog.Options{TLS: c.client})
	must(t, err)
	sh, err := sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), s, &sink.Options{Batch: 5, Timeout: time.Second})
	must(t, err)
	defer sh.Close()
	failures := 0
	for n := 1; n > 0 || err != nil; {
		if n, err = sh.Round(t.Context()); err != nil {
			failures++
		}
	}
	seen := map[string]int{}
	for _, m := range c.got() {
		part := rfc5424.FindStringSubmatch(m)
		if part == nil {
			t.Fatalf("no message of RFC 5424: %q", m)
		}
		seen[part[8]]++
	}
	for _, e := range want {
		if seen[string(e.Raw)] == 0 {
			t.Errorf("event %d has not arrived", e.Index)
		}
	}
	if len(seen) != len(want) || len(c.got()) <= len(want) || failures < 3 {
		t.Errorf("%d messages, %d different ones of %d events, %d failures", len(c.got()), len(seen), len(want), failures)
	}
}

// TestRefuses what would send events where anybody can read them, or to a server that nobody has vouched for.
func TestRefuses(t *testing.T) {
	_, want := newLog(t)
	c := collect(t, func(int) string { return "shy" }) // no handshake comes about
	for what, config := range map[string]*tls.Config{"the system's roots": nil, "another name": {RootCAs: c.client.RootCAs, ServerName: "siem.example.org"}} {
		s, err := syslog.New(c.address, syslog.Options{TLS: config})
		must(t, err)
		if n, err := s.Deliver(t.Context(), want); err == nil || n != 0 {
			t.Errorf("%s: %d events, %v", what, n, err)
		}
	}
	// A server without TLS.
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer plain.Close()
	go func() {
		for {
			conn, err := plain.Accept()
			if err != nil {
				return
			}
			data := make([]byte, 1024)
			n, _ := conn.Read(data)
			if strings.Contains(string(data[:n]), "strongroom") {
				t.Error("an event was sent in the clear")
			}
			conn.Close()
		}
	}()
	s, err := syslog.New(plain.Addr().String(), syslog.Options{TLS: c.client})
	must(t, err)
	if n, err := s.Deliver(t.Context(), want); err == nil || n != 0 {
		t.Errorf("without TLS: %d events, %v", n, err)
	}
	if len(c.got()) != 0 {
		t.Errorf("%d messages arrived", len(c.got()))
	}
	for problem, f := range map[string]func() (sink.Sink, error){
		"InsecureSkipVerify": func() (sink.Sink, error) {
			return syslog.New("siem.example.com", syslog.Options{TLS: &tls.Config{InsecureSkipVerify: true}})
		},
		"the form host:port": func() (sink.Sink, error) { return syslog.New("tls://user:secret@host", syslog.Options{}) },
		"Hostname":           func() (sink.Sink, error) { return syslog.New("h", syslog.Options{Hostname: "a b"}) },
		"2,048":              func() (sink.Sink, error) { return syslog.New("h", syslog.Options{MaxMessage: 100}) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", problem, err)
		}
	}
}
