package vaultkek_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// tally counts requests by the end of their paths.
type tally struct {
	mu       sync.Mutex
	requests []*http.Request
}

func (c *tally) note(r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
}

func (c *tally) count(suffix string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if strings.HasSuffix(r.URL.Path, suffix) {
			n++
		}
	}
	return n
}

// TestRetries: what may be done twice is tried again, what may not only if it was not begun, and nothing too early.
func TestRetries(t *testing.T) {
	status := func(status int, retryAfter string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
			io.WriteString(w, `{"errors":["not now"]}`)
		}
	}
	for name, c := range map[string]struct {
		answer     http.HandlerFunc
		safe, once int // requests sent
	}{
		"internal error":     {status(500, ""), 3, 1},
		"bad gateway":        {status(502, ""), 3, 1},
		"sealed":             {status(503, ""), 3, 1},
		"not replicated yet": {status(412, ""), 3, 1},
		"rate limit":         {status(429, ""), 3, 3},
		"much later":         {status(429, "30"), 1, 1},
		"maintenance":        {status(503, "30"), 1, 1},
		"bad request":        {status(400, ""), 1, 1},
		"hung up":            {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var requests tally
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.note(r)
				switch {
				case strings.HasSuffix(r.URL.Path, "/lookup-self"):
					io.WriteString(w, `{"data":{"ttl":0,"renewable":false}}`)
				case r.Method == http.MethodGet:
					io.WriteString(w, `{"data":{"type":"aes256-gcm96"}}`)
				default:
					c.answer(w, r)
				}
			}))
			t.Cleanup(server.Close)
			o := &vaultkek.Options{MaxRetries: 2}
			k := open(t, server.URL, vaultkek.Token("x"), o)
			jwt, err := vaultkek.JWT("app", func(context.Context) (string, error) { return "x", nil }, "")
			must(t, err)
			for path, call := range map[string]struct {
				do   func() error
				want int
			}{
				"/decrypt/strongroom-" + idA.Segment(): {func() error { return second(k.Unwrap(t.Context(), idA, []byte("vault:v1:AAAA"))) }, c.safe},
				"/encrypt/strongroom-" + idA.Segment(): {func() error { return second(k.Wrap(t.Context(), idA, []byte("x"))) }, c.safe},
				"/rewrap/strongroom-" + idA.Segment():  {func() error { return second(k.Rewrap(t.Context(), idA, []byte("vault:v1:AAAA"))) }, c.safe},
				"/rotate":                              {func() error { return k.Rotate(t.Context(), idA) }, c.once},
				"/auth/jwt/login":                      {func() error { return second(vaultkek.Open(t.Context(), server.URL, jwt, o)) }, c.once},
			} {
				if err := call.do(); err == nil {
					t.Errorf("%s: no error", path)
				}
				if n := requests.count(path); n != call.want {
					t.Errorf("%s: %d requests, want %d", path, n, call.want)
				}
			}
		})
	}
}

// forward sends requests on to an address.
func forward(t testing.TB, address string) http.Handler {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	return proxy
}

// before is a proxy before Vault that notes every request.
func before(t testing.TB, address string, requests *tally) string {
	t.Helper()
	proxy := forward(t, address)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.note(r)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestNamespace: every request names it, the logins and renewals too.
func TestNamespace(t *testing.T) {
	var requests tally
	renewed := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.note(r)
		switch {
		case strings.HasSuffix(r.URL.Path, "/renew-self"):
			select {
			case renewed <- true:
			default:
			}
			fallthrough
		case strings.HasSuffix(r.URL.Path, "/login"):
			io.WriteString(w, `{"request_id":"x","auth":{"client_token":"s.x","lease_duration":1,"renewable":true}}`)
		default:
			io.WriteString(w, `{"request_id":"x","data":{"type":"aes256-gcm96","plaintext":"eA==","ciphertext":"vault:v1:AAAA"}}`)
		}
	}))
	t.Cleanup(server.Close)
	auth, err := vaultkek.AppRole("role", "secret", "")
	must(t, err)
	k := open(t, server.URL, auth, &vaultkek.Options{Namespace: "team/a"})
	everyCall(t.Context(), k)
	<-renewed
	must(t, k.Close())
	for _, path := range []string{"/login", "/renew-self", "/rotate", "/config"} {
		if requests.count(path) == 0 {
			t.Errorf("no request for %s", path)
		}
	}
	for _, r := range requests.requests {
		if got := r.Header.Get("X-Vault-Namespace"); got != "team/a" {
			t.Errorf("%s %s for the namespace %q", r.Method, r.URL.Path, got)
		}
	}
}

// TestARefusedLoginIsNotRepeatedForEachCall: a fleet whose role was removed does not lock itself out, nor flood Vault; and once
// it may log in again, it does.
func TestARefusedLoginIsNotRepeatedForEachCall(t *testing.T) {
	server := testenv.Vault(t)
	root, mount, auth := server.Client(t), server.EnableTransit(t), server.EnableAppRole(t)
	settings := map[string]any{"token_ttl": "1h"}
	roleID, secretID := appRole(t, root, auth, vaultkek.Policy(mount, ""), settings)
	settings["role_id"] = roleID
	var requests tally
	k := open(t, before(t, server.Addr, &requests), newAppRole(t, roleID, secretID, auth), &vaultkek.Options{Mount: mount})
	works(t, k)
	wrapped, err := k.Wrap(t.Context(), idA, []byte(plaintext))
	must(t, err)
	_, err = root.Logical().DeleteWithContext(t.Context(), "auth/"+auth+"/role/app")
	must(t, err)
	must(t, root.Sys().RevokePrefixWithContext(t.Context(), "auth/"+auth+"/login"))

	before := requests.count("/login")
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for range 10 {
				_, err := k.Unwrap(t.Context(), idA, wrapped)
				if err == nil || errors.Is(err, keys.ErrUnavailable) || errors.Is(err, keys.ErrNotFound) {
					t.Errorf("without a login: %v", err)
					return
				}
				if text := err.Error(); !strings.Contains(text, "expired or was revoked") || !strings.Contains(text, "log in") || strings.Contains(text, secretID) {
					t.Errorf("the error does not say what is wrong: %v", err)
				}
			}
		})
	}
	callers.Wait()
	if n := requests.count("/login") - before; n == 0 || n > 32 {
		t.Errorf("%d logins for 320 calls", n)
	}
	_, err = root.Logical().WriteWithContext(t.Context(), "auth/"+auth+"/role/app", settings)
	must(t, err)
	_, err = root.Logical().WriteWithContext(t.Context(), "auth/"+auth+"/role/app/custom-secret-id", map[string]any{"secret_id": secretID})
	must(t, err)
	for {
		got, err := k.Unwrap(t.Context(), idA, wrapped)
		if err == nil && string(got) == plaintext {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}
