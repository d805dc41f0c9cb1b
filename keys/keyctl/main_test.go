package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

var updateGolden = flag.Bool("update", false, "write testdata anew: help and the shapes of -json are what people rely on")

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
	}
	testenv.Main(m)
}

// childVariable makes this binary the tool.
const childVariable = "KEYCTL_TEST_CHILD"

// world is a configuration, and what it names.
type world struct {
	t      *testing.T
	dir    string
	config string
	hidden []string // secrets, which no output may have
}

// canary is what secrets are made of; no output may have it.
const canary = "canary-7f3d"

// newWorld writes a configuration, whose directory is a fresh one, and makes what it names.
func newWorld(t *testing.T, config string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.config = filepath.Join(w.dir, "keyctl.json")
	w.write("keyctl.json", config)
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// secret writes a file with a secret, and returns how a configuration names it.
func (w *world) secret(name, text string) string {
	w.t.Helper()
	w.write(name, text+"\n")
	w.hidden = append(w.hidden, text)
	return fmt.Sprintf(`{"file": %q}`, name)
}

// embedded is the configuration of the embedded default.
const embedded = `{
  "keyring": {"suspendWithin": "200ms"},
  "kek": {"local": {"file": "kek.json"}},
  "store": {"files": {"dir": "keys"}},
  "audit": {"dir": "trail"}
}`

// try runs a command and returns what it printed.
func (w *world) try(want int, args ...string) (out, errs string) {
	w.t.Helper()
	var o, e bytes.Buffer
	got := run(w.t.Context(), append(args, "-config", w.config), strings.NewReader(""), &o, &e)
	if got != want {
		w.t.Fatalf("keyctl %q: exit status %d, want %d\n%s%s", args, got, want, &o, &e)
	}
	w.harmless(o.String() + e.String())
	return o.String(), e.String()
}

// harmless makes sure that an output has no secret and nothing that commands a terminal.
func (w *world) harmless(text string) {
	w.t.Helper()
	for _, secret := range append(w.hidden, canary) {
		if strings.Contains(text, secret) {
			w.t.Errorf("a secret was printed: %q", text)
		}
	}
	for _, r := range text {
		if r != '\n' && (r < ' ' || r >= 0x7f) {
			w.t.Errorf("%U was printed: %q", r, text)
			return
		}
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not as it was; got\n%s", path, got)
	}
}

var (
	numbers = regexp.MustCompile(`("key":|key |"bytes":|-disable |-enable |-destroy )\d+`)
	times   = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	uuids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// steady returns an output without what differs from run to run.
func steady(text string) string {
	return uuids.ReplaceAllString(times.ReplaceAllString(numbers.ReplaceAllString(text, "${1}1"), "2026-01-31T00:00:00Z"), "00000000-0000-0000-0000-000000000000")
}
func lines(t *testing.T, out string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("not JSON: %q", line)
		}
		all = append(all, m)
	}
	return all
}

// number is a key's id as it came through JSON.
func number(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }
