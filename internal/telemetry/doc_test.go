package telemetry_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/telemetry"
)

var update = flag.Bool("update", false, "write the tables of examples/TELEMETRY.md anew")

const page = "../../examples/TELEMETRY.md"

func spansTable() string {
	var b strings.Builder
	b.WriteString("| span | kind | around |\n|---|---|---|\n")
	for _, s := range telemetry.Spans() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, s.Kind, s.Description)
	}
	return b.String()
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | kind | unit | attributes | |\n|---|---|---|---|---|\n")
	for _, m := range telemetry.Metrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | %s |\n", m.Name, m.Kind, m.Unit, strings.Join(m.Attributes, "`, `"), m.Description)
	}
	return b.String()
}

// The page lists what there is.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, table := range map[string]string{"spans": spansTable(), "metrics": metricsTable()} {
		before, rest, ok := strings.Cut(want, "<!-- "+name+" -->\n")
		_, after, ended := strings.Cut(rest, "<!-- /"+name+" -->\n")
		if !ok || !ended {
			t.Fatalf("the page has no place for the table of %s", name)
		}
		want = before + "<!-- " + name + " -->\n" + table + "<!-- /" + name + " -->\n" + after
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is not what there is; run go test ./internal/telemetry -run Page -update", page)
	}
}

func TestMetricsAreNamedAlike(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range telemetry.Metrics() {
		if seen[m.Name] || !strings.HasPrefix(m.Name, "strongroom.") && !strings.HasPrefix(m.Name, "db.client.") || m.Unit == "" || !strings.HasSuffix(m.Description, ".") && !strings.Contains(m.Description, ". ") && !strings.Contains(m.Description, ": ") {
			t.Errorf("%+v", m)
		}
		seen[m.Name] = true
	}
}
