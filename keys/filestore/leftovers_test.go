package filestore_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestWhatAnInterruptedChangeLeftIsRemoved: by the next opening, and by the next change of whichever record.
func TestWhatAnInterruptedChangeLeftIsRemoved(t *testing.T) {
	other := tenant.MustParse("other")
	for name, next := range map[string]func(s *filestore.Store, dir string, version int64) error{
		"opening": func(_ *filestore.Store, dir string, _ int64) error { _, err := filestore.Open(dir, nil); return err },
		"put": func(s *filestore.Store, _ string, _ int64) error {
			_, err := s.Put(t.Context(), other, []byte("x"), 0)
			return err
		},
		"delete": func(s *filestore.Store, _ string, version int64) error { return s.Delete(t.Context(), idA, version) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "records")
			s := open(t, dir)
			version, err := s.Put(t.Context(), idA, []byte("record"), 0)
			must(t, err)
			for _, id := range []tenant.ID{idA, tenant.MustParse("gone")} {
				must(t, os.WriteFile(filepath.Join(dir, "."+id.Segment()+".tmp-4711"), []byte("record"), 0o600))
			}
			must(t, next(s, dir, version))
			left, err := filepath.Glob(filepath.Join(dir, ".*.tmp-*"))
			must(t, err)
			if len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestALockThatIsGoneIsNoticed: with its file removed, the next change locks the one that is there.
func TestALockThatIsGoneIsNoticed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	s, other := open(t, dir), open(t, dir)
	first, err := s.Put(t.Context(), idA, []byte("1"), 0)
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, ".lock")))
	_, err = other.Put(t.Context(), idA, []byte("2"), first)
	must(t, err)
	if _, err := s.Put(t.Context(), idA, []byte("3"), first); err == nil {
		t.Error("a change is lost")
	}
}
