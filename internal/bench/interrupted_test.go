//go:build unix

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const childVariable = "STRONGROOM_BENCH_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Args = []string{os.Args[0], "-run", `^field\.open\.10k$`}
		main()
	}
	code := m.Run()
	if dir, err := runDir(); err == nil {
		removeRunDir(dir)
	}
	os.Exit(code)
}

// TestAnInterruptedRunLeavesNoKeys: in its set-up, which takes long for many tenants, there is a file of key-encryption keys.
func TestAnInterruptedRunLeavesNoKeys(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+dir)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- child.Wait() }()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for files(t, dir) == 0 {
				select {
				case err := <-ended:
					t.Fatalf("it ended before it had a file: %v", err)
				case <-tick.C:
				}
			}
			if err := child.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			err := <-ended
			if code := child.ProcessState.ExitCode(); code != 130 {
				t.Errorf("it ended with %d, %v", code, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// files is how many there are below dir.
func files(t *testing.T, dir string) (n int) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return nil // what is gone meanwhile is none
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
