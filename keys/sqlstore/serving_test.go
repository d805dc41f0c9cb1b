//go:build unix

package sqlstore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/sqlstore/pgxlisten"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// bound is the documented default of keys.Options.SuspendWithin.
const bound = 5 * time.Second

// TestASuspensionIsEverywhereWithinItsBound has three processes serve a tenant, each in a loop, while another suspends
// it: no access that begins later than the bound after Suspend returned may succeed, whatever is between the processes
// and the store.
func TestASuspensionIsEverywhereWithinItsBound(t *testing.T) {
	server := testenv.Postgres(t)
	for _, x := range []struct {
		name   string
		listen bool
		before func(*testing.T, *line) // a while before the suspension
		during func(*line)             // just before it
	}{
		{"reachable", false, nil, nil},
		{"listening", true, nil, nil},
		{"unreachable", false, nil, func(l *line) { l.set(cut) }},
		{"hanging", false, nil, func(l *line) { l.set(hang) }},
		{"listening and hanging", true, nil, func(l *line) { l.set(hang) }},
		// An answer is on its way, which is from before the suspension.
		{"slow", false, answersLate, func(*line) { time.Sleep(bound * 17 / 20) }},
		{"slow and cut", false, answersLate, func(l *line) { time.Sleep(bound * 17 / 20); l.set(cut) }},
		{"after a failure", false, pastFailure, nil},
		{"after a failure, unreachable", false, pastFailure, func(l *line) { l.set(cut) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			if testing.Short() && x.before != nil {
				t.Skip("it takes a quarter of a minute")
			}
			t.Parallel()
			dir, database := t.TempDir(), server.NewDatabase(t)
			create(t, openDB(t, "pgx", database.OwnerURL), dialect.PostgreSQL)
			// Who suspends has a way of its own.
			operator := openRing(t, openKEK(t, dir), newStore(t, openDB(t, "pgx", database.AppURL), dialect.PostgreSQL), keys.Options{})
			must(t, operator.Provision(t.Context(), idA))
			l := newLine(t, database.AppURL)
			var all []*serving
			for range 3 {
				all = append(all, serve(t, dir, l.url, x.listen))
				time.Sleep(time.Second) // they ask at different times
			}
			if x.before != nil {
				x.before(t, l)
			}
			for _, s := range all {
				s.wait(t) // it serves now
			}
			if x.during != nil {
				x.during(l)
			}
			must(t, operator.Suspend(t.Context(), idA, "measured"))
			returned := time.Now()
			time.Sleep(bound + 2*time.Second) // a process that goes on for longer than it may is seen to
			l.set(through)
			var last time.Duration
			for _, s := range all {
				last = max(last, s.end(t).Sub(returned))
			}
			t.Logf("the last access began %v after Suspend had returned", last.Round(time.Millisecond))
			if last > bound {
				t.Errorf("a process served the tenant %v after it was suspended", last)
			}
		})
	}
}

// pastFailure has the store be away until every process has noticed.
func pastFailure(t *testing.T, l *line) {
	l.set(cut)
	time.Sleep(bound + time.Second)
	l.set(through)
}

func answersLate(_ *testing.T, l *line) {
	l.set(slow)
	time.Sleep(bound)
}

// serving is a process that serves the tenant.
type serving struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

func serve(t *testing.T, dir, url string, listen bool) *serving {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServingProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), "STRONGROOM_TEST_SERVING="+dir, "STRONGROOM_TEST_DATABASE="+url, fmt.Sprintf("STRONGROOM_TEST_LISTEN=%t", listen))
	cmd.Stderr = os.Stderr
	s := &serving{cmd: cmd}
	var err error
	s.stdin, err = cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	s.out = bufio.NewReader(out)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	s.wait(t)
	return s
}

// wait has the process serve once more, and returns when it has.
func (s *serving) wait(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(s.stdin, "\n")
	must(t, err)
	s.line(t, "serving")
}

// end ends the process, and returns when its last access that succeeded began.
func (s *serving) end(t *testing.T) time.Time {
	t.Helper()
	must(t, s.stdin.Close())
	var nanos int64
	if _, err := fmt.Sscan(s.line(t, "last "), &nanos); err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, nanos)
}

