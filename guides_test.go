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
			script := "set -eu\n"
			for _, f := range fencesOf(t, guide) {
				if f.language == "sh" {
					script += f.text
				}
			}
			if strings.Count(script, "ctl ") < 5 {
				t.Fatal("the guide has lost its commands, or this test no longer finds them")
			}
			command := exec.CommandContext(t.Context(), "bash", "-x")
			command.Dir, command.Stdin = dir, strings.NewReader(script)
			command.Env = append(os.Environ(), "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"))
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
