package keys_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestARealLogTakesEveryEvent runs a tenant's life, an outage included, into a real audit log, and looks for what must
// not be there.
func TestARealLogTakesEveryEvent(t *testing.T) { synctest.Test(t, testARealLogTakesEveryEvent) }

func testARealLogTakesEveryEvent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log, err := audit.OpenLog(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, f, clock := timed(t, keys.Options{Audit: log, WhenUnavailable: keys.ServeStale})
	ctx := tenant.NewContext(t.Context(), tenant.Access{Tenant: idA, Actor: "dr-canary", Purpose: "operations"})
	must(t, r.Provision(ctx, idA))
	f.set(nil, errAway)
	clock.Add(time.Minute)
	if _, err := r.Tenant(ctx, idA); err != nil {
		t.Fatal(err)
	}
	f.set(nil, nil)
	must(t, r.Suspend(ctx, idA, "canary reason"))
	must(t, r.Resume(ctx, idA, "canary reason"))
	must(t, r.Shred(ctx, idA, "canary reason"))
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	var all []byte
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, b...)
		return err
	})
	must(t, err)
	for _, code := range []audit.Code{audit.CodeKeyProvision, audit.CodeKeyStale, audit.CodeKeySuspend, audit.CodeKeyResume, audit.CodeKeyShred} {
		if !bytes.Contains(all, []byte(code)) {
			t.Errorf("the log has no %s", code)
		}
	}
	if strings.Contains(string(all), "canary") {
		t.Error("the actor, or a free-text reason, stands in the clear")
	}
	// The tenant's keys are gone, and its bundle verifies.
	var bundle bytes.Buffer
	if _, err := audit.WriteBundle(ctx, &bundle, dir, idA, nil); err != nil {
		t.Fatal(err)
	}
	text := bundle.String()
	if about, err := audit.VerifyBundle(ctx, &bundle, []string{log.Verifier()}); err != nil || about.Events < 5 || !strings.Contains(text, string(audit.CodeKeyShred)) {
		t.Errorf("the bundle of a shredded tenant: %+v, %v", about, err)
	}
}
