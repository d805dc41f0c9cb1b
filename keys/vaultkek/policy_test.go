package vaultkek_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// attempt is something that a stolen token would be used for. Key %s is a tenant's.
type attempt struct {
	method, path string
	data         map[string]any
}

func write(path string, data map[string]any) attempt { return attempt{"PUT", path, data} }
func read(path string) attempt                       { return attempt{"GET", path, nil} }

// wrongKeys are attempts to have a key that is not as this package makes it. Vault reads booleans as strconv does, so that
// there are many ways to say true.
func wrongKeys() (all []attempt) {
	for _, property := range []string{"exportable", "allow_plaintext_backup"} {
		for _, yes := range []any{true, "true", "True", "TRUE", "t", "T", "1", 1, 1.0} {
			all = append(all,
				write("/keys/strongroom-new", map[string]any{"type": "aes256-gcm96", property: yes}),
				write("/keys/%s/config", map[string]any{property: yes}))
		}
	}
	return append(all,
		write("/keys/strongroom-new", map[string]any{"type": "rsa-2048"}),
		write("/keys/strongroom-new", map[string]any{"derived": true}),
		write("/keys/strongroom-new", map[string]any{"convergent_encryption": true, "derived": true}),
		write("/keys/%s/config", map[string]any{"min_decryption_version": 2}),
		write("/keys/%s/config", map[string]any{"min_encryption_version": 1}),
		write("/keys/%s/config", map[string]any{"auto_rotate_period": "1h"}),
		write("/keys/%s/trim", map[string]any{"min_available_version": 1}),
		write("/keys/strongroom-new/import", map[string]any{"type": "aes256-gcm96", "ciphertext": "AAAA"}),
		write("/keys/%s/import_version", map[string]any{"ciphertext": "AAAA"}))
}

// leaks are attempts to get at a key, or at keys that are not a tenant's.
var leaks = []attempt{
	read("/export/encryption-key/%s"), read("/export/encryption-key/%s/1"), read("/backup/%s"), read("/byok-export/%s/%s"),
	write("/restore/strongroom-new", map[string]any{"backup": "AAAA"}), write("/restore", map[string]any{"backup": "AAAA"}),
	write("/datakey/plaintext/%s", nil), write("/encrypt/strongroom-fresh", map[string]any{"plaintext": "eA=="}),
	write("/keys/other", map[string]any{"type": "aes256-gcm96"}), write("/decrypt/other", map[string]any{"ciphertext": "vault:v1:AAAA"}),
	write("/cache-config", map[string]any{"size": 10}), read("/config/keys"), write("/config/keys", map[string]any{"disable_upsert": false}),
}

// TestThePoliciesAreNoMoreThanNeeded tries what a stolen token would be used for: each attempt is refused for lack of rights.
func TestThePoliciesAreNoMoreThanNeeded(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	full := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	must(t, full.Create(t.Context(), idA))
	must(t, full.Rotate(t.Context(), idA))
	key := "strongroom-" + idA.Segment()

	change := append(wrongKeys(),
		write("/keys/strongroom-new", map[string]any{"type": "aes256-gcm96"}),
		write("/keys/%s/rotate", nil),
		write("/keys/%s/config", map[string]any{"deletion_allowed": true}),
		attempt{"DELETE", "/keys/%s", nil},
		write("/encrypt/%s", map[string]any{"plaintext": "eA=="}))
	for name, c := range map[string]struct {
		policy   string
		attempts []attempt
	}{
		"operator": {vaultkek.Policy(mount, ""), slices.Concat(wrongKeys(), leaks, []attempt{{"LIST", "/keys", nil}})},
		"service":  {vaultkek.UsePolicy(mount, ""), slices.Concat(change, leaks, []attempt{{"LIST", "/keys", nil}, read("/keys/%s")})},
		"read-only": {vaultkek.ReadOnlyPolicy(mount, ""), slices.Concat(change, leaks, []attempt{
			write("/decrypt/%s", map[string]any{"ciphertext": "vault:v1:AAAA"}), write("/rewrap/%s", map[string]any{"ciphertext": "vault:v1:AAAA"})})},
	} {
		t.Run(name, func(t *testing.T) {
			client := server.Client(t)
			client.SetToken(token(t, root, mount+name, c.policy, "1h"))
			for _, a := range c.attempts {
				path := "/v1/" + mount + strings.ReplaceAll(a.path, "%s", key)
				request := client.NewRequest(a.method, path)
				must(t, request.SetJSONBody(a.data))
				//lint:ignore SA1019 the only call of the client that takes any method and body
				_, err := client.RawRequestWithContext(t.Context(), request)
				var refused *api.ResponseError
				if !errors.As(err, &refused) || refused.StatusCode != 403 {
					t.Errorf("%s %s %v is not refused for lack of rights: %v", a.method, a.path, a.data, err)
				}
			}
		})
	}
	must(t, full.Check(t.Context(), idA)) // whatever was tried
}

