//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFilesOfSettingsHaveAnEnd: the command would not return.
func TestFilesOfSettingsHaveAnEnd(t *testing.T) {
	dir, _, _ := sample(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	key := writeSecret(t, "key", "x")
	for _, path := range []string{pipe, "/dev/zero"} {
		for _, args := range [][]string{{"-ca", path}, {"-cert", path, "-cert-key", key}} {
			_, errs := try(t, 2, append(append([]string{"ship", "-to", "syslog", "-address", "x", "-cursor", filepath.Join(t.TempDir(), "cursor")}, args...), dir)...)
			if !strings.Contains(errs, "no regular file") {
				t.Errorf("%v: %s", args, errs)
			}
		}
	}
}
