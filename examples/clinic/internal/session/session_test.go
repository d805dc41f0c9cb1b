package session

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/strongroom-go/strongroom/tenant"
)

const here = "https://login.example.com"

var people = []Person{{"dr.adams", "Dr. Adams", "treatment"}}

func newIssuer(t *testing.T) (*Issuer, *Verifier) {
	t.Helper()
	i, err := NewIssuer(here, people)
	if err != nil {
		t.Fatal(err)
	}
	return i, &Verifier{Issuer: here, Keys: Fixed(i.Keys())}
}

func TestVerify(t *testing.T) {
	i, v := newIssuer(t)
	token, err := i.Issue("harbor", "dr.adams")
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Verify(t.Context(), token)
	if err != nil || id.Subject != "dr.adams" || id.Tenant != "harbor" || id.Purpose != "treatment" {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := i.Issue("harbor", "somebody"); err == nil {
		t.Error("somebody who is not known was signed in")
	}
}

// good are the claims of a token that is taken, which the test of each attack changes in one place.
func good() map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": here, "sub": "dr.adams", "aud": Audience, "iat": now, "nbf": now, "exp": now + 60, "tenant": "harbor", "purpose": "treatment"}
}

// TestRefusals signs, with the issuer's own key, tokens that must be refused, and one that is good in the same way.
func TestRefusals(t *testing.T) {
	i, v := newIssuer(t)
	now := time.Now().Unix()
	for name, change := range map[string]map[string]any{
		"good":              {},
		"several audiences": {"aud": []string{"billing", Audience}},

		"another issuer":      {"iss": "https://login.example.org"},
		"no issuer":           {"iss": nil},
		"another audience":    {"aud": "billing"},
		"no audience":         {"aud": nil},
		"over":                {"iat": now - 600, "nbf": now - 600, "exp": now - 60},
		"without an end":      {"exp": nil},
		"a year":              {"exp": now + 365*24*3600},
		"without a beginning": {"iat": nil},
		"not yet":             {"nbf": now + 600, "exp": now + 1200},
		"issued tomorrow":     {"iat": now + 24*3600, "exp": now + 24*3600 + 60},
		"nobody":              {"sub": ""},
		"no clinic":           {"tenant": nil},
		"clinic and reviewer": {"role": "reviewer"},
	} {
		claims := good()
		maps.Copy(claims, change)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		token, err := jwt.Signed(i.signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(t.Context(), token)
		if taken := name == "good" || name == "several audiences"; taken != (err == nil) || !taken && !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForgeries are tokens whose claims are good and that the issuer did not sign.
func TestForgeries(t *testing.T) {
	i, v := newIssuer(t)
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	issuers := i.key.Public()
	der, _ := x509.MarshalPKIXPublicKey(issuers.Key)
	sign := func(alg jose.SignatureAlgorithm, key any, opts *jose.SignerOptions) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts.WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.Signed(s).Claims(good()).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	genuine := sign(jose.EdDSA, i.key, &jose.SignerOptions{})
	if _, err := v.Verify(t.Context(), genuine); err != nil {
		t.Fatal(err)
	}
	part := strings.Split(genuine, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	forged := map[string]string{
		"another key of the same id":   sign(jose.EdDSA, jose.JSONWebKey{Key: private, KeyID: i.key.KeyID}, &jose.SignerOptions{}),
		"a key of another id":          sign(jose.EdDSA, jose.JSONWebKey{Key: private, KeyID: "mine"}, &jose.SignerOptions{}),
		"no id":                        sign(jose.EdDSA, i.key.Key, &jose.SignerOptions{}),
		"a key that it brings along":   sign(jose.EdDSA, jose.JSONWebKey{Key: private, KeyID: "x"}, &jose.SignerOptions{EmbedJWK: true}),
		"the public key as a secret":   sign(jose.HS256, jose.JSONWebKey{Key: []byte(issuers.Key.(ed25519.PublicKey)), KeyID: i.key.KeyID}, &jose.SignerOptions{}),
		"the public key, encoded":      sign(jose.HS256, jose.JSONWebKey{Key: der, KeyID: i.key.KeyID}, &jose.SignerOptions{}),
		"none":                         encode(`{"alg":"none","typ":"JWT"}`) + "." + part[1] + ".",
		"none, with the signature":     encode(`{"alg":"none","typ":"JWT","kid":"`+i.key.KeyID+`"}`) + "." + part[1] + "." + part[2],
		"other claims":                 part[0] + "." + encode(`{"iss":"`+here+`","sub":"dr.adams","aud":"clinic","tenant":"hillside"}`) + "." + part[2],
		"no signature":                 part[0] + "." + part[1] + ".",
		"two parts":                    part[0] + "." + part[1],
		"nothing that is like a token": strings.Repeat(".", 1000),
	}
	// Sign sets the type; this one has another.
	s, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: i.key}, (&jose.SignerOptions{}).WithType("secevent+jwt"))
	forged["another type"], _ = jwt.Signed(s).Claims(good()).Serialize()
	for name, token := range forged {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "harbor") || strings.Contains(err.Error(), i.key.KeyID) {
			t.Errorf("%s: the error repeats the token: %v", name, err)
		}
	}
}

// A URL that names a clinic has to name the token's.
func TestResolver(t *testing.T) {
	i, v := newIssuer(t)
	token, _ := i.Issue("harbor", "dr.adams")
	ask := func(clinic string) (tenant.Access, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		r.SetPathValue("clinic", clinic)
		return v.Resolver(FromHeader)(r)
	}
	for _, clinic := range []string{"", "harbor"} {
		if a, err := ask(clinic); err != nil || a.Tenant.String() != "harbor" || a.Actor != "dr.adams" || a.Purpose != "treatment" {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if _, err := ask("hillside"); !errors.Is(err, tenant.ErrDenied) {
		t.Errorf("%v", err)
	}
	reviewer, _ := i.IssueReviewer()
	token = reviewer
	if a, err := ask(""); err == nil {
		t.Errorf("a reviewer is somebody of a clinic: %+v", a)
	}
}

// TestRemote: a key that is new is fetched, ids that are made up are not asked for each time, and an issuer that is away is asked
// again by the next request.
func TestRemote(t *testing.T) {
	i, _ := newIssuer(t)
	var asked atomic.Int32
	var away atomic.Bool
	away.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if away.Load() {
			http.Error(w, "", http.StatusBadGateway)
			return
		}
		i.Handler().ServeHTTP(w, r)
	}))
	defer server.Close()
	keys := Remote(server.URL+"/.well-known/jwks.json", server.Client())
	if _, err := keys(t.Context(), i.key.KeyID); err == nil {
		t.Error("an issuer that is away has no error")
	}
	away.Store(false)
	gone, cancel := context.WithCancel(t.Context())
	cancel() // somebody who asked, and went away, keeps nobody from the answer
	if _, err := keys(gone, i.key.KeyID); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if key, err := keys(t.Context(), i.key.KeyID); err != nil || key == nil {
		t.Errorf("%v, %v", key, err)
	}
	before := asked.Load()
	for _, id := range []string{"a", "b", "", "c"} {
		if key, err := keys(t.Context(), id); err != nil || key != nil {
			t.Errorf("%q: %v, %v", id, key, err)
		}
	}
	if asked.Load() != before {
		t.Errorf("the issuer was asked %d times for ids that are made up", asked.Load()-before)
	}
}

