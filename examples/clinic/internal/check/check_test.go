package check

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSharesNothing: the checker imports nothing of the service that it checks, and no guard.
func TestSharesNothing(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if strings.Contains(path, "strongroom") && !strings.HasSuffix(path, "/audit") {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
	if _, err := os.Stat("check.go"); err != nil {
		t.Fatal(err)
	}
}
