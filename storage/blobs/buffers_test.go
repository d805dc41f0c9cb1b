package blobs

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// driverReader opens an object past the portable type.
func driverReader(t testing.TB, b *blob.Bucket, ctx contextT, key string) *reader {
	t.Helper()
	r, err := guarded(b).NewRangeReader(ctx, key, 0, -1, &driver.ReaderOptions{})
	must(t, err)
	return r.(*reader)
}

// A buffer that goes to another object has nothing in it of the one before, and a closed reader has no buffer.
func TestBuffersAreCleared(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	must(t, b.WriteAll(w.b, "secret", bytes.Repeat([]byte("secret"), 20_000), nil))
	must(t, b.WriteAll(w.a, "k", pattern(20_000), nil))
	r := driverReader(t, b, w.b, "secret")
	_, err := io.ReadFull(r, make([]byte, 100))
	must(t, err)
	held := r.object.buf
	if held == nil || !bytes.Contains(held.bytes, []byte("secretsecret")) {
		t.Fatal("the buffer is not where the content is; what does this test see?")
	}
	must(t, r.Close())
	if !bytes.Equal(held.bytes, make([]byte, segmentSize)) {
		t.Error("a buffer that is let go still has content")
	}
	other := driverReader(t, b, w.a, "k")
	if n, err := r.Read(make([]byte, 100)); n > 0 || !errors.Is(err, errReaderClosed) {
		t.Errorf("a closed reader read %d bytes, %v", n, err)
	}
	must(t, r.Close()) // again: a buffer is let go once
	one, two := guarded(b).buffers.get(segmentSize), guarded(b).buffers.get(segmentSize)
	if one == two || one == other.object.buf || two == other.object.buf {
		t.Error("two objects have one buffer")
	}
	if got, err := io.ReadAll(other); err != nil || !bytes.Equal(got, pattern(20_000)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	must(t, other.Close())
}

// gatedReads is a store whose reads, once gated, announce themselves and wait.
type gatedReads struct {
	bucketDriver
	gated         bool
	began, let    chan struct{}
	closed        chan struct{}
	alreadyClosed sync.Once
}

func (g *gatedReads) NewRangeReader(ctx contextT, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := g.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
	return &gatedReader{r, g}, err
}

type gatedReader struct {
	driver.Reader
	g *gatedReads
}

func (r *gatedReader) Read(p []byte) (int, error) {
	if r.g.gated {
		r.g.began <- struct{}{}
		<-r.g.let
	}
	return r.Reader.Read(p)
}

func (r *gatedReader) Close() error {
	r.g.alreadyClosed.Do(func() { close(r.g.closed) })
	return r.Reader.Close()
}

// Closing a reader does not wait for a Read that hangs, and leaves that one its buffer.
func TestCloseDuringRead(t *testing.T) {
	w := newWorld(t)
	inner := &gatedReads{bucketDriver: innerDriver(memory()), began: make(chan struct{}), let: make(chan struct{}), closed: make(chan struct{})}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	must(t, b.WriteAll(w.a, "k", pattern(fourSegments), nil))
	r := driverReader(t, b, w.a, "k")
	first := make([]byte, plainSegmentSize-streamHeaderSize)
	_, err := io.ReadFull(r, first)
	must(t, err)
	inner.gated = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.Read(make([]byte, 10)) // the second segment
	}()
	<-inner.began
	held := r.object.buf
	must(t, r.object.close())
	<-inner.closed
	for range 4 { // whatever the pool holds
		if guarded(b).buffers.get(segmentSize) == held {
			t.Error("a buffer that is being read into was given to another object")
		}
	}
	inner.gated = false
	close(inner.let)
	<-done
}

// Readers of two tenants that are closed in the middle of reads, at once and over and over, never return anything but
// their own object. Run it with the race detector.
func TestBuffersOfManyReaders(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	contents := map[contextT][]byte{w.a: bytes.Repeat([]byte("alice "), 30_000), w.b: bytes.Repeat([]byte("bob's "), 30_000)}
	for ctx, content := range contents {
		must(t, b.WriteAll(ctx, "k", content, nil))
	}
	var all sync.WaitGroup
	for ctx, content := range contents {
		for worker := range 4 {
			all.Go(func() {
				for i := range 30 {
					r, err := guarded(b).NewRangeReader(ctx, "k", 0, -1, &driver.ReaderOptions{})
					if err != nil {
						t.Error(err)
						return
					}
					p := make([]byte, 1000+worker)
					for at, reads := 0, 0; i%3 > 0 || reads < i; reads++ { // to the end, or left in the middle
						n, err := r.Read(p)
						if !bytes.Equal(p[:n], content[at:at+n]) {
							t.Error("a reader returned what is not in its object")
							return
						}
						if at += n; err != nil {
							break
						}
					}
					if err := r.Close(); err != nil {
						t.Error(err)
						return
					}
					if n, err := r.Read(p); n > 0 || err == nil {
						t.Errorf("a closed reader returned %d bytes, %v", n, err)
					}
				}
			})
		}
	}
	all.Wait()
}

// A reader that was closed during a Read gives nothing afterwards, and what the trail says was read is what was returned
// before.
func TestNoReadAfterCloseDuringRead(t *testing.T) {
	w := newWorld(t)
	inner := &gatedReads{bucketDriver: innerDriver(memory()), began: make(chan struct{}), let: make(chan struct{}), closed: make(chan struct{})}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	must(t, b.WriteAll(w.a, "k", pattern(fourSegments), nil))
	r := driverReader(t, b, w.a, "k")
	_, err := io.ReadFull(r, make([]byte, plainSegmentSize-streamHeaderSize))
	must(t, err)
	inner.gated = true
	done := make(chan int)
	go func() {
		n, _ := r.Read(make([]byte, 10))
		done <- n
	}()
	<-inner.began
	w.log.take()
	must(t, r.Close())
	if events := w.log.take(); len(events) != 1 || events[0].Bytes != plainSegmentSize-streamHeaderSize {
		t.Errorf("recorded %+v", events)
	}
	inner.gated = false
	close(inner.let)
	if n := <-done; n > 0 {
		t.Errorf("the Read that was under way returned %d bytes after Close had recorded how many there were", n)
	}
	if n, err := r.Read(make([]byte, 100)); n > 0 || !errors.Is(err, errReaderClosed) {
		t.Errorf("a closed reader read %d bytes, %v", n, err)
	}
}
