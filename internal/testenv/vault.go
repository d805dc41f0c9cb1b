package testenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv/wire"
)

const vaultPort = "8200/tcp"

// VaultServer is a running Vault in dev mode: unsealed, storing in memory. The transit engine and the AppRole method
// are not enabled yet; a test enables its own.
type VaultServer struct {
	Addr      string // http://host:port
	RootToken string

	http      *http.Client // nil for the usual one
	container *Container
}

var vault Shared[*VaultServer]

// Vault returns the process's Vault server. It skips the test where there is none; see the package comment.
func Vault(t testing.TB) *VaultServer {
	t.Helper()
	return vault.Get(t, startVault)
}

func startVault(ctx context.Context) (*VaultServer, error) {
	token := rand.Text()
	c, err := Start(ctx, wire.Spec{
		Variable: "STRONGROOM_VAULT_IMAGE", Port: vaultPort,
		// Not the public image's entrypoint, which adjusts file capabilities and drops privileges; and no token
		// file, for which an image of one program has no home directory.
		Entrypoint: []string{"vault"},
		Cmd: []string{"server", "-dev", "-dev-no-store-token", "-dev-plugin-dir=/plugins", "-dev-plugin-init=false",
			"-dev-root-token-id=" + token, "-dev-listen-address=0.0.0.0:8200"},
		Host:  HostName,
		Ready: wire.Ready{HTTP: "/v1/sys/health"},
	})
	if err != nil {
		return nil, err
	}
	return &VaultServer{Addr: "http://" + c.Address, RootToken: token, container: c}, nil
}

// Client returns a new client with the root token, whatever VAULT_* variables are set.
func (s *VaultServer) Client(t testing.TB) *api.Client {
	t.Helper()
	client, err := s.client()
	if err != nil {
		t.Fatalf("testenv: Vault client: %v", err)
	}
	return client
}

func (s *VaultServer) client() (*api.Client, error) {
	config := api.DefaultConfig()
	if config.Error != nil {
		return nil, config.Error
	}
	config.Address = s.Addr
	if s.http != nil {
		config.HttpClient = s.http
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	client.ClearNamespace()
	client.SetToken(s.RootToken)
	return client, nil
}

// EnableTransit mounts a transit secrets engine for this test and returns its path. It is unmounted, its keys
// destroyed, when the test ends.
func (s *VaultServer) EnableTransit(t testing.TB) (mount string) {
	t.Helper()
	sys, mount := s.Client(t).Sys(), UniqueName("transit")
	if err := sys.MountWithContext(t.Context(), mount, &api.MountInput{Type: "transit"}); err != nil {
		t.Fatalf("testenv: mount transit: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := CleanupContext()
		defer cancel()
		if err := sys.UnmountWithContext(ctx, mount); err != nil {
			t.Errorf("testenv: unmount %s: %v", mount, err)
		}
	})
	return mount
}

// EnableAppRole enables an AppRole authentication method for this test and returns its path, without the leading
// "auth/". It is disabled, and every token it issued revoked, when the test ends.
func (s *VaultServer) EnableAppRole(t testing.TB) (mount string) {
	t.Helper()
	return s.EnableAuth(t, "approle")
}

// EnableAuth is [VaultServer.EnableAppRole] for a method of any kind, such as "jwt" or "kubernetes".
func (s *VaultServer) EnableAuth(t testing.TB, kind string) (mount string) {
	t.Helper()
	sys, mount := s.Client(t).Sys(), UniqueName(kind)
	enable := func() error {
		return sys.EnableAuthWithOptionsWithContext(t.Context(), mount, &api.EnableAuthOptions{Type: kind})
	}
	err := enable()
	if err != nil && strings.Contains(err.Error(), "plugin not found") {
		err = errors.Join(s.registerPlugin(t, kind), enable())
	}
	if err != nil {
		t.Fatalf("testenv: enable %s: %v", kind, err)
	}
	t.Cleanup(func() {
		ctx, cancel := CleanupContext()
		defer cancel()
		if err := sys.DisableAuthWithContext(ctx, mount); err != nil {
			t.Errorf("testenv: disable %s: %v", mount, err)
		}
	})
	return mount
}

// registerPlugin tells Vault of the program /plugins/NAME of the image that images/build makes, which has fewer methods
// built in than the public one.
func (s *VaultServer) registerPlugin(t testing.TB, name string) error {
	t.Helper()
	sum, err := s.container.sum(t.Context(), "/plugins/"+name)
	if err != nil {
		return fmt.Errorf("the image of Vault has no %s method, as those have that images/build makes now: %w", name, err)
	}
	return s.Client(t).Sys().RegisterPluginWithContext(t.Context(), &api.RegisterPluginInput{
		Name: name, Command: name, Type: api.PluginTypeCredential, SHA256: hex.EncodeToString(sum)})
}

// HostName is the name by which the server in its container reaches this machine.
const HostName = "host.docker.internal"
