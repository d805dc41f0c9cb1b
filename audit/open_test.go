package audit

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
)

// TestOpenRefuses: each unusable input gets an error that names the thing, the reason and the remedy.
func TestOpenRefuses(t *testing.T) {
	file := func(name string) func(string) string {
		return func(dir string) string { return filepath.Join(dir, name) }
	}
	truncate := func(path func(string) string, n int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Truncate(path(dir), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(path func(string) string, old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data := string(readFile(t, path(dir)))
			if !strings.Contains(data, old) {
				t.Fatalf("no %q in it", old)
			}
			writeFile(t, path(dir), []byte(strings.Replace(data, old, new, 1)))
		}
	}
	chmod := func(path func(string) string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Chmod(path(dir), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(*testing.T, string)
		want  []string // parts of the error
	}{
		"a newer schema":             {replace(file(configName), `"schema": 1`, `"schema": 2`), []string{configName, "version 2", "up to 1", "newer release"}},
		"no schema":                  {replace(file(configName), `"schema": 1`, `"schema": 0`), []string{configName, "restore"}},
		"a damaged log.json":         {truncate(file(configName), 40), []string{configName, "damaged", "restore"}},
		"a missing log.json":         {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, configName)) }, []string{configName, "missing", "restore"}},
		"another origin":             {replace(file(configName), `"origin": "strongroom/`, `"origin": "strongrooms/`), []string{"verifier key 1"}},
		"a truncated signing key":    {truncate(file(signerName), 60), []string{signerName, "cut short", "restore"}},
		"a missing signing key":      {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, signerName)) }, []string{signerName, "no such file"}},
		"a readable signing key":     {chmod(file(signerName), 0o640), []string{signerName, "0640", "chmod 600"}},
		"a truncated pseudonym key":  {truncate(file(pseudonymName), 20), []string{pseudonymName, "cut short", "restore"}},
		"an empty pseudonym key":     {truncate(file(pseudonymName), 0), []string{pseudonymName, "cut short", "restore"}},
		"a readable pseudonym key":   {chmod(file(pseudonymName), 0o604), []string{pseudonymName, "0604", "chmod 600"}},
		"a linked signing key":       {linkKey, []string{signerName, "not a regular file"}},
		"another log's signing key":  {otherKey, []string{signerName, "belongs to it"}},
		"a changed event":            {replace(func(dir string) string { return segmentPath(dir, 0) }, "treatment", "marketing"), []string{"tampered", "event 1", "nothing was changed", "another directory"}},
		"a checkpoint of the future": {truncate(func(dir string) string { return segmentPath(dir, 0) }, 0), []string{"tampered"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := mustOpen(t, dir, quiet())
			mustRecord(t, l, query(acme, "1"))
			mustClose(t, l)
			secret := strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName))))
			c.spoil(t, dir)
			before := snapshot(t, dir)
			l, err := OpenLog(dir, quiet())
			if err == nil {
				l.Close()
				t.Fatal("it was opened")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q: %v", part, err)
				}
			}
			if key := secret[len(secret)-40:]; strings.Contains(err.Error(), key[:20]) || strings.Contains(err.Error(), key[20:]) {
				t.Errorf("the error shows the key: %v", err)
			}
			if after := snapshot(t, dir); after != before {
				t.Errorf("the directory changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

func linkKey(t *testing.T, dir string) {
	name := filepath.Join(dir, signerName)
	if err := os.Rename(name, name+".elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(name+".elsewhere", name); err != nil {
		t.Fatal(err)
	}
}

func otherKey(t *testing.T, dir string) {
	other := mustOpen(t, filepath.Join(t.TempDir(), "other"), quiet())
	writeFile(t, filepath.Join(dir, signerName), readFile(t, filepath.Join(other.dir, signerName)))
}

// snapshot lists a directory's files with their contents.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == reserveName {
			return err
		}
		b.WriteString(d.Name() + " ")
		if d.Type().IsRegular() {
			b.Write(readFile(t, path))
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOpenOptions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, err := OpenLog(dir, &Options{
		Origin: "two words", Durability: 7, Timeout: -1, SegmentBytes: 1 << 40, ReserveBytes: -2, HeadEvery: -1, Verifier: "x", Service: strings.Repeat("x", 201),
	})
	for _, field := range []string{"Origin", "Durability", "Timeout", "SegmentBytes", "ReserveBytes", "HeadEvery", "Verifier", "Service"} {
		if err == nil || !strings.Contains(err.Error(), "Options."+field) && !strings.Contains(err.Error(), field+" go together") {
			t.Errorf("%s is not in %v", field, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	mustClose(t, mustOpen(t, dir, &Options{Origin: "audit.example.com/1", ReserveBytes: -1}))
	if _, err := OpenLog(dir, &Options{Origin: "audit.example.com/2"}); err == nil || !strings.Contains(err.Error(), "audit.example.com/1") {
		t.Errorf("another origin: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, reserveName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a reserve that nobody wanted: %v", err)
	}
}

func TestOpenLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	if _, err := OpenLog(dir, quiet()); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "directory of its own") {
		t.Errorf("locked in this process: %v", err)
	}
	mustRecord(t, l, query(acme, "1"))
	mustClose(t, l)

	// Another process, which says so when it has it.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLog(dir, quiet()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("locked by another process: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	mustClose(t, mustOpen(t, dir, quiet()))
}

func TestOpenElsewhere(t *testing.T) {
	parent := t.TempDir()
	occupied := filepath.Join(parent, "occupied")
	if err := os.Mkdir(occupied, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(occupied, "letter.txt"), []byte("dear"))
	if _, err := OpenLog(occupied, quiet()); err == nil || !strings.Contains(err.Error(), "letter.txt") || !strings.Contains(err.Error(), "empty directory") {
		t.Errorf("a directory in use: %v", err)
	}
	if list, err := os.ReadDir(occupied); err != nil || len(list) != 1 {
		t.Errorf("left there: %v, %v", list, err)
	}
	if _, err := OpenLog(filepath.Join(occupied, "letter.txt"), quiet()); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file: %v", err)
	}
	deep := filepath.Join(parent, "a", "b", "c")
	l := mustOpen(t, deep, quiet())
	if info, err := os.Stat(deep); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	mustClose(t, l)
	err := filepath.WalkDir(deep, func(path string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); err == nil && ierr == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestOpenUnwritable: a directory that this process may not write to.
func TestOpenUnwritable(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Mkdir, faultfs.Lock, faultfs.Open} {
		fsys := faultfs.New()
		fsys.Before = func(s faultfs.Step) error {
			if s.Op == op && filepath.Base(s.Name) != configName {
				return syscall.EACCES
			}
			return nil
		}
		opts := quiet()
		opts.fs = fsys
		dir := filepath.Join(t.TempDir(), "log")
		_, err := OpenLog(dir, opts)
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", op, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left: %v", op, err)
		}
	}
}

