package blobs

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
)

// A request with conditions and a range is answered as net/http answers it for a file, but for ranges that are not taken: several, and
// those for HEAD and by a date, of which the answer is the whole.
func TestServeAnswersAsNetHTTPDoes(t *testing.T) {
	w := newWeb(t, nil)
	content := pattern(200_000)
	must(t, w.bucket.WriteAll(w.a, "large", content, nil))
	must(t, w.bucket.WriteAll(w.a, "empty", nil, nil))
	h, err := NewHandler(w.bucket, w.signer, nil)
	must(t, err)
	for key, content := range map[string][]byte{"large": content, "empty": nil} {
		token := w.sign(t, w.a, Grant{Method: "GET", Key: key})
		ask := func(h http.Handler, method string, header map[string]string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, "/", nil)
			for name, value := range header {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			r.Header.Set("Authorization", "Bearer "+token)
			to := httptest.NewRecorder()
			h.ServeHTTP(to, r)
			return to
		}
		whole := ask(h, "GET", nil)
		tag, date := whole.Header().Get("ETag"), whole.Header().Get("Last-Modified")
		modified, err := http.ParseTime(date)
		must(t, err)
		before, after := modified.Add(-time.Hour).Format(http.TimeFormat), modified.Add(time.Hour).Format(http.TimeFormat)
		file := http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
			to.Header().Set("ETag", tag)
			to.Header().Set("Content-Type", storedContentType)
			http.ServeContent(to, r, "", modified, bytes.NewReader(content))
		})
		n := 0
		for _, method := range []string{"GET", "HEAD"} {
			for _, ranges := range []string{"", "bytes=0-", "bytes=0-0", "bytes=100000-", "bytes=65000-70000", "bytes=199999-", "bytes=0-999999", "bytes=-1", "bytes=-70000", "bytes=-999999", "bytes=200000-",
				"bytes=5-2", "bytes=-0", "bytes=x", "lines=1-2", "bytes=0-1,5-9"} {
				for _, ifRange := range []string{"", tag, `"other"`, "W/" + tag, date, before} {
					for _, conditions := range []map[string]string{nil, {"If-None-Match": tag}, {"If-None-Match": `"x", W/` + tag}, {"If-None-Match": `"x"`}, {"If-None-Match": "*"},
						{"If-Match": tag}, {"If-Match": `"x"`}, {"If-Match": "*"}, {"If-Modified-Since": date}, {"If-Modified-Since": before}, {"If-Modified-Since": after},
						{"If-Unmodified-Since": before}, {"If-Unmodified-Since": date}, {"If-None-Match": `"x"`, "If-Modified-Since": after}, {"If-Match": tag, "If-Unmodified-Since": before}} {
						header := map[string]string{"Range": ranges, "If-Range": ifRange}
						for name, value := range conditions {
							header[name] = value
						}
						got := ask(h, method, header)
						if method == "HEAD" || strings.Contains(ranges, ",") || !strings.HasPrefix(ranges, "bytes=") || ifRange != "" && !strings.HasPrefix(ifRange, `"`) {
							delete(header, "Range")
						}
						want := ask(file, method, header)
						n++
						same := got.Code == want.Code && bytes.Equal(got.Body.Bytes(), want.Body.Bytes())
						for _, name := range []string{"Content-Length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges"} {
							same = same && fmt.Sprint(got.Header().Values(name)) == fmt.Sprint(want.Header().Values(name))
						}
						if !same {
							t.Errorf("%s of %s, %v: %d, %d bytes, %v; net/http: %d, %d bytes, %v", method, key, header, got.Code, got.Body.Len(), got.Header(), want.Code, want.Body.Len(), want.Header())
						}
					}
				}
			}
		}
		t.Logf("%s: %d requests", key, n)
	}
}

// bursting is an answer whose writing ends the goroutine that serves.
type bursting struct{ http.ResponseWriter }

func (bursting) Write([]byte) (int, error) { panic(http.ErrAbortHandler) }

// Where a middleware ends a request by a panic the object is closed and the outcome recorded.
func TestServeEndedByAPanic(t *testing.T) {
	w := newWeb(t, nil)
	must(t, w.bucket.WriteAll(w.a, "k", pattern(1<<20), nil))
	h, err := NewHandler(w.bucket, w.signer, nil)
	must(t, err)
	token := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	for _, ranges := range []string{"", "bytes=70000-", "bytes=-100000"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		w.log.take()
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("the panic was lost")
				}
			}()
			h.ServeHTTP(bursting{httptest.NewRecorder()}, r)
		}()
		begun := map[string]int{}
		for _, e := range w.log.take() {
			switch e.Phase {
			case audit.Intent:
				begun[e.Correlation]++
			case audit.Outcome:
				begun[e.Correlation]--
			}
		}
		for id, n := range begun {
			if n != 0 {
				t.Errorf("%q: %s has no outcome", ranges, id)
			}
		}
	}
}
