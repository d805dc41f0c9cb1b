package blobs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/tenant"
)

func newHandle(t testing.TB, template *tinkpb.KeyTemplate) *keyset.Handle {
	t.Helper()
	h, err := keyset.NewHandle(template)
	must(t, err)
	return h
}

// web is a handler on a real server, over a bucket in memory in which each tenant has the object "k".
type web struct {
	*world
	bucket, inner *blob.Bucket
	asked         *counting
	handle        *keyset.Handle
	signer        *Signer
	url           string
	clock         time.Time

	mu   sync.Mutex
	errs []error
}

// failures returns what the handler reported so far: before it breaks an answer off, so that a client which has seen that
// finds it here.
func (w *web) failures() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.errs)
}

func newWeb(t testing.TB, opts *HandlerOptions) *web {
	t.Helper()
	w := &web{world: newWorld(t), inner: memory(), clock: time.Unix(1_800_000_000, 0), handle: newHandle(t, aead.AES256GCMKeyTemplate())}
	w.asked = &counting{bucketDriver: innerDriver(w.inner)}
	w.bucket = w.wrap(t, blob.NewBucket(w.asked), "records")
	for _, ctx := range []context.Context{w.a, w.b} {
		must(t, w.bucket.WriteAll(ctx, "k", contentOf(ctx), &blob.WriterOptions{ContentType: "text/x-note"}))
	}
	w.signer = w.newSigner(t, w.handle)
	var o HandlerOptions
	if opts != nil {
		o = *opts
	}
	o.OnError = func(_ *http.Request, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.errs = append(w.errs, err)
	}
	h, err := NewHandler(w.bucket, w.signer, &o)
	must(t, err)
	w.url = w.serve(t, h)
	w.log.take()
	return w
}

func (w *web) serve(t testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/objects/name.txt"
}

func contentOf(ctx context.Context) []byte {
	a, _ := tenant.FromContext(ctx)
	return []byte("the content of " + a.Tenant.String())
}

func (w *web) newSigner(t testing.TB, h *keyset.Handle) *Signer {
	t.Helper()
	s, err := NewSigner(h, nil)
	must(t, err)
	s.now = func() time.Time { return w.clock }
	return s
}

func (w *web) sign(t testing.TB, ctx context.Context, g Grant) string {
	t.Helper()
	token, err := w.signer.Sign(ctx, w.bucket, g)
	must(t, err)
	return token
}

// answer is what a client gets.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func do(t testing.TB, method, url, token, body string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	must(t, err)
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(got), err}
}

// refused checks that an answer is the one that all refusals are.
func refused(t testing.TB, what string, got answer) {
	t.Helper()
	got.header.Del("Date")
	want := http.Header{"Cache-Control": {"no-store"}, "Content-Length": {"10"}, "Content-Type": {"text/plain; charset=utf-8"},
		"Referrer-Policy": {"no-referrer"}, "Vary": {"Authorization"}, "X-Content-Type-Options": {"nosniff"}}
	if got.status != http.StatusForbidden || got.body != "Forbidden\n" || fmt.Sprint(got.header) != fmt.Sprint(want) {
		t.Errorf("%s: got %d %q %v", what, got.status, got.body, got.header)
	}
}

func TestHeaderOnly(t *testing.T) {
	w := newWeb(t, &HandlerOptions{HeaderOnly: true})
	token := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	refused(t, "a parameter", do(t, "GET", w.url+"?token="+token, "", ""))
	if got := do(t, "GET", w.url+"?token=x", token, ""); got.status != 200 {
		t.Errorf("the header: %d", got.status)
	}
}

