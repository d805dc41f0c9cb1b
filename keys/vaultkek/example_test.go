package vaultkek_test

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/keys/vaultkek"
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
