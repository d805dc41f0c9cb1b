package blobs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
)

// edges are the offsets of plaintext around which segments meet, in an object of the given size.
func edges(size int64) (offsets []int64) {
	for at := int64(0); at <= size+plainSegmentSize; at += plainSegmentSize {
		for d := int64(-1); d <= 1; d++ {
			offsets = append(offsets, at+d, at-streamHeaderSize+d)
		}
	}
	return append(offsets, size-1, size, size+1, size+1000)
}

// Every range of objects of every interesting size is what the plaintext has there.
func TestRanges(t *testing.T) { eachNaming(t, testRanges) }

func testRanges(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	content := pattern(3*plainSegmentSize + 77)
	first := int64(plainSegmentSize - streamHeaderSize)
	for _, size := range []int64{
		0, 1, 2, 4096, first - 1, first, first + 1, first + plainSegmentSize - 1, first + plainSegmentSize,
		first + plainSegmentSize + 1, int64(len(content)),
	} {
		must(t, b.WriteAll(w.a, "k", content[:size], nil))
		a, err := b.Attributes(w.a, "k")
		must(t, err)
		if a.Size != size {
			t.Errorf("the size of %d bytes is %d", size, a.Size)
		}
		for _, offset := range edges(size) {
			for _, length := range []int64{-1, 0, 1, 2, 100, first, plainSegmentSize, plainSegmentSize + 1, size} {
				if offset < 0 {
					continue
				}
				r, err := b.NewRangeReader(w.a, "k", offset, length, nil)
				if err != nil {
					t.Fatalf("%d bytes, range [%d, +%d): %v", size, offset, length, err)
				}
				got, err := io.ReadAll(r)
				if want := clip(content[:size], offset, length); err != nil || !bytes.Equal(got, want) || r.Size() != size {
					t.Fatalf("%d bytes, range [%d, +%d): got %d bytes of %d, %v, want %d", size, offset, length, len(got), r.Size(), err, len(want))
				}
				must(t, r.Close())
			}
		}
	}
}

// What this package writes Tink reads, and what Tink writes this package reads.
func TestTinkReadsAndWrites(t *testing.T) { eachNaming(t, testTinkReadsAndWrites) }

func testTinkReadsAndWrites(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	k, err := tenantkeys.Open(w.a, w.ring, alice)
	must(t, err)
	ad := envelope.BlobAD(nil, alice, "records", "k")
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		content := pattern(random.IntN(4 * plainSegmentSize))
		must(t, b.WriteAll(w.a, "k", content, nil))
		object := getRaw(t, inner, w.nameOf(t, alice, "k"))
		id, err := envelope.ParseBlobHeader(object.body[:objectHeaderSize])
		must(t, err)
		primitive, ok := k.BlobsByID(id)
		if !ok {
			t.Fatalf("the tenant has no key %d", id)
		}
		r, err := primitive.NewDecryptingReader(bytes.NewReader(object.body[objectHeaderSize:]), ad)
		must(t, err)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("Tink reads %d of %d bytes: %v", len(got), len(content), err)
		}

		var sealed bytes.Buffer
		sealed.Write(envelope.AppendBlobHeader(nil, k.BlobKeyID()))
		sw, err := k.Blobs().NewEncryptingWriter(&sealed, ad)
		must(t, err)
		_, err = sw.Write(content)
		must(t, err)
		must(t, sw.Close())
		// The attributes are of the first version: their headers are the hint that does not fit.
		putRaw(t, inner, w.nameOf(t, alice, "k"), raw{sealed.Bytes(), object.meta})
		offset, length := random.Int64N(int64(len(content))+1), random.Int64N(int64(len(content))+1)
		got, err = readRange(b, w.a, "k", offset, length)
		if err != nil || !bytes.Equal(got, clip(content, offset, length)) {
			t.Fatalf("range [%d, +%d) of what Tink wrote: %d bytes, %v", offset, length, len(got), err)
		}
	}
}

