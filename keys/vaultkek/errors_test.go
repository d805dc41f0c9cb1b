package vaultkek_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

var idA, idB = tenant.MustParse("Acme"), tenant.MustParse("Bolt")

const plaintext = "canary-plaintext"

// wantText checks that an error says each thing, and shows no secret.
func wantText(t *testing.T, err error, secrets []string, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
	for _, secret := range append(secrets, plaintext) {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got the error %v, want one that wraps %v", err, want)
	}
}

// TestMissingRights takes each rule out of the policy, and finds it named in the error.
func TestMissingRights(t *testing.T) {
	server := testenv.Vault(t)
	root := server.Client(t)
	mount := server.EnableTransit(t)
	full := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	if err := full.Create(t.Context(), idA); err != nil {
		t.Fatal(err)
	}
	wrapped, err := full.Wrap(t.Context(), idA, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	nothing := token(t, root, mount, vaultkek.UsePolicy("elsewhere", ""), "1h")
	k := open(t, server.Addr, vaultkek.Token(nothing), &vaultkek.Options{Mount: mount})
	rule := func(what, capability string) string {
		return `path "` + mount + "/" + what + `/strongroom-*" { capabilities = ["` + capability + `"`
	}
	ctx := t.Context()
	_, err = k.Unwrap(ctx, idA, wrapped)
	wantText(t, err, []string{nothing}, server.Addr, mount+"/decrypt/strongroom-t-_41cme", rule("decrypt", "update"))
	_, err = k.Rewrap(ctx, idA, wrapped)
	wantText(t, err, []string{nothing}, rule("rewrap", "update"))
	_, err = k.Wrap(ctx, idA, []byte(plaintext))
	wantText(t, err, []string{nothing}, rule("keys", "read"))
	wantText(t, k.Create(ctx, idA), []string{nothing}, rule("keys", `create", "update`))
	wantText(t, k.Destroy(ctx, idA), []string{nothing}, rule("keys", "read"))
	if errors.Is(err, keys.ErrUnavailable) || errors.Is(err, keys.ErrNotFound) {
		t.Errorf("a lack of rights looks like something else: %v", err)
	}
	// Opening needs no more than the smaller policy.
	use := open(t, server.Addr, vaultkek.Token(token(t, root, mount, vaultkek.UsePolicy(mount, ""), "1h")), &vaultkek.Options{Mount: mount})
	if got, err := use.Unwrap(ctx, idA, wrapped); err != nil || string(got) != plaintext {
		t.Errorf("with the smaller policy: %v", err)
	}
	if err := use.Destroy(ctx, idA); err == nil {
		t.Error("with the smaller policy a key was destroyed")
	}
}

func TestAKeyOfSomebodyElsesMakingIsRefused(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	k := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	_, err := root.Logical().WriteWithContext(t.Context(), mount+"/keys/strongroom-"+idA.Segment(), map[string]any{"type": "aes256-gcm96", "exportable": true})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, k.Create(t.Context(), idA), nil, "exportable true")
	_, err = k.Wrap(t.Context(), idA, []byte(plaintext))
	wantText(t, err, nil, "exportable true")
}

func TestNoEngineIsNotNoKey(t *testing.T) {
	server := testenv.Vault(t)
	k := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: "nowhere"})
	for what, err := range map[string]error{
		"Create":  k.Create(t.Context(), idA),
		"Destroy": k.Destroy(t.Context(), idA),
		"Rotate":  k.Rotate(t.Context(), idA),
		"Unwrap":  second(k.Unwrap(t.Context(), idA, []byte("vault:v1:AAAA"))),
	} {
		if err == nil || errors.Is(err, keys.ErrNotFound) {
			t.Errorf("%s without an engine: %v", what, err)
			continue
		}
		wantText(t, err, []string{server.RootToken}, "vault secrets enable -path=nowhere transit")
	}
}

func second[T any](_ T, err error) error { return err }

func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	_, err := vaultkek.Open(t.Context(), gone.URL, vaultkek.Token("s.secret-token"), nil)
	wantErr(t, err, keys.ErrUnavailable)
	wantText(t, err, []string{"s.secret-token"}, gone.URL)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = vaultkek.Open(ctx, gone.URL, vaultkek.Token("s.secret-token"), nil)
	wantErr(t, err, context.Canceled)
}

