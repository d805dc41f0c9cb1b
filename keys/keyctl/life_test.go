package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinksignature "github.com/tink-crypto/tink-go/v2/signature"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/offboard"
)

func TestLifeEmbedded(t *testing.T) { life(newEmbedded(t)) }

func TestLifeOnServers(t *testing.T) { life(newServers(t)) }

var messages = regexp.MustCompile(`"error":"(\\.|[^"])*"`)

// life is the whole life of two tenants. What -json prints is golden, and the same wherever keys, records and data are; errors
// are compared by their class.
func life(s *site) {
	t := s.t
	t.Helper()
	var all strings.Builder
	run := func(want int, args ...string) []map[string]any {
		t.Helper()
		out, errs := s.try(want, append(args, "-json")...)
		text := "$ keyctl " + strings.Join(args, " ") + "\n" + out + messages.ReplaceAllString(errs, `"error":"..."`)
		all.WriteString(steady(strings.ReplaceAll(text, s.dir, "DIR")))
		if want != exitOK {
			return lines(t, errs)
		}
		return lines(t, out)
	}
	reads := func() {
		t.Helper()
		must(t, s.reads(acme))
		must(t, s.reads(globex))
	}
	run(exitOK, "init")
	run(exitOK, "list")
	run(exitError, "status", "acme")
	for range 2 {
		run(exitOK, "provision", "acme", "-actor", "operator-7", "-request", "4711")
	}
	run(exitOK, "provision", "globex")
	s.fill(acme)
	s.fill(globex)
	run(exitOK, "status", "-keys", "acme")
	run(exitOK, "offboard", "-dry-run", "acme")

	first := func(purpose string) string {
		t.Helper()
		return number(run(exitOK, "versions", "-purpose", purpose, "acme")[0]["keys"].([]any)[0].(map[string]any)["key"].(float64))
	}
	older, olderData, olderBlobs := first("index"), first("data"), first("blobs")
	for _, p := range purposes {
		run(exitOK, "rotate", "-purpose", string(p), "-reason", "yearly", "acme")
	}
	run(exitOK, "rotate", "-kek", "acme")
	run(exitOK, "rewrap", "acme")
	run(exitOK, "rewrap", "-all", "-reason", "yearly")
	run(exitOK, "rewrap", "-all", "-after", "acme")
	reads()
	run(exitError, "versions", "-purpose", "index", "-disable", older, "-reason", "early", "acme") // values need it
	run(exitOK, "reseal", "-dry-run", "acme")
	run(exitOK, "reseal", "-database", "clinics", "acme")
	run(exitError, "versions", "-purpose", "data", "-disable", olderData, "-reason", "early", "acme") // objects need it
	run(exitOK, "reseal", "-sole-process", "acme")
	run(exitOK, "reseal", "-bucket", "scans", "-dry-run", "acme")
	run(exitOK, "versions", "-purpose", "data", "-disable", olderData, "-reason", "resealed", "acme")
	run(exitOK, "versions", "-purpose", "blobs", "-disable", olderBlobs, "-reason", "resealed", "acme")
	run(exitOK, "versions", "-purpose", "blobs", "-destroy", olderBlobs, "-reason", "resealed", "-yes", "-confirm", "acme", "acme")
	run(exitOK, "reseal", "-all", "-purpose", "data", "-sole-process")
	run(exitOK, "versions", "-purpose", "index", "-disable", older, "-reason", "resealed", "acme")
	run(exitOK, "versions", "-purpose", "index", "acme")
	run(exitOK, "versions", "-purpose", "index", "-enable", older, "-reason", "doubts", "acme")
	run(exitOK, "versions", "-purpose", "index", "-disable", older, "-reason", "resealed", "acme")
	run(exitError, "versions", "-purpose", "index", "-destroy", older, "-reason", "resealed", "acme") // nobody confirms it
	run(exitOK, "versions", "-purpose", "index", "-destroy", older, "-reason", "resealed", "-yes", "-confirm", "acme", "acme")
	run(exitOK, "versions", "-purpose", "index", "acme")
	reads()

	run(exitError, "suspend", "acme")
	for range 2 {
		run(exitOK, "suspend", "acme", "-reason", "ticket 4711")
	}
	run(exitOK, "list", "-status", "suspended")
	run(exitError, "provision", "acme")
	run(exitError, "reseal", "-sole-process", "acme")
	for range 2 {
		run(exitOK, "resume", "acme", "-reason", "ticket 4711")
	}

	certificate := filepath.Join(s.dir, "acme.json")
	leave := []string{"offboard", "acme", "-reason", "contract ended", "-certificate", certificate}
	run(exitError, leave...)
	run(exitError, append(leave, "-yes", "-confirm", "globex")...)
	reads()
	run(exitOK, append(leave, "-yes", "-confirm", "acme")...)
	run(exitError, append(leave, "-yes", "-confirm", "acme")...) // the certificate stays
	leave[len(leave)-1] = filepath.Join(s.dir, "again.json")
	run(exitOK, append(leave, "-yes", "-confirm", "acme")...)
	verified(s, certificate)
	public := filepath.Join(s.dir, "signer.json.pub")
	s.try(exitOK, "certificate", "-key", public, certificate)
	s.try(exitError, "certificate", "-key", certificate, certificate)
	envelope, err := os.ReadFile(certificate)
	must(t, err)
	s.write("forged.json", strings.Replace(string(envelope), `"sig":"`, `"sig":"A`, 1))
	s.try(exitFindings, "certificate", "-key", public, filepath.Join(s.dir, "forged.json"))
	if n := s.left(acme); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if err := s.reads(acme); err == nil {
		t.Error("the service reads on")
	}
	must(t, s.reads(globex))

	run(exitError, "shred", "globex", "-reason", "left", "-yes")
	for range 2 {
		run(exitOK, "shred", "globex", "-reason", "left", "-yes", "-confirm", "globex")
	}
	for err := s.reads(globex); !errors.Is(err, keys.ErrShredded); err = s.reads(globex) { // within suspendWithin
		must(t, err)
		time.Sleep(10 * time.Millisecond)
	}
	run(exitError, "resume", "globex", "-reason", "no")
	run(exitOK, "list")
	run(exitOK, "list", "-after", "acme")
	golden(t, "life.txt", all.String())
	trail(s)
}

