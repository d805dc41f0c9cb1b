package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// TestRewrapAllAsksTogether: Vault is asked once about all tenants that share a key, and each is named.
func TestRewrapAllAsksTogether(t *testing.T) {
	for _, routed := range []bool{false, true} {
		t.Run(fmt.Sprintf("routed %t", routed), func(t *testing.T) {
			vault := testenv.Vault(t)
			to, err := url.Parse(vault.Addr)
			must(t, err)
			var asked atomic.Int64
			proxy := httputil.NewSingleHostReverseProxy(to)
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/rewrap/") {
					asked.Add(1)
				}
				proxy.ServeHTTP(w, r)
			}))
			defer front.Close()
			w := newWorld(t, "{}")
			kek := fmt.Sprintf(`{"vault": {"address": %q, "mount": %q, "sharedKey": "one", "auth": {"token": %s}}}`, front.URL, vault.EnableTransit(t), w.secret("token", vault.RootToken))
			if routed {
				kek = fmt.Sprintf(`{"route": {"providers": {"house": %s, "theirs": {"local": {"file": "theirs.json"}}}, "default": {"provider": "house"}, "tenants": {"globex": {"provider": "theirs"}}}}`, kek)
			}
			w.write("keyctl.json", `{"kek": `+kek+`, `+routeRest)
			w.try(exitOK, "init")
			w.try(exitOK, "kek", "create")
			const n = 12
			w.try(exitOK, "provision", "globex")
			w.try(exitOK, "provision", "gone")
			w.try(exitOK, "shred", "-reason", "left", "-yes", "-confirm", "gone", "gone")
			for i := range n {
				w.try(exitOK, "provision", fmt.Sprintf("t%02d", i))
			}
			rewrap := func(args ...string) (calls int64) {
				t.Helper()
				w.try(exitOK, "kek", "rotate")
				asked.Store(0)
				out, _ := w.try(exitOK, append([]string{"rewrap", "-all"}, args...)...)
				for _, id := range []string{"globex", "t00", "t11"} {
					if strings.Count(out, "rewrap: "+id+" is wrapped with the newest key") != 1 {
						t.Errorf("%s is not told:\n%s", id, out)
					}
				}
				if !strings.Contains(out, fmt.Sprintf("%d tenants are done, 0 failed", n+1)) {
					t.Errorf("%s", out)
				}
				return asked.Load()
			}
			if calls := rewrap(); calls != 1 {
				t.Errorf("Vault is asked to rewrap %d times for %d tenants", calls, n)
			}
			shared := int64(n)
			if !routed {
				shared++ // globex
			}
			if calls := rewrap("-parallel", "1"); calls != shared {
				t.Errorf("one at a time, Vault is asked to rewrap %d times for %d tenants", calls, shared)
			}
		})
	}
}