// TestOpenFullDisk makes a log on a real full disk, where the test may mount one.
func TestOpenFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := mountTiny(disk); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() { unmount(disk) })
	dir := filepath.Join(disk, "log")
	_, err := OpenLog(dir, nil) // its reserve alone is larger than the disk
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free space") || !strings.Contains(err.Error(), "ReserveBytes") {
		t.Errorf("no room for a log: %v", err)
	}
	if list, err := os.ReadDir(disk); err != nil || len(list) > 0 {
		t.Errorf("left there: %v, %v", list, err)
	}
	l := mustOpen(t, dir, &Options{ReserveBytes: 64 << 10, CheckpointEvery: time.Hour, Timeout: time.Minute})
	n := 0
	for ; err == nil || n == 0; n++ {
		err = l.Record(t.Context(), query(acme, "x"))
	}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("after %d events: %v", n, err)
	}
	l.Close()
	if r := mustVerify(t, dir); r.Unsealed+r.Torn != 0 || r.Events < int64(n) {
		t.Errorf("after %d events:\n%s", n, r)
	}
	if e := entries(t, dir, &Filter{Code: CodeLogStopping}); len(e) != 1 || e[0].Reason != "the disk is full" {
		t.Errorf("the log ends with %v", e)
	}
	if _, err := OpenLog(dir, &Options{ReserveBytes: 1 << 20}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("while it is full still: %v", err)
	}
	mustVerify(t, dir)
}

// TestOpenAfterHalfCreation: a process that died while it made a log does not keep the next one from making it.
func TestOpenAfterHalfCreation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	mustClose(t, l)
	// Back to where log.json, its last step, was not yet written.
	remove(t, filepath.Join(dir, configName))
	writeFile(t, segmentPath(dir, 0), lines(readFile(t, segmentPath(dir, 0)))[0])
	writeFile(t, filepath.Join(dir, signerName+temporary), []byte("x"))
	l = mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "1"))
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Events != 4 {
		t.Errorf("%s", r)
	}
}
