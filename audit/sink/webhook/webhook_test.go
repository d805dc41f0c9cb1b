package webhook_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/internal/sinktest"
	"github.com/strongroom-go/strongroom/audit/sink/webhook"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newLog makes a log with events whose texts need escapes, and returns what is in it.
func newLog(t *testing.T) (dir string, list []audit.Entry) {
	t.Helper()
	return sinktest.NewLog(t, 20, func(i int, e *audit.Event) {
		e.Request, e.Statement = fmt.Sprintf("<%d> & \u2028 \"é\"", i), "SELECT a < b"
	})
}

func newSecret() string {
	key := make([]byte, 32)
	rand.Read(key)
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// TestDelivered: a receiver that checks signatures with the library of Standard Webhooks, and
// refuses now and then, has every event in the end, with its exact line, and what comes again has
// the same id.
func TestDelivered(t *testing.T) {
	dir, want := newLog(t)
	old, secret := newSecret(), newSecret()
	checker, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	var mu sync.Mutex
	var ids []string
	var faults []string
	calls := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
		body, _ := io.ReadAll(r.Body)
		if err := checker.Verify(body, r.Header); err != nil {
			fault("the signature: %v", err)
		}
		if kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/cloudevents+json" || params["charset"] != "UTF-8" {
			fault("the content type is %q", r.Header.Get("Content-Type"))
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(body, &doc); err != nil {
			fault("the body: %v", err)
		}
		text := func(name string) (s string) { json.Unmarshal(doc[name], &s); return s }
		if i := slices.IndexFunc(want, func(e audit.Entry) bool { return e.UID == text("id") }); i < 0 {
			fault("unknown id %q", text("id"))
		} else if !bytes.Equal(doc["data"], want[i].Raw) {
			fault("the data is %s, and the line %s", doc["data"], want[i].Raw)
		} else if text("type") != "strongroom.audit."+string(want[i].Code) || text("subject") != want[i].Tenant {
			fault("%s", body)
		}
		if when, err := time.Parse(time.RFC3339, text("time")); text("specversion") != "1.0" || text("source") != "urn:strongroom:audit:example.com%2Fclinic" ||
			text("datacontenttype") != "application/json" || err != nil || when.IsZero() || r.Header.Get("webhook-id") != text("id") {
			fault("%s", body)
		}
		for name := range doc { // CloudEvents 1.0, "Attribute Naming Convention"
			if !regexp.MustCompile(`^[a-z0-9]{1,20}$`).MatchString(name) {
				fault("the attribute %q", name)
			}
		}
		if r.Header.Get("Authorization") != "Bearer x" {
			fault("no Authorization")
		}
		ids = append(ids, r.Header.Get("webhook-id"))
		if calls++; calls%4 == 0 { // it has it, and says that it has not
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	h, err := webhook.New(server.URL, webhook.Options{Secrets: []string{old, secret}, Client: server.Client(), Header: http.Header{"Authorization": {"Bearer x"}}})
	must(t, err)
	s, err := sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), h, &sink.Options{Batch: 2})
	must(t, err)
	defer s.Close()
	for n := 1; n > 0 || err != nil; {
		n, err = s.Round(t.Context())
	}
	var once []string
	for _, id := range ids {
		if !slices.Contains(once, id) {
			once = append(once, id)
		}
	}
	if len(once) != len(want) || len(ids) <= len(want) {
		t.Errorf("%d events arrived, %d of them once; %d are in the log", len(ids), len(once), len(want))
	}
	for _, f := range faults {
		t.Error(f)
	}
}

// TestRefusals: what is not 2xx is no delivery, redirects lead nowhere, and a receiver's time is
// kept to. Errors hold no secrets.
func TestRefusals(t *testing.T) {
	_, want := newLog(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for status, header := range map[int][2]string{
		http.StatusFound: {"Location", elsewhere.URL}, http.StatusTemporaryRedirect: {"Location", elsewhere.URL}, http.StatusBadRequest: {}, http.StatusGone: {},
		http.StatusTooManyRequests: {"Retry-After", "17"}, http.StatusServiceUnavailable: {"Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if header[0] != "" {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(status)
			w.Write([]byte("canary-body"))
		}))
		h, err := webhook.New(server.URL+"/hook?token=canary-query", webhook.Options{Secrets: []string{newSecret()}})
		must(t, err)
		_, err = h.Deliver(t.Context(), want[:1])
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint("status ", status)) || strings.Contains(err.Error(), "canary") {
			t.Errorf("status %d: %v", status, err)
		}
		var retry *sink.RetryAfter
		if got := errors.As(err, &retry); got != (header[0] == "Retry-After") || got && retry.After < 17*time.Second {
			t.Errorf("status %d: %+v", status, retry)
		}
		server.Close()
		if _, err := h.Deliver(t.Context(), want[:1]); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("nobody there: %v", err)
		}
	}
	for address, problem := range map[string]string{
		"http://siem.example.com/x": "plaintext", "ftp://x": "no URL", "https://user:canary-x@host/": "user name", "https:///x": "no URL", "%zz canary-x": "no URL",
	} {
		if _, err := webhook.New(address, webhook.Options{Secrets: []string{newSecret()}}); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, secrets := range [][]string{nil, {""}, {"whsec_"}, {"whsec_c2hvcnQ="}, {"whsec_!"}, {newSecret(), "canary"}} {
		if _, err := webhook.New("https://siem.example.com", webhook.Options{Secrets: secrets}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("the secrets %q: %v", secrets, err)
		}
	}
}
