package vaultkek_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// outages is a Vault with a proxy before it that can take its place, and tenants whose keys are there.
type outages struct {
	node    *testenv.VaultNode
	mount   string
	address string // of the proxy
	store   keys.Store

	answer   atomic.Pointer[http.HandlerFunc] // instead of Vault; nil for Vault
	requests atomic.Int64

	hot  tenant.ID
	cold []tenant.ID
}

func newOutages(t *testing.T) *outages {
	t.Helper()
	o := &outages{node: testenv.OwnVault(t, nil), hot: tenant.MustParse("hot")}
	o.mount = o.node.EnableTransit(t)
	proxy := forward(t, o.node.Addr)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.requests.Add(1)
		if answer := o.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	o.address = server.URL
	var err error
	o.store, err = filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	for i := range 20 {
		o.cold = append(o.cold, tenant.MustParse(fmt.Sprint("cold", i)))
	}
	setup := o.ring(t, open(t, o.node.Addr, vaultkek.Token(o.node.RootToken), &vaultkek.Options{Mount: o.mount}), &keys.Options{})
	for _, id := range append(o.cold, o.hot) {
		must(t, setup.Provision(t.Context(), id))
	}
	return o
}

// ring opens a keyring that has the hot tenant in use.
func (o *outages) ring(t *testing.T, k *vaultkek.KEK, options *keys.Options) *keys.Keyring {
	t.Helper()
	options.InsecureWithoutAudit = true
	r, err := keys.Open(t.Context(), k, o.store, options)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func (o *outages) instead(answer http.HandlerFunc) func(*testing.T) {
	return func(*testing.T) { o.answer.Store(&answer) }
}

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// eventually asks until want is what comes of it.
func eventually(t *testing.T, what string, r *keys.Keyring, id tenant.ID, want error) {
	t.Helper()
	for last := error(nil); ; {
		_, err := r.Tenant(t.Context(), id)
		if err == want || want != nil && errors.Is(err, want) {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("%s: %v", what, errors.Join(last, err))
		}
		last = err
	}
}

// TestVaultIsAway: sealed, gone, slow, overwhelmed, failing, or with something else in its place. Cold tenants are refused, and
// may be tried again; what happens with tenants in use is the keyring's policy. Callers do not become a flood of requests, and
// all comes back by itself.
func TestVaultIsAway(t *testing.T) {
	o := newOutages(t)
	back := func(*testing.T) { o.answer.Store(nil) }
	for name, c := range map[string]struct{ begin, end func(*testing.T) }{
		"sealed": {func(t *testing.T) { o.node.Seal(t) }, func(t *testing.T) { must(t, o.node.Unseal(t.Context())) }},
		"gone":   {o.instead(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), back},
		"slow": {o.instead(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}), back},
		"overwhelmed":     {o.instead(answers(429, `{"errors":["request path \"transit\": rate limit quota exceeded"]}`)), back},
		"failing":         {o.instead(answers(500, `{"errors":["internal error"]}`)), back},
		"garbage":         {o.instead(answers(200, "\x00\x01 garbage")), back},
		"a page instead":  {o.instead(answers(404, "<html>not found</html>")), back},
		"a login instead": {o.instead(answers(403, "<html>sign in</html>")), back},
	} {
		for policy, when := range map[string]keys.Policy{"FailNow": keys.FailNow, "ServeStale": keys.ServeStale} {
			t.Run(name+"/"+policy, func(t *testing.T) {
				k := open(t, o.address, vaultkek.Token(o.node.RootToken), &vaultkek.Options{Mount: o.mount, Timeout: 300 * time.Millisecond})
				var stale atomic.Int64
				r := o.ring(t, k, &keys.Options{WhenUnavailable: when, ReopenAfter: time.Second, Timeout: time.Second,
					OnStale: func(tenant.ID, time.Duration) { stale.Add(1) }})
				_, err := r.Tenant(t.Context(), o.hot)
				must(t, err)
				c.begin(t)
				end := sync.OnceFunc(func() { c.end(t) })
				defer end()
				began, requests := time.Now(), o.requests.Load()

				var callers sync.WaitGroup
				defer callers.Wait()
				for i := range 3 * len(o.cold) {
					callers.Go(func() {
						for range 500 {
							_, err := r.Tenant(t.Context(), o.cold[i%len(o.cold)])
							if !errors.Is(err, keys.ErrUnavailable) || errors.Is(err, keys.ErrNotFound) || errors.Is(err, keys.ErrIntegrity) {
								t.Errorf("a cold tenant: %v", err)
							}
						}
					})
				}
				if when == keys.FailNow {
					eventually(t, "a tenant in use", r, o.hot, keys.ErrUnavailable)
				}
				for when == keys.ServeStale && stale.Load() == 0 {
					_, err := r.Tenant(t.Context(), o.hot)
					must(t, err)
				}
				callers.Wait()
				// One flight for each tenant a second (what failed is remembered for that long), of a request and its retry.
				seconds := int64(time.Since(began)/time.Second) + 2
				if sent, most := o.requests.Load()-requests, 2*seconds*int64(len(o.cold)+1); sent == 0 || sent > most {
					t.Errorf("%d requests in %d s for %d tenants, want at most %d", sent, seconds, len(o.cold)+1, most)
				}

				end()
				for _, id := range append(o.cold[:3:3], o.hot) {
					eventually(t, "after the outage", r, id, nil)
				}
			})
		}
	}
}

