package vaultkek_test

import (
	"context"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// roleKEK opens a provider by AppRole.
func roleKEK(t *testing.T, settings map[string]any, onLogin func(error)) (*vaultkek.KEK, *api.Client, string) {
	t.Helper()
	server := testenv.Vault(t)
	root, mount, auth := server.Client(t), server.EnableTransit(t), server.EnableAppRole(t)
	roleID, secretID := appRole(t, root, auth, vaultkek.Policy(mount, ""), settings)
	k := open(t, server.Addr, newAppRole(t, roleID, secretID, auth), &vaultkek.Options{Mount: mount, OnLogin: onLogin})
	return k, root, auth
}

func works(t *testing.T, k *vaultkek.KEK) {
	t.Helper()
	if err := k.Create(t.Context(), idA); err != nil {
		t.Fatal(err)
	}
	wrapped, err := k.Wrap(t.Context(), idA, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unwrap(t.Context(), idA, wrapped); err != nil || string(got) != plaintext {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestAppRole(t *testing.T) {
	k, _, _ := roleKEK(t, map[string]any{"token_ttl": "1h"}, nil)
	works(t, k)
}

// TestARevokedTokenIsReplaced: the next call logs in again by itself.
func TestARevokedTokenIsReplaced(t *testing.T) {
	k, root, auth := roleKEK(t, map[string]any{"token_ttl": "1h"}, nil)
	works(t, k)
	if err := root.Sys().RevokePrefixWithContext(t.Context(), "auth/"+auth+"/login"); err != nil {
		t.Fatal(err)
	}
	works(t, k)
}

// TestLoginIsRepeatedWhenRenewalEnds runs into the token's maximum lifetime.
func TestLoginIsRepeatedWhenRenewalEnds(t *testing.T) {
	logins := make(chan error, 16)
	k, _, _ := roleKEK(t, map[string]any{"token_ttl": "1s", "token_max_ttl": "2s"}, func(err error) {
		select {
		case logins <- err:
		default:
		}
	})
	for range 2 {
		select {
		case err := <-logins:
			if err != nil {
				t.Fatal(err)
			}
			works(t, k)
		case <-t.Context().Done():
			t.Fatal("no login")
		}
	}
}

func TestWrongCredentials(t *testing.T) {
	server := testenv.Vault(t)
	auth := server.EnableAppRole(t)
	const secretID = "11111111-2222-3333-4444-555555555555"
	_, err := vaultkek.Open(t.Context(), server.Addr, newAppRole(t, "no-such-role", secretID, auth), nil)
	wantText(t, err, []string{secretID}, server.Addr, "log in")
	_, err = vaultkek.Open(t.Context(), server.Addr, vaultkek.Token("s.not-a-token"), nil)
	wantText(t, err, []string{"s.not-a-token"}, "expired or was revoked")
	_, err = vaultkek.Open(t.Context(), server.Addr, vaultkek.Token(""), nil)
	wantText(t, err, nil, "the token is empty")
	if _, err := vaultkek.AppRole("", "", ""); err == nil {
		t.Error("empty credentials were accepted")
	}
}

func TestARevokedTokenOfSomebodyElse(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	secret := token(t, root, mount, vaultkek.Policy(mount, ""), "1h")
	k := open(t, server.Addr, vaultkek.Token(secret), &vaultkek.Options{Mount: mount})
	works(t, k)
	if err := root.Auth().Token().RevokeOrphanWithContext(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	wantText(t, k.Create(t.Context(), idA), []string{secret}, "AppRole")
}

// TestKeyring runs a tenant's life on Vault with the documented privileges.
func TestKeyring(t *testing.T) {
	k, root, _ := roleKEK(t, map[string]any{"token_ttl": "1h"}, nil)
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	if err != nil {
		t.Fatal(err)
	}
	ring := func() *keys.Keyring {
		r, err := keys.Open(t.Context(), k, store, &keys.Options{InsecureWithoutAudit: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	if err := ring().Provision(t.Context(), idA); err != nil {
		t.Fatal(err)
	}
	opened, err := ring().Tenant(t.Context(), idA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.Data().Encrypt([]byte("v"), nil); err != nil {
		t.Fatal(err)
	}
	before, err := store.Get(t.Context(), idA)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring().Shred(context.Background(), idA, "left"); err != nil {
		t.Fatal(err)
	}
	_, err = ring().Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrShredded)
	// The record, restored from a backup, opens nothing: the KEK is gone.
	now, err := store.Get(t.Context(), idA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), idA, before.Data, now.Version); err != nil {
		t.Fatal(err)
	}
	_, err = ring().Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrNotFound)
	_ = root
}
