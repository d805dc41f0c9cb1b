//go:build unix

package audit

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOnlyRegularFiles puts something else in the place of each file of a log. Nothing reads it, and nothing waits for
// it.
func TestOnlyRegularFiles(t *testing.T) {
	origin := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, origin, quiet())
	mustRecord(t, l, query(acme, "1"))
	mustClose(t, l)
	kinds := map[string]func(t *testing.T, name string) error{
		"pipe": func(_ *testing.T, name string) error { return syscall.Mkfifo(name, 0o600) },
		"socket": func(t *testing.T, name string) error {
			s, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
			if err == nil {
				t.Cleanup(func() { s.Close() })
			}
			return err
		},
		"directory": func(_ *testing.T, name string) error { return os.Mkdir(name, 0o700) },
		"link": func(t *testing.T, name string) error {
			return os.Symlink(filepath.Join(origin, mustRel(t, name)), name)
		},
		"link to a device": func(_ *testing.T, name string) error { return os.Symlink("/dev/zero", name) },
		"device":           func(_ *testing.T, name string) error { return syscall.Mknod(name, syscall.S_IFCHR|0o600, 1<<8|5) },
	}
	for kind, put := range kinds {
		for _, file := range []string{configName, checkpointsName, segmentsName, filepath.Base(segmentPath("", 0)), filepath.Base(leavesPath("", 0)), pseudonymName, signerName} {
			t.Run(kind+" for "+file, func(t *testing.T) {
				if kind == "directory" && file == segmentsName {
					t.Skip("it is one")
				}
				short, err := os.MkdirTemp("", "log") // a socket's name is short
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll(short) })
				dir := filepath.Join(short, "log")
				if err := os.CopyFS(dir, os.DirFS(copyDir(t, origin))); err != nil {
					t.Fatal(err)
				}
				for _, key := range []string{pseudonymName, signerName} {
					if err := os.Chmod(filepath.Join(dir, key), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				name := filepath.Join(dir, file)
				if strings.Contains(file, ".jsonl") || strings.Contains(file, ".leaves") {
					name = filepath.Join(dir, segmentsName, file)
				}
				if err := os.RemoveAll(name); err != nil {
					t.Fatal(err)
				}
				if err := put(t, name); errors.Is(err, syscall.EPERM) {
					t.Skip(err)
				} else if err != nil {
					t.Fatal(err)
				}
				for what, read := range map[string]func() error{
					"Verify":  func() error { _, err := Verify(t.Context(), dir, nil); return err },
					"OpenLog": func() error { _, err := OpenLog(dir, quiet()); return err },
					"Read": func() error {
						for _, err := range Read(t.Context(), dir, nil) {
							if err != nil {
								return err
							}
						}
						return nil
					},
				} {
					key := file == pseudonymName || file == signerName
					unread := what == "Verify" && key || what == "Read" && file != segmentsName && !strings.HasSuffix(file, ".jsonl")
					done := make(chan error, 1)
					go func() { done <- read() }()
					select {
					case err := <-done:
						if unread != (err == nil) {
							t.Errorf("%s: %v", what, err)
						}
					case <-time.After(time.Minute):
						t.Fatalf("%s hangs", what)
					}
				}
			})
		}
	}
}

func mustRel(t *testing.T, name string) string {
	t.Helper()
	parts := strings.Split(name, string(filepath.Separator)+"log"+string(filepath.Separator))
	return parts[len(parts)-1]
}

// TestVerifyEndsWithItsContext: a file that has no end to speak of does not keep a reader that was told to stop.
func TestVerifyEndsWithItsContext(t *testing.T) {
	for _, file := range []string{"jsonl", "leaves", checkpointsName} {
		t.Run(file, func(t *testing.T) {
			dir, _ := crashed(t, quiet())
			name := map[string]string{"jsonl": segmentPath(dir, 0), "leaves": leavesPath(dir, 0), checkpointsName: filepath.Join(dir, checkpointsName)}[file]
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, info.Size()+1<<40); err != nil { // sparse: a terabyte of zeros
				t.Skip(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			began := make(chan struct{})
			done := make(chan error, 1)
			go func() {
				close(began)
				_, err := Verify(ctx, dir, nil)
				done <- err
			}()
			<-began
			cancel()
			select {
			case err := <-done:
				// A checkpoint has a length that it may have at most, and Verify may come to that first.
				if !errors.Is(err, context.Canceled) && !(file == checkpointsName && errors.Is(err, ErrTampered)) {
					t.Errorf("Verify: %v", err)
				}
			case <-time.After(time.Minute):
				t.Fatal("Verify goes on")
			}
		})
	}
}
