package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// recorded is how many lines the tool's trail has.
func (w *world) recorded() (n int) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "trail", "seg", "*.jsonl"))
	must(w.t, err)
	for _, f := range files {
		data, err := os.ReadFile(f)
		must(w.t, err)
		n += bytes.Count(data, []byte("\n"))
	}
	return n
}

// killed runs a command as a process of its own, and kills it once it has recorded so many events. It tells whether that was
// before the command had ended.
func (w *world) killed(after int, args ...string) bool {
	w.t.Helper()
	before := w.recorded()
	cmd := exec.CommandContext(w.t.Context(), os.Args[0], append(args, "-config", w.config)...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(w.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				w.t.Fatalf("keyctl %q: %v\n%s", args, err, &out)
			}
			return false
		case <-tick.C:
			if w.recorded() >= before+after {
				cmd.Process.Kill()
				return <-ended != nil // it may have ended by itself just then
			}
		}
	}
}

var everyEvent = flag.Bool("every-event", false, "kill commands after each of their first 20 events, and not after two or three")

// TestKilled kills each command that changes something after some events, and repeats it then: the tenant is as the command
// leaves it, and nobody else has lost anything.
func TestKilled(t *testing.T) {
	s := newEmbedded(t)
	s.try(exitOK, "provision", "globex")
	s.fill(globex)
	for _, c := range []struct {
		name string
		args func(id string) []string
		want string
	}{
		{"provision", func(id string) []string { return []string{"provision", id} }, "active"},
		{"rotate", func(id string) []string { return []string{"rotate", "-purpose", "data", id} }, "active"},
		{"rotate -kek", func(id string) []string { return []string{"rotate", "-kek", id} }, "active"},
		{"rewrap", func(id string) []string { return []string{"rewrap", "-all"} }, "active"},
		{"reseal", func(id string) []string { return []string{"reseal", id, "-batch", "1", "-sole-process"} }, "active"},
		{"suspend", func(id string) []string { return []string{"suspend", "-reason", "x", id} }, "suspended"},
		{"shred", func(id string) []string { return []string{"shred", "-reason", "x", "-yes", "-confirm", id, id} }, "shredded"},
		{"offboard", func(id string) []string {
			file := filepath.Join(s.dir, fmt.Sprintf("%s-%d.json", id, s.recorded()))
			return []string{"offboard", "-reason", "x", "-certificate", file, "-yes", "-confirm", id, id}
		}, "shredded"},
	} {
		kills := 0
		events := map[string][]int{"rotate": {1, 3}, "reseal": {1, 4}, "shred": {1, 3}, "offboard": {1, 4, 8}}[c.name]
		if events == nil {
			events = []int{1}
		}
		for i := 1; *everyEvent && i <= 20; i++ {
			events = append(events[:i-1], i)
		}
		for _, after := range events {
			id := fmt.Sprintf("t%d.%s", after, strings.ReplaceAll(c.name, " ", "."))
			if c.name != "provision" {
				s.try(exitOK, "provision", id)
			}
			full := c.name == "rotate" || c.name == "reseal" || c.name == "offboard"
			if full {
				s.fill(tenant.MustParse(id))
			}
			if c.name == "reseal" {
				s.try(exitOK, "rotate", "-purpose", "data", id)
			}
			if s.killed(after, c.args(id)...) {
				kills++
			}
			s.try(exitOK, c.args(id)...)
			s.wantStatus(id, c.want)
			switch {
			case c.name == "offboard":
				if n := s.left(tenant.MustParse(id)); n != 0 {
					t.Errorf("%s, killed after %d events and repeated, left %d rows", c.name, after, n)
				}
			case full:
				if err := s.reads(tenant.MustParse(id)); err != nil {
					t.Errorf("%s, killed after %d events and repeated: %v", c.name, after, err)
				}
			}
		}
		if kills == 0 {
			t.Errorf("%s was never killed", c.name)
		}
		t.Logf("%s was killed %d times", c.name, kills)
	}
	must(t, s.reads(globex))
	if _, err := audit.Verify(t.Context(), filepath.Join(s.dir, "trail"), nil); err != nil {
		t.Error(err)
	}
}

// interrupter cancels a context once so many lines were written.
type interrupter struct {
	text   string
	lines  int
	cancel func()
}

func (s *interrupter) Write(p []byte) (int, error) {
	if s.text += string(p); strings.Count(s.text, "\n") == s.lines {
		s.cancel()
	}
	return len(p), nil
}

