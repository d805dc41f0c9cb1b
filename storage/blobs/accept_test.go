package blobs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
)

// What a PUT stores is what was sent, sealed, with the content type it came with, recorded with its bytes.
func TestAccept(t *testing.T) { eachNaming(t, testAccept) }

func testAccept(t *testing.T) {
	w := newWeb(t, nil)
	content := pattern(3*plainSegmentSize + 1)
	for _, c := range []struct {
		name        string
		grant       Grant
		contentType string
		body        []byte
		status      int
		stored      string // content type
	}{
		{"new", Grant{Key: "new"}, "image/x", content, 204, "image/x"},
		{"again", Grant{Key: "new"}, "image/y", content[1:], 204, "image/y"},
		{"empty", Grant{Key: "empty"}, "", nil, 204, storedContentType},
		{"a page without a type", Grant{Key: "page"}, "", []byte("<html>"), 204, storedContentType},
		{"as granted", Grant{Key: "typed", ContentType: "text/x; a=b"}, "text/x; a=b", content, 204, "text/x; a=b"},
		{"just within the limit", Grant{Key: "limit", MaxBytes: 100}, "x/y", content[:100], 204, "x/y"},
		{"create only", Grant{Key: "once", CreateOnly: true}, "x/y", content, 201, "x/y"},
	} {
		c.grant.Method = "PUT"
		var header []string
		if c.contentType != "" {
			header = []string{"Content-Type", c.contentType}
		}
		token := w.sign(t, w.a, c.grant)
		w.log.take()
		got := do(t, "PUT", w.url, token, string(c.body), header...)
		events := w.log.take()
		stored, err := w.bucket.ReadAll(w.a, c.grant.Key)
		must(t, err)
		attrs, err := w.bucket.Attributes(w.a, c.grant.Key)
		must(t, err)
		if got.status != c.status || !bytes.Equal(stored, c.body) || attrs.ContentType != c.stored {
			t.Errorf("%s: %d; the object has %d bytes, %s", c.name, got.status, len(stored), attrs.ContentType)
		}
		if len(events) != 2 || events[0].Code != audit.CodeBlobWrite || events[1].Bytes != int64(len(c.body)) || !strings.HasPrefix(events[0].Request, "grant:") {
			t.Errorf("%s: recorded %+v", c.name, events)
		}
	}
	// The other tenant has none of it.
	if exists, err := w.bucket.Exists(w.b, "new"); exists || err != nil {
		t.Errorf("got %v, %v", exists, err)
	}
	if got := do(t, "DELETE", w.url, w.sign(t, w.a, Grant{Method: "DELETE", Key: "new"}), ""); got.status != 204 {
		t.Errorf("DELETE: %d", got.status)
	}
	if got := do(t, "DELETE", w.url, w.sign(t, w.a, Grant{Method: "DELETE", Key: "new"}), ""); got.status != 404 {
		t.Errorf("DELETE again: %d", got.status)
	}
}

// What is not accepted leaves what was there before: nothing, or the object it would have replaced.
func TestAcceptRefuses(t *testing.T) {
	w := newWeb(t, nil)
	big := strings.Repeat("x", 200_000)
	for _, c := range []struct {
		name, body string
		grant      Grant
		header     []string
		status     int
	}{
		{"over the limit", big, Grant{MaxBytes: 199_999}, nil, 413},
		{"over the limit, in chunks", big, Grant{MaxBytes: 199_999}, []string{"chunked", ""}, 413},
		{"a range", "x", Grant{}, []string{"Content-Range", "bytes 0-0/9"}, 400},
		{"encoded", "x", Grant{}, []string{"Content-Encoding", "gzip"}, 415},
		{"a type that cannot be kept", "x", Grant{}, []string{"Content-Type", strings.Repeat("x", 3000)}, 400},
	} {
		for _, key := range []string{"absent", "k"} {
			c.grant.Method, c.grant.Key = "PUT", key
			token := w.sign(t, w.a, c.grant)
			var got answer
			if len(c.header) > 0 && c.header[0] == "chunked" {
				request, err := http.NewRequestWithContext(t.Context(), "PUT", w.url, struct{ io.Reader }{strings.NewReader(c.body)})
				must(t, err)
				request.Header.Set("Authorization", "Bearer "+token)
				response, err := http.DefaultTransport.RoundTrip(request)
				must(t, err)
				must(t, response.Body.Close())
				got.status = response.StatusCode
			} else {
				got = do(t, "PUT", w.url, token, c.body, c.header...)
			}
			if got.status != c.status {
				t.Errorf("%s: %d", c.name, got.status)
			}
			unchanged(t, w, c.name)
		}
	}
	token := w.sign(t, w.a, Grant{Method: "PUT", Key: "k", CreateOnly: true})
	if got := do(t, "PUT", w.url, token, "x"); got.status != 412 {
		t.Errorf("to replace an object with a token to create it: %d", got.status)
	}
	unchanged(t, w, "create only")
	token = w.sign(t, w.a, Grant{Method: "PUT", Key: "absent"})
	w.log.set(func(*audit.Event) bool { return true })
	if got := do(t, "PUT", w.url, token, "x"); got.status != 503 {
		t.Errorf("without a log: %d", got.status)
	}
	w.log.set(nil)
	unchanged(t, w, "without a log")
}