// counting counts what is asked of the inner store.
type counting struct {
	bucketDriver
	requests []string
	fetched  int64
}

func (c *counting) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	c.requests = append(c.requests, "attributes")
	return c.bucketDriver.Attributes(ctx, key)
}

func (c *counting) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	c.requests = append(c.requests, fmt.Sprintf("range %d+%d", offset, length))
	c.fetched += length
	return c.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
}

// A range costs the attributes and one request of just its segments.
func TestRangeRequests(t *testing.T) { eachNaming(t, testRangeRequests) }

func testRangeRequests(t *testing.T) {
	w := newWorld(t)
	inner := &counting{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	must(t, b.WriteAll(w.a, "k", pattern(10*plainSegmentSize), nil))
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, 10, fmt.Sprintf("range 0+%d", objectHeaderSize+segmentSize)},
		{5*plainSegmentSize + 100, 4096, fmt.Sprintf("range %d+%d", objectHeaderSize+5*segmentSize, segmentSize)},
		{5 * plainSegmentSize, plainSegmentSize, fmt.Sprintf("range %d+%d", objectHeaderSize+5*segmentSize, 2*segmentSize)},
		{9*plainSegmentSize + 100, -1, fmt.Sprintf("range %d+%d", objectHeaderSize+9*segmentSize, segmentSize+streamHeaderSize+tagSize)},
	} {
		inner.requests = nil
		_, err := readRange(b, w.a, "k", c.offset, c.length)
		must(t, err)
		if len(inner.requests) != 2 || inner.requests[0] != "attributes" || inner.requests[1] != c.want {
			t.Errorf("[%d, +%d): the store was asked for %q, want the attributes and %q", c.offset, c.length, inner.requests, c.want)
		}
	}
}

// racing replaces the object between the request for its attributes and the one for its content, some times.
type racing struct {
	bucketDriver
	times   int
	replace func()
}

func (r *racing) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if r.times > 0 {
		r.times--
		r.replace()
	}
	return r.bucketDriver.NewRangeReader(ctx, key, offset, length, o)
}

// An object that is replaced while it is being opened is one version or the other, and no alert.
func TestReplacedWhileOpening(t *testing.T) { eachNaming(t, testReplacedWhileOpening) }

func testReplacedWhileOpening(t *testing.T) {
	w := newWorld(t)
	store := memory()
	plain := w.wrap(t, store, "records")
	inner := &racing{bucketDriver: innerDriver(store)}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	old, same := pattern(3*plainSegmentSize), bytes.Repeat([]byte{1}, 3*plainSegmentSize)
	shorter, longer := bytes.Repeat([]byte{2}, 2*plainSegmentSize+5), bytes.Repeat([]byte{3}, 5*plainSegmentSize)
	for _, newer := range [][]byte{same, shorter, longer} {
		for _, at := range [][2]int64{{0, -1}, {0, 5}, {100, 5}, {plainSegmentSize, -1}, {2*plainSegmentSize + 1, 5}} {
			for times := 1; times <= openAttempts; times++ {
				must(t, plain.WriteAll(w.a, "k", old, nil))
				inner.replace = func() { must(t, plain.WriteAll(w.a, "k", newer, nil)) }
				inner.times = times
				w.log.take()
				got, err := readRange(b, w.a, "k", at[0], at[1])
				switch {
				case err == nil && !bytes.Equal(got, clip(newer, at[0], at[1])) && !bytes.Equal(got, clip(old, at[0], at[1])):
					t.Errorf("range %v, replaced %d times: what came out is of neither version", at, times)
				case err != nil && times < openAttempts-1:
					t.Errorf("range %v, replaced %d times: %v", at, times, err)
				}
				if alerts(w.log.take()) != 0 {
					t.Errorf("range %v, replaced %d times: an alert", at, times)
				}
			}
		}
	}
}

