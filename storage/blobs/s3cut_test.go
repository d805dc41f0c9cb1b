package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/storage"
)

// cutter is a TCP proxy whose connections end after some bytes of requests, or of answers, as often as it is told.
type cutter struct {
	listener net.Listener
	to       string
	up, down atomic.Int64 // bytes that each connection may carry; 0 for any number
	times    atomic.Int64 // how many more connections are cut; negative for all
	wasCut   atomic.Int64
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	c := &cutter{listener: listener, to: to}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go c.serve(client)
		}
	}()
	return c
}

func (c *cutter) serve(client net.Conn) {
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = client.Close()
		return
	}
	done := make(chan struct{}, 2)
	carry := func(to, from net.Conn, limit *atomic.Int64) {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 32<<10)
		for carried := int64(0); ; {
			n, err := from.Read(buf)
			carried += int64(n)
			if most := limit.Load(); most > 0 && carried > most && c.cut() {
				return
			}
			if _, writeErr := to.Write(buf[:n]); err != nil || writeErr != nil {
				return
			}
		}
	}
	go carry(server, client, &c.up)
	go carry(client, server, &c.down)
	<-done
	_, _ = client.Close(), server.Close()
	<-done
}

// cut reports whether a connection that has carried enough is to be cut. Several may ask at once.
func (c *cutter) cut() bool {
	for {
		times := c.times.Load()
		if times == 0 {
			return false
		}
		if times < 0 || c.times.CompareAndSwap(times, times-1) {
			c.wasCut.Add(1)
			return true
		}
	}
}

// set cuts so many connections from now on.
func (c *cutter) set(times, up, down int64) {
	c.up.Store(up)
	c.down.Store(down)
	c.wasCut.Store(0)
	c.times.Store(times)
}

// A real S3 server behind a connection that breaks: what the SDK tries again does not corrupt, what it cannot repair is
// an error and no object, a download that broke off is no alert and can be resumed.
func TestS3ConnectionCut(t *testing.T) {
	server := s3env.Server(t)
	name := server.NewBucket(t)
	proxy := newCutter(t, strings.TrimPrefix(server.Endpoint, "http://"))
	behind := *server
	behind.Endpoint = "http://" + proxy.listener.Addr().String()
	w := newWorld(t)
	open := func(s *s3env.S3Server) *blob.Bucket {
		inner, err := s3blob.OpenBucket(t.Context(), s.Client(t), name, nil)
		must(t, err)
		return w.wrap(t, inner, "records")
	}
	direct, b := open(server), open(&behind)
	content := pattern(24 << 20)
	upload := func(key string) error {
		return b.Upload(w.a, key, bytes.NewReader(content), &blob.WriterOptions{ContentType: "x/y", BufferSize: 5 << 20, MaxConcurrency: 2})
	}
	whole := func(key string) {
		t.Helper()
		if got, err := direct.ReadAll(w.a, key); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}

	proxy.set(2, 3<<20, 0)
	must(t, upload("tried again"))
	if proxy.wasCut.Load() != 2 {
		t.Errorf("%d connections were cut", proxy.wasCut.Load())
	}
	whole("tried again")

	proxy.set(-1, 3<<20, 0)
	if err := upload("never through"); err == nil || proxy.wasCut.Load() == 0 {
		t.Errorf("an upload without a connection: %v after %d cuts", err, proxy.wasCut.Load())
	}
	proxy.set(0, 0, 0)
	_, err := direct.Attributes(w.a, "never through")
	wantCode(t, err, gcerrors.NotFound)

	must(t, direct.WriteAll(w.a, "k", content, nil))
	w.log.take()
	proxy.set(1, 0, 9<<20)
	r, err := b.NewReader(w.a, "k", nil)
	must(t, err)
	got, err := io.ReadAll(r)
	if err == nil || errors.Is(err, storage.ErrIsolation) || len(got) == 0 || !bytes.HasPrefix(content, got) || proxy.wasCut.Load() != 1 {
		t.Errorf("a download that broke off: %d bytes, %v", len(got), err)
	}
	_ = r.Close()
	rest, err := readRange(b, w.a, "k", int64(len(got)), -1)
	if err != nil || !bytes.Equal(append(got, rest...), content) {
		t.Errorf("and resumed: %d bytes more, %v", len(rest), err)
	}
	if n := alerts(w.log.take()); n != 0 {
		t.Errorf("%d alerts", n)
	}

	// An upload that is cancelled in the middle leaves nothing, parts included.
	ctx, cancel := context.WithCancel(w.a)
	source := io.MultiReader(bytes.NewReader(content), readerFunc(func([]byte) (int, error) { cancel(); return 0, ctx.Err() }))
	if err := b.Upload(ctx, "cancelled", source, &blob.WriterOptions{ContentType: "x/y", BufferSize: 5 << 20}); err == nil {
		t.Error("a cancelled upload succeeded")
	}
	_, err = direct.Attributes(w.a, "cancelled")
	wantCode(t, err, gcerrors.NotFound)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
