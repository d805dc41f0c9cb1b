//go:build unix

package localkek_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/keys/localkek"
)

// TestAPipeIsNoFileOfKEKs: who opens one waits for the other end.
func TestAPipeIsNoFileOfKEKs(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "kek.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		if k, err := localkek.Open(path, nil); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("opened %v, %v", k, err)
		}
	}
}