// answering is a server that gives every call but the look-up of the token one answer.
func answering(t *testing.T, status int, body string) *vaultkek.KEK {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/lookup-self") {
			w.Write([]byte(`{"data":{"ttl":0,"renewable":false}}`))
			return
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return open(t, server.URL, vaultkek.Token("s.secret-token"), &vaultkek.Options{MaxRetries: -1})
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status      int
		body        string
		unavailable bool
		text        string
	}{
		{503, `{"errors":["Vault is sealed"]}`, true, "unseal"},
		{500, `{"errors":["internal error"]}`, true, "status 500"},
		{429, `{"errors":["request rate limit"]}`, true, "status 429"},
		{408, `{"errors":["timeout"]}`, true, "status 408"},
		{412, `{"errors":["required index state not present"]}`, true, "status 412"},
		{472, `{"errors":[]}`, true, "status 472"},
		{473, `{"errors":[]}`, true, "status 473"},
		{502, `<html>canary-plaintext</html>`, true, "status 502"},
		{403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, false, "expired or was revoked"},
		{403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`, false, "policy lacks"},
		{400, `{"errors":["something new"]}`, false, "something new"},
	} {
		k := answering(t, c.status, c.body)
		_, err := k.Unwrap(t.Context(), idA, []byte("vault:v1:AAAA"))
		if errors.Is(err, keys.ErrUnavailable) != c.unavailable || errors.Is(err, keys.ErrNotFound) || errors.Is(err, keys.ErrIntegrity) {
			t.Errorf("status %d %s: %v", c.status, c.body, err)
		}
		wantText(t, err, []string{"s.secret-token"}, c.text, "transit/decrypt/strongroom-")
	}
}

func TestAHangingServerEndsWithTheTimeout(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	_, err := vaultkek.Open(t.Context(), server.URL, vaultkek.Token("x"), &vaultkek.Options{Timeout: 20 * time.Millisecond})
	wantErr(t, err, keys.ErrUnavailable)
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"http://vault.example.com:8200":         "plaintext",
		"http://10.0.0.1:8200":                  "plaintext",
		"http://127.0.0.1.example.com":          "plaintext",
		"https://u:hunter2@vault.example.com":   "remove it",
		"https://vault.example.com/v1":          "Options.Mount",
		"https://vault.example.com?x=y":         "Options.Mount",
		"vault.example.com:8200":                "https://host:port",
		"":                                      "https://host:port",
		"ftp://vault.example.com":               "https://host:port",
		"unix:///var/run/vault":                 "https://host:port",
		"https://u:hunter2@vault.example.com:x": "https://host:port",
	} {
		_, err := vaultkek.Open(t.Context(), address, vaultkek.Token("s.secret-token"), nil)
		wantText(t, err, []string{"hunter2", "s.secret-token"}, want)
	}
	_, err := vaultkek.Open(t.Context(), "", nil, &vaultkek.Options{Mount: "a b", Prefix: "A/", Timeout: -1})
	wantText(t, err, nil, "Options.Mount", "Options.Prefix", "Options.Timeout", "auth is nil", "https://host:port")
}

func TestCertificates(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"data":{"ttl":0,"renewable":false}}`))
	}))
	t.Cleanup(server.Close)
	_, err := vaultkek.Open(t.Context(), server.URL, vaultkek.Token("s.secret-token"), &vaultkek.Options{MaxRetries: -1})
	wantText(t, err, []string{"s.secret-token"}, "Options.CAFile")
	if errors.Is(err, keys.ErrUnavailable) {
		t.Error("a certificate that is not trusted is nothing to retry")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, server.URL, vaultkek.Token("s.secret-token"), &vaultkek.Options{CAFile: ca})
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = vaultkek.Open(t.Context(), server.URL, vaultkek.Token("x"), &vaultkek.Options{CAFile: ca})
	wantText(t, err, nil, "no PEM certificate")
}

// TestNoRedirectTakesTheTokenAway: a plaintext server on loopback must not send the token anywhere else.
func TestNoRedirectTakesTheTokenAway(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	t.Cleanup(thief.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	if _, err := vaultkek.Open(t.Context(), server.URL, vaultkek.Token("s.secret-token"), nil); err == nil {
		t.Error("a redirect was taken for an answer")
	}
	if stolen.Load() != 0 {
		t.Error("the token went to where a redirect pointed")
	}
}

// TestTheEnvironmentIsNotConsulted: variables meant for Vault's command line do not redirect a service.
func TestTheEnvironmentIsNotConsulted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "s.mine" || r.Header.Get("X-Vault-Namespace") != "" {
			t.Errorf("token %q, namespace %q", r.Header.Get("X-Vault-Token"), r.Header.Get("X-Vault-Namespace"))
		}
		w.Write([]byte(`{"data":{"ttl":0,"renewable":false}}`))
	}))
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", "http://203.0.113.1:8200")
	t.Setenv("VAULT_AGENT_ADDR", "http://203.0.113.1:8200")
	t.Setenv("VAULT_TOKEN", "s.other")
	t.Setenv("VAULT_NAMESPACE", "other")
	t.Setenv("HTTP_PROXY", "http://203.0.113.1:3128")
	open(t, server.URL, vaultkek.Token("s.mine"), nil)
}
