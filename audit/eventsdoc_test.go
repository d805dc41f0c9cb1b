package audit

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var updateEvents = flag.Bool("update-events", false, "write the table of codes in EVENTS.md anew")

const (
	eventsName = "EVENTS.md"
	codesBegin = "<!-- codes: go test ./audit -run TestEventsDoc -update-events -->\n"
	codesEnd   = "<!-- end of codes -->\n"
)

// meanings returns what the comment behind each code's constant says.
func meanings(t *testing.T) map[Code]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := map[Code]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Code" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[Code(value)] = strings.TrimSpace(spec.Comment.Text())
		}
		return true
	})
	return found
}

// codesTable is the table of codes as the code has them.
func codesTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| code | class | activity | severity | meaning |\n|---|---|---|---|---|\n")
	say := meanings(t)
	for _, c := range Codes() {
		k, _ := kindOf(c)
		_, caption := severity(&Event{Code: c, Status: Success})
		if c == CodeLogStopping {
			caption += "; of a full disk High"
		}
		if say[c] == "" {
			t.Errorf("the constant of %s has no comment that says what it means", c)
		}
		fmt.Fprintf(&b, "| `%s` | %d | %d %s | %s | %s |\n", c, k.class.uid, k.activity, k.name, caption, say[c])
	}
	return b.String()
}

// TestEventsDoc: EVENTS.md has every code as it is, and every field that an event can have.
func TestEventsDoc(t *testing.T) {
	doc := string(readFile(t, eventsName))
	before, rest, ok := strings.Cut(doc, codesBegin)
	table, after, ok2 := strings.Cut(rest, codesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table of codes", eventsName)
	}
	if want := codesTable(t); table != want {
		if *updateEvents {
			if err := os.WriteFile(eventsName, []byte(before+codesBegin+want+codesEnd+after), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Errorf("the table of codes is not that of the code; go test ./audit -run TestEventsDoc -update-events writes it anew. It would be\n%s", want)
		}
	}
	documented := map[string]string{}
	for line := range strings.Lines(after) {
		if cells := strings.Split(line, " | "); len(cells) >= 3 && strings.HasPrefix(line, "| `") {
			documented[strings.Trim(cells[0], "| `")] = cells[1]
		}
	}
	used := map[string]string{}
	for _, e := range eventsOfAllKinds(t) {
		var value any
		if err := json.Unmarshal(e.Raw, &value); err != nil {
			t.Fatal(err)
		}
		fields(used, "", value)
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if documented[name] != used[name] {
			t.Errorf("%s is a %s in the log and %q in %s", name, used[name], documented[name], eventsName)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("no event has %s", name)
	}
}

// fields notes the type of each value by its path.
func fields(used map[string]string, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, value := range v {
			fields(used, strings.TrimPrefix(path+"."+name, "."), value)
		}
	case []any:
		for _, value := range v {
			fields(used, path+"[]", value)
		}
	case string:
		used[path] = "string"
	case float64:
		used[path] = "integer"
	case bool:
		used[path] = "boolean"
	default:
		used[path] = fmt.Sprintf("%T", v)
	}
}

// eventsOfAllKinds are events with every field that there is.
func eventsOfAllKinds(t *testing.T) (all []Entry) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	for _, c := range Codes() {
		if k, _ := kindOf(c); k.class.uid == 1008 {
			continue
		}
		for _, store := range []string{"postgresql", "blob"} {
			e := query(acme, "r")
			e.Code, e.Phase, e.Status, e.Store, e.Reason, e.Transaction = c, Single, Denied, store, "suspended", "tx"
			e.Sealer, e.Details, e.Rows, e.Bytes = newSealer(t), map[string]string{"key": "a"}, 3, 4
			mustRecord(t, l, e)
		}
		bare := query(globex, "without keys")
		bare.Details = map[string]string{"key": "left out"}
		mustRecord(t, l, bare)
	}
	signer := mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName)))))
	mustClose(t, l)
	unproven := copyDir(t, filepath.Join("testdata", "unchained", "log"))
	mustClose(t, mustOpen(t, unproven, quiet()))
	streamed := filepath.Join(t.TempDir(), "log")
	rows := streamRows(t, signer, query(acme, "r"), query(acme, "lost"), query(acme, "last"))
	adopting := mustOpen(t, streamed, quiet())
	mustAdopt(t, adopting, signer, slices.Concat(rows[:2], rows[3:]))
	mustClose(t, adopting)
	pruned, _, _, _, _ := prunedLog(t)
	for _, d := range []string{dir, unproven, streamed, pruned} {
		all = append(all, entries(t, d, nil)...)
	}
	return all
}
