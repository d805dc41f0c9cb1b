package strongroom_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuidesRun runs the shell blocks of a guide one after the other in one shell, in a directory where the README's program
// has run, with the tools that the guide names. Blocks of the language "text" are for reading.
func TestGuidesRun(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash")
	}
	tools := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-o", tools, "./keys/keyctl", "./audit/auditctl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var program string
	for _, f := range fencesOf(t, "README.md") {
		if f.language == "go" {
			program = build(t, f)
			break
		}
	}
	for _, guide := range []string{"examples/OPERATING.md", "examples/REVIEWING.md"} {
		t.Run(strings.TrimSuffix(filepath.Base(guide), ".md"), func(t *testing.T) {
			dir := t.TempDir()
			first := exec.CommandContext(t.Context(), program)
			first.Dir = dir
			if out, err := first.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			script := shellOf(t, guide)
			if strings.Count(script, "ctl ") < 5 {
				t.Fatal("the guide has lost its commands, or this test no longer finds them")
			}
			runShell(t, dir, tools, script)
		})
	}
	t.Run("TESTING", func(t *testing.T) {
		const guide = "examples/TESTING.md"
		dir, files := newModule(t, "example.com/records"), 0
		for _, f := range fencesOf(t, guide) {
			if language, name, named := strings.Cut(f.language, " "); named && language == "go" {
				files++
				if err := os.WriteFile(filepath.Join(dir, name), []byte(f.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		script := shellOf(t, guide)
		if files < 3 || strings.Count(script, "go test") < 4 {
			t.Fatal("the guide has lost its files or its commands, or this test no longer finds them")
		}
		if out, err := exec.CommandContext(t.Context(), filepath.Join(goroot(t), "bin", "gofmt"), "-l", dir).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("not as gofmt would have it: %s%v", out, err)
		}
		runShell(t, dir, tools, script)
	})
}

// shellOf is what a guide has the reader type.
func shellOf(t *testing.T, guide string) string {
	script := "set -eu\n"
	for _, f := range fencesOf(t, guide) {
		if f.language == "sh" {
			script += f.text
		}
	}
	return script
}

func runShell(t *testing.T, dir, tools, script string) {
	command := exec.CommandContext(t.Context(), "bash", "-x")
	command.Dir, command.Stdin = dir, strings.NewReader(script)
	command.Env = append(os.Environ(), "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// newModule makes the module of an application of this one, which requires what this one does.
func newModule(t *testing.T, path string) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		const own = "github.com/strongroom-go/strongroom"
		if text := string(b); name == "go.mod" {
			b = []byte(strings.Replace(text, "module "+own+"\n", "module "+path+"\n", 1) + "\nrequire " + own + " v0.1.0\n\nreplace " + own + " => " + root + "\n")
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
