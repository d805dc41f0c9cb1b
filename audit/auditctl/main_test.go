package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
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
	count(0, "-code", "sql")
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
		{"query", "-since", "yesterday", dir}, {"query", "-tenant", "a b", dir}, {"query", filepath.Join(dir, "none")}, {"verify", filepath.Join(dir, "none")},
	} {
		if _, errs := try(t, 2, args...); errs == "" {
			t.Errorf("auditctl %q says nothing", args)
		}
	}
	try(t, 0, "help")
	try(t, 0, "query", "-h")
}
