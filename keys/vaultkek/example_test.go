package vaultkek_test

import (
	"context"
	"fmt"
	"iter"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// A plaintext connection is accepted on the loopback interface only.
func ExampleNew() {
	auth, err := vaultkek.AppRole("role-id", "secret-id", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = vaultkek.Open(context.Background(), "http://vault.example.com:8200", auth, nil)
	fmt.Println(err)
	// Output:
	// vaultkek: the address http://vault.example.com:8200 would send the token and the tenants' root keysets in plaintext over the network; use https, or set Options.InsecureAllowPlaintext if the network itself is encrypted
}

// One key for very many small tenants. The service opens those in use by few calls; an operator destroys, now and then, what
// tenants that left since could still be opened with.
func ExampleOpenShared() {
	ctx := context.Background()
	serve := func(login api.AuthMethod, store keys.Store, log audit.Recorder, inUse iter.Seq[tenant.ID]) error {
		kek, err := vaultkek.OpenShared(ctx, "https://vault.example.com:8200", login, "strongroom", nil)
		if err != nil {
			return err
		}
		defer kek.Close()
		ring, err := keys.Open(ctx, kek, store, &keys.Options{Audit: log})
		if err != nil {
			return err
		}
		defer ring.Close()
		_, err = ring.Warm(ctx, inUse)
		return err
	}
	operate := func(kek *vaultkek.Shared, ring *keys.Keyring, left *keys.Shredded) error {
		for _, k := range left.Shared { // what Keyring.ShredWithReport said
			if _, err := ring.DestroySharedKEK(ctx, kek, k.Through, nil); err != nil {
				return err
			}
		}
		return nil
	}
	_, _ = serve, operate
}

func ExampleUsePolicy() {
	fmt.Print(vaultkek.UsePolicy("", ""))
	// Output:
	// # Open tenants, and bring wrapped keysets to the newest version of their key.
	// path "transit/decrypt/strongroom-*" {
	//   capabilities = ["update"]
	// }
	// path "transit/rewrap/strongroom-*" {
	//   capabilities = ["update"]
	// }
	// # Keep the login alive.
	// path "auth/token/renew-self" {
	//   capabilities = ["update"]
	// }
	// path "auth/token/lookup-self" {
	//   capabilities = ["read"]
	// }
}
