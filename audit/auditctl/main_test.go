package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/samplelog"
	"github.com/strongroom-go/strongroom/tenant"
)

// sample makes a log with a few events and returns its directory, its key, and a file with a pin.
func sample(t *testing.T) (dir, key, pin string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"acme", "globex"} {
		for _, status := range []audit.Status{audit.Success, audit.Denied} {
			err := l.Record(t.Context(), &audit.Event{
				Code: audit.CodeQuery, Phase: audit.Outcome, Status: status, Tenant: tenant.MustParse(id), Actor: "ann",
				Purpose: "treat\tment", Store: "sqlite", Name: "db", Tables: []string{"patients"}, Rows: 3, Reason: "\x1b[2Jgone",
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	msg, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pin = filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, msg, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, l.Verifier(), pin
}

func try(t *testing.T, want int, args ...string) (out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	if got := run(context.Background(), args, &o, &e); got != want {
		t.Errorf("auditctl %q: exit status %d, want %d\n%s%s", args, got, want, &o, &e)
	}
	return o.String(), e.String()
}

func TestVerify(t *testing.T) {
	dir, key, pin := sample(t)
	if out, _ := try(t, 0, "verify", dir); !strings.Contains(out, "intact") || !strings.Contains(out, "unpinned") || !strings.Contains(out, "unauthenticated") {
		t.Errorf("unpinned:\n%s", out)
	}
	if out, _ := try(t, 0, "verify", "-key", key, "-pin", pin, dir); strings.Contains(out, "unpinned") || strings.Contains(out, "unauthenticated") {
		t.Errorf("pinned:\n%s", out)
	}
	try(t, 2, "verify", "-pin", pin, dir)
	try(t, 2, "verify", "-key", key, "-pin", filepath.Join(dir, "log.json"), dir)
	try(t, 2, "verify", "-key", "nonsense", dir)
	name := filepath.Join(dir, "seg", strings.Repeat("0", 20)+".jsonl")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(data, []byte("patients"), []byte("payments"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs := try(t, 1, "verify", dir); !strings.Contains(out, "NOT INTACT") || !strings.Contains(errs, "event 1") {
		t.Errorf("tampered:\n%s%s", out, errs)
	}
}

// TestVerifyFindings: events of which nothing shows that the log wrote them stand in the result, not in its margin.
func TestVerifyFindings(t *testing.T) {
	out, _ := try(t, 0, "verify", filepath.Join("..", "testdata", "unchained", "log"))
	if !strings.Contains(out, "NOT AUTHENTICATED: 4 events from index 3 on") || !strings.Contains(out, "result  intact, but for") {
		t.Errorf("%s", out)
	}
}

func TestQuery(t *testing.T) {
	dir, _, _ := sample(t)
	count := func(want int, args ...string) string {
		t.Helper()
		out, _ := try(t, 0, append(append([]string{"query"}, args...), dir)...)
		if got := strings.Count(out, "\n") - 1; got != want {
			t.Errorf("query %q: %d events, want %d\n%s", args, got, want, out)
		}
		return out
	}
	count(8) // and the log's own: started, two head leaves, stopping
	out := count(1, "-tenant", "acme", "-status", "denied")
	if strings.ContainsAny(out, "\x1b\t") || !strings.Contains(out, `"\x1b[2Jgone"`) || !strings.Contains(out, "db:patients") {
		t.Errorf("a text from the log reached the terminal as it is: %q", out)
	}
	count(4, "-code", "sql.")
	try(t, 2, "query", "-code", "sql", dir)
	count(8, "-since", "2020-01-31", "-until", "2220-01-31T10:00:00Z")
	count(0, "-until", "2020-01-31")
	out, _ = try(t, 0, "query", "-json", "-tenant", "globex", "-code", "sql.query", dir)
	for line := range strings.Lines(out) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if strings.Count(out, "\n") != 2 {
		t.Errorf("as JSON:\n%s", out)
	}
}

func TestUsage(t *testing.T) {
	dir, _, _ := sample(t)
	for _, args := range [][]string{
		{}, {"frobnicate"}, {"verify"}, {"verify", dir, dir}, {"verify", "-x", dir}, {"query", "-status", "ok", dir},
		{"query", "-since", "yesterday", dir}, {"query", "-tenant", "a b", dir}, {"query", "-tenant", "", dir}, {"query", filepath.Join(dir, "none")}, {"verify", filepath.Join(dir, "none")},
	} {
		if _, errs := try(t, 2, args...); errs == "" {
			t.Errorf("auditctl %q says nothing", args)
		}
	}
	try(t, 0, "help")
	try(t, 0, "query", "-h")
}

// TestFiltersThatAreNone: a filter that selects nothing by what it is, or everything for want of a value, is an error of every command
// that has filters, and leaves nothing that could be taken for an answer.
func TestFiltersThatAreNone(t *testing.T) {
	dir, _, _ := sample(t)
	for _, filter := range [][]string{
		{"-code", "sql"}, {"-code", "sql.querry"}, {"-code", "."}, {"-status", "ok"}, {"-since", "2026-02-01", "-until", "2026-01-01"},
		{"-since", "2026-02-01", "-until", "2026-02-01"},
		{"-code", ""}, {"-status", ""}, {"-tenant", ""}, {"-actor", ""}, {"-purpose", ""}, {"-object", ""}, {"-since", ""}, {"-until", ""},
	} {
		page := filepath.Join(t.TempDir(), "page")
		for _, command := range [][]string{{"query"}, {"query", "-json"}, {"export"}, {"follow"}, {"report", "-o", page}} {
			var out, errs bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // following would go on
			status := run(ctx, slices.Concat(command, filter, []string{dir}), &out, &errs)
			cancel()
			if status != exitError || out.Len() > 0 || errs.Len() == 0 {
				t.Errorf("auditctl %q %q: exit status %d, prints %q and says %q", command, filter, status, &out, &errs)
			}
		}
		if _, err := os.Stat(page); err == nil {
			t.Errorf("%q: there is a page", filter)
		}
	}
}

func TestBundle(t *testing.T) {
	dir, key, _ := sample(t)
	file := filepath.Join(t.TempDir(), "acme.bundle")
	if out, _ := try(t, 0, "bundle", "-tenant", "acme", "-key", key, "-o", file, dir); !strings.Contains(out, "acme") {
		t.Errorf("written:\n%s", out)
	}
	if out, _ := try(t, 0, "verify-bundle", "-key", key, file); !strings.Contains(out, "unchanged, and complete up to event") {
		t.Errorf("verified:\n%s", out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("globex")) {
		t.Error("the bundle speaks of another tenant")
	}
	try(t, 2, "bundle", "-tenant", "acme", "-o", file, dir) // it exists
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(data, after) {
		t.Errorf("the file that was there is changed: %v", err)
	}
	try(t, 2, "bundle", "-o", file+"2", dir)
	try(t, 2, "bundle", "-tenant", "acme", dir)
	try(t, 2, "bundle", "-tenant", "nobody", "-o", file+"2", dir)
	if _, err := os.Stat(file + "2"); err == nil {
		t.Error("a bundle that was not written is left")
	}
	try(t, 2, "verify-bundle", file)
	if err := os.WriteFile(file, bytes.Replace(data, []byte("patients"), []byte("payments"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	try(t, 1, "verify-bundle", "-key", key, file)
}

func TestExport(t *testing.T) {
	dir, _, _ := sample(t)
	other, _, _ := sample(t)
	out, _ := try(t, 0, "export", "-code", "sql.", dir)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	at := func(name string) string { return rows[1][slices.Index(rows[0], name)] }
	if at("tenant") != "acme" || at("purpose") != "treat\tment" || at("rows") != "3" || at("bytes") != "0" || at("log") == "" || at("tables") != "patients" {
		t.Errorf("%q", rows[1])
	}
	if out, _ := try(t, 0, "export", "-code", "sql.", "-tenant", "acme", dir, other); strings.Count(out, "\r\n") != 5 {
		t.Errorf("of two logs:\n%s", out)
	}
	if out, _ := try(t, 0, "query", "-code", "sql.", dir, other); strings.Count(out, "\n") != 9 {
		t.Errorf("of two logs:\n%s", out)
	}
	out, _ = try(t, 0, "export", "-format", "json", "-code", "sql.", dir)
	for line := range strings.Lines(out) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	try(t, 2, "export", "-format", "xml", dir)
	try(t, 2, "export", "-code", "sql", dir)
	try(t, 2, "export")
	try(t, 2, "query", dir, dir)
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\r": "'\r", "\uff1dx": "'\uff1dx", "": "", "a=1": "a=1", "3": "3",
		// A spreadsheet may split at something else than the file does: many take semicolons.
		"x;=1+1": "x;'=1+1", "x\t@1": "x\t'@1", "x\n=1": "x\n'=1", `x;"=1`: `x;"'=1`, "a - b; c": "a - b; c", "x; =1": "x; '=1", ";;-1": ";;'-1",
		// What commands a terminal, and what programs drop and so begin with what is behind it.
		"\x00=1+1": "\ufffd=1+1", "\x1b[2Jx": "\ufffd[2Jx", "\u009b2Jx": "\ufffd2Jx", "\ufeff=1": "\ufffd=1", "x\u202ey": "x\ufffdy", "\u200b=1": "\ufffd=1",
	} {
		if got := cell(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	l, err := samplelog.Write(filepath.Join(t.TempDir(), "log"), "audit.example.com/1", true)
	if err != nil {
		t.Fatal(err)
	}
	other, err := samplelog.Write(filepath.Join(t.TempDir(), "log"), "audit.example.com/2", false)
	if err != nil {
		t.Fatal(err)
	}
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, l.Pin, 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	page := func(want int, args ...string) string {
		t.Helper()
		n++
		name := filepath.Join(t.TempDir(), fmt.Sprint(n))
		try(t, want, append([]string{"report", "-o", name}, args...)...)
		data, err := os.ReadFile(name)
		if want == 2 && err == nil {
			t.Errorf("%q leaves a file", args)
		}
		return string(data)
	}
	contains := func(page string, all ...string) {
		t.Helper()
		for _, want := range all {
			if !strings.Contains(page, want) {
				t.Errorf("the page has no %q", want)
			}
		}
	}
	contains(page(0, "-title", "Two", "-controls", "-key", l.Verifier, "-key", other.Verifier, "-pin", pin, l.Dir, other.Dir),
		"<h1>Two</h1>", "given, trusted", "up to event", "audit.example.com/1", "audit.example.com/2: There is no pin", "<small><bdi>audit.example.com/2 · req-", "What the trail cannot prove")
	contains(page(0, "-tenant", "harbor", "-since", "2026-10-21", l.Dir), "Since", "from the log itself", "before 2026-10-21 00:00:00 do not have")
	page(2, "-pin", pin, l.Dir)                                        // without a key
	page(2, "-key", other.Verifier, l.Dir)                             // a key of another log
	page(2, "-key", other.Verifier, "-pin", pin, other.Dir)            // a pin of another log
	page(2, l.Dir, l.Dir)                                              // one log twice
	page(2, "-code", "sql", l.Dir)                                     // nothing has this code
	page(2, filepath.Join(l.Dir, "none"))                              // no log
	page(2)                                                            // nothing
	try(t, 2, "report", l.Dir)                                         // no file
	try(t, 2, "report", "-o", filepath.Join(l.Dir, "log.json"), l.Dir) // one that exists
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	name := filepath.Join(t.TempDir(), "interrupted")
	if got := run(interrupted, []string{"report", "-o", name, l.Dir}, io.Discard, io.Discard); got != exitError {
		t.Errorf("interrupted: exit status %d", got)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("interrupted, it leaves a file")
	}
	if _, err := audit.Verify(t.Context(), l.Dir, nil); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(l.Dir, "seg", "*.jsonl"))
	if err != nil || len(segments) < 2 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	data, err := os.ReadFile(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segments[1], bytes.Replace(data, []byte("treatment"), []byte("treatmenT"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(page(1, l.Dir), "Not intact", "its bytes do not have the hash", "northside")
}

// TestBlocks: a long table is printed as it is read, and every row of it.
func TestBlocks(t *testing.T) {
	l, err := samplelog.Write(filepath.Join(t.TempDir(), "log"), "audit.example.com/1", false)
	if err != nil {
		t.Fatal(err)
	}
	table, _ := try(t, 0, "query", "-code", "sql.query", l.Dir)
	lines, _ := try(t, 0, "query", "-json", "-code", "sql.query", l.Dir)
	if got, want := strings.Count(table, "\n"), strings.Count(lines, "\n")+1; got != want || got < 2*block {
		t.Errorf("%d lines, want %d", got, want)
	}
	out, _ := try(t, 0, "query", "-json", "-purpose", "research", "-object", "visits", l.Dir)
	if strings.Count(out, "\n") != 2 {
		t.Errorf("by purpose and object:\n%s", out)
	}
	ann, err := l.Sealers["harbor"].Pseudonym("temp.17@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := try(t, 0, "query", "-json", "-actor", ann, l.Dir); strings.Count(out, "\n") != 8 {
		t.Errorf("by actor:\n%s", out)
	}
}

// TestNamesOfFiles: whoever can write to a log's directory can name a file so that it commands a terminal, or reads like a
// result. What is printed of it does neither.
func TestNamesOfFiles(t *testing.T) {
	for _, forged := range []string{"\x1b[1A\x1b[2Kresult  intact\x1b[8m.jsonl", "x\nresult  intact\n.jsonl", "\u202etcatni.jsonl", "\x9b2J.jsonl"} {
		dir, _, _ := sample(t)
		if err := os.WriteFile(filepath.Join(dir, "seg", forged), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for command, status := range map[string]int{"verify": 1, "query": 2, "export": 2, "follow": 2} {
			out, errs := try(t, status, command, dir)
			if strings.ContainsAny(out+errs, "\x1b\u202e") || strings.Contains(out+errs, "\x9b") || strings.Contains(out+errs, "\nresult  intact") || !strings.Contains(errs, "jsonl") {
				t.Errorf("%s of a log with the file %q:\n%q\n%q", command, forged, out, errs)
			}
		}
	}
}

// TestResult: a log that is whole, and says of itself that events were lost before they came to it, is not just intact.
func TestResult(t *testing.T) {
	for _, r := range []audit.Report{{}, {Missing: 1}, {Refusals: 1}, {Unauthenticated: []audit.Span{{First: 0, Count: 1}}}} {
		whole := r.Missing+r.Refusals == 0 && r.Unauthenticated == nil
		if got := result(&r, nil); (got == "intact") != whole || !strings.HasPrefix(got, "intact") {
			t.Errorf("%+v: %s", r, got)
		}
	}
}
