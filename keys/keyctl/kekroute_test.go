package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/tenant"
)

const routeRest = `"store": {"files": {"dir": "keys"}}, "audit": {"dir": "trail"}}`

// TestMoveOnFiles moves a tenant between two files of key-encryption keys.
func TestMoveOnFiles(t *testing.T) {
	testMove(t, newWorld(t, "{}"), `{"local": {"file": "house.json"}}`, `{"local": {"file": "theirs.json"}}`)
}

// TestMoveOnVault moves a tenant between two engines of a Vault, at each of which the operator has the least privileges.
func TestMoveOnVault(t *testing.T) {
	vault := testenv.Vault(t)
	w := newWorld(t, "{}")
	engine := func(name string) string {
		mount := vault.EnableTransit(t)
		roleID, secretID, method := operator(t, vault, mount)
		return fmt.Sprintf(`{"vault": {"address": %q, "mount": %q, "auth": {"appRole": {"roleId": %q, "secretId": %s, "mount": %q}}}}`,
			vault.Addr, mount, roleID, w.secret(name, secretID), method)
	}
	testMove(t, w, engine("house-secret"), engine("theirs-secret"))
}

func testMove(t *testing.T, w *world, house, theirs string) {
	routed := func(tenants string) {
		w.write("keyctl.json", fmt.Sprintf(`{"kek": {"route": {"providers": {"house": %s, "theirs": %s}, "default": {"provider": "house"}, "tenants": {%s}, "unmarked": "house"}}, %s`,
			house, theirs, tenants, routeRest))
	}
	opens := func(id string) {
		t.Helper()
		w.try(exitOK, "status", "-keys", id)
	}
	w.write("keyctl.json", `{"kek": `+house+`, `+routeRest)
	w.try(exitOK, "init")
	w.try(exitOK, "provision", "acme")
	w.try(exitOK, "provision", "globex")
	w.try(exitError, "retire", "-reason", "x", "-yes", "-confirm", "acme", "acme", "house") // there is no other
	store, err := filestore.Open(filepath.Join(w.dir, "keys"), nil)
	must(t, err)
	wrappedAt := func(id tenant.ID, name string) {
		t.Helper()
		rec, err := store.Get(t.Context(), id)
		must(t, err)
		if got := bytes.Contains(rec.Data, []byte("strongroom-route-1:"+string(rune(len(name)))+name)); !got {
			t.Errorf("%s is not wrapped at %s", id, name)
		}
	}

	routed(`"acme": {"provider": "house", "also": ["theirs"]}`)
	w.try(exitOK, "init") // theirs, where it is a file
	opens("acme")
	routed(`"acme": {"provider": "theirs", "also": ["house"]}`)
	opens("acme")
	before, err := store.Get(t.Context(), acme)
	must(t, err)
	w.try(exitOK, "rewrap", "acme")
	w.try(exitOK, "rewrap", "globex")
	wrappedAt(acme, "theirs")
	wrappedAt(globex, "house")
	w.try(exitOK, "rotate", "-kek", "acme")
	w.try(exitOK, "rotate", "-purpose", "data", "-reason", "yearly", "globex")
	w.try(exitOK, "suspend", "acme", "-reason", "ticket 4711")
	w.try(exitOK, "resume", "acme", "-reason", "ticket 4711")
	w.try(exitOK, "doctor")

	w.try(exitError, "retire", "-reason", "own key", "-yes", "-confirm", "globex", "globex", "house") // it is there
	w.try(exitError, "retire", "-reason", "own key", "-yes", "-confirm", "acme", "acme", "nobody")
	w.try(exitError, "retire", "-reason", "own key", "acme", "house") // nobody confirms it
	w.try(exitError, "retire", "-yes", "-confirm", "acme", "acme", "house")
	w.try(exitOK, "retire", "-reason", "own key", "-yes", "-confirm", "acme", "acme", "house")
	w.try(exitOK, "retire", "-reason", "own key", "-yes", "-confirm", "acme", "acme", "house")
	opens("acme")
	opens("globex")
	phases := map[audit.Phase]int{}
	for e, err := range audit.ReadAll(t.Context(), []string{filepath.Join(w.dir, "trail")}, &audit.Filter{Tenant: acme}) {
		must(t, err)
		if e.Code == audit.CodeKeyDestroy && e.Status == audit.Success {
			phases[e.Phase]++
		}
	}
	if phases[audit.Intent] != 2 || phases[audit.Outcome] != 2 {
		t.Errorf("the trail has %v of what was destroyed", phases)
	}

	routed(`"acme": {"provider": "theirs"}`)
	opens("acme")
	// Of a tenant that nobody has moved yet nothing is lost.
	w.try(exitOK, "provision", "initech")
	routed(`"acme": {"provider": "theirs"}, "initech": {"provider": "theirs", "also": ["house"]}`)
	w.try(exitOK, "retire", "-reason", "own key", "-yes", "-confirm", "initech", "initech", "house")
	opens("initech")
	// A copy of the record from before opens no more, whatever the routes.
	routed(`"acme": {"provider": "theirs", "also": ["house"]}`)
	now, err := store.Get(t.Context(), acme)
	must(t, err)
	must(t, store.Delete(t.Context(), acme, now.Version))
	_, err = store.Put(t.Context(), acme, before.Data, 0)
	must(t, err)
	w.try(exitError, "status", "-keys", "acme")
	w.try(exitOK, "shred", "globex", "-reason", "left", "-yes", "-confirm", "globex")
}
