package blobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

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
