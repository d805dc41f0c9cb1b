package vaultkek_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// issuer makes the tokens of workloads, as a cluster or an identity provider does.
type issuer struct{ key *ecdsa.PrivateKey }

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return &issuer{key}
}

// token is a JSON Web Token (RFC 7519), signed by ES256, that is valid for a while.
func (i *issuer) token(t testing.TB, claims map[string]any, valid time.Duration) string {
	t.Helper()
	now := time.Now()
	all := map[string]any{"iss": "issuer", "aud": []string{"vault"}, "iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(),
		"exp": now.Add(valid).Unix(), "jti": rand.Text()}
	maps.Copy(all, claims)
	part := func(v any) string {
		b, err := json.Marshal(v)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]any{"alg": "ES256", "typ": "JWT"}) + "." + part(all)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	must(t, err)
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (i *issuer) public(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(i.key.Public())
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// method is a login method of Vault, ready for one role.
type method struct {
	mount string
	auth  api.AuthMethod
	// renew gives the workload its next token, and makes those before it worthless; nil where there is none.
	renew func()
}

// methods set up each way to log in, with a role that has the settings.
var methods = map[string]func(t *testing.T, server *testenv.VaultServer, settings map[string]any) *method{
	"AppRole": func(t *testing.T, server *testenv.VaultServer, settings map[string]any) *method {
		mount := server.EnableAuth(t, "approle")
		configure(t, server, mount, "role/app", settings)
		roleID, secretID := credentials(t, server.Client(t), mount)
		return &method{mount, newAppRole(t, roleID, secretID, mount), nil}
	},
	"JWT": func(t *testing.T, server *testenv.VaultServer, settings map[string]any) *method {
		mount, file := server.EnableAuth(t, "jwt"), filepath.Join(t.TempDir(), "token")
		maps.Copy(settings, map[string]any{"role_type": "jwt", "bound_audiences": "vault", "user_claim": "sub", "bound_subject": "app"})
		configure(t, server, mount, "role/app", settings)
		m := &method{mount: mount}
		m.renew = func() {
			by := newIssuer(t)
			must(t, os.WriteFile(file, []byte(by.token(t, map[string]any{"sub": "app"}, time.Hour)+"\n"), 0o600))
			configure(t, server, mount, "config", map[string]any{"jwt_validation_pubkeys": by.public(t)})
		}
		m.renew()
		var err error
		m.auth, err = vaultkek.JWT("app", vaultkek.TokenFile(file), mount)
		must(t, err)
		return m
	},
	"Kubernetes": func(t *testing.T, server *testenv.VaultServer, settings map[string]any) *method {
		mount, file := server.EnableAuth(t, "kubernetes"), filepath.Join(t.TempDir(), "token")
		cluster := newCluster(t)
		configure(t, server, mount, "config", map[string]any{"kubernetes_host": cluster.address, "kubernetes_ca_cert": cluster.ca,
			"token_reviewer_jwt": cluster.reviewer, "disable_local_ca_jwt": true})
		maps.Copy(settings, map[string]any{"bound_service_account_names": "app", "bound_service_account_namespaces": "clinic", "audience": "vault"})
		configure(t, server, mount, "role/app", settings)
		m := &method{mount: mount}
		m.renew = func() { must(t, os.WriteFile(file, []byte(cluster.podToken(t)), 0o600)) }
		m.renew()
		var err error
		m.auth, err = vaultkek.Kubernetes("app", vaultkek.TokenFile(file), mount)
		must(t, err)
		return m
	},
}

func configure(t *testing.T, server *testenv.VaultServer, mount, path string, data map[string]any) {
	t.Helper()
	_, err := server.Client(t).Logical().WriteWithContext(t.Context(), "auth/"+mount+"/"+path, data)
	must(t, err)
}

// cluster plays the TokenReview API of Kubernetes (authentication.k8s.io/v1) to Vault.
type cluster struct {
	address, ca string
	reviewer    string // the token with which Vault has to come
	issuer      *issuer

	mu    sync.Mutex
	valid string // the pod's token
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{reviewer: rand.Text(), issuer: newIssuer(t)}
	certificates := newAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(c.review))
	listener, err := net.Listen("tcp", "0.0.0.0:0") // Vault comes from its container
	must(t, err)
	server.Listener.Close()
	server.Listener = listener
	server.TLS = certificates.server(t, testenv.HostName)
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	c.address, c.ca = "https://"+net.JoinHostPort(testenv.HostName, port), string(certificates.pem)
	return c
}

// podToken is the projected token of a pod's service account; only the newest is valid.
func (c *cluster) podToken(t testing.TB) string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.valid = c.issuer.token(t, map[string]any{"sub": "system:serviceaccount:clinic:app", "kubernetes.io": map[string]any{
		"namespace": "clinic", "serviceaccount": map[string]any{"name": "app", "uid": "11111111-2222-3333-4444-555555555555"}}}, time.Hour)
	return c.valid
}

