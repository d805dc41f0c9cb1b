package vaultkek_test

import (
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/kektest"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// token makes a token with the policy and nothing else, not even Vault's default policy.
func token(t testing.TB, root *api.Client, mount, policy string, period string) string {
	t.Helper()
	name := "policy-" + mount
	if err := root.Sys().PutPolicyWithContext(t.Context(), name, policy); err != nil {
		t.Fatal(err)
	}
	secret, err := root.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{
		Policies: []string{name}, NoDefaultPolicy: true, NoParent: true, Period: period})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Auth.ClientToken
}

func open(t testing.TB, addr string, auth api.AuthMethod, o *vaultkek.Options) *vaultkek.KEK {
	t.Helper()
	k, err := vaultkek.Open(t.Context(), addr, auth, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// TestConformance runs with the documented least privileges.
func TestConformance(t *testing.T) {
	server := testenv.Vault(t)
	root := server.Client(t)
	kektest.Run(t, func(t testing.TB) keys.KEK {
		mount := server.EnableTransit(t)
		auth := vaultkek.Token(token(t, root, mount, vaultkek.Policy(mount, ""), "1h"))
		return open(t, server.Addr, auth, &vaultkek.Options{Mount: mount})
	})
}

// TestConformanceWithTooMuch runs with the root token, with which Vault's encrypt makes keys that are not there.
func TestConformanceWithTooMuch(t *testing.T) {
	server := testenv.Vault(t)
	kektest.Run(t, func(t testing.TB) keys.KEK {
		return open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: server.EnableTransit(t), Prefix: "p_"})
	})
}

// appRole makes a role with the policy and returns its credentials.
func appRole(t testing.TB, root *api.Client, mount, policy string, settings map[string]any) (roleID, secretID string) {
	t.Helper()
	ctx := t.Context()
	if err := root.Sys().PutPolicyWithContext(ctx, "policy-"+mount, policy); err != nil {
		t.Fatal(err)
	}
	settings["token_policies"] = "policy-" + mount
	settings["token_no_default_policy"] = true
	if _, err := root.Logical().WriteWithContext(ctx, "auth/"+mount+"/role/app", settings); err != nil {
		t.Fatal(err)
	}
	return credentials(t, root, mount)
}

// credentials are those of the role "app".
func credentials(t testing.TB, root *api.Client, mount string) (roleID, secretID string) {
	t.Helper()
	ctx, role := t.Context(), "auth/"+mount+"/role/app"
	id, err := root.Logical().ReadWithContext(ctx, role+"/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := root.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	return id.Data["role_id"].(string), secret.Data["secret_id"].(string)
}

func newAppRole(t testing.TB, roleID, secretID, mount string) api.AuthMethod {
	t.Helper()
	a, err := vaultkek.AppRole(roleID, secretID, mount)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
