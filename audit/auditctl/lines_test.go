package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit/sink"
)

// filling is a disk that is full in the middle of a line, and then not any more.
type filling struct {
	bytes.Buffer
	room int
}

func (f *filling) Write(p []byte) (int, error) {
	if f.room >= 0 && len(p) > f.room {
		n, _ := f.Buffer.Write(p[:f.room])
		f.room = -1
		return n, errors.New("no space left on device")
	}
	if f.room >= 0 {
		f.room -= len(p)
	}
	return f.Buffer.Write(p)
}

// TestATornLineStaysAlone: what a failed write left of a line does not become a part of the event behind it, which the cursor is past.
func TestATornLineStaysAlone(t *testing.T) {
	dir, _, _ := sample(t)
	want := strings.SplitAfter(strings.TrimSuffix(sealedLines(t, dir), "\n"), "\n")
	out := &filling{room: len(want[0]) + len(want[1])/2}
	to := &receiver{kind: "stdout"}
	s, err := to.open(t.Context(), flag.NewFlagSet("", flag.ContinueOnError), out)
	if err != nil {
		t.Fatal(err)
	}
	shipper, err := sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer shipper.Close()
	if n, err := shipper.Round(t.Context()); n != 1 || err == nil {
		t.Fatalf("the disk was not full: %d, %v", n, err)
	}
	if n, err := shipper.Round(t.Context()); n != len(want)-1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	wholeLines(t, out.String(), want)
}

// TestATornLineOfAnotherProcess: one that was killed left the beginning of a line, and its successor appends to the file.
func TestATornLineOfAnotherProcess(t *testing.T) {
	dir, _, _ := sample(t)
	want := strings.SplitAfter(strings.TrimSuffix(sealedLines(t, dir), "\n"), "\n")
	for _, left := range []string{"", want[0], want[0] + want[1][:len(want[1])/2]} {
		name := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(name, []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		if code := run(t.Context(), []string{"ship", "-to", "stdout", "-cursor", filepath.Join(t.TempDir(), "cursor"), "-once", dir}, f, &errs); code != 0 {
			t.Fatal(&errs)
		}
		f.Close()
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		wholeLines(t, string(got), want)
		if whole := strings.HasSuffix(left, "\n") || left == ""; whole && string(got) != left+strings.Join(want, "")+"\n" {
			t.Errorf("behind %d bytes of whole lines there is more than the events", len(left))
		}
	}
}

// wholeLines tells which events somebody who reads the output by lines does not find.
func wholeLines(t *testing.T, out string, want []string) {
	t.Helper()
	got := map[string]bool{}
	for line := range strings.Lines(out) {
		got[strings.TrimSuffix(line, "\n")] = true
	}
	for i, line := range want {
		if !got[strings.TrimSuffix(line, "\n")] {
			t.Errorf("event %d was delivered, and no line of the output is it", i)
		}
	}
}
