package archtest_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// goMod returns the library's go.mod.
func goMod(t *testing.T) *modfile.File {
	t.Helper()
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Require) < 20 {
		t.Fatalf("only %d requirements were found", len(f.Require))
	}
	return f
}

// TestNoTestDependency: a user's module graph has what go.mod requires, used or not.
func TestNoTestDependency(t *testing.T) {
	for _, r := range goMod(t).Require {
		for _, name := range []string{"testcontainers", "moby", "docker", "containerd", "toxiproxy", "chromedp", "stretchr"} {
			if strings.Contains(r.Mod.Path, name) {
				t.Errorf("go.mod requires %s: what needs it for tests is a nested module", r.Mod.Path)
			}
		}
	}
}

// TestAWSStaysAside: a package's importers need, in their go.sum, the modules that its tests import. What is not about S3
// therefore imports AWS in no test either.
func TestAWSStaysAside(t *testing.T) {
	about := []string{"audit/sink/s3lock", "storage/blobs", "keys/keyctl", "internal/testenv/s3env", "examples/clinic"}
	found := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("../..", path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); rel != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			if !strings.HasPrefix(spec.Path.Value, `"github.com/aws/`) {
				continue
			}
			if i := slices.IndexFunc(about, func(dir string) bool { return strings.HasPrefix(rel, dir+"/") }); i >= 0 {
				found[about[i]] = true
			} else {
				t.Errorf("%s imports %s", rel, spec.Path.Value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(about) {
		t.Errorf("AWS is imported in %v only; want %v", found, about)
	}
}

// TestDependenciesAreJustified compares DEPENDENCIES.md with go.mod.
func TestDependenciesAreJustified(t *testing.T) {
	page, err := os.ReadFile("../../examples/DEPENDENCIES.md")
	if err != nil {
		t.Fatal(err)
	}
	direct, indirect, _ := strings.Cut(string(page), "\n## Indirect")
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$")
	justified := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(direct, -1) {
		if justified[m[1]] {
			t.Errorf("%s has two rows", m[1])
		}
		justified[m[1]] = true
	}
	required := map[string]bool{}
	for _, r := range goMod(t).Require {
		if r.Indirect {
			continue
		}
		required[r.Mod.Path] = true
		if !justified[r.Mod.Path] {
			t.Errorf("go.mod requires %s; DEPENDENCIES.md has no row for it", r.Mod.Path)
		}
	}
	for path := range justified {
		if !required[path] {
			t.Errorf("DEPENDENCIES.md justifies %s, which go.mod does not require", path)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(indirect, -1) {
		if !slices.ContainsFunc(goMod(t).Require, func(r *modfile.Require) bool { return r.Indirect && r.Mod.Path == m[1] }) {
			t.Errorf("DEPENDENCIES.md says that %s is indirect; go.mod does not", m[1])
		}
	}
}
