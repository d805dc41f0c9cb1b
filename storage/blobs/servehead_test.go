package blobs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"gocloud.dev/blob"
)

// An object that was cut to the size of an empty one is not served as that, however it is asked for.
func TestServeCutToNothing(t *testing.T) {
	eachNaming(t, func(t *testing.T) {
		w := newWeb(t, nil)
		must(t, w.bucket.WriteAll(w.a, "k", pattern(1000), nil))
		must(t, w.bucket.WriteAll(w.a, "empty", nil, nil))
		name := w.nameOf(t, alice, "k")
		object := getRaw(t, w.inner, name)
		object.body = object.body[:SealedOverhead]
		putRaw(t, w.inner, name, object)
		for _, asked := range []string{"", "bytes=-5", "bytes=-0", "bytes=", "bytes=-", "bytes=0-", "bytes=0-0", "bytes=1-", "bytes=x", "bytes=0-1,-5"} {
			var header []string
			if asked != "" {
				header = []string{"Range", asked}
			}
			if got := do(t, "GET", w.url, w.sign(t, w.a, Grant{Method: "GET", Key: "k"}), "", header...); got.status < 400 && got.err == nil {
				t.Errorf("%q: %d, %d bytes", asked, got.status, len(got.body))
			}
			// One that is empty is.
			got := do(t, "GET", w.url, w.sign(t, w.a, Grant{Method: "GET", Key: "empty"}), "", header...)
			if got.err != nil || got.status >= 500 || got.status < 300 && got.body != "" {
				t.Errorf("empty, %q: %d, %q, %v", asked, got.status, got.body, got.err)
			}
		}
	})
}

// A proxy that speaks HTTP/1.0 knows no chunks: what is broken off has a length all the same, or it would be kept as the whole.
func TestServeBreaksOffWithoutChunks(t *testing.T) {
	w := newWeb(t, nil)
	content := pattern(4 << 20)
	for _, encoding := range []string{"", "gzip"} {
		must(t, w.bucket.WriteAll(w.a, "k", content, &blob.WriterOptions{ContentType: "x/y", ContentEncoding: encoding}))
		token := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
		get := func(header string) (*http.Response, []byte, error) {
			u, err := url.Parse(w.url)
			must(t, err)
			conn, err := net.Dial("tcp", u.Host)
			must(t, err)
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nAuthorization: Bearer %s\r\n%s\r\n", u.Path, token, header)
			must(t, err)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			body, err := io.ReadAll(response.Body)
			return response, body, err
		}
		whole, body, err := get("")
		if err != nil || !bytes.Equal(body, content) || whole.ContentLength != int64(len(content)) {
			t.Errorf("encoding %q: %d bytes of %d, %v", encoding, len(body), whole.ContentLength, err)
		}
		tag := whole.Header.Get("ETag")
		for header, want := range map[string]int{"If-None-Match: " + tag: 304, "If-Match: \"x\"": 412, "Range: bytes=5-6": 206, "Range: bytes=99999999-": 416} {
			if got, body, err := get(header + "\r\n"); got.StatusCode != want || err != nil || want == 206 && string(body) != string(content[5:7]) {
				t.Errorf("encoding %q, %s: %d, %d bytes, %v", encoding, header, got.StatusCode, len(body), err)
			}
		}
		name := w.nameOf(t, alice, "k")
		object := getRaw(t, w.inner, name)
		object.body[len(object.body)-1] ^= 1
		putRaw(t, w.inner, name, object)
		if _, body, err := get(""); err == nil || len(body) >= len(content) {
			t.Errorf("encoding %q, damaged: %d bytes of %d pass for the whole, %v", encoding, len(body), len(content), err)
		}
	}
}

// Ranges are for GET alone, and two versions of one second are not put together by their date.
func TestServeRangesThatAreNone(t *testing.T) {
	w := newWeb(t, nil)
	must(t, w.bucket.WriteAll(w.a, "k", []byte("0123456789"), &blob.WriterOptions{ContentType: "text/x-note"}))
	token := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	whole := do(t, "HEAD", w.url, token, "")
	for _, ranges := range []string{"bytes=1-2", "bytes=1-2,4-5", "bytes=-1", "bytes=99-"} {
		if got := do(t, "HEAD", w.url, token, "", "Range", ranges); got.status != http.StatusOK || got.header.Get("Content-Length") != "10" ||
			got.header.Get("Content-Type") != "text/x-note" || got.header.Get("Content-Range") != "" {
			t.Errorf("HEAD of %s: %d %v", ranges, got.status, got.header)
		}
	}
	for _, condition := range []string{whole.header.Get("Last-Modified"), "W/" + whole.header.Get("ETag"), "x"} {
		if got := do(t, "GET", w.url, token, "", "Range", "bytes=1-2", "If-Range", condition); got.status != http.StatusOK || got.body != "0123456789" {
			t.Errorf("a range if the version is of %q: %d %q", condition, got.status, got.body)
		}
	}
	if got := do(t, "GET", w.url, token, "", "Range", "bytes=1-2", "If-Range", whole.header.Get("ETag")); got.status != http.StatusPartialContent || got.body != "12" {
		t.Errorf("a range of the version: %d %q", got.status, got.body)
	}
}

// While a server shuts down, what could not be asked is not there already.
func TestAcceptByAClosedBucket(t *testing.T) {
	w := newWeb(t, nil)
	once := w.sign(t, w.a, Grant{Method: "PUT", Key: "new", CreateOnly: true})
	put := w.sign(t, w.a, Grant{Method: "PUT", Key: "new"})
	must(t, w.bucket.Close())
	for _, got := range []answer{do(t, "PUT", w.url, once, "x"), do(t, "PUT", w.url, put, "x", "If-None-Match", "*"), do(t, "PUT", w.url, put, "x")} {
		if got.status != http.StatusInternalServerError {
			t.Errorf("got %d", got.status)
		}
	}
}

// A header that makes a body something else than the object is seen wherever it stands.
func TestAcceptHeadersThatComeSecond(t *testing.T) {
	w := newWeb(t, nil)
	token := w.sign(t, w.a, Grant{Method: "PUT", Key: "new"})
	for name, want := range map[string]int{"Content-Range": http.StatusBadRequest, "Content-Encoding": http.StatusUnsupportedMediaType} {
		if got := do(t, "PUT", w.url, token, "x", name, "", name, "bytes 5-5/9"); got.status != want {
			t.Errorf("%s: %d", name, got.status)
		}
	}
}