func unchanged(t testing.TB, w *web, what string) {
	t.Helper()
	if got, err := w.bucket.ReadAll(w.a, "k"); err != nil || !bytes.Equal(got, contentOf(w.a)) {
		t.Errorf("%s: the object is now %d bytes, %v", what, len(got), err)
	}
	_, err := w.bucket.Attributes(w.a, "absent")
	wantCode(t, err, gcerrors.NotFound)
}

// An upload whose connection breaks leaves no object, however it was framed and wherever it breaks.
func TestAcceptBrokenUpload(t *testing.T) {
	w := newWeb(t, nil)
	at, err := url.Parse(w.url)
	must(t, err)
	for _, framing := range []string{"Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186A0\r\n"} {
		for _, n := range []int{0, 1, 1000, 70_000, 99_999} {
			for _, key := range []string{"absent", "k"} {
				outcome := make(chan audit.Event, 1)
				w.log.set(func(e *audit.Event) bool {
					if e.Code == audit.CodeBlobWrite && e.Phase == audit.Outcome {
						outcome <- *e
					}
					return false
				})
				conn, err := net.Dial("tcp", at.Host)
				must(t, err)
				out := bufio.NewWriter(conn)
				fmt.Fprintf(out, "PUT / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s", w.sign(t, w.a, Grant{Method: "PUT", Key: key}), framing)
				_, err = out.Write(pattern(n))
				must(t, err)
				must(t, out.Flush())
				must(t, conn.Close())
				if e := <-outcome; e.Status != audit.Failure || e.Bytes != 0 {
					t.Errorf("%d bytes: recorded %s, %d bytes", n, e.Status, e.Bytes)
				}
				w.log.set(nil)
				unchanged(t, w, fmt.Sprintf("%d bytes", n))
				if names := rawNames(t, w.inner); len(names) != 2 {
					t.Errorf("%d bytes: the store has %q", n, names)
				}
			}
		}
	}
}

// A client that makes its PUT or DELETE conditional (RFC 9110, 13) does not lose what it meant to protect: the one
// condition that stores know is kept, and with another nothing is done.
func TestConditionalChanges(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWeb(t, nil)
		content := string(contentOf(w.a))
		for _, c := range []struct {
			method, name, value, key string
			status                   int
		}{
			{"PUT", "If-None-Match", "*", "k", 412},
			{"PUT", "If-None-Match", "*", "new", 201},
			{"PUT", "If-None-Match", `"x"`, "k", 501},
			{"PUT", "If-Match", `"x"`, "k", 501},
			{"PUT", "If-Match", "*", "other", 501},
			{"PUT", "If-Unmodified-Since", "Sat, 29 Oct 1994 19:43:31 GMT", "k", 501},
			{"DELETE", "If-Match", `"x"`, "k", 501},
			{"DELETE", "If-None-Match", "*", "k", 501},
			{"DELETE", "If-Unmodified-Since", "Sat, 29 Oct 1994 19:43:31 GMT", "k", 501},
		} {
			what := c.method + " " + c.key + " " + c.name + ": " + c.value
			if got := do(t, c.method, w.url, w.sign(t, w.a, Grant{Method: c.method, Key: c.key}), "replaced", c.name, c.value); got.status != c.status {
				t.Errorf("%s: %d", what, got.status)
			}
			if got, err := w.bucket.ReadAll(w.a, "k"); err != nil || string(got) != content {
				t.Errorf("%s: the object is %q, %v", what, got, err)
				must(t, w.bucket.WriteAll(w.a, "k", []byte(content), nil))
			}
		}
		if exists, err := w.bucket.Exists(w.a, "other"); exists || err != nil {
			t.Errorf("a condition that was not met made an object: %v, %v", exists, err)
		}
		if got, err := w.bucket.ReadAll(w.a, "new"); err != nil || string(got) != "replaced" {
			t.Errorf("a condition that was met: %q, %v", got, err)
		}
	})
}
