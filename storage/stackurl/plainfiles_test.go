//go:build unix

package stackurl_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/storage/stackurl"
)

// TestSecretsAreInFilesWithAnEnd: Open would not return.
func TestSecretsAreInFilesWithAnEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		for name, parameters := range map[string]string{
			"kek.passphrase_file": "kek=file:///k&kek.passphrase_file=",
			"kek.token_file":      "kek=vault://vault.invalid&kek.auth=token&kek.token_file=",
			"kek.role_id_file":    "kek=vault://vault.invalid&kek.auth=approle&kek.secret_id_file=/etc/hostname&kek.role_id_file=",
			"kek.secret_id_file":  "kek=vault://vault.invalid&kek.auth=approle&kek.role_id_file=/etc/hostname&kek.secret_id_file=",
		} {
			s, err := stackurl.Open(t.Context(), "strongroom://"+t.TempDir()+"?"+parameters+path, stack.Config{})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), name+": it is no regular file") || strings.Contains(err.Error(), path) {
				t.Errorf("%s=%s: %v", name, path, err)
			}
		}
	}
}
