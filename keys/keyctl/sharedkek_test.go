package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// TestSharedKEK is the life of tenants that share a key, by itself and as one provider of several: nobody is told that it was
// destroyed for one of them, until its versions were for all.
func TestSharedKEK(t *testing.T) {
	for _, routed := range []bool{false, true} {
		t.Run(fmt.Sprintf("routed %t", routed), func(t *testing.T) { testSharedKEK(t, routed) })
	}
}

func testSharedKEK(t *testing.T, routed bool) {
	vault := testenv.Vault(t)
	w := newWorld(t, "{}")
	mount, root := vault.EnableTransit(t), vault.Client(t)
	must(t, root.Sys().PutPolicyWithContext(t.Context(), "shared-"+mount, vaultkek.SharedPolicy(mount, "one")))
	secret, err := root.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"shared-" + mount}, NoDefaultPolicy: true, NoParent: true, Period: "48h"})
	must(t, err)
	shared := fmt.Sprintf(`{"vault": {"address": %q, "mount": %q, "sharedKey": "one", "auth": {"token": %s}}}`, vault.Addr, mount, w.secret("token", secret.Auth.ClientToken))
	kek := shared
	if routed {
		kek = fmt.Sprintf(`{"route": {"providers": {"house": %s, "theirs": {"local": {"file": "theirs.json"}}}, "default": {"provider": "house"}, "tenants": {"globex": {"provider": "theirs"}}}}`, shared)
	}
	kek += `, "keyring": {"timeout": "700ms"}, "buckets": [{"label": "scans", "dir": "bucket"}], "certificates": {"keyset": "signer.json"}`
	must(t, os.Mkdir(filepath.Join(w.dir, "bucket"), 0o700))
	w.write("keyctl.json", `{"kek": `+kek+`, `+routeRest)
	w.try(exitOK, "init")
	if out, _ := w.try(exitFindings, "doctor"); !strings.Contains(out, "keyctl kek create") {
		t.Errorf("doctor does not say how to make the key:\n%s", out)
	}
	w.try(exitError, "kek")
	w.try(exitError, "provision", "acme")
	for range 2 {
		w.try(exitOK, "kek", "create")
	}
	for _, id := range []string{"acme", "globex", "initech"} {
		w.try(exitOK, "provision", id)
	}
	if out, _ := w.try(exitOK, "doctor"); !strings.Contains(out, "the key that tenants share is as it should be") || !strings.Contains(out, "what the operators' policy says, and no more") {
		t.Errorf("doctor:\n%s", out)
	}
	if _, errs := w.try(exitError, "rotate", "-kek", "acme"); !strings.Contains(errs, "keyctl kek") {
		t.Errorf("rotated for one tenant: %s", errs)
	}
	w.try(exitOK, "kek", "rotate")
	w.try(exitOK, "rewrap", "-all")
	store, err := filestore.Open(filepath.Join(w.dir, "keys"), nil)
	must(t, err)
	backup, err := store.Get(t.Context(), acme)
	must(t, err)

	if out, _ := w.try(exitOK, "shred", "-reason", "left", "-yes", "-confirm", "acme", "acme"); !strings.Contains(out, "NOT destroyed") || !strings.Contains(out, "keyctl kek destroy -through 2") {
		t.Errorf("shred: %s", out)
	}
	restore := func() {
		t.Helper()
		now, err := store.Get(t.Context(), acme)
		must(t, err)
		_, err = store.Put(t.Context(), acme, backup.Data, now.Version)
		must(t, err)
	}
	restore()
	w.try(exitOK, "status", "-keys", "acme") // which is what shred warned of
	w.try(exitOK, "shred", "-reason", "left", "-yes", "-confirm", "acme", "acme")

	w.try(exitError, "kek", "destroy", "-reason", "x", "-yes", "-confirm", "one")
	w.try(exitError, "kek", "destroy", "-through", "2", "-yes", "-confirm", "one")
	w.try(exitError, "kek", "destroy", "-through", "2", "-reason", "x")
	w.try(exitError, "kek", "destroy", "-through", "2", "-reason", "x", "-yes", "-confirm", "two")
	w.try(exitError, "kek", "destroy", "-through", "3", "-reason", "x", "-yes", "-confirm", "one")
	w.try(exitError, "kek", "show", "-through", "3")
	w.try(exitError, "kek", "burn")
	w.try(exitError, "kek", "-provider", "theirs")
	if k := lines(t, first(w.try(exitOK, "kek", "-json")))[0]; k["oldest"] != 1.0 || k["newest"] != 2.0 {
		t.Errorf("%v", k)
	}
	done := lines(t, first(w.try(exitOK, "kek", "destroy", "-through", "2", "-reason", "quarterly", "-yes", "-confirm", "one", "-json")))[0]
	rewrapped := 2.0
	if routed {
		rewrapped = 1 // globex is elsewhere
	}
	if done["oldest"] != 3.0 || done["newest"] != 3.0 || done["tenants"] != 2.0 || done["rewrapped"] != rewrapped {
		t.Errorf("%v", done)
	}
	if out, _ := w.try(exitOK, "shred", "-reason", "left", "-yes", "-confirm", "acme", "acme"); strings.Contains(out, "NOT destroyed") {
		t.Errorf("shred once more, after the versions are destroyed: %s", out)
	}
	restore()
	w.try(exitFindings, "status", "-keys", "acme")
	for _, id := range []string{"globex", "initech"} {
		w.try(exitOK, "status", "-keys", id)
	}
	// A record that does not open keeps versions from being destroyed, until it is one of a shredded tenant.
	if _, errs := w.try(exitFindings, "kek", "destroy", "-through", "3", "-reason", "x", "-yes", "-confirm", "one"); !strings.Contains(errs, "nothing was destroyed: tenant acme") {
		t.Errorf("kek destroy: %s", errs)
	}
	w.try(exitOK, "shred", "-reason", "left", "-yes", "-confirm", "acme", "acme")
	// The same by an offboarding, and in its certificate.
	for _, destroyed := range []bool{false, true} {
		file := filepath.Join(w.dir, fmt.Sprint(destroyed, ".json"))
		out, _ := w.try(exitOK, "offboard", "-reason", "left", "-certificate", file, "-yes", "-confirm", "initech", "initech")
		shown, _ := w.try(exitOK, "certificate", "-key", filepath.Join(w.dir, "signer.json.pub"), file)
		if strings.Contains(out, "NOT destroyed") == destroyed || strings.Contains(shown, "NOT destroyed") == destroyed || !strings.Contains(shown, "versions up to ") {
			t.Errorf("offboard:\n%s\nand the certificate:\n%s", out, shown)
		}
		if !destroyed {
			w.try(exitOK, "kek", "destroy", "-through", "4", "-reason", "quarterly", "-yes", "-confirm", "one")
		}
	}
	recorded := map[audit.Code]int{}
	for e, err := range audit.Read(t.Context(), filepath.Join(w.dir, "trail"), nil) {
		must(t, err)
		if e.Tenant == "" && e.Status == audit.Success && e.Phase == audit.Outcome {
			recorded[e.Code]++
		}
	}
	if recorded[audit.CodeKeyDestroy] != 2 || recorded[audit.CodeKeyProvision] != 2 || recorded[audit.CodeKeyRotate] != 1 {
		t.Errorf("recorded %v", recorded)
	}
	w.write("keyctl.json", strings.Replace(`{"kek": `+kek+`, `+routeRest, `"sharedKey"`, `"prefix": "p-", "sharedKey"`, 1))
	if _, errs := w.try(exitError, "list"); !strings.Contains(errs, "name one") {
		t.Errorf("a prefix and a shared key: %s", errs)
	}
}

func first(out, _ string) string { return out }
