// Package blobstore is the bucket that the benchmarks of objects are over.
package blobstore

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// Store is a bucket in memory without what gocloud.dev's own memory driver spends: an MD5 of each object, and
// buffers that grow by copying. What is measured over it is what is done above the store. A key's buffer is used
// again for its next version, so no object may be read while it is written.
type Store struct {
	driver.Bucket // nil: what the rows do not use panics
	mu            sync.Mutex
	objects       map[string]*object
}

type object struct {
	body []byte
	next []byte // a spare buffer
	at   driver.Attributes
}

// New returns an empty store.
func New() *Store { return &Store{objects: map[string]*object{}} }

var errNoObject = errors.New("no such object")

func (s *Store) ErrorCode(err error) gcerrors.ErrorCode {
	if errors.Is(err, errNoObject) {
		return gcerrors.NotFound
	}
	return gcerrors.Unknown
}

func (s *Store) ErrorAs(error, any) bool { return false }

func (s *Store) Close() error { return nil }

func (s *Store) get(key string) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[key]; ok {
		return o, nil
	}
	return nil, errNoObject
}

func (s *Store) Attributes(_ context.Context, key string) (*driver.Attributes, error) {
	o, err := s.get(key)
	if err != nil {
		return nil, err
	}
	a := o.at
	return &a, nil
}

// ListPaged lists all in one page, which is what a tenant's first access to a bucket asks for.
func (s *Store) ListPaged(_ context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := &driver.ListPage{}
	for key, o := range s.objects {
		if strings.HasPrefix(key, opts.Prefix) {
			page.Objects = append(page.Objects, &driver.ListObject{Key: key, ModTime: o.at.ModTime, Size: o.at.Size})
		}
	}
	slices.SortFunc(page.Objects, func(a, b *driver.ListObject) int { return strings.Compare(a.Key, b.Key) })
	return page, nil
}

func (s *Store) NewRangeReader(_ context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	o, err := s.get(key)
	if err != nil {
		return nil, err
	}
	body := o.body[min(offset, int64(len(o.body))):]
	if length >= 0 && length < int64(len(body)) {
		body = body[:length]
	}
	return &reader{body, o}, nil
}

type reader struct {
	left []byte
	o    *object
}

func (r *reader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *reader) Close() error { return nil }

func (r *reader) As(any) bool { return false }

func (r *reader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{ContentType: r.o.at.ContentType, ModTime: r.o.at.ModTime, Size: r.o.at.Size}
}

func (s *Store) NewTypedWriter(_ context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	if o == nil {
		o = &object{}
		s.objects[key] = o
	}
	return &writer{s, o, o.next[:0], driver.Attributes{ContentType: contentType, Metadata: opts.Metadata}}, nil
}

type writer struct {
	s    *Store
	o    *object
	body []byte
	at   driver.Attributes
}

func (w *writer) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}

func (w *writer) Close() error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.at.Size, w.at.ModTime = int64(len(w.body)), time.Now()
	w.o.next, w.o.body, w.o.at = w.o.body, w.body, w.at
	return nil
}
