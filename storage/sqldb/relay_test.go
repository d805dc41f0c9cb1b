package sqldb_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// relay is a network between the guard and the server, which can be told to lose what goes one way, and to break.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	holding  string // "", "requests" or "replies"
	held     chan struct{}
}

// newRelay returns a relay to the host of a connection string, and the connection string through it.
func newRelay(t *testing.T, dsn string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{}
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
		r.cut()
		wg.Wait()
	})
	u.Host = r.listener.Addr().String()
	return r, u.String()
}

func (r *relay) pump(to, from net.Conn, what string) {
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
func (r *relay) hold(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holding != what {
		return false
	}
	if r.held != nil {
		close(r.held)
		r.held = nil
	}
	return true
}

// lose loses what goes one way from now on. The channel is closed when something was lost.
func (r *relay) lose(what string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := make(chan struct{})
	r.holding, r.held = what, held
	return held
}

// cut breaks every connection and loses nothing of the next ones.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns, r.holding, r.held = nil, "", nil
}
