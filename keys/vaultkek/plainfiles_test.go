//go:build unix

package vaultkek_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// TestFilesWithoutAnEndAreRefused: opening a pipe into which nobody writes, or reading a device, would not return, whatever the context says.
func TestFilesWithoutAnEndAreRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		refused := func(what string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), "no regular file") || !strings.Contains(err.Error(), path) {
				t.Errorf("%s of %s: %v", what, path, err)
			}
		}
		_, err := vaultkek.TokenFile(path)(t.Context())
		refused("a token", err)
		for what, opts := range map[string]*vaultkek.Options{"CAFile": {CAFile: path}, "CertFile": {CertFile: path, KeyFile: path}} {
			_, err = vaultkek.Open(t.Context(), "https://127.0.0.1:1", vaultkek.Token("x"), opts)
			refused(what, err)
		}
	}
}
