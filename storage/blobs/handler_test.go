package blobs

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
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

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
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

// No token, and no token that is not genuine: the same 403, no request to the store, nothing in the trail.
func TestForgedTokens(t *testing.T) {
	w := newWeb(t, nil)
	genuine := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	if got := do(t, "GET", w.url, genuine, ""); got.status != 200 || got.body != string(contentOf(w.a)) {
		t.Fatalf("the genuine token: %d %q", got.status, got.body)
	}
	w.log.take()
	w.asked.requests = nil
	sealed, err := base64.RawURLEncoding.DecodeString(genuine)
	must(t, err)
	forged := map[string]string{
		"none": "", "a word": "x", "not base64": "%%%%", "padded": genuine + "=", "a line": genuine + "\n",
		"doubled": genuine + genuine, "longest": strings.Repeat("A", maxTokenLength), "too long": strings.Repeat("A", maxTokenLength+4),
		"an id": alice.String(),
	}
	// A last character may have bits that stand for nothing; another token that says the same is not the token.
	alike := 0
	for _, key := range []string{"k", "kk", "kkk"} {
		token := w.sign(t, w.a, Grant{Method: "GET", Key: key})
		decoded, err := base64.RawURLEncoding.DecodeString(token)
		must(t, err)
		for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			other := token[:len(token)-1] + string(last)
			if same, err := base64.RawURLEncoding.DecodeString(other); err == nil && bytes.Equal(same, decoded) && other != token {
				forged["like "+token] = other
				alike++
			}
		}
	}
	if alike == 0 {
		t.Error("no token has another that decodes alike")
	}
	for i := range sealed {
		for _, bit := range []byte{1, 0x80} {
			changed := bytes.Clone(sealed)
			changed[i] ^= bit
			forged[fmt.Sprintf("byte %d", i)] = base64.RawURLEncoding.EncodeToString(changed)
		}
		forged[fmt.Sprintf("the first %d bytes", i)] = base64.RawURLEncoding.EncodeToString(sealed[:i])
	}
	// What somebody with another key, or with our key for another purpose, makes.
	plain := envelope.AppendGrant(nil, &envelope.Grant{Issued: w.clock.Unix(), Expires: w.clock.Unix() + 60, Method: envelope.GrantGet,
		Tenant: alice, Actor: "mallory", Purpose: "treatment", Key: "k"})
	ours, err := aead.New(w.handle)
	must(t, err)
	theirs, err := aead.New(newHandle(t, aead.AES256GCMKeyTemplate()))
	must(t, err)
	seal := func(a interface {
		Encrypt(p, ad []byte) ([]byte, error)
	}, p, ad []byte) string {
		sealed, err := a.Encrypt(p, ad)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(sealed)
	}
	ad := envelope.BlobGrantAD(nil, "records")
	if got := do(t, "GET", w.url, seal(ours, plain, ad), ""); got.status != 200 {
		t.Fatalf("the test proves nothing: %d", got.status)
	}
	w.log.take()
	w.asked.requests = nil
	forged["another keyset"] = seal(theirs, plain, ad)
	forged["another bucket"] = seal(ours, plain, envelope.BlobGrantAD(nil, "archive"))
	forged["no associated data"] = seal(ours, plain, nil)
	forged["a page token's"] = seal(ours, plain, envelope.BlobPageAD(nil, alice, "records"))
	forged["one byte more"] = seal(ours, append(bytes.Clone(plain), 0), ad)
	forged["one byte less"] = seal(ours, plain[:len(plain)-1], ad)
	forged["an unknown flag"] = seal(ours, append(append(bytes.Clone(plain[:41]), 4), plain[42:]...), ad)
	forged["an unknown method"] = seal(ours, append(append(bytes.Clone(plain[:40]), 9), plain[41:]...), ad)
	forged["no tenant"] = seal(ours, envelope.AppendGrant(nil, &envelope.Grant{Issued: w.clock.Unix(), Expires: w.clock.Unix() + 60,
		Method: envelope.GrantGet, Actor: "mallory", Purpose: "treatment", Key: "k"}), ad)
	for name, token := range forged {
		if strings.ContainsAny(token, "\n") {
			refused(t, name, do(t, "GET", w.url+"?token="+url.QueryEscape(token), "", ""))
			continue
		}
		refused(t, name, do(t, "GET", w.url, token, ""))
	}
	refused(t, "two tokens", do(t, "GET", w.url, genuine, "", "Authorization", "Bearer "+genuine))
	refused(t, "a token in both places", do(t, "GET", w.url+"?token="+genuine, genuine, ""))
	refused(t, "two parameters", do(t, "GET", w.url+"?token="+genuine+"&token="+genuine, "", ""))
	refused(t, "another scheme", do(t, "GET", w.url, "", "", "Authorization", "Basic "+genuine))
	if events := w.log.take(); len(events) != 0 || len(w.asked.requests) != 0 {
		t.Errorf("forgeries left %d events and asked the store for %q", len(events), w.asked.requests)
	}
	for _, err := range w.failures() {
		wantIs(t, err, errForged)
	}
}