// TestReadOnly: the smallest policy tells a tenant's key that is as it should be from one that is not, and opens nothing.
func TestReadOnly(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	full := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	must(t, full.Create(t.Context(), idA))
	wrapped, err := full.Wrap(t.Context(), idA, []byte(plaintext))
	must(t, err)
	client := server.Client(t)
	client.SetToken(token(t, root, mount, vaultkek.ReadOnlyPolicy(mount, ""), "1h"))
	if list, err := client.Logical().ListWithContext(t.Context(), mount+"/keys"); err != nil || len(list.Data["keys"].([]any)) != 1 {
		t.Errorf("the list of keys: %v, %v", list, err)
	}
	k := open(t, server.Addr, vaultkek.Token(client.Token()), &vaultkek.Options{Mount: mount})
	must(t, k.Check(t.Context(), idA))
	wantErr(t, k.Check(t.Context(), idB), keys.ErrNotFound)
	for what, err := range map[string]error{
		"Unwrap": second(k.Unwrap(t.Context(), idA, wrapped)), "Rewrap": second(k.Rewrap(t.Context(), idA, wrapped)),
		"Wrap": second(k.Wrap(t.Context(), idA, []byte(plaintext))), "Create": k.Create(t.Context(), idB),
		"Rotate": k.Rotate(t.Context(), idA), "Destroy": k.Destroy(t.Context(), idA),
	} {
		if err == nil {
			t.Errorf("%s is allowed", what)
			continue
		}
		wantText(t, err, []string{client.Token()}, "the token's policy lacks")
	}
	_, err = root.Logical().WriteWithContext(t.Context(), mount+"/keys/strongroom-"+idB.Segment(), map[string]any{"type": "aes256-gcm96", "exportable": true})
	must(t, err)
	wantText(t, k.Check(t.Context(), idB), nil, "exportable true")
}

// TestPoliciesAreTheFiles: what the functions return for the defaults is what is in the files, and for another mount and
// prefix nothing of the defaults is left.
func TestPoliciesAreTheFiles(t *testing.T) {
	for file, policy := range map[string]func(mount, prefix string) string{
		"operator": vaultkek.Policy, "service": vaultkek.UsePolicy, "read-only": vaultkek.ReadOnlyPolicy,
	} {
		b, err := os.ReadFile("policies/" + file + ".hcl")
		must(t, err)
		if got := policy("", ""); got != string(b) || got == "" {
			t.Errorf("%s:\n%s", file, got)
		}
		got := policy("/team/keys/", "p_")
		if strings.Contains(got, "transit") || strings.Contains(got, "strongroom") || !strings.Contains(got, `path "team/keys/`) || !strings.Contains(got, `/p_*"`) {
			t.Errorf("%s elsewhere:\n%s", file, got)
		}
	}
}

// TestExamine: a login with exactly the operators' policy lacks nothing and exceeds nothing; one with less or with more is told,
// and nothing is made in asking.
func TestExamine(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	ask := `path "sys/capabilities-self" { capabilities = ["update"] }` + "\n"
	for name, c := range map[string]struct {
		policy         string
		unknown        bool
		lacks, exceeds string
	}{
		"operator":   {policy: vaultkek.Policy(mount, "")},
		"service":    {policy: vaultkek.UsePolicy(mount, ""), unknown: true},
		"less":       {policy: ask + vaultkek.UsePolicy(mount, ""), lacks: `path "` + mount + `/encrypt/strongroom-*" { capabilities = ["update"] }`},
		"export":     {policy: vaultkek.Policy(mount, "") + `path "` + mount + `/export/*" { capabilities = ["read"] }`, exceeds: `path "` + mount + `/export/encryption-key/strongroom-*" { capabilities = ["read"] }`},
		"everything": {policy: `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`, exceeds: `path "sys/policies/acl/examined" `},
	} {
		client := token(t, root, mount+name, c.policy, "2h")
		e, err := open(t, server.Addr, vaultkek.Token(client), &vaultkek.Options{Mount: mount}).Examine(t.Context())
		must(t, err)
		if e.TTL <= 0 || !e.Renewable || e.LoginAgain || e.SkewWithin == 0 || e.Skew.Abs() > 10*e.SkewWithin || e.Unknown != c.unknown {
			t.Errorf("%s: %+v", name, e)
		}
		lacks, exceeds := strings.Join(e.Lacks, "\n"), strings.Join(e.Exceeds, "\n")
		if (c.lacks == "") != (lacks == "") || !strings.Contains(lacks, c.lacks) || (c.exceeds == "") != (exceeds == "") || !strings.Contains(exceeds, c.exceeds) {
			t.Errorf("%s lacks\n%s\nand exceeds\n%s", name, lacks, exceeds)
		}
	}
	if list, err := root.Logical().ListWithContext(t.Context(), mount+"/keys"); err != nil || list != nil {
		t.Errorf("asking made keys: %v, %v", list, err)
	}
	full, err := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount}).Examine(t.Context())
	must(t, err)
	if full.TTL != 0 || len(full.Exceeds) == 0 || len(full.Lacks) != 0 || !slices.Contains(full.Policies, "root") {
		t.Errorf("the root token: %+v", full)
	}
}