func verified(s *site, certificate string) {
	s.t.Helper()
	envelope, err := os.ReadFile(certificate)
	must(s.t, err)
	public, err := os.ReadFile(filepath.Join(s.dir, "signer.json.pub"))
	must(s.t, err)
	h, err := keyset.ReadWithNoSecrets(keyset.NewJSONReader(bytes.NewReader(public)))
	must(s.t, err)
	v, err := tinksignature.NewVerifier(h)
	must(s.t, err)
	c, err := offboard.Verify(envelope, v)
	must(s.t, err)
	if c.Tenant != acme || c.Reason != "contract ended" || c.Keys.Before || len(c.Keys.Destroyed) == 0 || c.Databases[0].Tables == nil || c.Buckets[0].Objects != 3 {
		s.t.Errorf("the certificate says %+v", c)
	}
}

// trail looks at what the tool recorded: everything that changed something, and nothing in the clear that should not be.
func trail(s *site) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "trail")
	if _, err := audit.Verify(s.t.Context(), dir, nil); err != nil {
		s.t.Error(err)
	}
	seen, provisioner := map[audit.Code]int{}, ""
	for e, err := range audit.Read(s.t.Context(), dir, nil) {
		must(s.t, err)
		seen[e.Code]++
		if e.Code == audit.CodeKeyProvision && e.Tenant == "acme" {
			provisioner = e.Purpose + " " + e.Request
		}
		for _, text := range []string{canary, "operator-7", "ticket 4711", "yearly"} {
			if bytes.Contains(e.Raw, []byte(text)) {
				s.t.Errorf("the trail has %q in the clear: %s", text, e.Raw)
			}
		}
	}
	for _, code := range []audit.Code{audit.CodeKeyProvision, audit.CodeKeyRotate, audit.CodeKeyDisable, audit.CodeKeyEnable, audit.CodeKeyDestroy,
		audit.CodeKeySuspend, audit.CodeKeyResume, audit.CodeKeyShred, audit.CodeReseal, audit.CodeBlobReseal, audit.CodeOffboard, audit.CodeBlobOffboard} {
		if seen[code] == 0 {
			s.t.Errorf("the trail has no %s", code)
		}
	}
	if provisioner != "operations 4711" {
		s.t.Errorf("the provisioning was for %q", provisioner)
	}
}