// A genuine token for something else, or at another time: the same 403, no request to the store, and a denial in the
// name of the one it was issued to.
func TestGenuineTokensForOtherThings(t *testing.T) { eachNaming(t, testGenuineTokensForOtherThings) }

func testGenuineTokensForOtherThings(t *testing.T) {
	denies := false
	w := newWeb(t, nil)
	w.guard.Authorizer = tenant.AuthorizerFunc(func(context.Context, tenant.Access, tenant.Action) error {
		if denies {
			return errors.New("left the hospital")
		}
		return nil
	})
	w.bucket = w.wrap(t, blob.NewBucket(w.asked), "records")
	h, err := NewHandler(w.bucket, w.signer, nil)
	must(t, err)
	w.url = w.serve(t, h)
	short, err := NewSigner(w.handle, &SignerOptions{MaxLifetime: time.Minute})
	must(t, err)
	short.now = func() time.Time { return w.clock }
	strict, err := NewHandler(w.bucket, short, nil)
	must(t, err)
	strictURL := w.serve(t, strict)

	get := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	put := w.sign(t, w.a, Grant{Method: "PUT", Key: "k"})
	typed := w.sign(t, w.a, Grant{Method: "PUT", Key: "k", ContentType: "image/png"})
	remove := w.sign(t, w.a, Grant{Method: "DELETE", Key: "k"})
	later := func(d time.Duration) func() func() {
		return func() func() {
			w.clock = w.clock.Add(d)
			return func() { w.clock = w.clock.Add(-d) }
		}
	}
	for _, c := range []struct {
		what, method, url, token, contentType, reason string
		before                                        func() (after func())
	}{
		{"GET to write", "PUT", w.url, get, "", "refused: token for another method", nil},
		{"GET to delete", "DELETE", w.url, get, "", "refused: token for another method", nil},
		{"GET to post", "POST", w.url, get, "", "refused: token for another method", nil},
		{"GET by another name", "get", w.url, get, "", "refused: token for another method", nil},
		{"PUT to read", "GET", w.url, put, "", "refused: token for another method", nil},
		{"PUT to look", "HEAD", w.url, put, "", "refused: token for another method", nil},
		{"PUT to delete", "DELETE", w.url, put, "", "refused: token for another method", nil},
		{"DELETE to read", "GET", w.url, remove, "", "refused: token for another method", nil},
		{"another content type", "PUT", w.url, typed, "text/html", "refused: token for another content type", nil},
		{"no content type", "PUT", w.url, typed, "", "refused: token for another content type", nil},
		{"at the end of its life", "GET", w.url, get, "", "refused: token expired", later(DefaultGrantLifetime)},
		{"a year later", "GET", w.url, get, "", "refused: token expired", later(365 * 24 * time.Hour)},
		{"issued in the future", "GET", w.url, get, "", "refused: token lives too long", later(-time.Hour)},
		{"longer than this process allows", "GET", strictURL, get, "", "refused: token lives too long", nil},
		{"the authorizer", "GET", w.url, get, "", "unauthorized", func() func() { denies = true; return func() { denies = false } }},
		{"a suspended tenant", "GET", w.url, get, "", "suspended", func() func() {
			must(t, w.ring.Suspend(t.Context(), alice, "court order"))
			return func() { must(t, w.ring.Resume(t.Context(), alice, "over")) }
		}},
		{"a suspended tenant's write", "PUT", w.url, put, "", "suspended", func() func() {
			must(t, w.ring.Suspend(t.Context(), alice, "court order"))
			return func() { must(t, w.ring.Resume(t.Context(), alice, "over")) }
		}},
	} {
		after := func() {}
		if c.before != nil {
			after = c.before()
		}
		w.log.take()
		w.asked.requests = nil
		var header []string
		if c.contentType != "" {
			header = []string{"Content-Type", c.contentType}
		}
		got := do(t, c.method, c.url, c.token, "", header...)
		if c.method == "HEAD" {
			got.body = "Forbidden\n"
		}
		refused(t, c.what, got)
		after()
		events := slices.DeleteFunc(w.log.take(), func(e audit.Event) bool { return strings.HasPrefix(string(e.Code), "key.") })
		if len(events) != 1 || events[0].Status != audit.Denied || events[0].Reason != c.reason || events[0].Tenant != alice ||
			events[0].Actor != "nurse@alice" || events[0].Purpose != "treatment" || !strings.HasPrefix(events[0].Request, "grant:") {
			t.Errorf("%s: recorded %+v", c.what, events)
		}
		if len(w.asked.requests) != 0 {
			t.Errorf("%s: the store was asked for %q", c.what, w.asked.requests)
		}
	}
	if got := do(t, "GET", w.url, get, ""); got.status != 200 {
		t.Errorf("and then the token for what it is for: %d", got.status)
	}
	must(t, w.ring.Shred(t.Context(), alice, "gone"))
	refused(t, "a shredded tenant", do(t, "GET", w.url, get, ""))
	if got, err := w.bucket.ReadAll(w.b, "k"); err != nil || !bytes.Equal(got, contentOf(w.b)) {
		t.Errorf("the other tenant has %q, %v", got, err)
	}
}

