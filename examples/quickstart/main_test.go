package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
)

// TestStory tells the whole story; every claim in it is checked where it is made.
func TestStory(t *testing.T) {
	var out bytes.Buffer
	if err := tell(t.Context(), t.TempDir(), &out, nil); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "9. ") {
		t.Errorf("the story has lost steps:\n%s", out.String())
	}
}

// TestStoryFindsALeak plants one patient's name, in base64, among the files that the story searches.
func TestStoryFindsALeak(t *testing.T) {
	patients, err := data.Patients()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	leak := base64.StdEncoding.EncodeToString([]byte("a log line about " + patients[len(patients)-1].Name + " and more"))
	if err := os.WriteFile(filepath.Join(dir, "leak.txt"), []byte(leak), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = tell(t.Context(), dir, &out, nil)
	if err == nil || !strings.Contains(err.Error(), "leak.txt holds a sealed value in the clear") {
		t.Errorf("the story ended with %v\n%s", err, out.String())
	}
}

// TestRunRefusesADirectoryInUse: what is in a directory that was named stays as it is.
func TestRunRefusesADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mine")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := run(t.Context(), dir, out); err == nil {
		t.Error("a directory that is not empty was taken")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
