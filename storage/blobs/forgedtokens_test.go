package blobs

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

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
