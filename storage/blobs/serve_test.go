package blobs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage"
)

// Every kind of request that http.ServeContent knows, by one access and one request of the range to the store.
func TestServe(t *testing.T) { eachNaming(t, testServe) }

func testServe(t *testing.T) {
	w := newWeb(t, nil)
	content := pattern(3*plainSegmentSize + 77)
	must(t, w.bucket.WriteAll(w.a, "scan", content, &blob.WriterOptions{ContentType: "image/x", ContentLanguage: "de",
		ContentDisposition: `inline; filename="knee \"1\".png"`, CacheControl: "public, max-age=3600", Metadata: map[string]string{"patient": "jane"}}))
	token := w.sign(t, w.a, Grant{Method: "GET", Key: "scan"})
	whole := do(t, "GET", w.url, token, "")
	tag := whole.header.Get("ETag")
	for name, want := range map[string]string{
		"Content-Type": "image/x", "Content-Language": "de", "Content-Disposition": `attachment; filename="knee \"1\".png"`,
		"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; sandbox", "Content-Length": fmt.Sprint(len(content)), "Vary": "Authorization",
	} {
		if got := whole.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if len(tag) < 20 || whole.header.Get("Last-Modified") == "" || strings.Contains(fmt.Sprint(whole.header), "jane") {
		t.Errorf("got %v", whole.header)
	}
	size := int64(len(content))
	one := 2 // requests to the store, and events in the trail: an intent and an outcome
	for _, c := range []struct {
		name, method string
		header       []string
		status       int
		want         []byte
		asked        int
		fetched      int64 // at most
	}{
		{"whole", "GET", nil, 200, content, one, size * 2},
		{"head", "HEAD", nil, 200, nil, 1, 0},
		{"a range", "GET", []string{"Range", "bytes=100-199"}, 206, content[100:200], one, objectHeaderSize + segmentSize},
		{"a range over an edge", "GET", []string{"Range", "bytes=65479-65600"}, 206, content[65479:65601], one, objectHeaderSize + 2*segmentSize},
		{"a range within a later segment", "GET", []string{"Range", "bytes=140000-140999"}, 206, content[140000:141000], one, segmentSize},
		{"the rest", "GET", []string{"Range", "bytes=196600-"}, 206, content[196600:], one, segmentSize},
		{"over the end", "GET", []string{"Range", "bytes=196600-999999"}, 206, content[196600:], one, segmentSize},
		{"the last bytes", "GET", []string{"Range", "bytes=-9"}, 206, content[size-9:], 3, segmentSize},
		{"more last bytes than there are", "GET", []string{"Range", "bytes=-999999"}, 206, content, 3, size * 2},
		{"behind the end", "GET", []string{"Range", "bytes=999999-"}, 416, nil, one, segmentSize},
		{"no range", "GET", []string{"Range", "lines=1-2"}, 200, content, one, size * 2},
		{"a range backwards", "GET", []string{"Range", "bytes=9-5"}, 416, nil, one, size * 2},
		{"ranges", "GET", []string{"Range", "bytes=1-2,4-5"}, 200, content, one, size * 2},
		{"two headers of ranges", "GET", []string{"Range", "bytes=1-2", "Range", "bytes=4-5"}, 200, content, one, size * 2},
		{"this version's range", "GET", []string{"Range", "bytes=5-6", "If-Range", tag}, 206, content[5:7], one, objectHeaderSize + segmentSize},
		{"another version's range", "GET", []string{"Range", "bytes=5-6", "If-Range", `"x"`}, 200, content, 4, size * 2},
		{"unchanged", "GET", []string{"If-None-Match", tag}, 304, nil, one, size * 2},
		{"changed", "GET", []string{"If-Match", `"x"`}, 412, nil, one, size * 2},
	} {
		w.log.take()
		w.asked.requests, w.asked.fetched = nil, 0
		got := do(t, c.method, w.url, token, "", c.header...)
		if got.status != c.status || got.err != nil || c.want != nil && got.body != string(c.want) || c.method == "HEAD" && got.header.Get("Content-Length") != fmt.Sprint(size) {
			t.Errorf("%s: %d, %d bytes, %v", c.name, got.status, len(got.body), got.err)
		}
		if len(w.asked.requests) != c.asked || w.asked.fetched > c.fetched {
			t.Errorf("%s: the store was asked for %q", c.name, w.asked.requests)
		}
		read := int64(0)
		for _, e := range w.log.take() {
			if e.Status != audit.Success || (e.Code != audit.CodeBlobRead && c.method == "GET") {
				t.Errorf("%s: recorded %s %s", c.name, e.Code, e.Status)
			}
			read += max(e.Bytes, 0)
		}
		if read != int64(len(c.want)) {
			t.Errorf("%s: %d bytes are recorded as read, %d were sent", c.name, read, len(c.want))
		}
	}
	absent := do(t, "GET", w.url, w.sign(t, w.a, Grant{Method: "GET", Key: "absent"}), "")
	foreign := do(t, "GET", w.url, w.sign(t, w.b, Grant{Method: "GET", Key: "scan"}), "")
	if absent.status != 404 || foreign.status != 404 || absent.body != foreign.body {
		t.Errorf("absent: %d %q, foreign: %d %q", absent.status, absent.body, foreign.status, foreign.body)
	}
	for _, err := range w.failures() {
		if strings.Contains(err.Error(), token) {
			t.Errorf("%v has a token in it", err)
		}
	}
}

// What an uploader made up, a browser is not to run.
func TestServeInline(t *testing.T) {
	for stored, want := range map[string][2]string{ // default, inline
		"":                               {"attachment", ""},
		"inline":                         {"attachment", "inline"},
		"inline; filename=x.html":        {"attachment; filename=x.html", "inline; filename=x.html"},
		"attachment; filename*=UTF-8''ü": {"attachment", "attachment; filename*=UTF-8''ü"},
	} {
		for i, inline := range []bool{false, true} {
			w := newWeb(t, &HandlerOptions{Inline: inline, CacheControl: "private, max-age=60"})
			must(t, w.bucket.WriteAll(w.a, "page", []byte("<script>"), &blob.WriterOptions{ContentType: "text/html", ContentDisposition: stored}))
			got := do(t, "GET", w.url, w.sign(t, w.a, Grant{Method: "GET", Key: "page"}), "")
			if d := got.header.Get("Content-Disposition"); d != want[i] || got.header.Get("Cache-Control") != "private, max-age=60" {
				t.Errorf("%q, inline %v: got %q", stored, inline, d)
			}
		}
	}
}

// An object that turns out to be damaged, or is replaced, while it is being sent: the client sees that the answer is not
// whole, with a Content-Length or without one, and what it got was there.
func TestServeBreaksOff(t *testing.T) { eachNaming(t, testServeBreaksOff) }

func testServeBreaksOff(t *testing.T) {
	w := newWeb(t, nil)
	content := pattern(4 << 20)
	for _, encoding := range []string{"", "gzip"} { // http.ServeContent gives no Content-Length with an encoding
		must(t, w.bucket.WriteAll(w.a, "k", content, &blob.WriterOptions{ContentType: "x/y", ContentEncoding: encoding}))
		name := w.nameOf(t, alice, "k")
		object := getRaw(t, w.inner, name)
		object.body[len(object.body)-1] ^= 1
		putRaw(t, w.inner, name, object)
		token := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
		w.log.take()
		got := do(t, "GET", w.url, token, "", "Accept-Encoding", "gzip")
		if got.status != 200 || got.err == nil || len(got.body) >= len(content) || !bytes.HasPrefix(content, []byte(got.body)) {
			t.Errorf("encoding %q: %d, %d bytes, %v", encoding, got.status, len(got.body), got.err)
		}
		if alerts(w.log.take()) != 1 {
			t.Errorf("encoding %q: no alert", encoding)
		}
		failed := w.failures()
		if len(failed) == 0 {
			t.Fatalf("encoding %q: nothing was reported", encoding)
		}
		wantIs(t, failed[len(failed)-1], storage.ErrIsolation)
	}
	object := getRaw(t, w.inner, w.nameOf(t, alice, "k"))
	object.body[headersSize] ^= 1
	putRaw(t, w.inner, w.nameOf(t, alice, "k"), object)
	token := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	if got := do(t, "GET", w.url, token, ""); got.status != 500 || got.body != "Internal Server Error\n" || got.header.Get("ETag") != "" {
		t.Errorf("damaged at its beginning: %d %q", got.status, got.body)
	}
	// The log that does not take the outcome.
	must(t, w.bucket.WriteAll(w.a, "k", content, nil))
	w.log.set(func(e *audit.Event) bool { return e.Phase == audit.Outcome })
	if got := do(t, "GET", w.url, token, ""); got.err == nil {
		t.Error("an outcome that was not recorded passes for success")
	}
}

// The size and the content of a range from the end are found by two openings: they must be of one version.
func TestServeOneVersion(t *testing.T) { eachNaming(t, testServeOneVersion) }

func testServeOneVersion(t *testing.T) {
	w := newWorld(t)
	store := memory()
	plain := w.wrap(t, store, "records")
	inner := &racing{bucketDriver: innerDriver(store)}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	must(t, plain.WriteAll(w.a, "k", bytes.Repeat([]byte("a"), 100), nil))
	c := &content{bucket: guarded(b), ctx: w.a, key: "k"}
	must(t, c.open(0, 0))
	must(t, plain.WriteAll(w.a, "k", bytes.Repeat([]byte("b"), 100), nil))
	_, err := c.Seek(-9, io.SeekEnd)
	must(t, err)
	if got, err := io.ReadAll(c); err == nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
	must(t, c.close())
	// Replaced between the attributes and the content of one opening: the tag is that of the content.
	inner.times, inner.replace = 1, func() { must(t, plain.WriteAll(w.a, "k", bytes.Repeat([]byte("c"), 100), nil)) }
	raced := &content{bucket: guarded(b), ctx: w.a, key: "k"}
	must(t, raced.open(0, -1))
	got, err := io.ReadAll(raced)
	must(t, err)
	must(t, raced.close())
	calm := &content{bucket: guarded(b), ctx: w.a, key: "k"}
	must(t, calm.open(0, 1))
	must(t, calm.close())
	if string(got) != strings.Repeat("c", 100) || !bytes.Equal(raced.headers, calm.headers) {
		t.Errorf("got %q under the tag of another version", got)
	}
}

// cutting is a TCP proxy that cuts each connection after some bytes of the answer.
func cutting(t testing.TB, to string, after int64) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client) }()
				_, _ = io.CopyN(client, server, after)
			}()
		}
	}()
	return listener.Addr().String()
}

