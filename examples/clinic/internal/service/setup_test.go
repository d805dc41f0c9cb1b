package service

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// A Vault that has forgotten what it knew, as one in development mode does when it ends, is told from a login that went wrong.
func TestVaultThatForgot(t *testing.T) {
	vault := testenv.Vault(t)
	c := &config{vault: vault.Addr, secrets: filepath.Join(t.TempDir(), "secrets")}
	for range 2 { // the second time all is there
		if err := setUpVault(t.Context(), c, vault.RootToken); err != nil {
			t.Fatal(err)
		}
	}
	secret, err := c.readSecret(secretID)
	if err != nil {
		t.Fatal(err)
	}
	if err := vault.Client(t).Sys().DisableAuthWithContext(t.Context(), "approle"); err != nil {
		t.Fatal(err)
	}
	err = setUpVault(t.Context(), c, vault.RootToken)
	if err == nil || !strings.Contains(err.Error(), "forgets all keys") || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
}