// Nothing in a request but its token has a say in which object it is of.
func TestTokenAloneChooses(t *testing.T) { eachNaming(t, testTokenAloneChooses) }

func testTokenAloneChooses(t *testing.T) {
	w := newWeb(t, nil)
	must(t, w.bucket.WriteAll(w.a, "other", []byte("not for this token"), nil))
	bobs := w.sign(t, w.b, Grant{Method: "GET", Key: "k"})
	alices := w.sign(t, w.a, Grant{Method: "GET", Key: "k"})
	base := strings.TrimSuffix(w.url, "/objects/name.txt")
	for _, path := range []string{"", "/", "/other", "/" + w.nameOf(t, alice, "k"), "/../" + alice.Segment() + "/other", "/%2e%2e/x", "//k",
		"?key=other&tenant=alice&label=x&method=PUT", "/k?response-content-type=text/html"} {
		for token, want := range map[string]context.Context{bobs: w.b, alices: w.a} {
			got := do(t, "GET", base+path, token, "", "X-Tenant", "alice", "X-Original-URL", "/other", "X-HTTP-Method-Override", "DELETE", "Host", "x")
			if got.status != 200 || got.body != string(contentOf(want)) {
				t.Errorf("%s: %d %q", path, got.status, got.body)
			}
		}
	}
	if sealed, err := base64.RawURLEncoding.DecodeString(alices); err != nil || bytes.Contains(sealed, []byte("alice")) || bytes.Contains(sealed, []byte("treatment")) {
		t.Errorf("a token shows whose it is: %q, %v", sealed, err)
	}
	// The caller's tenant is the context's: no grant names one. A context without one gets no token.
	_, err := w.signer.Sign(t.Context(), w.bucket, Grant{Method: "GET", Key: "k"})
	wantIs(t, err, tenant.ErrMissing)
}

// A use is recorded as an access of the one who asked for the token, under the token's id and time of issue.
func TestTokensInTheTrail(t *testing.T) { eachNaming(t, testTokensInTheTrail) }

func testTokensInTheTrail(t *testing.T) {
	w := newWeb(t, nil)
	ctx := tenant.NewContext(t.Context(), tenant.Access{Tenant: alice, Actor: "dr.lee", Purpose: "billing", Request: strings.Repeat("ü", 60)})
	token := w.sign(t, ctx, Grant{Method: "GET", Key: "k"})
	g, err := w.signer.open("records", token)
	must(t, err)
	w.log.take()
	if got := do(t, "GET", w.url+"?token="+token, "", ""); got.status != 200 {
		t.Fatalf("%d", got.status)
	}
	events := w.log.take()
	if len(events) != 2 || events[0].Phase != audit.Intent || events[1].Phase != audit.Outcome || events[1].Bytes != int64(len(contentOf(w.a))) {
		t.Fatalf("recorded %+v", events)
	}
	for _, e := range events {
		if e.Code != audit.CodeBlobRead || e.Tenant != alice || e.Actor != "dr.lee" || e.Purpose != "billing" || e.Details["key"] != "k" {
			t.Errorf("recorded %+v", e)
		}
		want := fmt.Sprintf("grant:%x-%x-%x-%x-%x@20270115T080000Z ü", g.ID[:4], g.ID[4:6], g.ID[6:8], g.ID[8:10], g.ID[10:])
		if !strings.HasPrefix(e.Request, want) || len(e.Request) > tenant.MaxRequestLength {
			t.Errorf("the request is %q, want %q…", e.Request, want)
		}
	}
	// Without a log nothing is served, and a refusal stays one.
	w.log.set(func(*audit.Event) bool { return true })
	if got := do(t, "GET", w.url, token, ""); got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "content") {
		t.Errorf("without a log: %d %q", got.status, got.body)
	}
	refused(t, "a denial that cannot be recorded", do(t, "PUT", w.url, token, "x"))
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