// download reads one answer into sum, and returns how many bytes it had.
func download(t testing.TB, url, token string, from int64, tag string, into hash.Hash) (n int64, newTag string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		request.Header.Set("If-Range", tag)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	must(t, err)
	defer response.Body.Close()
	want := http.StatusOK
	if from > 0 {
		want = http.StatusPartialContent
	}
	if response.StatusCode != want {
		t.Fatalf("from %d: %s", from, response.Status)
	}
	n, err = io.CopyBuffer(into, bufio.NewReaderSize(struct{ io.Reader }{response.Body}, 1<<16), make([]byte, 1<<16))
	return n, response.Header.Get("ETag"), err
}

// A gigabyte goes up and comes down over HTTP, the connection is cut again and again, and the client resumes; all in a
// few segments of memory.
func TestResumeGigabyte(t *testing.T) {
	if testing.Short() {
		t.Skip("a gigabyte on disk")
	}
	const size = 1 << 30
	w := newWorld(t)
	b := w.wrap(t, fileBucket(t, t.TempDir()), "records")
	signer, err := NewSigner(newHandle(t, aead.AES256GCMKeyTemplate()), nil)
	must(t, err)
	h, err := NewHandler(b, signer, nil)
	must(t, err)
	direct := (&web{}).serve(t, h)
	block := pattern(1 << 20)
	sent := sha256.New()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)

	put, err := signer.Sign(w.a, b, Grant{Method: "PUT", Key: "scan", MaxBytes: size})
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, direct, io.TeeReader(io.LimitReader(&endless{block: block}, size), sent))
	must(t, err)
	request.ContentLength = size
	request.Header.Set("Authorization", "Bearer "+put)
	response, err := http.DefaultTransport.RoundTrip(request)
	must(t, err)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusNoContent {
		t.Fatal(response.Status)
	}

	get, err := signer.Sign(w.a, b, Grant{Method: "GET", Key: "scan"})
	must(t, err)
	at, err := url.Parse(direct)
	must(t, err)
	at.Host = cutting(t, at.Host, 300<<20)
	got, tag, received, cuts := sha256.New(), "", int64(0), 0
	for received < size {
		n, newTag, err := download(t, at.String(), get, received, tag, got)
		if tag != "" && newTag != tag {
			t.Fatalf("another version: %s, not %s", newTag, tag)
		}
		tag = newTag
		received += n
		if err != nil {
			cuts++
		}
		if n == 0 || cuts > 10 {
			t.Fatalf("no progress at %d: %v", received, err)
		}
	}
	runtime.ReadMemStats(&after)
	if received != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) || cuts != 3 {
		t.Errorf("received %d bytes by %d cuts; equal: %v", received, cuts, bytes.Equal(got.Sum(nil), sent.Sum(nil)))
	}
	// Both ends and the proxy are in here; what grew with the object would be a thousand times that.
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d MB were allocated for %d MB up and down", n>>20, size>>20)
	}
}

// endless repeats a block.
type endless struct {
	block []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.block[e.at:])
	e.at = (e.at + n) % len(e.block)
	return n, nil
}

// A client that goes away ends what the handler does for it.
func TestServeClientGone(t *testing.T) {
	w := newWeb(t, nil)
	must(t, w.bucket.WriteAll(w.a, "k", pattern(32<<20), nil))
	token := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	w.log.take()
	done := make(chan struct{})
	w.log.set(func(e *audit.Event) bool {
		if e.Phase == audit.Outcome {
			if e.Bytes <= 0 || e.Bytes >= 32<<20 {
				t.Errorf("%d bytes are recorded as read", e.Bytes)
			}
			close(done)
		}
		return false
	})
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultTransport.RoundTrip(request)
	must(t, err)
	_, err = io.ReadFull(response.Body, make([]byte, 1<<20))
	must(t, err)
	cancel()
	<-done
	if _, err := io.ReadAll(response.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_ = response.Body.Close()
}
