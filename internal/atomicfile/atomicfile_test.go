package atomicfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestALostLockIsNoticed: with the lock file gone or another one in its place, nothing is changed any more.
func TestALostLockIsNoticed(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			must(t, os.Remove(path))
			return os.WriteFile(path, nil, 0o600)
		},
		"moved": func(path string) error { return os.Rename(path, path+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, lock := filepath.Join(dir, "f"), filepath.Join(dir, "f.lock")
			l := NewLocker(lock)
			h, err := l.Lock(t.Context())
			must(t, err)
			must(t, h.Write(path, []byte("before")))
			must(t, lose(lock))
			if err := h.Write(path, []byte("after")); !errors.Is(err, ErrLockLost) {
				t.Errorf("Write: %v", err)
			}
			if err := h.Remove(path); !errors.Is(err, ErrLockLost) {
				t.Errorf("Remove: %v", err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "before" {
				t.Errorf("the file holds %q, %v", b, err)
			}
			h.Unlock()
			if h, err = l.Lock(t.Context()); err != nil {
				t.Fatal(err)
			}
			must(t, h.Write(path, []byte("after")))
			h.Unlock()
			if left, _, _ := leftovers(dir, func(string) bool { return true }); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestNoChangeIsLostWhileTheLockFileComesAndGoes: what was acknowledged is there. The file goes between changes, so that
// there are several holders; not between a look at the lock and the change, where whoever is stopped for long enough undoes
// what others did meanwhile, and no look can help.
func TestNoChangeIsLostWhileTheLockFileComesAndGoes(t *testing.T) {
	dir := t.TempDir()
	path, lock := filepath.Join(dir, "n"), filepath.Join(dir, "lock")
	must(t, os.WriteFile(path, []byte("0"), 0o600))
	var acknowledged int
	var mu sync.Mutex
	var writing sync.RWMutex
	tried := make(chan bool)
	var wg sync.WaitGroup
	for range 4 {
		l := NewLocker(lock)
		wg.Go(func() {
			for range 40 {
				h, err := l.Lock(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				b, err := os.ReadFile(path)
				n, aerr := strconv.Atoi(string(b))
				if err = errors.Join(err, aerr); err == nil {
					writing.RLock()
					err = h.Write(path, []byte(strconv.Itoa(n+1)))
					writing.RUnlock()
				}
				h.Unlock()
				tried <- true
				switch {
				case err == nil:
					mu.Lock()
					acknowledged++
					mu.Unlock()
				case !errors.Is(err, ErrLockLost):
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); close(tried) }()
	n := 0
	for range tried {
		if n++; n%3 == 0 {
			writing.Lock()
			os.Remove(lock)
			writing.Unlock()
		}
	}
	b, _ := os.ReadFile(path)
	if n, _ := strconv.Atoi(string(b)); n < acknowledged || acknowledged == 0 {
		t.Errorf("%d changes were acknowledged, and %d are there", acknowledged, n)
	}
	t.Logf("%d of %d changes were acknowledged", acknowledged, n)
}

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".f.tmp-1", ".f.tmp-4711", ".g.tmp-1", ".f.tmp-x", ".f.tmp-", "f.tmp-1", ".f.tmp-1.tmp-2", "f", ".tmp-1"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, os.Mkdir(filepath.Join(dir, ".f.tmp-7"), 0o700))
	l := NewLocker(filepath.Join(dir, "lock"))
	must(t, l.RemoveLeftovers(dir, func(name string) bool { return name == "f" }))
	for name, stays := range map[string]bool{".f.tmp-1": false, ".f.tmp-4711": false, ".g.tmp-1": true, ".f.tmp-x": true, ".f.tmp-": true,
		"f.tmp-1": true, ".f.tmp-1.tmp-2": true, "f": true, ".tmp-1": true, ".f.tmp-7": true} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: stays %t, want %t", name, err == nil, stays)
		}
	}
}