// TestAnIssuerThatHangsBlocksNobody whose key is known: a made-up key id, which anybody can send, has the issuer asked. Nor does it keep
// who has given up.
func TestAnIssuerThatHangsBlocksNobody(t *testing.T) {
	i, _ := newIssuer(t)
	hanging, hang := make(chan struct{}, 8), make(chan struct{})
	var slow atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			hanging <- struct{}{}
			<-hang
		}
		i.Handler().ServeHTTP(w, r)
	}))
	defer server.Close()
	defer close(hang)
	r := &remote{url: server.URL + "/.well-known/jwks.json", client: server.Client()}
	if key, err := r.key(t.Context(), i.key.KeyID); err != nil || key == nil {
		t.Fatal(key, err)
	}
	slow.Store(true)
	r.mu.Lock()
	r.asked = time.Time{} // long ago
	r.mu.Unlock()
	forged := make(chan error, 1)
	go func() {
		_, err := r.key(t.Context(), "made-up")
		forged <- err
	}()
	<-hanging
	known, gone := make(chan error, 1), make(chan error, 1)
	go func() {
		key, err := r.key(t.Context(), i.key.KeyID)
		if key == nil && err == nil {
			err = errors.New("there is no key")
		}
		known <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	go func() {
		_, err := r.key(ctx, "made-up too")
		gone <- err
	}()
	for range 2 {
		select {
		case err := <-known:
			if err != nil {
				t.Errorf("a key that is known: %v", err)
			}
		case err := <-gone:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who has given up: %v", err)
			}
		case <-forged: // ended by the time that asking has
			t.Fatal("others wait until the issuer is given up")
		}
	}
}

func TestRequestID(t *testing.T) {
	const id = "0b5f2f5e-6ac4-4d5b-9b55-0b9d9c1c4d11"
	for sent, kept := range map[string]bool{id: true, "": false, "x": false, strings.ToUpper(id): false, id + "\n": false} {
		var seen string
		h := WithRequestID(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = RequestID(r.Context()) }))
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Request-Id"] = []string{sent}
		h.ServeHTTP(w, r)
		if (seen == sent) != kept || len(seen) != 36 || w.Header().Get("X-Request-Id") != seen {
			t.Errorf("%q: %q", sent, seen)
		}
	}
}
