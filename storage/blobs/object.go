package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// object reads a range of an opened object. Its first segment is authenticated before open returns it.
type object struct {
	stat     *stat
	headers  []byte       // of the version that is being read; where nothing is read, the attributes' hint
	body     *blob.Reader // nil when no segment is left to fetch
	segments *segments
	next     int64      // the segment that body is at
	mu       sync.Mutex // held by a Read, which may hang, and for buf and plain: see close
	buf      *buffer
	plain    []byte // decrypted and not yet read
	left     int64  // plaintext bytes of the range not yet read

	out    sync.Mutex // for what follows; never held while the store is asked, and taken after mu
	read   int64
	err    error // sticky
	closed bool
}

var errReaderClosed = errors.New("blobs: the reader is closed")

// openAttempts bounds how often an object is looked up again because it was replaced while it was being opened.
const openAttempts = 4

// open opens length bytes of an object from offset; a negative length is to the end. It takes one request for the
// attributes and one for just the segments of the range.
//
// Two requests may see two versions of an object that somebody replaces meanwhile, and a store that is no object
// store (a file with its attributes in another file) may after a crash hold the attributes of a version that never
// came to be. Neither is an attack. So what does not open, or has other attributes than its own, is tried again without trust in the
// attributes' hint, and only an object that stayed as it was while it did not open is an isolation error. One that stayed as it was
// with the attributes of another version is what there is.
func (b *bucket) open(ctx context.Context, k tenantkeys.Keys, key string, p place, offset, length int64) (*object, error) {
	return b.openBeside(ctx, k, key, p, offset, length, b.undisturbed)
}

// openBeside is open where undisturbed keeps writers away while the object is looked at once more.
func (b *bucket) openBeside(ctx context.Context, k tenantkeys.Keys, key string, p place, offset, length int64,
	undisturbed func(context.Context, string) (func(), error)) (*object, error) {
	var before *stat
	for attempt := 1; ; attempt++ {
		s, err := b.stat(ctx, k, key, p)
		if err != nil {
			return nil, err
		}
		o, err := b.openVersion(ctx, k, key, s, attempt == 1, offset, length)
		if len(p.names) > 1 && b.noObject(err) && attempt < openAttempts {
			continue // it was moved to another name
		}
		torn := err == nil && !bytes.Equal(o.headers, s.sealed.Headers)
		if err == nil && !torn || err != nil && !errors.Is(err, storage.ErrIsolation) && !errors.Is(err, keys.ErrKeyDisabled) {
			return o, err
		}
		if torn || before != nil && same(before.stored, s.stored) {
			// A look after it failed, since what replaced the object may have come between the requests of this attempt.
			switch after, lookErr := b.statBeside(ctx, k, key, p, s.name, undisturbed); {
			case lookErr == nil && same(after.stored, s.stored):
				return o, err
			case lookErr != nil && !torn:
				return nil, err
			}
		}
		if torn {
			if err := o.close(); err != nil {
				return nil, err
			}
		}
		if attempt == openAttempts {
			return nil, errors.New("blobs: the object was replaced again and again while it was being opened; try again")
		}
		before = s
	}
}

// besideWait is how long a reader waits for whoever changes an object on files, which is two renames and a sync. Who takes longer may be
// stopped, and have the lock for good.
const besideWait = 5 * time.Second

// statBeside looks an object up once more, with nobody between its two files where it can be locked, as it cannot on a file system
// that is only read.
func (b *bucket) statBeside(ctx context.Context, k tenantkeys.Keys, key string, p place, name string, undisturbed func(context.Context, string) (func(), error)) (*stat, error) {
	waiting, cancel := context.WithTimeout(ctx, besideWait)
	defer cancel()
	if done, err := undisturbed(waiting, name); err == nil {
		defer done()
	}
	return b.stat(ctx, k, key, p)
}

// undisturbed keeps writers from completing an object on files while it is looked at, between its two files.
func (b *bucket) undisturbed(ctx context.Context, name string) (done func(), err error) {
	if !b.onFiles {
		return notAlone()
	}
	return b.exclusion.alone(ctx, name)
}

func notAlone() (func(), error) { return func() {}, nil }

// same reports whether both are of one version, as far as one can tell.
func same(a, b *blob.Attributes) bool {
	return a.Size == b.Size && a.ETag == b.ETag && a.ModTime.Equal(b.ModTime) && a.Metadata[attributesName] == b.Metadata[attributesName]
}

