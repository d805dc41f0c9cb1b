package blobs

import (
	"context"
	"errors"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// tardy is a store in which a write that was given up comes to be all the same, once what it would have written is deleted.
type tardy struct {
	bucketDriver
	began func(n int)
	n     int
	late  map[string]driver.Writer
}

type tardyWriter struct {
	driver.Writer
	t    *tardy
	ctx  context.Context
	name string
}

func (s *tardy) NewTypedWriter(ctx context.Context, name, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	w, err := s.bucketDriver.NewTypedWriter(context.WithoutCancel(ctx), name, contentType, &driver.WriterOptions{Metadata: o.Metadata})
	if err == nil && strings.HasPrefix(name, stagingPrefix(alice)) {
		s.n++
		s.began(s.n)
		w = &tardyWriter{w, s, ctx, name}
	}
	return w, err
}

func (w *tardyWriter) Close() error {
	if err := w.ctx.Err(); err != nil {
		w.t.late[w.name] = w.Writer
		return err
	}
	return w.Writer.Close()
}

func (s *tardy) Delete(ctx context.Context, name string, o *driver.DeleteOptions) error {
	err := s.bucketDriver.Delete(ctx, name, o)
	if w := s.late[name]; w != nil {
		delete(s.late, name)
		err = errors.Join(err, w.Close())
	}
	return err
}

// A run that is cancelled while it tries the store leaves nothing there, though the store may be slower than whoever gives up.
func TestResealCancelledWhileItTriesTheStore(t *testing.T) {
	for at := 1; at <= 3; at++ {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(w.a)
		inner := &tardy{bucketDriver: innerDriver(memory()), late: map[string]driver.Writer{}, began: func(n int) {
			if n == at {
				cancel()
			}
		}}
		b := w.wrap(t, blob.NewBucket(inner), "records")
		must(t, b.WriteAll(w.a, "x", []byte("x"), nil))
		_, err := Reseal(ctx, b, &ResealOptions{IfMatch: func(func(any) bool, *blob.Attributes) error { return nil }})
		if at < 3 {
			wantIs(t, err, context.Canceled)
		}
		if inner.n != at {
			t.Errorf("cancelled at write %d, it wrote %d times", at, inner.n)
		}
		(&resealed{world: w, inner: inner.b}).nothingStaged(t)
	}
}
