//go:build unix

package filestore_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestARecordThatIsAPipeIsRefused: who opens one waits for the other end, and the keyring with it.
func TestARecordThatIsAPipeIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	s, err := filestore.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := tenant.MustParse("clinic")
	if _, err := s.Put(t.Context(), id, []byte("record"), 0); err != nil {
		t.Fatal(err)
	}
	name := ""
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.Contains(e.Name(), id.Segment()) {
			name = filepath.Join(dir, e.Name())
		}
	}
	if err != nil || name == "" {
		t.Fatal(err, entries)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Get(t.Context(), id); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("got %v, %v", rec, err)
	}
}
