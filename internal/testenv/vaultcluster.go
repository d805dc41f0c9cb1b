package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv/wire"
)

// VaultNode is a Vault that runs as in production: with a configuration, initialized, and unsealed by a key.
type VaultNode struct {
	VaultServer
	unseal string
}

// VaultTLS is how a [OwnVault] speaks TLS: to clients with a certificate, and to nobody else.
type VaultTLS struct {
	Cert, Key []byte       // PEM, of the server
	ClientCA  []byte       // PEM, of the authority that signs the clients' certificates
	Client    *http.Client // that has one of those
}

// OwnVault starts a Vault for this test alone, which may seal it. It stores in memory. Without c it speaks plaintext.
func OwnVault(t testing.TB, c *VaultTLS) *VaultNode {
	t.Helper()
	scheme, listener := "http", "tls_disable = true"
	var files map[string][]byte
	if c != nil {
		files = map[string][]byte{"cert.pem": c.Cert, "key.pem": c.Key, "ca.pem": c.ClientCA}
		scheme, listener = "https", `
  tls_cert_file                      = "/tmp/cert.pem"
  tls_key_file                       = "/tmp/key.pem"
  tls_client_ca_file                 = "/tmp/ca.pem"
  tls_require_and_verify_client_cert = true`
	}
	config := fmt.Sprintf(`
storage "inmem" {}
listener "tcp" {
  address = "0.0.0.0:8200"
  %s
}
disable_mlock = true
`, listener)
	var one Shared[*VaultNode]
	return one.Get(t, func(ctx context.Context) (*VaultNode, error) {
		n, err := startNode(ctx, scheme, config, wire.Ready{Log: "Vault server started!"}, files)
		if err != nil {
			return nil, err
		}
		if c != nil {
			n.http = c.Client
		}
		return n, n.initialize(ctx)
	})
}

// VaultCluster starts three Vaults, for this test alone, that keep what they store by Raft. The first is the leader.
func VaultCluster(t testing.TB) []*VaultNode {
	t.Helper()
	var one Shared[[]*VaultNode]
	return one.Get(t, func(ctx context.Context) ([]*VaultNode, error) {
		var nodes []*VaultNode
		for i := range 3 {
			join := ""
			if i > 0 {
				join = fmt.Sprintf("retry_join { leader_api_addr = %q }", "http://"+nodes[0].container.Inside+":8200")
			}
			config := fmt.Sprintf(`
storage "raft" {
  path    = "/tmp"
  node_id = "node%d"
  %s
}
listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}
api_addr      = "http://{{ GetInterfaceIP \"eth0\" }}:8200"
cluster_addr  = "https://{{ GetInterfaceIP \"eth0\" }}:8201"
disable_mlock = true
`, i, join)
			n, err := startNode(ctx, "http", config, wire.Ready{HTTP: "/v1/sys/health?uninitcode=200&sealedcode=200"}, nil)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				err = n.initialize(ctx)
			} else {
				n.RootToken, n.unseal = nodes[0].RootToken, nodes[0].unseal
				err = n.Unseal(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("testenv: Vault node %d: %w", i, err)
			}
			nodes = append(nodes, n)
		}
		return nodes, Poll(ctx, func(ctx context.Context) error { return voters(ctx, nodes) })
	})
}

func startNode(ctx context.Context, scheme, config string, ready wire.Ready, files map[string][]byte) (*VaultNode, error) {
	put := map[string][]byte{"/tmp/vault.hcl": []byte(config)}
	for name, content := range files {
		put["/tmp/"+name] = content
	}
	c, err := Start(ctx, wire.Spec{
		Variable: "STRONGROOM_VAULT_IMAGE", Port: vaultPort,
		Entrypoint: []string{"vault"}, Cmd: []string{"server", "-config=/tmp/vault.hcl"}, Files: put, Ready: ready,
	})
	if err != nil {
		return nil, err
	}
	return &VaultNode{VaultServer: VaultServer{Addr: scheme + "://" + c.Address, container: c}}, nil
}

// initialize makes the root token and the unseal key, and waits until the node serves.
func (n *VaultNode) initialize(ctx context.Context) error {
	c, err := n.client()
	if err != nil {
		return err
	}
	made, err := c.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return err
	}
	n.RootToken, n.unseal = made.RootToken, made.KeysB64[0]
	return n.Unseal(ctx)
}

// Unseal unseals the node and waits until it serves or follows a leader, of which it must have heard before.
func (n *VaultNode) Unseal(ctx context.Context) error {
	c, err := n.client()
	if err != nil {
		return err
	}
	return Poll(ctx, func(ctx context.Context) error {
		if status, err := c.Sys().SealStatusWithContext(ctx); err != nil || status.Sealed {
			if _, err := c.Sys().UnsealWithContext(ctx, n.unseal); err != nil {
				return err
			}
		}
		leader, err := c.Sys().LeaderWithContext(ctx)
		if err == nil && leader.HAEnabled && leader.LeaderAddress == "" {
			err = errors.New("no leader yet")
		}
		return err
	})
}

// Seal seals the node.
func (n *VaultNode) Seal(t testing.TB) {
	t.Helper()
	if err := n.Client(t).Sys().SealWithContext(t.Context()); err != nil {
		t.Fatalf("testenv: seal: %v", err)
	}
}

// Leads reports whether the node is the leader, by its own account.
func (n *VaultNode) Leads(t testing.TB) bool {
	t.Helper()
	leader, err := n.Client(t).Sys().LeaderWithContext(t.Context())
	return err == nil && leader.IsSelf
}

// Kill ends the node's process at once, as the loss of its machine does.
func (n *VaultNode) Kill(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), opTimeout)
	defer cancel()
	if err := n.container.kill(ctx); err != nil {
		t.Fatalf("testenv: kill: %v", err)
	}
}

// voters reports which of the nodes has no vote yet.
func voters(ctx context.Context, nodes []*VaultNode) error {
	c, err := nodes[0].client()
	if err != nil {
		return err
	}
	state, err := c.Sys().RaftAutopilotStateWithContext(ctx)
	switch {
	case err != nil:
		return err
	case state == nil || !state.Healthy || len(state.Voters) != len(nodes):
		return errors.New("the cluster is not healthy yet")
	}
	return nil
}