func (b *bucket) openVersion(ctx context.Context, k tenantkeys.Keys, key string, s *stat, hint bool, offset, length int64) (*object, error) {
	o, name := &object{stat: s, headers: s.sealed.Headers}, s.name
	if length == 0 {
		return o, nil
	}
	// The range is of plaintext bytes [offset, end). One that reaches the end of the object takes in the last
	// segment, whose authentication is what makes the size true, and so does one that begins behind it.
	l := s.layout
	offset = min(offset, l.size)
	end := l.size
	if length > 0 && length < l.size-offset {
		end = offset + length
	}
	o.left = end - offset
	first, last := l.segments-1, l.segments-1
	if offset < l.size {
		first = l.segmentOf(offset)
	}
	if end < l.size {
		last = l.segmentOf(end - 1)
	}
	if err := b.fetch(ctx, o, name, first, last); err != nil {
		return nil, err
	}
	var err error
	if o.headers, err = b.headers(ctx, o, name, first, hint); err == nil {
		o.segments, err = newSegments(k, o.headers, envelope.BlobAD(nil, k.ID(), b.label, key))
	}
	if err == nil {
		err = o.fill()
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	// What the first segment has before the range was authenticated with it, and is not asked for.
	o.plain = o.plain[offset-l.plainStart(first):]
	return o, nil
}

// fetch asks the store for segments first to last, and with the first for the headers before it.
func (b *bucket) fetch(ctx context.Context, o *object, name string, first, last int64) error {
	start, _ := o.stat.layout.bounds(first)
	if first == 0 {
		start = 0
	}
	_, end := o.stat.layout.bounds(last)
	body, err := b.inner.NewRangeReader(ctx, name, start, end-start, nil)
	if err != nil {
		return fromStore(err)
	}
	if body.Size() != o.stat.stored.Size {
		return errors.Join(isolation("the object's size changed"), fromStore(body.Close()))
	}
	o.body, o.next, o.buf = body, first, b.buffers.get(int(min(end-start, segmentSize)))
	return nil
}

// headers returns the object's first bytes: from the body where it begins with them, else from the attributes or,
// without trust in those, from the store.
func (b *bucket) headers(ctx context.Context, o *object, name string, first int64, hint bool) ([]byte, error) {
	h := make([]byte, headersSize)
	switch {
	case first == 0:
		return h, readFull(o.body, h)
	case hint:
		return o.stat.sealed.Headers, nil
	}
	r, err := b.inner.NewRangeReader(ctx, name, 0, headersSize, nil)
	if err != nil {
		return nil, fromStore(err)
	}
	err = readFull(r, h)
	return h, errors.Join(err, fromStore(r.Close()))
}

// fill reads and opens the next segment.
func (o *object) fill() error {
	start, end := o.stat.layout.bounds(o.next)
	sealed := o.buf.bytes[:end-start]
	if err := readFull(o.body, sealed); err != nil {
		return err
	}
	plain, err := o.segments.open(uint32(o.next), o.stat.layout.isLast(o.next), sealed)
	if err != nil {
		return err
	}
	o.plain = plain
	o.next++
	return nil
}

// Read implements io.Reader. Once it failed it fails for good.
func (o *object) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.isClosed() {
		return 0, errReaderClosed
	}
	if o.err != nil || len(p) == 0 {
		return 0, o.err
	}
	if o.left == 0 {
		return 0, io.EOF
	}
	var failed error
	if len(o.plain) == 0 {
		failed = o.fill()
	}
	o.out.Lock()
	defer o.out.Unlock()
	switch {
	case o.closed: // meanwhile, and how much was read is in the trail
		o.plain = nil
		return 0, errReaderClosed
	case failed != nil:
		o.err = failed
		return 0, failed
	}
	if int64(len(o.plain)) > o.left {
		o.plain = o.plain[:o.left]
	}
	n := copy(p, o.plain)
	o.plain = o.plain[n:]
	o.left -= int64(n)
	o.read += int64(n)
	return n, nil
}

func (o *object) isClosed() bool {
	o.out.Lock()
	defer o.out.Unlock()
	return o.closed
}

// outcome returns how many bytes were read, and what failed. After close neither changes.
func (o *object) outcome() (read int64, err error) {
	o.out.Lock()
	defer o.out.Unlock()
	return o.read, o.err
}

// close lets the buffer go to the next object, unless a Read is under way in another goroutine: that one keeps it for
// good, and close does not wait for it, since closing may be what ends it. Neither it nor a later one returns anything.
func (o *object) close() (err error) {
	o.out.Lock()
	o.closed = true
	o.out.Unlock()
	if o.body != nil {
		err = fromStore(o.body.Close())
	}
	if o.mu.TryLock() {
		o.plain = nil
		o.buf.release()
		o.buf = nil
		o.mu.Unlock()
	}
	return err
}

// readFull fills b from the store. It tells a store that fails, whose error it passes on, from one that has less than
// it said, which is a truncated object.
func readFull(r io.Reader, b []byte) error {
	for len(b) > 0 {
		n, err := r.Read(b)
		b = b[n:]
		switch {
		case len(b) == 0:
			return nil
		case err == io.EOF:
			return isolation("the object is shorter than its size in the store")
		case err != nil:
			return fromStore(err)
		}
	}
	return nil
}
