package natstest

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// link is a network line from one node to another. While it is cut, nothing comes through and new
// connections get no answer, as behind a firewall that drops packets.
type link struct {
	listener net.Listener
	mu       sync.Mutex
	isCut    bool
	conns    map[net.Conn]bool
}

func newLink(port int) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, conns: map[net.Conn]bool{}}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
			if err != nil {
				from.Close()
				continue
			}
			l.mu.Lock()
			l.conns[from], l.conns[to] = true, true
			l.mu.Unlock()
			go l.pump(to, from)
			go l.pump(from, to)
		}
	}()
	return l, nil
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) pump(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		isCut := l.isCut
		l.mu.Unlock()
		if n > 0 && !isCut {
			_, err2 := to.Write(buf[:n])
			if err2 != nil && err == nil {
				err = err2
			}
		}
		if err != nil {
			if err != io.EOF || !isCut {
				to.Close()
			}
			from.Close()
			l.mu.Lock()
			delete(l.conns, from)
			l.mu.Unlock()
			return
		}
	}
}

// cut cuts or mends the line. Connections that lost something are closed when it is mended, since
// what follows would make no sense.
func (l *link) cut(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut && !is {
		for c := range l.conns {
			c.Close()
		}
	}
	l.isCut = is
}

// hostsDialer connects to a port of this machine whatever it is asked for, as a name in a hosts file does.
type hostsDialer int

func (p hostsDialer) Dial(string, string) (net.Conn, error) {
	return net.Dial("tcp", fmt.Sprint("127.0.0.1:", int(p)))
}
