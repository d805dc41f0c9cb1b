package audit

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// TestRoomNotGivenBack: a file system that copies what it overwrites may need space to cut a file, too. Where there is none, the
// log ends as on any full disk: all that it acknowledged is there, nothing else is, and it opens again.
func TestRoomNotGivenBack(t *testing.T) {
	for name, zeros := range map[string]bool{"zeros that did not fit": true, "a log that is closed": false} {
		t.Run(name, func(t *testing.T) {
			fsys := faultfs.New()
			var full atomic.Bool
			fsys.Before = func(s faultfs.Step) error {
				if s.Op == faultfs.Zero && zeros && full.Load() || s.Op == faultfs.Truncate && full.CompareAndSwap(true, false) {
					return syscall.ENOSPC
				}
				return nil
			}
			dir := filepath.Join(t.TempDir(), "log")
			l := mustOpen(t, dir, roomy(fsys))
			mustRecord(t, l, query(acme, "0"))
			full.Store(true)
			acked, tried := []string{"0"}, []string{"0"}
			for zeros && full.Load() {
				request := string(rune('a' + len(tried)))
				tried = append(tried, request)
				if err := l.Record(background, query(acme, request)); err == nil {
					acked = append(acked, request)
				} else if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
			}
			if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("closing: %v", err)
			}
			checkHistory(t, name, dir, quiet(), acked, tried)
		})
	}
}

// TestRoomOfAnother: a process whose locks were taken away, and that goes on, writes nothing over what the process that has them
// now has recorded at the same place.
func TestRoomOfAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, roomy(faultfs.New()))
	mustRecord(t, l, query(acme, "before"))
	key := readFile(t, filepath.Join(dir, pseudonymName))
	for _, name := range []string{lockName, pseudonymName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, pseudonymName), key)
	other := mustOpen(t, dir, quiet())
	mustRecord(t, other, query(acme, "other"))
	if err := l.Record(background, query(acme, "late")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("recorded without the locks: %v", err)
	}
	l.Close() // it has failed
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	checkHistory(t, "afterwards", dir, quiet(), []string{"before", "other"}, []string{"before", "other"})
}