// TestVaultRefuses: what Vault says of a key or a token is an answer, and no outage that a policy bridges.
func TestVaultRefuses(t *testing.T) {
	o := newOutages(t)
	root := o.node.Client(t)
	for policy, when := range map[string]keys.Policy{"FailNow": keys.FailNow, "ServeStale": keys.ServeStale} {
		t.Run("revoked token/"+policy, func(t *testing.T) {
			secret := token(t, root, o.mount, vaultkek.UsePolicy(o.mount, ""), "1h")
			k := open(t, o.address, vaultkek.Token(secret), &vaultkek.Options{Mount: o.mount})
			r := o.ring(t, k, &keys.Options{WhenUnavailable: when, ReopenAfter: time.Second})
			_, err := r.Tenant(t.Context(), o.hot)
			must(t, err)
			must(t, root.Auth().Token().RevokeOrphanWithContext(t.Context(), secret))
			for _, id := range append(o.cold[:3:3], o.hot) {
				refused := func() error {
					for {
						if _, err := r.Tenant(t.Context(), id); err != nil {
							return err
						}
					}
				}()
				wantText(t, refused, []string{secret}, "expired or was revoked")
				if errors.Is(refused, keys.ErrUnavailable) {
					t.Errorf("it looks as if Vault were away: %v", refused)
				}
			}
		})
		t.Run("revoked token that can be replaced/"+policy, func(t *testing.T) {
			auth := o.node.EnableAppRole(t)
			roleID, secretID := appRole(t, root, auth, vaultkek.UsePolicy(o.mount, ""), map[string]any{"token_ttl": "1h"})
			k := open(t, o.address, newAppRole(t, roleID, secretID, auth), &vaultkek.Options{Mount: o.mount})
			r := o.ring(t, k, &keys.Options{WhenUnavailable: when, ReopenAfter: time.Second})
			_, err := r.Tenant(t.Context(), o.hot)
			must(t, err)
			must(t, root.Sys().RevokePrefixWithContext(t.Context(), "auth/"+auth+"/login"))
			for _, id := range append(o.cold[3:6:6], o.hot) {
				_, err := r.Tenant(t.Context(), id)
				must(t, err)
			}
		})
		t.Run("missing key/"+policy, func(t *testing.T) {
			k := open(t, o.address, vaultkek.Token(o.node.RootToken), &vaultkek.Options{Mount: o.mount})
			r := o.ring(t, k, &keys.Options{WhenUnavailable: when, ReopenAfter: time.Second})
			inUse, unused := tenant.MustParse("in-use-"+policy), tenant.MustParse("unused-"+policy)
			other := o.ring(t, k, &keys.Options{})
			must(t, other.Provision(t.Context(), inUse))
			must(t, other.Provision(t.Context(), unused))
			_, err := r.Tenant(t.Context(), inUse)
			must(t, err)
			must(t, k.Destroy(context.Background(), inUse))
			must(t, k.Destroy(context.Background(), unused))
			_, err = r.Tenant(t.Context(), unused)
			wantErr(t, err, keys.ErrNotFound)
			eventually(t, "a tenant in use", r, inUse, keys.ErrNotFound)
			_, err = r.Tenant(t.Context(), o.hot) // its neighbour
			must(t, err)
		})
	}
}