// What is signed, served and accepted needs its fences.
func TestSignerAndHandlerRefuse(t *testing.T) {
	w := newWeb(t, nil)
	for name, c := range map[string]struct {
		handle *keyset.Handle
		opts   *SignerOptions
		want   string
	}{
		"no keyset":     {nil, nil, "keyset"},
		"weak keyset":   {newHandle(t, aead.AES128GCMKeyTemplate()), nil, "128 bits"},
		"unfit keyset":  {newHandle(t, daead.AESSIVKeyTemplate()), nil, "AES256-GCM"},
		"long life":     {w.handle, &SignerOptions{MaxLifetime: MaxGrantLifetime + 1}, "MaxLifetime"},
		"negative life": {w.handle, &SignerOptions{MaxLifetime: -1}, "MaxLifetime"},
		"plaintext URL": {w.handle, &SignerOptions{URL: "http://files.example.org/"}, "https"},
		"query":         {w.handle, &SignerOptions{URL: "https://files.example.org/?a=b"}, "query"},
		"no host":       {w.handle, &SignerOptions{URL: "/objects"}, "host"},
	} {
		if s, err := NewSigner(c.handle, c.opts); s != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewSigner(newHandle(t, aead.XAES256GCM192BitNonceKeyTemplate()), nil); err != nil {
		t.Errorf("X-AES-GCM: %v", err)
	}
	for name, g := range map[string]Grant{
		"no method": {Key: "k"}, "HEAD": {Method: "HEAD", Key: "k"}, "POST": {Method: "POST", Key: "k"}, "no key": {Method: "GET"},
		"long key": {Method: "GET", Key: strings.Repeat("k", MaxKeyLength)}, "long life": {Method: "GET", Key: "k", Lifetime: time.Hour},
		"no life": {Method: "GET", Key: "k", Lifetime: -1}, "negative": {Method: "PUT", Key: "k", MaxBytes: -1},
		"a limit of a read": {Method: "GET", Key: "k", MaxBytes: 1}, "a type of a read": {Method: "GET", Key: "k", ContentType: "x/y"},
		"a creating read": {Method: "GET", Key: "k", CreateOnly: true}, "long type": {Method: "PUT", Key: "k", ContentType: strings.Repeat("x", 256)},
		"no UTF-8": {Method: "GET", Key: "\xff"},
	} {
		if token, err := w.signer.Sign(w.a, w.bucket, g); err == nil || token != "" {
			t.Errorf("%s: got a token", name)
		}
	}
	must(t, w.ring.Suspend(t.Context(), bob, "court order"))
	if _, err := w.signer.Sign(w.b, w.bucket, Grant{Method: "GET", Key: "k"}); err == nil {
		t.Error("a suspended tenant got a token")
	}
	// A bucket without a guard would serve everybody's objects.
	if token, err := w.signer.Sign(w.a, blob.NewBucket(urlSigning{innerDriver(w.inner)}), Grant{Method: "GET", Key: "k"}); err == nil {
		t.Errorf("a bucket without a guard gives %q for a token", token)
	}
	for name, f := range map[string]func() (*Handler, error){
		"no bucket": func() (*Handler, error) { return NewHandler(nil, w.signer, nil) },
		"no guard":  func() (*Handler, error) { return NewHandler(w.inner, w.signer, nil) },
		"no signer": func() (*Handler, error) { return NewHandler(w.bucket, nil, nil) },
		"public": func() (*Handler, error) {
			return NewHandler(w.bucket, w.signer, &HandlerOptions{CacheControl: "public, max-age=60"})
		},
		"both": func() (*Handler, error) {
			return NewHandler(w.bucket, w.signer, &HandlerOptions{CacheControl: "private, s-maxage=60"})
		},
		"shared": func() (*Handler, error) {
			return NewHandler(w.bucket, w.signer, &HandlerOptions{CacheControl: "max-age=60"})
		},
		"half": func() (*Handler, error) {
			return NewHandler(w.bucket, w.signer, &HandlerOptions{CacheControl: `private="X-Y"`})
		},
		"not no-stor": func() (*Handler, error) {
			return NewHandler(w.bucket, w.signer, &HandlerOptions{CacheControl: "no-stor"})
		},
	} {
		if h, err := f(); err == nil || h != nil {
			t.Errorf("%s: got a handler", name)
		}
	}
	if _, err := NewHandler(w.bucket, w.signer, &HandlerOptions{CacheControl: "Private, max-age=60"}); err != nil {
		t.Error(err)
	}
}

// urlSigning is a store that signs URLs.
type urlSigning struct{ bucketDriver }

func (urlSigning) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "https://store.example.org/k?signature=x", nil
}

func (urlSigning) As(any) bool { return false }

// A token that was issued through a view of the bucket is for the object that the view shows, wherever it is used.
func TestTokenOfAPrefixedBucket(t *testing.T) { eachNaming(t, testTokenOfAPrefixedBucket) }

func testTokenOfAPrefixedBucket(t *testing.T) {
	w := newWeb(t, nil)
	must(t, w.bucket.WriteAll(w.a, "public/k", []byte("public"), nil))
	view := blob.PrefixedBucket(w.wrap(t, w.inner, "records"), "public/")
	token, err := w.signer.Sign(w.a, view, Grant{Method: "GET", Key: "k"})
	must(t, err)
	h, err := NewHandler(view, w.signer, nil)
	must(t, err)
	for _, url := range []string{w.url, w.serve(t, h)} {
		if got := do(t, "GET", url, token, ""); got.body != "public" {
			t.Errorf("got %d %q", got.status, got.body)
		}
	}
}
