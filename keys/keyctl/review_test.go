package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReview: events show by name who did what, of the tenant alone, also while it is suspended; and the review is in the trail.
func TestReview(t *testing.T) {
	s := newEmbedded(t)
	service, own := filepath.Join(s.dir, "service-trail"), filepath.Join(s.dir, "trail")
	for _, id := range []string{"acme", "globex"} {
		s.try(exitOK, "provision", id, "-actor", "operator-of-"+id)
	}
	s.fill(acme)
	s.fill(globex)
	s.try(exitOK, "suspend", "acme", "-reason", "an incident")
	review := []string{"review", "-reason", "complaint 7", "-actor", "rita"}

	out, _ := s.try(exitOK, append(review, "-json", "acme", service, own)...)
	actors := map[string]bool{}
	for _, l := range lines(t, out) {
		if l["event"].(map[string]any)["metadata"].(map[string]any)["tenant_uid"] != "acme" {
			t.Errorf("an event of another tenant: %v", l)
		}
		if actor, ok := l["actor"].(string); ok {
			actors[actor] = true
		}
	}
	if !actors["ann"] || !actors["operator-of-acme"] || actors["operator-of-globex"] || len(actors) < 3 {
		t.Errorf("the actors are %v", actors)
	}
	out, _ = s.try(exitOK, append(review, "-code", "key.", "acme", own)...)
	for _, want := range []string{"key.reveal", "rita", `reason="complaint 7"`, `reason="an incident"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
	page := filepath.Join(s.dir, "acme.html")
	s.try(exitOK, append(review, "-html", page, "acme", service, own)...)
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Review of acme: complaint 7", "<bdi>ann</bdi>", "<bdi>operator-of-acme</bdi>", "named, with the tenants", "Intact, with reservations", "key.reveal"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, secret := range []string{"operator-of-globex", "globex"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("the page has %q", secret)
		}
	}
	s.try(exitError, append(review, "-html", page, "acme", own)...) // it exists
	segments, err := filepath.Glob(filepath.Join(service, "seg", "*.jsonl"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	lines, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(segments[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(bytes.Replace(lines, []byte(`"success"`), []byte(`"failure"`), 1))
	s.try(exitFindings, append(review, "-html", page+"2", "acme", service)...)
	if data, err := os.ReadFile(page + "2"); err != nil || !bytes.Contains(data, []byte("Not intact")) {
		t.Errorf("of a log that was changed: %v", err)
	}
	write(lines)
	for _, args := range [][]string{
		{"review", "acme", own}, {"review", "-reason", "r", "acme"}, {"review", "-reason", "r"}, {"review", "-reason", "r", "nobody", own},
		append(review, "-code", "sql", "acme", own), append(review, "-since", "yesterday", "acme", own), append(review, "acme", s.dir),
	} {
		s.try(exitError, args...)
	}
	s.try(exitOK, "shred", "acme", "-reason", "gone", "-yes", "-confirm", "acme")
	s.try(exitError, append(review, "acme", own)...)
}
