package strongroom_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var documents = []string{"README.md", "SECURITY.md", "CHANGELOG.md", "examples/PRODUCTION.md", "examples/ADOPTING.md", "examples/OPERATING.md", "examples/REVIEWING.md", "examples/TESTING.md", "examples/DEPENDENCIES.md", "examples/clinic/README.md", "examples/TELEMETRY.md", "internal/bench/FIGURES.md"}

// fence is a fenced block of a document.
type fence struct {
	document       string
	language, text string
	line           int
}

// fencesOf returns a Markdown document's fenced blocks in their order.
func fencesOf(t *testing.T, document string) []fence {
	t.Helper()
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var fences []fence
	var open *fence
	for i, line := range strings.SplitAfter(string(b), "\n") {
		language, is := strings.CutPrefix(strings.TrimRight(line, "\n"), "```")
		switch {
		case is && open == nil:
			open = &fence{document: document, language: language, line: i + 1}
		case is:
			fences, open = append(fences, *open), nil
		case open != nil:
			open.text += line
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", document, open.line)
	}
	return fences
}

// TestReadmePrograms builds every Go block of the documents inside this module, so that it must be a whole program. One
// that is followed by a block of the language "output" is also run, in an empty directory, and must print that.
func TestReadmePrograms(t *testing.T) {
	var fences []fence
	for _, document := range documents {
		fences = append(fences, fencesOf(t, document)...)
	}
	built, ran := 0, 0
	for i, f := range fences {
		if f.language != "go" {
			continue
		}
		built++
		program := build(t, f)
		if program == "" || i+1 == len(fences) || fences[i+1].language != "output" {
			continue
		}
		ran++
		command := exec.CommandContext(t.Context(), program)
		command.Dir = t.TempDir()
		out, err := command.CombinedOutput()
		if err != nil || string(out) != fences[i+1].text {
			t.Errorf("%s:%d: the program printed, with error %v,\n%s\nand the document says\n%s", f.document, f.line, err, out, fences[i+1].text)
		}
	}
	if built == 0 || ran == 0 {
		t.Errorf("%d programs were built and %d run: the documents have lost them, or this test no longer finds them", built, ran)
	}
}

// build makes a program of a block, through an overlay: as if its file stood in a directory of this module.
func build(t *testing.T, f fence) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, program, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "program"), filepath.Join(dir, "overlay.json")
	inside := fmt.Sprintf("%s_line_%d", strings.NewReplacer("/", "_", ".", "_").Replace(strings.ToLower(f.document)), f.line)
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "examples", inside, "main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{source: []byte(f.text), overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	formatted, err := exec.CommandContext(t.Context(), filepath.Join(goroot(t), "bin", "gofmt"), "-l", source).CombinedOutput()
	if err != nil || len(formatted) > 0 {
		t.Errorf("%s:%d: the program is not as gofmt would have it: %v", f.document, f.line, err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-overlay", overlay, "-o", program, "./examples/"+inside).CombinedOutput()
	if err != nil {
		t.Errorf("%s:%d: the program does not build: %v\n%s", f.document, f.line, err, out)
		return ""
	}
	return program
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(out))
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	testName = regexp.MustCompile("`((?:[a-z0-9]+/)+)?((?:Test|Fuzz)[A-Z]\\w*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// TestDocumentsPointToWhatIsThere checks the documents' links to files, and that every test they name as a proof exists
// in the directory they name.
func TestDocumentsPointToWhatIsThere(t *testing.T) {
	tests := testsByDirectory(t)
	links, proofs := 0, 0
	for _, document := range documents {
		b, err := os.ReadFile(document)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			u, err := url.Parse(m[1])
			if err != nil || u.Scheme != "" || u.Path == "" {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), filepath.FromSlash(u.Path))); err != nil {
				t.Errorf("%s links to %s, which is not there", document, m[1])
			}
		}
		for _, m := range testName.FindAllStringSubmatch(string(b), -1) {
			proofs++
			if !tests[m[1]+m[2]] {
				t.Errorf("%s names %s%s, and there is no such test", document, m[1], m[2])
			}
		}
	}
	if links < 5 || proofs < 10 {
		t.Errorf("%d links and %d tests were found in the documents: they have lost them, or this test no longer finds them", links, proofs)
	}
}

// testsByDirectory returns the module's tests as directory/TestName.
func testsByDirectory(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(b), -1) {
			tests[strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path))+"/", "./")+m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