// line returns what follows the prefix in the process's next line that has it. A process that does not say it is ended, long after it should
// have, or the test would not end.
func (s *serving) line(t *testing.T, prefix string) string {
	t.Helper()
	defer time.AfterFunc(5*time.Minute, func() { s.cmd.Process.Kill() }).Stop()
	for {
		text, err := s.out.ReadString('\n')
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return strings.TrimSpace(rest)
		}
		if err != nil {
			t.Fatalf("the process ended: %v, %q", err, text)
		}
	}
}

// TestServingProcess is no test: it is a process of the one above. It serves the tenant in a loop, says so for each line
// that it reads, and at the end of its input when its last access began.
func TestServingProcess(t *testing.T) {
	dir := os.Getenv("STRONGROOM_TEST_SERVING")
	if dir == "" {
		t.Skip("for a process of TestASuspensionIsEverywhereWithinItsBound")
	}
	db := openDB(t, "pgx", os.Getenv("STRONGROOM_TEST_DATABASE"))
	o := new(sqlstore.Options)
	if os.Getenv("STRONGROOM_TEST_LISTEN") == "true" {
		o.Listen = pgxlisten.DB(db)
	}
	store, err := sqlstore.Open(t.Context(), db, dialect.PostgreSQL, o)
	must(t, err)
	r := openRing(t, openKEK(t, dir), store, keys.Options{})
	var asked, ended atomic.Bool
	go func() {
		in := bufio.NewReader(os.Stdin)
		for {
			if _, err := in.ReadString('\n'); err != nil {
				ended.Store(true)
				return
			}
			asked.Store(true)
		}
	}()
	var last time.Time
	for !ended.Load() {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		k, err := r.Tenant(ctx, idA)
		cancel()
		switch {
		case err == nil:
			if k.ID() != idA {
				t.Fatal("another tenant's keys")
			}
			if asked.Swap(false) {
				fmt.Println("serving")
			}
			last = began
		case !errors.Is(err, keys.ErrUnavailable) && !errors.Is(err, keys.ErrSuspended):
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	fmt.Printf("last %d\n", last.UnixNano())
}

// condition is what becomes of what is sent over a line.
type condition int32

const (
	through condition = iota
	cut               // connections are refused, and those there are end
	hang              // nothing arrives any more
	slow              // answers arrive two seconds late, but for those by which a connection is made, which would take longer than anybody waits
)

// line is a TCP proxy before the database.
type line struct {
	url    string
	server string
	state  atomic.Int32

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newLine(t *testing.T, database string) *line {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	l := &line{server: u.Host, conns: map[net.Conn]bool{}}
	u.Host = ln.Addr().String()
	l.url = u.String()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go l.carry(c)
		}
	}()
	return l
}

// set changes the line. What hung before is lost.
func (l *line) set(c condition) {
	was := condition(l.state.Swap(int32(c)))
	l.mu.Lock()
	defer l.mu.Unlock()
	if c == cut || was == hang {
		for conn := range l.conns {
			conn.Close()
		}
	}
}

func (l *line) carry(client net.Conn) {
	defer client.Close()
	if condition(l.state.Load()) == cut {
		return
	}
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		return
	}
	defer server.Close()
	l.mu.Lock()
	l.conns[client], l.conns[server] = true, true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, client)
		delete(l.conns, server)
	}()
	go func() { l.copy(server, client, 0); server.Close() }()
	l.copy(client, server, 2*time.Second)
}

// ready is how the server's first ReadyForQuery begins: https://www.postgresql.org/docs/current/protocol-message-formats.html
var ready = []byte("Z\x00\x00\x00\x05")

func (l *line) copy(to, from net.Conn, late time.Duration) {
	buf := make([]byte, 32<<10)
	for made := false; ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		switch condition(l.state.Load()) {
		case cut:
			return
		case hang:
			continue // and wait for the connection's end
		case slow:
			if made {
				time.Sleep(late)
			}
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		made = made || bytes.Contains(buf[:n], ready)
	}
}
