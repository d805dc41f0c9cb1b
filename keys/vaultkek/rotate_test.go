package vaultkek_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// TestWhoMayRotate: the service's privileges suffice for the keys under the root keyset, which it has, and not for the
// KEK; after the operator has rotated that one, its older version is not needed.
func TestWhoMayRotate(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	as := func(name, policy string) *vaultkek.KEK {
		return open(t, server.Addr, vaultkek.Token(token(t, root, mount+name, policy, "1h")), &vaultkek.Options{Mount: mount})
	}
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	ring := func(k *vaultkek.KEK, within time.Duration) *keys.Keyring {
		r, err := keys.Open(t.Context(), k, store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: within})
		must(t, err)
		t.Cleanup(func() { r.Close() })
		return r
	}
	// A rotation takes as long as that; within so short a time few answers are of use.
	const short = 100 * time.Millisecond
	operator, service := ring(as("", vaultkek.Policy(mount, "")), short), ring(as("-use", vaultkek.UsePolicy(mount, "")), short)
	must(t, operator.Provision(t.Context(), idA))
	k, err := ring(as("-use", vaultkek.UsePolicy(mount, "")), 0).Tenant(t.Context(), idA)
	must(t, err)
	sealed, err := k.Data().Encrypt([]byte("v"), nil)
	must(t, err)
	must(t, service.Rotate(t.Context(), idA, keys.PurposeData, ""))
	must(t, service.Rewrap(t.Context(), idA, ""))

	before, err := store.Get(t.Context(), idA)
	must(t, err)
	if service.RotateKEK(t.Context(), idA, "") == nil {
		t.Error("the service rotates the KEK")
	}
	after, err := store.Get(t.Context(), idA)
	must(t, err)
	if after.Version != before.Version || !bytes.Contains(after.Data, []byte("vault:v1:")) {
		t.Error("what was refused has changed something")
	}

	must(t, operator.RotateKEK(t.Context(), idA, ""))
	after, err = store.Get(t.Context(), idA)
	must(t, err)
	if !bytes.Contains(after.Data, []byte("vault:v2:")) {
		t.Error("the root keyset is not wrapped by the new version")
	}
	_, err = root.Logical().WriteWithContext(t.Context(), mount+"/keys/strongroom-"+idA.Segment()+"/config", map[string]any{"min_decryption_version": 2})
	must(t, err)
	k, err = ring(as("-use", vaultkek.UsePolicy(mount, "")), 0).Tenant(t.Context(), idA)
	must(t, err)
	if got, err := k.Data().Decrypt(sealed, nil); err != nil || string(got) != "v" {
		t.Errorf("%q, %v", got, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
