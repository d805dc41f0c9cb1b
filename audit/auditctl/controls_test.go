package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/report"
	"github.com/strongroom-go/strongroom/internal/samplelog"
)

// TestControls runs each line's command on a log that has every kind of event, and holds what comes out against what the line
// is about, written down here once more.
func TestControls(t *testing.T) {
	l, err := samplelog.Write(filepath.Join(t.TempDir(), "log"), "audit.example.com/1", false)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "page")
	try(t, 0, "report", "-controls", "-o", name, l.Dir)
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"key.destroy", "key.disable", "key.enable", "key.export", "key.provision", "key.resume", "key.reveal", "key.rotate", "key.shred", "key.stale", "key.suspend"}
	statements := []string{"sql.commit", "sql.exec", "sql.offboard", "sql.query", "sql.reseal", "sql.rollback"}
	denials, failures := []string{"sql.query denied"}, []string{"alert.isolation failure", "sql.query failure"}
	var everything []string
	for e, err := range audit.Read(t.Context(), l.Dir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(everything, string(e.Code)) {
			everything = append(everything, string(e.Code))
		}
	}
	slices.Sort(everything)
	alerts, reveal, reads, log := []string{"alert.isolation"}, []string{"key.reveal"}, []string{"sql.query"}, []string{"audit.head", "audit.started", "audit.stopping"}
	want := map[string][]string{
		"CC6.1": statements, "CC6.3": denials, "CC6.5": {"key.shred"}, "CC6.7": {"key.export"}, "CC7.2": alerts, "CC7.3": failures, "CC7.4": {"key.suspend"},
		"A.5.15": denials, "A.5.34": reveal, "A.8.2": keys, "A.8.3": reads, "A.8.10": {"sql.offboard"}, "A.8.15": everything, "A.8.16": alerts, "A.8.24": keys,
		"(a)(1)": denials, "(a)(2)(i)": statements, "(a)(2)(iv)": keys, "(b)": everything, "(c)(2)": alerts,
		"10.2.1.1": statements, "10.2.1.2": keys, "10.2.1.3": reveal, "10.2.1.4": denials, "10.2.1.6": log, "10.2.2": everything, "10.7.2": log,
		"30(1)(b)": reads, "30(1)(c)": statements, "32(1)(a)": keys, "32(1)(b)": alerts, "32(4)": reads,
	}
	verified := []string{"A.5.28", "A.5.33", "10.3.2", "10.3.4", "32(1)(d)"}
	for _, c := range report.Controls() {
		if c.Command[0] == "verify" {
			out, _ := try(t, 0, append(c.Command, l.Dir)...)
			if i := slices.Index(verified, c.ID); i < 0 || !strings.Contains(out, "result  intact") {
				t.Errorf("%s %s: %q", c.Standard, c.ID, out)
			} else {
				verified = slices.Delete(verified, i, i+1)
			}
			continue
		}
		out, _ := try(t, 0, append(slices.Insert(slices.Clone(c.Command), 1, "-json"), l.Dir)...)
		var got []string
		n := 0
		for line := range strings.Lines(out) {
			var e struct {
				Status   string `json:"status_code"`
				Metadata struct {
					Code string `json:"event_code"`
				} `json:"metadata"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			n++
			what := e.Metadata.Code
			if c.Status != "" {
				what += " " + e.Status
			}
			if !slices.Contains(got, what) {
				got = append(got, what)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want[c.ID]) || n == 0 {
			t.Errorf("%s %s selects %q, want %q", c.Standard, c.ID, got, want[c.ID])
		}
		delete(want, c.ID)
		// And the page counts the same.
		_, rest, _ := strings.Cut(string(page), "<bdi>"+c.ID+"</bdi>")
		_, rest, _ = strings.Cut(rest, `data-label="Events here"><span><bdi>`)
		shown, _, _ := strings.Cut(rest, "<")
		if strings.ReplaceAll(shown, ",", "") != fmt.Sprint(n) {
			t.Errorf("%s: the page has %q events, the command %d", c.ID, shown, n)
		}
	}
	if len(want)+len(verified) > 0 {
		t.Errorf("there are no lines for %v and %q", want, verified)
	}
	if !regexp.MustCompile(`auditctl query -status denied DIR`).Match(page) {
		t.Error("the page does not have the commands")
	}
}