func (c *cluster) review(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Spec struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences"`
		} `json:"spec"`
	}
	c.mu.Lock()
	valid := c.valid
	c.mu.Unlock()
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews":
		w.WriteHeader(http.StatusNotFound)
		return
	case r.Header.Get("Authorization") != "Bearer "+c.reviewer:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case json.NewDecoder(r.Body).Decode(&review) != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	status := map[string]any{"authenticated": false, "error": "the token is not valid"}
	if review.Spec.Token == valid {
		status = map[string]any{"authenticated": true, "audiences": review.Spec.Audiences, "user": map[string]any{
			"username": "system:serviceaccount:clinic:app", "uid": "11111111-2222-3333-4444-555555555555",
			"groups": []string{"system:serviceaccounts", "system:authenticated"}}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(map[string]any{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
}

// loggedIn opens a provider by one of the methods, with the operator's privileges.
func loggedIn(t *testing.T, name string, settings map[string]any, onLogin func(error)) (*vaultkek.KEK, *method, *testenv.VaultServer) {
	t.Helper()
	server := testenv.Vault(t)
	mount := server.EnableTransit(t)
	policy := "policy-" + mount
	must(t, server.Client(t).Sys().PutPolicyWithContext(t.Context(), policy, vaultkek.Policy(mount, "")))
	all := map[string]any{"token_policies": policy, "token_no_default_policy": true}
	maps.Copy(all, settings)
	m := methods[name](t, server, all)
	return open(t, server.Addr, m.auth, &vaultkek.Options{Mount: mount, OnLogin: onLogin}), m, server
}

// TestLogins: each method logs in, and again when its token was revoked, with the credentials of that time.
func TestLogins(t *testing.T) {
	for name := range methods {
		t.Run(name, func(t *testing.T) {
			k, m, server := loggedIn(t, name, map[string]any{"token_ttl": "1h"}, nil)
			works(t, k)
			if m.renew != nil {
				m.renew()
			}
			works(t, k)
			must(t, server.Client(t).Sys().RevokePrefixWithContext(t.Context(), "auth/"+m.mount+"/login"))
			works(t, k)
		})
	}
}

// TestNoRequestFailsForTheEndOfATokensLife has requests meet the ends of several tokens.
func TestNoRequestFailsForTheEndOfATokensLife(t *testing.T) {
	for name := range methods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logins := make(chan error, 64)
			k, _, _ := loggedIn(t, name, map[string]any{"token_ttl": "1s", "token_max_ttl": "2s"}, func(err error) { logins <- err })
			works(t, k)
			ctx, cancel := context.WithCancel(t.Context())
			var callers sync.WaitGroup
			defer callers.Wait()
			defer cancel()
			for range 4 {
				callers.Go(func() {
					for ctx.Err() == nil {
						wrapped, err := k.Wrap(ctx, idA, []byte(plaintext))
						if err == nil {
							_, err = k.Unwrap(ctx, idA, wrapped)
						}
						if err != nil && ctx.Err() == nil {
							t.Errorf("a request failed: %v", err)
							return
						}
					}
				})
			}
			for range 3 {
				if err := <-logins; err != nil {
					t.Errorf("a login failed: %v", err)
				}
			}
		})
	}
}

// TestALoginThatIsRefused says why, and shows no token.
func TestALoginThatIsRefused(t *testing.T) {
	for _, name := range []string{"JWT", "Kubernetes"} {
		t.Run(name, func(t *testing.T) {
			k, m, server := loggedIn(t, name, map[string]any{"token_ttl": "1h"}, nil)
			works(t, k)
			var jwt string
			stale, err := func() (api.AuthMethod, error) {
				source := func(context.Context) (string, error) { return jwt, nil }
				if name == "JWT" {
					jwt = newIssuer(t).token(t, map[string]any{"sub": "app"}, time.Hour)
					return vaultkek.JWT("app", source, m.mount)
				}
				jwt = newCluster(t).podToken(t)
				return vaultkek.Kubernetes("app", source, m.mount)
			}()
			must(t, err)
			_, err = vaultkek.Open(t.Context(), server.Addr, stale, nil)
			wantText(t, err, []string{jwt}, "log in", server.Addr)
			if errors.Is(err, keys.ErrUnavailable) {
				t.Errorf("a refusal is nothing to retry: %v", err)
			}
		})
	}
}

// TestCredentialsThatAreNotThere are told apart from a Vault that is not there.
func TestCredentialsThatAreNotThere(t *testing.T) {
	server := testenv.Vault(t)
	dir := t.TempDir()
	empty, large := filepath.Join(dir, "empty"), filepath.Join(dir, "large")
	must(t, os.WriteFile(empty, []byte(" \n"), 0o600))
	must(t, os.WriteFile(large, []byte(strings.Repeat("x", 1<<20)), 0o600))
	for name, c := range map[string]struct {
		source vaultkek.TokenSource
		text   string
	}{
		"no file":    {vaultkek.TokenFile(filepath.Join(dir, "none")), filepath.Join(dir, "none")},
		"empty file": {vaultkek.TokenFile(empty), "is empty"},
		"large file": {vaultkek.TokenFile(large), "more than 65536 bytes"},
		"no token":   {func(context.Context) (string, error) { return "", nil }, "has none"},
		"a refusal":  {func(context.Context) (string, error) { return "", fmt.Errorf("refused by the agent") }, "refused by the agent"},
		"by default": {nil, "/var/run/secrets/kubernetes.io/serviceaccount/token"},
	} {
		t.Run(name, func(t *testing.T) {
			auth, err := vaultkek.Kubernetes("app", c.source, "")
			must(t, err)
			_, err = vaultkek.Open(t.Context(), server.Addr, auth, nil)
			wantText(t, err, nil, "log in", "role app", c.text)
			if errors.Is(err, keys.ErrUnavailable) {
				t.Errorf("it looks as if Vault were away: %v", err)
			}
		})
	}
	for _, err := range []error{second(vaultkek.Kubernetes("", nil, "")), second(vaultkek.Kubernetes("app", nil, "a b")),
		second(vaultkek.JWT("", vaultkek.TokenFile("x"), "")), second(vaultkek.JWT("app", nil, ""))} {
		if err == nil {
			t.Error("an argument that is missing was accepted")
		}
	}
}
