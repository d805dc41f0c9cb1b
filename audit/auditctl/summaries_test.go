package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestSkippedSegments: query and export say what they did not read and by whose word, and give the same with and without.
func TestSkippedSegments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, SegmentBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 200 {
		err := l.Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Single, Status: audit.Success, Store: "sqlite",
			Tenant: tenant.MustParse(fmt.Sprint("clinic-", i%2)), Time: day.Add(time.Duration(i) * time.Hour), Rows: -1, Bytes: -1})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"query"}, {"query", "-json"}, {"export"}} {
		filter := []string{"-tenant", "clinic-1", "-since", "2026-03-02", "-until", "2026-03-03"}
		of := func(flags ...string) []string {
			return append(append(append(command[:len(command):len(command)], filter...), flags...), dir)
		}
		some, note := try(t, 0, of()...)
		whole, none := try(t, 0, of("-whole")...)
		if some != whole || strings.Count(some, "clinic-1") != 12 {
			t.Errorf("%v:\n%s\nand of all segments:\n%s", command, some, whole)
		}
		if !strings.Contains(note, "segments were not read") || !strings.Contains(note, "a key in log.json") || none != "" {
			t.Errorf("%v: %q, %q", command, note, none)
		}
		if out, note := try(t, 0, of("-key", l.Verifier())...); out != whole || !strings.Contains(note, "a given key") {
			t.Errorf("%v with the key: %q\n%s", command, note, out)
		}
		other := "another.example.com+00000000+AAAA"
		for _, keys := range [][]string{{"-key", other}, {"-key", l.Verifier(), "-key", other}, {"-key", l.Verifier()[:len(l.Verifier())-4]}} {
			if out, note := try(t, 2, of(keys...)...); strings.Contains(out, "clinic") || !strings.Contains(note, "key") {
				t.Errorf("%v with %v: %q\n%s", command, keys, note, out)
			}
		}
	}
	if out, _ := try(t, 0, "verify", dir); !strings.Contains(out, "summaries") {
		t.Errorf("%s", out)
	}
	other := filepath.Join(t.TempDir(), "page.html")
	try(t, 0, "report", "-o", other, "-tenant", "clinic-1", "-until", "2026-03-02", dir)
	if page, err := os.ReadFile(other); err != nil || !strings.Contains(string(page), "clinic-1") {
		t.Errorf("%v", err)
	}
}
