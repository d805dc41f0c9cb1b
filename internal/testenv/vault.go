package testenv

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const vaultPort = "8200/tcp"

// VaultServer is a running Vault in dev mode: unsealed, storing in memory. The transit engine and the AppRole method
// are not enabled yet; a test enables its own.
type VaultServer struct {
	Addr      string // http://host:port
	RootToken string
}

var vault shared[*VaultServer]

// Vault returns the process's Vault server. It skips the test where there is none; see the package comment.
func Vault(t testing.TB) *VaultServer {
	t.Helper()
	return vault.get(t, startVault)
}

func startVault(ctx context.Context) (*VaultServer, error) {
	token := rand.Text()
	address, err := run(ctx, "STRONGROOM_VAULT_IMAGE", vaultPort,
		wait.ForHTTP("/v1/sys/health").WithPort(vaultPort).WithStartupTimeout(startTimeout).WithPollInterval(pollInterval),
		// Not the public image's entrypoint, which adjusts file capabilities and drops privileges; and no token
		// file, for which an image of one program has no home directory.
		testcontainers.WithEntrypoint("vault"),
		testcontainers.WithCmd("server", "-dev", "-dev-no-store-token",
			"-dev-root-token-id="+token, "-dev-listen-address=0.0.0.0:8200"))
	if err != nil {
		return nil, err
	}
	return &VaultServer{Addr: "http://" + address, RootToken: token}, nil
}

// Client returns a new client with the root token, whatever VAULT_* variables are set.
func (s *VaultServer) Client(t testing.TB) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	if config.Error != nil {
		t.Fatalf("testenv: Vault client: %v", config.Error)
	}
	config.Address = s.Addr
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatalf("testenv: Vault client: %v", err)
	}
	client.ClearNamespace()
	client.SetToken(s.RootToken)
	return client
}

// EnableTransit mounts a transit secrets engine for this test and returns its path. It is unmounted, its keys
// destroyed, when the test ends.
func (s *VaultServer) EnableTransit(t testing.TB) (mount string) {
	t.Helper()
	sys, mount := s.Client(t).Sys(), uniqueName("transit")
	if err := sys.MountWithContext(t.Context(), mount, &api.MountInput{Type: "transit"}); err != nil {
		t.Fatalf("testenv: mount transit: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
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
	sys, mount := s.Client(t).Sys(), uniqueName("approle")
	if err := sys.EnableAuthWithOptionsWithContext(t.Context(), mount, &api.EnableAuthOptions{Type: "approle"}); err != nil {
		t.Fatalf("testenv: enable approle: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		if err := sys.DisableAuthWithContext(ctx, mount); err != nil {
			t.Errorf("testenv: disable %s: %v", mount, err)
		}
	})
	return mount
}