func FuzzToken(f *testing.F) {
	w := newWeb(f, nil)
	token, err := w.signer.Sign(w.a, w.bucket, Grant{Method: "GET", Key: "k"})
	must(f, err)
	for _, s := range []string{"", "x", token, token[:len(token)-1], token + "A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := w.signer.open("records", s); (err == nil) != (s == token) || (g == nil) != (err != nil) {
			t.Fatalf("%q: %+v, %v", s, g, err)
		}
	})
}

// Issuing a token is in the trail under the name that its uses have there, and without a log there is no token.
func TestIssuedTokensAreInTheTrail(t *testing.T) {
	w := newWeb(t, nil)
	signer, err := NewSigner(w.handle, &SignerOptions{URL: w.url})
	must(t, err)
	links, err := Wrap(w.inner, w.guard, &Options{Label: "records", Signer: signer})
	must(t, err)
	for name, issue := range map[string]func() (string, error){
		"Sign":      func() (string, error) { return w.signer.Sign(w.a, w.bucket, Grant{Method: "GET", Key: "k"}) },
		"SignedURL": func() (string, error) { return links.SignedURL(w.a, "k", nil) },
	} {
		w.log.take()
		issued, err := issue()
		must(t, err)
		events := w.log.take()
		if len(events) != 1 {
			t.Fatalf("%s: recorded %+v", name, events)
		}
		e := events[0]
		if e.Code != audit.CodeBlobGrant || e.Phase != audit.Single || e.Status != audit.Success || e.Tenant != alice || e.Actor != "nurse@alice" || e.Sealer == nil ||
			e.Name != "records" || e.Details["key"] != "k" || e.Details["method"] != "GET" || e.Details["expires"] == "" {
			t.Errorf("%s: recorded %+v", name, e)
		}
		token := issued[strings.LastIndexByte(issued, '=')+1:]
		g, err := w.signer.open("records", token)
		must(t, err)
		if want := accessOfGrant(g).Request; e.Details["grant"] == "" || e.Details["grant"] != want {
			t.Errorf("%s: the token is called %q where it is issued and %q where it is used", name, e.Details["grant"], want)
		}
		w.log.set(func(*audit.Event) bool { return true })
		if issued, err := issue(); issued != "" || !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("%s: without a log %q, %v", name, issued, err)
		}
		w.log.set(nil)
	}
	// A whole key that Import asks for is no token.
	w.log.take()
	if _, err := wholeKey(w.a, w.bucket, "k"); err != nil || len(w.log.take()) > 0 {
		t.Errorf("asking for a whole key: %v, or an event", err)
	}
}

// kekAway is a KEK provider that does not answer.
type kekAway struct{ keys.KEK }

func (kekAway) Unwrap(context.Context, tenant.ID, []byte) ([]byte, error) {
	return nil, keys.ErrUnavailable
}

// Where the keys are away, an event would tell neither which token was issued nor, in the tenant's own pseudonym, to
// whom: then none is issued.
func TestNoTokenWhoseEventIsNotSealed(t *testing.T) {
	dir := t.TempDir()
	worldIn(t, dir) // provisions
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kekAway{kek}, store, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	t.Cleanup(func() { _ = ring.Close() })
	w := &world{ring: ring, log: new(recorder)}
	w.guard = storage.Guard{Keys: ring, Audit: w.log}
	b, _ := w.mem(t, "records")
	signer, err := NewSigner(newHandle(t, aead.AES256GCMKeyTemplate()), nil)
	must(t, err)
	token, err := signer.Sign(accessOf(t.Context(), alice), b, Grant{Method: "GET", Key: "k"})
	if token != "" || !errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("a token of %d bytes was issued, %v", len(token), err)
	}
	for _, e := range w.log.take() {
		if e.Code == audit.CodeBlobGrant && e.Status == audit.Success {
			t.Errorf("recorded as issued, sealed: %v", e.Sealer != nil)
		}
	}
}