// TestInterrupted: a command over all tenants says where it goes on, and goes on there.
func TestInterrupted(t *testing.T) {
	w := newWorld(t, embedded)
	w.try(exitOK, "init")
	for i := range 6 {
		w.try(exitOK, "provision", fmt.Sprint("t", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := &interrupter{lines: 2, cancel: cancel}, &bytes.Buffer{}
	if got := run(ctx, []string{"rewrap", "-all", "-config", w.config}, strings.NewReader(""), out, errs); got != exitInterrupted {
		t.Errorf("exit status %d\n%s%s", got, out.text, errs)
	}
	_, after, ok := strings.Cut(errs.String(), "-after ")
	if !ok || !strings.Contains(errs.String(), "interrupted; go on with keyctl rewrap -all -after t") {
		t.Fatalf("it says %q", errs)
	}
	after, _, _ = strings.Cut(after, " ")
	w.try(exitError, "rewrap", "-parallel", "2", after)
	w.try(exitError, "rewrap", "-all", "-parallel", "65")
	rest, _ := w.try(exitOK, "rewrap", "-all", "-after", after, "-parallel", "3")
	done := out.text + rest
	for i := range 6 {
		if !strings.Contains(done, fmt.Sprintf("rewrap: t%d is wrapped", i)) {
			t.Errorf("t%d was left out:\n%s", i, done)
		}
	}
}

// TestSuspendNeedsTheStoreAlone: access is stopped while keys are away and the trail cannot be had; what that keeps from being
// recorded is said, and recorded when it is repeated.
func TestSuspendNeedsTheStoreAlone(t *testing.T) {
	s := newEmbedded(t)
	s.try(exitOK, "provision", "acme")
	s.fill(acme)
	in := func(name string) string { return filepath.Join(s.dir, name) }
	must(t, os.Rename(in("kek.json"), in("away.json")))
	s.try(exitOK, "suspend", "-reason", "x", "acme")
	s.try(exitOK, "resume", "-reason", "x", "acme")
	must(t, os.Rename(in("trail"), in("away")))
	s.try(exitError, "resume", "-reason", "x", "acme") // an unrecorded resumption is none
	_, errs := s.try(exitError, "suspend", "-reason", "x", "acme", "-json")
	if e := lines(t, errs)[0]; e["class"] != "audit-unavailable" || !strings.Contains(e["error"].(string), "acme is suspended, but that could not be recorded") || !strings.Contains(e["error"].(string), "audit.dir: ") {
		t.Errorf("%s", errs)
	}
	s.wantStatus("acme", "suspended")
	must(t, os.Rename(in("away"), in("trail")))
	must(t, os.Rename(in("away.json"), in("kek.json")))
	before := s.recorded()
	s.try(exitOK, "suspend", "-reason", "x", "acme")
	if s.recorded() <= before {
		t.Error("repeated, it is not recorded")
	}
	// Another keyctl has the trail.
	log, err := audit.OpenLog(in("trail"), nil)
	must(t, err)
	if _, errs := s.try(exitError, "resume", "-reason", "x", "acme"); !strings.Contains(errs, "only one keyctl at a time") {
		t.Errorf("%s", errs)
	}
	must(t, log.Close())
	s.try(exitOK, "resume", "-reason", "x", "acme")
	must(t, s.reads(acme))
}

// TestFilesWantSoleProcess: objects in files are not replaced while a service may write them, whatever else is asked for.
func TestFilesWantSoleProcess(t *testing.T) {
	s := newEmbedded(t)
	s.try(exitOK, "provision", "acme")
	s.fill(acme)
	s.try(exitOK, "rotate", "-purpose", "data", "acme")
	for _, args := range [][]string{{"reseal", "acme"}, {"reseal", "-bucket", "scans", "acme"}, {"reseal", "-purpose", "blobs", "acme"}, {"reseal", "-all"}} {
		out, errs := s.try(exitError, args...)
		if out != "" || !strings.Contains(errs, "-sole-process") {
			t.Errorf("%q: %s%s", args, out, errs)
		}
	}
	if out, _ := s.try(exitOK, "reseal", "-dry-run", "acme"); !strings.Contains(out, "left: 3 of patients.name under the data key") || !strings.Contains(out, "left: 3 objects under the data key") {
		t.Errorf("%s", out)
	}
	s.try(exitOK, "reseal", "-database", "clinics", "acme")
	s.try(exitError, "reseal", "-bucket", "none", "acme")
	must(t, s.reads(acme))
}

// TestOneFails: a tenant whose record is damaged does not keep the others from their turn.
func TestOneFails(t *testing.T) {
	w := newWorld(t, embedded)
	w.try(exitOK, "init")
	for i := range 3 {
		w.try(exitOK, "provision", fmt.Sprint("t", i))
	}
	w.try(exitOK, "shred", "t2", "-reason", "left", "-yes", "-confirm", "t2")
	name := filepath.Join(w.dir, "keys", tenant.MustParse("t0").Segment())
	data, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, data[:len(data)/2], 0o600))
	out, _ := w.try(exitError, "rewrap", "-all", "-json")
	for _, text := range []string{`"tenant":"t0","error":`, `{"command":"rewrap","tenant":"t1"}`, `{"command":"rewrap","done":1,"failed":1}`} {
		if !strings.Contains(out, text) {
			t.Errorf("%s is not in\n%s", text, out)
		}
	}
	out, _ = w.try(exitFindings, "list")
	if !strings.Contains(out, "t0      DAMAGED: ") || !strings.Contains(out, "t2      shredded") {
		t.Errorf("%s", out)
	}
}