// Standard library code that reads by ranges works on sealed objects: a web server, and a reader's own tests.
func TestServeContent(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	content := pattern(2*plainSegmentSize + 9)
	must(t, b.WriteAll(w.a, "scan", content, &blob.WriterOptions{ContentType: "image/x"}))
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		o, err := b.NewReader(w.a, "scan", nil)
		must(t, err)
		defer o.Close()
		rw.Header().Set("Content-Type", o.ContentType())
		http.ServeContent(rw, r, "", o.ModTime(), o)
	})
	for _, c := range []struct {
		header string
		status int
		want   []byte
	}{
		{"", 200, content},
		{"bytes=65479-65600", 206, content[65479:65601]},
		{"bytes=-9", 206, content[len(content)-9:]},
	} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Range", c.header)
		response := httptest.NewRecorder()
		handler(response, request)
		if response.Code != c.status || !bytes.Equal(response.Body.Bytes(), c.want) {
			t.Errorf("%q: got %d and %d bytes", c.header, response.Code, response.Body.Len())
		}
	}
	r, err := b.NewReader(w.a, "scan", nil)
	must(t, err)
	defer r.Close()
	must(t, iotest.TestReader(r, content))
}

// A failed reader stays failed: it does not go on behind the damage, nor end as if the object did.
func TestReaderStaysFailed(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	content := pattern(fourSegments)
	must(t, b.WriteAll(w.a, "k", content, nil))
	name := w.nameOf(t, alice, "k")
	object := getRaw(t, inner, name)
	object.body[objectHeaderSize+segmentSize+7] ^= 1
	putRaw(t, inner, name, object)
	r, err := b.NewReader(w.a, "k", nil)
	must(t, err)
	_, first := io.ReadAll(r)
	for range 10 {
		n, err := r.Read(make([]byte, 100))
		if n != 0 || err == nil || err == io.EOF || err.Error() != first.Error() {
			t.Fatalf("got %d, %v after %v", n, err, first)
		}
	}
	_ = r.Close()
}

func FuzzLayout(f *testing.F) {
	for _, n := range []int64{0, 63, 64, 65, 65600, 131136} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, stored int64) {
		l, ok := layoutOf(stored)
		if !ok {
			return
		}
		if l.size < 0 || l.segments < 1 || (l.size == 0) != (stored == SealedOverhead) {
			t.Fatalf("%d: %+v", stored, l)
		}
		start, end := l.bounds(l.segments - 1)
		if end != stored || end-start < tagSize || end-start > segmentSize {
			t.Fatalf("%d: the last segment is [%d, %d)", stored, start, end)
		}
		if l.size > 0 && l.segmentOf(l.size-1) != l.segments-1 {
			t.Fatalf("%d: the last byte is in segment %d of %d", stored, l.segmentOf(l.size-1), l.segments)
		}
		if plain := l.size - l.plainStart(l.segments-1); plain != end-start-tagSize {
			t.Fatalf("%d: the last segment has %d bytes of plaintext in %d", stored, plain, end-start)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range hostileKeys() {
		f.Add(s, s+"/x")
	}
	s := scopeOf(alice)
	f.Fuzz(func(t *testing.T, a, b string) {
		nameA, errA := s.name(a)
		nameB, errB := s.name(b)
		if errA != nil || errB != nil {
			return
		}
		if key, ok := s.key(nameA); !ok || key != a {
			t.Fatalf("%q is %q is %q", a, nameA, key)
		}
		if (a < b) != (nameA < nameB) {
			t.Fatalf("%q and %q are not in the order of %q and %q", a, b, nameA, nameB)
		}
		if bytes.HasPrefix([]byte(b), []byte(a)) != bytes.HasPrefix([]byte(nameB), []byte(nameA)) {
			t.Fatalf("%q and %q do not begin with each other as %q and %q do", a, b, nameA, nameB)
		}
		for i, segment := range bytes.Split([]byte(nameA), []byte("/")) {
			last := i == bytes.Count([]byte(nameA), []byte("/"))
			if string(segment) == "." || string(segment) == ".." || len(segment) == 0 && !last {
				t.Fatalf("%q is %q", a, nameA)
			}
		}
	})
}
