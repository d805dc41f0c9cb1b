package vaultkek_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestSigner keeps a log whose key is in Vault: over two sessions, and after the key was rotated.
func TestSigner(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	makeKey := func(name, kind string) {
		_, err := root.Logical().WriteWithContext(t.Context(), mount+"/keys/"+name, map[string]any{"type": kind})
		must(t, err)
	}
	makeKey("audit", "ed25519")
	k := open(t, server.Addr, vaultkek.Token(token(t, root, mount, vaultkek.SignerPolicy(mount, ""), "1h")), &vaultkek.Options{Mount: mount})
	const origin = "audit.example.com/a"
	dir := filepath.Join(t.TempDir(), "log")
	session := func(version int) (verifier string) {
		s, err := k.Signer(t.Context(), "audit", version, origin)
		must(t, err)
		l, err := audit.OpenLog(dir, &audit.Options{Origin: origin, Signer: s, Verifier: s.Verifier(), ReserveBytes: -1})
		must(t, err)
		must(t, l.Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: tenant.MustParse("acme"), Store: "sqlite", Rows: -1, Bytes: -1}))
		must(t, l.Close())
		return s.Verifier()
	}
	verifier := session(0)
	_, err := root.Logical().WriteWithContext(t.Context(), mount+"/keys/audit/rotate", nil)
	must(t, err)
	if again := session(1); again != verifier {
		t.Errorf("the log had the key %s and has %s", verifier, again)
	}
	report, err := audit.Verify(t.Context(), dir, &audit.VerifyOptions{Verifiers: []string{verifier}})
	if err != nil || !report.Closed || len(report.Unauthenticated) > 0 {
		t.Errorf("%v\n%v", report, err)
	}
	newer, err := k.Signer(t.Context(), "audit", 0, origin)
	must(t, err)
	if newer.Verifier() == verifier {
		t.Error("the newest version is the first")
	}
	if l, err := audit.OpenLog(dir, &audit.Options{Signer: newer, Verifier: newer.Verifier()}); err == nil {
		l.Close()
		t.Error("the log opened with another key than its own")
	}

	makeKey("rsa", "rsa-2048")
	full := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	_, err = root.Logical().WriteWithContext(t.Context(), mount+"/keys/loose", map[string]any{"type": "ed25519", "exportable": true})
	must(t, err)
	for what, refused := range map[string]func() (*vaultkek.Signer, error){
		"a key that does not sign as it should": func() (*vaultkek.Signer, error) { return full.Signer(t.Context(), "rsa", 0, origin) },
		"a key that can be exported":            func() (*vaultkek.Signer, error) { return full.Signer(t.Context(), "loose", 0, origin) },
		"a key that is not there":               func() (*vaultkek.Signer, error) { return full.Signer(t.Context(), "nothing", 0, origin) },
		"a version that is not there":           func() (*vaultkek.Signer, error) { return full.Signer(t.Context(), "audit", 3, origin) },
		"a tenant's key":                        func() (*vaultkek.Signer, error) { return full.Signer(t.Context(), "strongroom-x", 0, origin) },
		"a name with a path":                    func() (*vaultkek.Signer, error) { return full.Signer(t.Context(), "../audit", 0, origin) },
		"no origin":                             func() (*vaultkek.Signer, error) { return full.Signer(t.Context(), "audit", 0, "") },
		"another key than the policy's":         func() (*vaultkek.Signer, error) { return k.Signer(t.Context(), "loose", 0, origin) },
	} {
		if s, err := refused(); err == nil || s != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSignerPolicy: a token that signs can do nothing else with the key, and nothing with a tenant's.
func TestSignerPolicy(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	_, err := root.Logical().WriteWithContext(t.Context(), mount+"/keys/audit", map[string]any{"type": "ed25519"})
	must(t, err)
	full := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	must(t, full.Create(t.Context(), idA))
	client := server.Client(t)
	client.SetToken(token(t, root, mount, vaultkek.SignerPolicy(mount, "audit"), "1h"))
	for _, a := range append(leaks, []attempt{
		{"DELETE", "/keys/audit", nil}, {"LIST", "/keys", nil}, read("/keys/%s"), read("/export/signing-key/audit"), read("/backup/audit"),
		write("/keys/audit", map[string]any{"type": "ed25519"}), write("/keys/audit/rotate", nil), write("/keys/audit/config", map[string]any{"exportable": true}),
		write("/sign/audit/sha2-512", map[string]any{"input": "AAAA"}), write("/sign/audit", map[string]any{"input": "AAAA", "prehashed": true}),
		write("/decrypt/%s", map[string]any{"ciphertext": "vault:v1:AAAA"}), write("/sign/%s", map[string]any{"input": "AAAA"}),
	}...) {
		request := client.NewRequest(a.method, "/v1/"+mount+strings.ReplaceAll(a.path, "%s", "strongroom-"+idA.Segment()))
		must(t, request.SetJSONBody(a.data))
		//lint:ignore SA1019 the only call of the client that takes any method and body
		_, err := client.RawRequestWithContext(t.Context(), request)
		var refused *api.ResponseError
		if !errors.As(err, &refused) || refused.StatusCode != 403 {
			t.Errorf("%s %s %v is not refused for lack of rights: %v", a.method, a.path, a.data, err)
		}
	}
}

// TestSignerAnswers: what is not a signature of the message by the key is none, whatever Vault calls it.
func TestSignerAnswers(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	msg := []byte("a checkpoint\n")
	b64 := base64.StdEncoding.EncodeToString
	answer, status := "", http.StatusOK
	double := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/keys/audit"):
			fmt.Fprintf(w, `{"request_id":"r","data":{"type":"ed25519","latest_version":1,"keys":{"1":{"public_key":%q}}}}`, b64(public))
		case strings.HasSuffix(r.URL.Path, "/sign/audit"):
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"request_id":"r","data":{"signature":%q}}`, answer)
		default: // the login
			fmt.Fprint(w, `{"request_id":"r","data":{"renewable":false,"ttl":0}}`)
		}
	}))
	defer double.Close()
	k := open(t, double.URL, vaultkek.Token("t"), &vaultkek.Options{MaxRetries: -1})
	s, err := k.Signer(t.Context(), "audit", 0, "audit.example.com/a")
	must(t, err)
	good := "vault:v1:" + b64(ed25519.Sign(private, msg))
	answer = good
	if got, err := s.Sign(msg); err != nil || !ed25519.Verify(public, msg, got) {
		t.Errorf("%x, %v", got, err)
	}
	for _, answer = range []string{"", "vault:v1:", "vault:v2:" + good[9:], good[9:], good + "A", "vault:v1:" + b64(ed25519.Sign(private, []byte("another\n")))} {
		if got, err := s.Sign(msg); err == nil || got != nil {
			t.Errorf("%q was taken for a signature", answer)
		}
	}
	answer, status = good, http.StatusServiceUnavailable
	if _, err := s.Sign(msg); !errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("Vault is sealed: %v", err)
	}
}
