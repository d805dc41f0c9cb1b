//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestConfigurationsAreFilesWithAnEnd: no command would return, nor end at a signal that it waits for itself.
func TestConfigurationsAreFilesWithAnEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		if _, err := readConfig(path); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("a configuration in %s: %v", path, err)
		}
		if _, err := new(tool).read(&config{}, "kek.vault.auth.token", &secret{File: path}); err == nil || !strings.Contains(err.Error(), "no regular file") || !strings.Contains(err.Error(), "kek.vault.auth.token") {
			t.Errorf("a secret in %s: %v", path, err)
		}
	}
}
