package natstest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/natssink"
	"github.com/strongroom-go/strongroom/internal/canary"
	"github.com/strongroom-go/strongroom/internal/samplelog"
)

// events makes a stream for events, and not of a trail.
func (c *cluster) events(t *testing.T, name, subject string) {
	t.Helper()
	_, err := c.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject + ".>"}, Replicas: 3})
	must(t, err)
	t.Cleanup(func() { c.js.DeleteStream(t.Context(), name) })
}

// TestShip ships a log to a stream from the command line, and goes on where it was.
func TestShip(t *testing.T) {
	c, dir, tmp := startCluster(t), newDir(t), t.TempDir()
	const name = "SHIPPED"
	c.events(t, name, "shipped")
	binary := filepath.Join(tmp, "auditctl")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./audit/auditctl")
	build.Dir = filepath.Join("..", "..") // of the library's module
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(status int, stream string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, "ship", "-to", "nats", "-servers", c.servers("admin"), "-stream", stream, "-subject", "shipped",
			"-cursor", filepath.Join(tmp, "cursor"), "-once", dir)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != status || strings.Contains(string(out), "admin:") {
			t.Errorf("exit status %d, want %d\n%s", got, status, out)
		}
		return string(out)
	}
	for round := range 2 {
		l := openLog(t, dir)
		record(t, l, fmt.Sprint(round), fmt.Sprint("again", round))
		must(t, l.Close())
		if out := run(0, name); !strings.Contains(out, "0 behind") {
			t.Error(out)
		}
		want, got := "", ""
		for _, e := range read(t, dir, nil) {
			want += string(e.Raw) + "\n"
		}
		for _, line := range (&trail{cluster: c, name: name}).lines(t) {
			got += string(line) + "\n"
		}
		if got != want {
			t.Errorf("round %d: the stream has\n%s", round, got)
		}
	}
	run(2, "NONE")
}

// TestSinkCanaries looks for what is personal in messages, with their subjects and headers, and in the errors.
func TestSinkCanaries(t *testing.T) {
	c, dir := startCluster(t), newDir(t)
	const name = "CANARIES"
	c.events(t, name, "canaries")
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Durability: audit.Written, Timeout: time.Minute})
	must(t, err)
	keys, err := samplelog.NewKeys()
	must(t, err)
	must(t, canary.Each(keys, func(e *audit.Event) error { return l.Record(t.Context(), e) }))
	must(t, l.Close())
	open := func(name, subject string) *sink.Shipper {
		s, err := natssink.Open(t.Context(), c.servers("admin"), natssink.Options{Stream: name, Subject: subject})
		must(t, err)
		sh, err := sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), s, nil)
		must(t, err)
		return sh
	}
	sh, total := open(name, "canaries"), 0
	for n := 1; n > 0; total += n {
		n, err = sh.Round(t.Context())
		must(t, err)
	}
	must(t, sh.Close())
	var shown []byte
	for _, m := range (&trail{cluster: c, name: name}).messages(t) {
		shown = fmt.Appendf(append(shown, m.Data...), "\n%s %v\n", m.Subject, m.Header)
	}
	if found := canary.Found(shown, canary.Sealed); len(found) > 0 {
		t.Errorf("the stream shows %v", found)
	}
	if found := canary.Found(shown, canary.Clear); !slices.Equal(found, canary.ClearFields()) || total < 100 {
		t.Errorf("%d events, and in the clear %v: the test looked at too little", total, found)
	}
	// A stream that takes no more says so without what it was to take.
	const full = "CANARIES-FULL"
	_, err = c.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: full, Subjects: []string{"full.>"}, Replicas: 3, MaxMsgs: 1, Discard: jetstream.DiscardNew})
	must(t, err)
	t.Cleanup(func() { c.js.DeleteStream(t.Context(), full) })
	sh = open(full, "full")
	for n := 1; n > 0 && err == nil; {
		n, err = sh.Round(t.Context())
	}
	text := fmt.Appendf(nil, "%v %+v %#v", err, err, err)
	if err == nil || len(canary.Found(text, canary.Sealed))+len(canary.Found(text, canary.Clear)) > 0 {
		t.Errorf("a full stream: %v", err)
	}
	must(t, sh.Close())
}
