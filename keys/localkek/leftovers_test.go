package localkek_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
)

// TestWhatAnInterruptedChangeLeftIsRemoved: a temporary file holds the master key and every KEK, so that with it what was
// destroyed would open again.
func TestWhatAnInterruptedChangeLeftIsRemoved(t *testing.T) {
	for name, next := range map[string]func(k *localkek.KEK, path string) error{
		"opening":             func(_ *localkek.KEK, path string) error { _, err := localkek.Open(path, nil); return err },
		"create":              func(k *localkek.KEK, _ string) error { return k.Create(t.Context(), idB) },
		"create what is":      func(k *localkek.KEK, _ string) error { return k.Create(t.Context(), idA) },
		"rotate":              func(k *localkek.KEK, _ string) error { return k.Rotate(t.Context(), idA) },
		"destroy":             func(k *localkek.KEK, _ string) error { return k.Destroy(t.Context(), idA) },
		"destroy what is not": func(k *localkek.KEK, _ string) error { return k.Destroy(t.Context(), idB) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "kek.json")
			k := open(t, path, nil)
			must(t, k.Create(t.Context(), idA))
			whole, err := os.ReadFile(path)
			must(t, err)
			for i, content := range [][]byte{whole, whole[:len(whole)/2], nil} {
				must(t, os.WriteFile(filepath.Join(dir, ".kek.json.tmp-"+string(rune('1'+i))), content, 0o600))
			}
			must(t, next(k, path))
			leftovers(t, dir)
		})
	}
}

// TestOthersFilesStay: only temporary files of this very file are removed.
func TestOthersFilesStay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kek")
	k := open(t, path, nil)
	names := []string{".other.tmp-1", ".kek.tmp-1.tmp-2", "kek.tmp-1", ".kek.tmp-backup", ".kek2.tmp-1"}
	for _, name := range names {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	must(t, k.Create(t.Context(), idA))
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestALockThatIsGoneIsNoticed: with its file removed, the next change locks the one that is there.
func TestALockThatIsGoneIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	k, other := open(t, path, nil), open(t, path, nil)
	must(t, k.Create(t.Context(), idA))
	must(t, os.Remove(path+".lock"))
	must(t, other.Create(t.Context(), idB))
	must(t, os.WriteFile(path+".lock.new", nil, 0o600))
	must(t, os.Rename(path+".lock.new", path+".lock"))
	must(t, k.Rotate(t.Context(), idA))
	if _, err := k.Wrap(t.Context(), idB, []byte("x")); errors.Is(err, keys.ErrNotFound) {
		t.Error("a change is lost")
	}
}
