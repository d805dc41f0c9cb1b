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
	"github.com/strongroom-go/strongroom/keys/kektest"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

func openShared(t testing.TB, addr, token, key string, o *vaultkek.Options) *vaultkek.Shared {
	t.Helper()
	s, err := vaultkek.OpenShared(t.Context(), addr, vaultkek.Token(token), key, o)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// TestSharedConformance runs with the documented least privileges of an operator.
func TestSharedConformance(t *testing.T) {
	server := testenv.Vault(t)
	root := server.Client(t)
	kektest.RunShared(t, func(t testing.TB) keys.SharedKEK {
		mount := server.EnableTransit(t)
		s := openShared(t, server.Addr, token(t, root, mount, vaultkek.SharedPolicy(mount, ""), "1h"), "strongroom", &vaultkek.Options{Mount: mount})
		must(t, s.CreateSharedKey(t.Context()))
		must(t, s.CreateSharedKey(t.Context()))
		return s
	})
}

// TestSharedService: the service's privileges suffice for all that a keyring does in serving, and for nothing that changes the key.
func TestSharedService(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	as := func(name, policy string) *vaultkek.Shared {
		return openShared(t, server.Addr, token(t, root, mount+name, policy, "1h"), "one", &vaultkek.Options{Mount: mount})
	}
	service := as("-service", vaultkek.SharedUsePolicy(mount, "one"))
	// No call makes the key.
	for what, err := range map[string]error{
		"Create": service.Create(t.Context(), idA), "Wrap": second(service.Wrap(t.Context(), idA, []byte(plaintext))),
		"Unwrap": second(service.Unwrap(t.Context(), idA, []byte("derived:one:vault:v1:AAAA"))), "Destroy": service.Destroy(t.Context(), idA),
		"UnwrapBatch": second(service.UnwrapBatch(t.Context(), []keys.Wrapped{{Tenant: idA, Bytes: []byte("derived:one:vault:v1:AAAA")}})),
	} {
		if !errors.Is(err, keys.ErrNotFound) {
			t.Errorf("%s without the key: %v", what, err)
			continue
		}
		wantText(t, err, nil, mount+"/keys/one", "CreateSharedKey")
	}
	wantText(t, service.CreateSharedKey(t.Context()), nil, "the token's policy lacks")
	must(t, as("-operator", vaultkek.SharedPolicy(mount, "one")).CreateSharedKey(t.Context()))

	must(t, service.Create(t.Context(), idA))
	wrapped, err := service.Wrap(t.Context(), idA, []byte(plaintext))
	must(t, err)
	got, err := service.Unwrap(t.Context(), idA, wrapped)
	must(t, err)
	if string(got) != plaintext {
		t.Error("it is another")
	}
	must(t, second(service.Rewrap(t.Context(), idA, wrapped)))
	for what, err := range map[string]error{
		"RotateSharedKey": service.RotateSharedKey(t.Context()), "DisableVersions": service.DisableVersions(t.Context(), 1),
	} {
		wantText(t, err, nil, "the token's policy lacks", mount+"/keys/one")
		_ = what
	}
	// More than the service may do with the root token makes no key either.
	other := openShared(t, server.Addr, server.RootToken, "two", &vaultkek.Options{Mount: mount})
	wantErr(t, second(other.Wrap(t.Context(), idA, []byte(plaintext))), keys.ErrNotFound)
	wantErr(t, other.Create(t.Context(), idA), keys.ErrNotFound)
	if list, err := root.Logical().ListWithContext(t.Context(), mount+"/keys"); err != nil || len(list.Data["keys"].([]any)) != 1 {
		t.Errorf("the list of keys: %v, %v", list, err)
	}
}

// wrongSharedKeys are attempts to have a shared key that is not as this package makes it.
func wrongSharedKeys() (all []attempt) {
	for _, property := range []string{"exportable", "allow_plaintext_backup"} {
		for _, yes := range []any{true, "true", "T", "1", 1} {
			all = append(all,
				write("/keys/strongroom", map[string]any{"type": "aes256-gcm96", "derived": true, property: yes}),
				write("/keys/strongroom/config", map[string]any{property: yes}))
		}
	}
	return append(all,
		write("/keys/strongroom", map[string]any{"type": "aes256-gcm96", "derived": false}),
		write("/keys/strongroom", map[string]any{"type": "aes256-gcm96", "derived": true, "convergent_encryption": true}),
		write("/keys/strongroom", map[string]any{"type": "rsa-2048", "derived": true}),
		write("/keys/strongroom/config", map[string]any{"deletion_allowed": true}),
		write("/keys/strongroom/config", map[string]any{"auto_rotate_period": "1h"}),
		attempt{"DELETE", "/keys/strongroom", nil},
		write("/keys/strongroom/import", map[string]any{"type": "aes256-gcm96", "ciphertext": "AAAA"}),
		write("/keys/strongroom/import_version", map[string]any{"ciphertext": "AAAA"}),
		write("/keys/strongroom-"+idA.Segment(), map[string]any{"type": "aes256-gcm96", "derived": true}),
		write("/decrypt/strongroom-"+idA.Segment(), map[string]any{"ciphertext": "vault:v1:AAAA"}),
		write("/keys/strongroom2", map[string]any{"type": "aes256-gcm96", "derived": true}))
}

// TestTheSharedPoliciesAreNoMoreThanNeeded tries what a stolen token would be used for: each attempt is refused for lack of rights.
func TestTheSharedPoliciesAreNoMoreThanNeeded(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	full := openShared(t, server.Addr, server.RootToken, "strongroom", &vaultkek.Options{Mount: mount})
	must(t, full.CreateSharedKey(t.Context()))
	must(t, full.RotateSharedKey(t.Context()))
	named := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	must(t, named.Create(t.Context(), idA))
	wrong := slices.Concat(wrongSharedKeys(), leaks, []attempt{{"LIST", "/keys", nil}})
	change := append(wrong,
		write("/keys/strongroom", map[string]any{"type": "aes256-gcm96", "derived": true}),
		write("/keys/strongroom", nil), // which for the operator changes nothing of a key that is there
		write("/keys/strongroom/rotate", nil),
		write("/keys/strongroom/config", map[string]any{"min_decryption_version": 2}),
		write("/keys/strongroom/config", map[string]any{"min_encryption_version": 1}),
		write("/keys/strongroom/trim", map[string]any{"min_available_version": 1}))
	for name, c := range map[string]struct {
		policy   string
		attempts []attempt
	}{
		"operator": {vaultkek.SharedPolicy(mount, ""), wrong},
		"service":  {vaultkek.SharedUsePolicy(mount, ""), change},
		"read-only": {vaultkek.SharedReadOnlyPolicy(mount, ""), append(change,
			write("/encrypt/strongroom", map[string]any{"plaintext": "eA==", "context": "eA=="}),
			write("/decrypt/strongroom", map[string]any{"ciphertext": "vault:v1:AAAA", "context": "eA=="}), write("/rewrap/strongroom", map[string]any{"ciphertext": "vault:v1:AAAA", "context": "eA=="}))},
	} {
		t.Run(name, func(t *testing.T) {
			client := server.Client(t)
			client.SetToken(token(t, root, mount+name, c.policy, "1h"))
			for _, a := range c.attempts {
				path := "/v1/" + mount + strings.ReplaceAll(a.path, "%s", "strongroom")
				request := client.NewRequest(a.method, path)
				must(t, request.SetJSONBody(a.data))
				//lint:ignore SA1019 the only call of the client that takes any method and body
				_, err := client.RawRequestWithContext(t.Context(), request)
				var refused *api.ResponseError
				if !errors.As(err, &refused) || refused.StatusCode != 403 {
					t.Errorf("%s %s %v is not refused for lack of rights: %v", a.method, a.path, a.data, err)
				}
			}
			must(t, openShared(t, server.Addr, client.Token(), "strongroom", &vaultkek.Options{Mount: mount}).CheckSharedKey(t.Context()))
		})
	}
	if k, err := full.SharedKey(t.Context()); err != nil || k.Oldest != 1 || k.Newest != 2 { // whatever was tried
		t.Errorf("%+v, %v", k, err)
	}
}

func TestSharedPoliciesAreTheFiles(t *testing.T) {
	for file, policy := range map[string]func(mount, key string) string{
		"operator": vaultkek.SharedPolicy, "service": vaultkek.SharedUsePolicy, "read-only": vaultkek.SharedReadOnlyPolicy,
	} {
		b, err := os.ReadFile("policies/shared-" + file + ".hcl")
		must(t, err)
		if got := policy("", ""); got != string(b) || got == "" {
			t.Errorf("%s:\n%s", file, got)
		}
		got := policy("/team/keys/", "one")
		if strings.Contains(got, "transit") || strings.Contains(got, "strongroom") || !strings.Contains(got, `path "team/keys/keys/one"`) {
			t.Errorf("%s elsewhere:\n%s", file, got)
		}
	}
}

// TestSharedExamine is TestExamine for the policy of a shared key.
func TestSharedExamine(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	ask := `path "sys/capabilities-self" { capabilities = ["update"] }` + "\n"
	for name, c := range map[string]struct {
		policy         string
		unknown        bool
		lacks, exceeds string
	}{
		"operator": {policy: vaultkek.SharedPolicy(mount, "")},
		"service":  {policy: vaultkek.SharedUsePolicy(mount, ""), unknown: true},
		"less":     {policy: ask + vaultkek.SharedUsePolicy(mount, ""), lacks: `path "` + mount + `/keys/strongroom/trim" { capabilities = ["update"] }`},
		"delete":   {policy: vaultkek.SharedPolicy(mount, "") + `path "` + mount + `/keys/strongroom*" { capabilities = ["delete"] }` + strings.ReplaceAll(vaultkek.SharedPolicy(mount, ""), `"create", "read", "update"]`, `"create", "read", "update", "delete"]`), exceeds: `path "` + mount + `/keys/strongroom" { capabilities = ["delete"] }`},
		"export":   {policy: vaultkek.SharedPolicy(mount, "") + `path "` + mount + `/export/*" { capabilities = ["read"] }`, exceeds: `path "` + mount + `/export/encryption-key/strongroom" { capabilities = ["read"] }`},
	} {
		e, err := openShared(t, server.Addr, token(t, root, mount+name, c.policy, "2h"), "strongroom", &vaultkek.Options{Mount: mount}).Examine(t.Context())
		must(t, err)
		lacks, exceeds := strings.Join(e.Lacks, "\n"), strings.Join(e.Exceeds, "\n")
		if e.Unknown != c.unknown || (c.lacks == "") != (lacks == "") || !strings.Contains(lacks, c.lacks) || (c.exceeds == "") != (exceeds == "") || !strings.Contains(exceeds, c.exceeds) {
			t.Errorf("%s: unknown %t, lacks\n%s\nand exceeds\n%s", name, e.Unknown, lacks, exceeds)
		}
	}
}

// TestSharedRefusesOtherKeys: a key that was made otherwise is refused, in words that say what is wrong.
func TestSharedRefusesOtherKeys(t *testing.T) {
	server := testenv.Vault(t)
	root, mount := server.Client(t), server.EnableTransit(t)
	make := func(key string, of map[string]any) {
		t.Helper()
		must(t, second(root.Logical().WriteWithContext(t.Context(), mount+"/keys/"+key, of)))
	}
	derived := func(more string) map[string]any {
		return map[string]any{"type": "aes256-gcm96", "derived": true, more: true}
	}
	for key, c := range map[string]struct {
		of   map[string]any
		says string
	}{
		"plain":      {map[string]any{"type": "aes256-gcm96"}, "derived false"},
		"chacha":     {map[string]any{"type": "chacha20-poly1305", "derived": true}, `type is "chacha20-poly1305"`},
		"convergent": {derived("convergent_encryption"), "convergent true"},
		"exportable": {derived("exportable"), "exportable true"},
		"backup":     {derived("allow_plaintext_backup"), "plaintext backup true"},
	} {
		make(key, c.of)
		s := openShared(t, server.Addr, server.RootToken, key, &vaultkek.Options{Mount: mount})
		for what, err := range map[string]error{
			"Create": s.Create(t.Context(), idA), "Wrap": second(s.Wrap(t.Context(), idA, []byte(plaintext))), "RotateSharedKey": s.RotateSharedKey(t.Context()),
			"CheckSharedKey": s.CheckSharedKey(t.Context()), "CreateSharedKey": s.CreateSharedKey(t.Context()),
		} {
			if err == nil {
				t.Errorf("%s with the key %s", what, key)
				continue
			}
			wantText(t, err, nil, c.says, mount+"/keys/"+key)
		}
	}
	// With a key that is not derived Vault ignores the context: nothing is opened with it at all.
	of, err := root.Logical().WriteWithContext(t.Context(), mount+"/encrypt/plain", map[string]any{"plaintext": "eA=="})
	must(t, err)
	forged := []byte("derived:plain:" + of.Data["ciphertext"].(string))
	s := openShared(t, server.Addr, server.RootToken, "plain", &vaultkek.Options{Mount: mount})
	for what, err := range map[string]error{
		"Unwrap": second(s.Unwrap(t.Context(), idA, forged)), "Rewrap": second(s.Rewrap(t.Context(), idA, forged)),
		"UnwrapBatch": second(s.UnwrapBatch(t.Context(), []keys.Wrapped{{Tenant: idA, Bytes: forged}})),
	} {
		if err == nil {
			t.Errorf("%s with a key that is not derived", what)
			continue
		}
		wantText(t, err, nil, "derived false", "vaultkek.Open")
	}
	// One that must not be deleted.
	good := openShared(t, server.Addr, server.RootToken, "good", &vaultkek.Options{Mount: mount})
	must(t, good.CreateSharedKey(t.Context()))
	wrapped, err := good.Wrap(t.Context(), idA, []byte(plaintext))
	must(t, err)
	must(t, second(root.Logical().WriteWithContext(t.Context(), mount+"/keys/good/config", map[string]any{"deletion_allowed": true})))
	wantText(t, good.Create(t.Context(), idA), nil, "deletion allowed true")
	// What is there opens: that the key was spoiled is no reason to take every tenant down.
	must(t, second(good.Unwrap(t.Context(), idA, wrapped)))
}

// TestOfTheOtherKind: what one kind of provider wrapped, and what another key or engine did, is refused by name.
func TestOfTheOtherKind(t *testing.T) {
	server := testenv.Vault(t)
	mount, elsewhere := server.EnableTransit(t), server.EnableTransit(t)
	named := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	must(t, named.Create(t.Context(), idA))
	shared := func(mount, key string) *vaultkek.Shared {
		s := openShared(t, server.Addr, server.RootToken, key, &vaultkek.Options{Mount: mount})
		must(t, s.CreateSharedKey(t.Context()))
		return s
	}
	one := shared(mount, "one")
	of, err := one.Wrap(t.Context(), idA, []byte(plaintext))
	must(t, err)
	ofOwn, err := named.Wrap(t.Context(), idA, []byte(plaintext))
	must(t, err)
	refused := func(what string, k keys.KEK, wrapped []byte, says string) {
		t.Helper()
		for _, err := range []error{second(k.Unwrap(t.Context(), idA, wrapped)), second(k.Rewrap(t.Context(), idA, wrapped))} {
			if !errors.Is(err, keys.ErrIntegrity) {
				t.Errorf("%s: %v", what, err)
				continue
			}
			wantText(t, err, nil, says)
		}
	}
	refused("a shared key's, to a tenant's own", named, of, "vaultkek.OpenShared")
	refused("a tenant's own, to a shared key", one, ofOwn, "vaultkek.Open")
	refused("of a key of another name", shared(mount, "two"), of, "another name")
	refused("of a key of the same name elsewhere", shared(elsewhere, "one"), of, elsewhere)
	wantText(t, second(openShared(t, server.Addr, server.RootToken, "one", nil).Unwrap(t.Context(), idA, of)), nil, "nothing is mounted there")
	for _, name := range []string{"", "strongroom-x", "Upper", "a/b", "a.b", strings.Repeat("x", 41)} {
		if _, err := vaultkek.OpenShared(t.Context(), server.Addr, vaultkek.Token(server.RootToken), name, nil); err == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
	if _, err := vaultkek.OpenShared(t.Context(), server.Addr, vaultkek.Token(server.RootToken), "one", &vaultkek.Options{Prefix: "p_"}); err == nil {
		t.Error("a prefix is accepted")
	}
}
