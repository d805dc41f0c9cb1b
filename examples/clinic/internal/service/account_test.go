package service

import (
	"bytes"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAccount drives the service in one process and accounts for it; then it shows, on copies of what that left, that the
// checker finds what it is there to find.
func TestAccount(t *testing.T) {
	dir := t.TempDir()
	journal := filepath.Join(dir, "journal.jsonl")
	var out bytes.Buffer
	if err := Run(t.Context(), []string{"-load", "self", "-for", "10m", "-requests", "250", "-rate", "100", "-workers", "4", "-dir", filepath.Join(dir, "data"), "-journal", journal}, &out, io.Discard, nil); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Logf("\n%s", &out)
	text, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	find := func(op string) int {
		for i, line := range lines {
			if strings.Contains(line, `"op":"`+op+`"`) && strings.Contains(line, `"status":20`) {
				return i
			}
		}
		t.Fatalf("the journal has no %s", op)
		return 0
	}
	exec := func(statement string) func(t *testing.T, data string) {
		return func(t *testing.T, data string) {
			db, err := sql.Open("sqlite", filepath.Join(data, "clinic.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			result, err := db.Exec(statement)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := result.RowsAffected(); n == 0 {
				t.Fatal("nothing was changed")
			}
		}
	}
	object := func(f func(path string) error) func(t *testing.T, data string) {
		return func(t *testing.T, data string) {
			all, err := filepath.Glob(filepath.Join(data, "scans", "*", "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range all {
				if !strings.HasSuffix(path, ".attrs") {
					if err := f(path); err != nil {
						t.Fatal(err)
					}
					return
				}
			}
			t.Fatal("there is no object")
		}
	}
	read := find("read")
	for name, c := range map[string]struct {
		change  func(t *testing.T, data string)
		journal string // "" for the one that was written
		want    string // "" for no problem
	}{
		"nothing":            {},
		"a visit is lost":    {exec(`DELETE FROM visits WHERE id = (SELECT id FROM visits LIMIT 1)`), "", "LOST: "},
		"a patient is lost":  {exec(`DELETE FROM patients WHERE id = (SELECT id FROM patients LIMIT 1)`), "", "LOST: "},
		"values exchanged":   {exec(`UPDATE visits SET finding = (SELECT v.finding FROM visits v WHERE v.tenant_id = visits.tenant_id AND v.id <> visits.id LIMIT 1)`), "", "is not what request"},
		"another clinic's":   {exec(`UPDATE patients SET name = (SELECT p.name FROM patients p WHERE p.tenant_id <> patients.tenant_id LIMIT 1)`), "", "does not open"},
		"a row of nobody's":  {exec(`INSERT INTO visits SELECT tenant_id, 'made-up', patient_id, day, ward, finding FROM visits LIMIT 1`), "", "that no request stored"},
		"an object is lost":  {object(os.Remove), "", "LOST: "},
		"an object is short": {object(func(path string) error { return os.Truncate(path, 60) }), "", "does not open"},
		"an object of nobody's": {object(func(path string) error { return os.WriteFile(path+"x", []byte("x"), 0o600) }), "",
			"that no request stored"},
		"a write that left no event": {nil, string(text) + strings.NewReplacer(`"request":"`, `"request":"f`).Replace(lines[read]), "UNSEEN: "},
		"an event of nobody's":       {nil, strings.Join(append(append([]string(nil), lines[:read]...), lines[read+1:]...), ""), "in no journal"},
		"an event for the other":     {nil, strings.Replace(string(text), lines[read], strings.NewReplacer(`:"harbor"`, `:"hillside"`, `:"hillside"`, `:"harbor"`).Replace(lines[read]), 1), "in no journal"},
		"an answer of success":       {nil, strings.Replace(string(text), `"op":"foreign","status":404`, `"op":"read","status":200`, 1), "left no event"},
		"a byte of the trail": {func(t *testing.T, data string) {
			segments, _ := filepath.Glob(filepath.Join(data, "audit", "seg", "*.jsonl"))
			b, err := os.ReadFile(segments[0])
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.Replace(b, []byte(`"status_code":"success"`), []byte(`"status_code":"failure"`), 1)
			if err := os.WriteFile(segments[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "", "tamper"},
	} {
		t.Run(name, func(t *testing.T) {
			data, written := filepath.Join(t.TempDir(), "data"), journal
			if err := os.CopyFS(data, os.DirFS(filepath.Join(dir, "data"))); err != nil {
				t.Fatal(err)
			}
			// What is secret has to stay so: its readers look.
			for _, name := range []string{"kek.json", "keys"} {
				filepath.Walk(filepath.Join(data, name), func(path string, info os.FileInfo, err error) error {
					mode := os.FileMode(0o600)
					if info.IsDir() {
						mode = 0o700
					}
					return os.Chmod(path, mode)
				})
			}
			if c.change != nil {
				c.change(t, data)
			}
			if c.journal != "" {
				written = filepath.Join(t.TempDir(), "journal")
				if err := os.WriteFile(written, []byte(c.journal), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := Run(t.Context(), []string{"-check", "-dir", data, "-journal", written}, io.Discard, io.Discard, nil)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the checker says %v; want %q", err, c.want)
			}
		})
	}
}
