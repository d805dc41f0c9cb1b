package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestCheckedInFilesAreWhatIsGenerated fails when the generator or its files were changed without the other.
func TestCheckedInFilesAreWhatIsGenerated(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{"patients.csv": writePatients, "visits.csv": writeVisits} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is not what gen writes; run go generate", name)
		}
	}
}
