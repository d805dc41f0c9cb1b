package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// TestLockLost: once its LOCK is removed or replaced, a log acknowledges and signs nothing more, and lets nobody else in
// before it is closed.
func TestLockLost(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, string){
		"removed": remove,
		"replaced": func(t *testing.T, name string) {
			remove(t, name)
			writeFile(t, name, nil)
		},
		"renamed over": func(t *testing.T, name string) {
			writeFile(t, name+".new", nil)
			if err := os.Rename(name+".new", name); err != nil {
				t.Fatal(err)
			}
		},
		"replaced by a link": func(t *testing.T, name string) {
			if err := errors.Join(os.Rename(name, name+".old"), os.Symlink(name+".old", name)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for what, use := range map[string]func(*Log) error{
			"recording": func(l *Log) error { return l.Record(t.Context(), query(acme, "after")) },
			"sealing":   func(l *Log) error { _, err := l.Checkpoint(t.Context()); return err },
			"closing":   func(l *Log) error { return l.Close() },
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "log")
				l := mustOpen(t, dir, quiet())
				mustRecord(t, l, query(acme, "before"))
				signed := readFile(t, filepath.Join(dir, checkpointsName))
				lose(t, filepath.Join(dir, lockName))
				if _, err := OpenLog(dir, quiet()); err == nil || !strings.Contains(err.Error(), "in use") {
					t.Errorf("a second log: %v", err)
				}
				err := use(l)
				if !errors.Is(err, ErrUnavailable) || !errors.Is(err, vfs.ErrLockLost) || !strings.Contains(err.Error(), lockName) {
					t.Errorf("%s: %v", what, err)
				}
				if err := l.Close(); !errors.Is(err, vfs.ErrLockLost) {
					t.Errorf("Close: %v", err)
				}
				if after := readFile(t, filepath.Join(dir, checkpointsName)); string(after) != string(signed) {
					t.Error("something was signed")
				}
				if err := os.Remove(filepath.Join(dir, lockName)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				l = mustOpen(t, dir, quiet())
				mustRecord(t, l, query(acme, "again"))
				mustClose(t, l)
				mustVerify(t, dir)
			})
		}
	}
}
