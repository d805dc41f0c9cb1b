package filestore_test

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/tenant"
)

var idA = tenant.MustParse("A")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "records")
	s := open(t, dir)
	_, err := s.Put(t.Context(), idA, []byte("x"), 0)
	must(t, err)
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		must(t, err)
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if want := []string{".lock", idA.Segment()}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
}

func TestDamagedFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	s := open(t, dir)
	_, err := s.Put(t.Context(), idA, []byte("record"), 0)
	must(t, err)
	path := filepath.Join(dir, idA.Segment())
	whole, err := os.ReadFile(path)
	must(t, err)
	for what, b := range map[string][]byte{
		"empty": {}, "cut in the header": whole[:8], "cut after the header": whole[:12], "another kind of file": []byte("#!/bin/sh\nexit 1\n"),
		"a version of 0": append(append(slices.Clone(whole[:4]), make([]byte, 8)...), "record"...), "too long": append(slices.Clone(whole), make([]byte, 70<<10)...),
	} {
		must(t, os.WriteFile(path, b, 0o600))
		if _, err := s.Get(t.Context(), idA); !errors.Is(err, keys.ErrIntegrity) {
			t.Errorf("%s: %v", what, err)
		}
		for _, version := range []int64{0, 1} {
			if _, err := s.Put(t.Context(), idA, []byte("over it"), version); !errors.Is(err, keys.ErrIntegrity) {
				t.Errorf("%s was overwritten: %v", what, err)
			}
		}
	}
}

// TestADirectoryThatWentAwayIsNoEmptyStore: an unmounted disk must not make every tenant look unprovisioned.
func TestADirectoryThatWentAwayIsNoEmptyStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	s := open(t, dir)
	must(t, os.RemoveAll(dir))
	if _, err := s.Get(t.Context(), idA); !errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.Put(t.Context(), idA, []byte("x"), 0); !errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("Put: %v", err)
	}
	if _, err := filestore.Open(dir, &filestore.Options{MustExist: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
}

func TestOthersMayNotRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows")
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	if _, err := filestore.Open(dir, nil); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory for all to read: %v", err)
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{"", file} {
		if _, err := filestore.Open(path, nil); err == nil {
			t.Errorf("%q was opened", path)
		}
	}
}

// TestSeveralProcesses has processes count up one record: every step must arrive.
func TestSeveralProcesses(t *testing.T) {
	const variable = "STRONGROOM_TEST_FILESTORE"
	if dir := os.Getenv(variable); dir != "" {
		s := open(t, dir)
		for done := 0; done < 10; {
			rec, err := s.Get(t.Context(), idA)
			must(t, err)
			_, err = s.Put(t.Context(), idA, binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(rec.Data)+1), rec.Version)
			if err == nil {
				done++
			} else if !errors.Is(err, keys.ErrConflict) {
				t.Fatal(err)
			}
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "records")
	s := open(t, dir)
	first, err := s.Put(t.Context(), idA, make([]byte, 8), 0)
	must(t, err)
	var running []*exec.Cmd
	for range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSeveralProcesses$")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		must(t, cmd.Start())
		running = append(running, cmd)
	}
	for _, cmd := range running {
		must(t, cmd.Wait())
	}
	rec, err := s.Get(t.Context(), idA)
	must(t, err)
	if n := binary.BigEndian.Uint64(rec.Data); n != 40 || rec.Version < first+40 {
		t.Errorf("counted to %d at version %d; want 40, after version %d", n, rec.Version, first)
	}
}
