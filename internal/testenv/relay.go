package testenv

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Relay is a network between a test and a server, which can be told to lose what goes one way, and to break.
type Relay struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	holding  string // "", "requests" or "replies"
	held     chan struct{}
	last     string // what arrived last, "requests" or "replies"
	trips    int
}

// NewRelay returns a relay to the host of a connection string that is a URL, and the connection string through it. It ends with
// the test.
func NewRelay(t testing.TB, dsn string) (*Relay, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{}
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	server := u.Host
	wg.Go(func() {
		for {
			client, err := r.listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, client, upstream)
			r.mu.Unlock()
			wg.Go(func() { r.pump(upstream, client, "requests") })
			wg.Go(func() { r.pump(client, upstream, "replies") })
		}
	})
	t.Cleanup(func() {
		r.listener.Close()
		r.Cut()
		wg.Wait()
	})
	return r, r.DSN(t, dsn)
}

func (r *Relay) pump(to, from net.Conn, what string) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !r.hold(what) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err == io.EOF || err != nil {
			return
		}
	}
}

// hold tells whether what arrived is to be lost, and that it has arrived.
func (r *Relay) hold(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if what == "requests" && r.last != what {
		r.trips++
	}
	r.last = what
	if r.holding != what {
		return false
	}
	if r.held != nil {
		close(r.held)
		r.held = nil
	}
	return true
}

// DSN returns a connection string that is a URL with the relay in the place of its host.
func (r *Relay) DSN(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = r.listener.Addr().String()
	return u.String()
}

// RoundTrips counts how often requests have arrived since the replies before them. It means something for one connection at a time.
func (r *Relay) RoundTrips() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trips
}

// Lose loses what goes one way, "requests" or "replies", from now on. The channel is closed when something was lost.
func (r *Relay) Lose(what string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := make(chan struct{})
	r.holding, r.held = what, held
	return held
}

// Cut breaks every connection and loses nothing of the next ones.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns, r.holding, r.held = nil, "", nil
}
