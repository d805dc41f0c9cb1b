package natstest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// TestAuditctl seals a stream from the command line, and shows what an operator sees when messages
// were taken away.
func TestAuditctl(t *testing.T) {
	tr, dir, tmp := newTrail(t), newDir(t), t.TempDir()
	binary, key := filepath.Join(tmp, "auditctl"), filepath.Join(tmp, "key")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./audit/auditctl")
	build.Dir = filepath.Join("..", "..") // of the library's module
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
		status := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		}
		if status != want || strings.Contains(string(out), "secret-") {
			t.Errorf("auditctl %q: exit status %d, want %d\n%s", args, status, want, out)
		}
		return string(out)
	}
	run(0, "stream-key", "-name", "example.com/trail", key)
	data, err := os.ReadFile(key)
	must(t, err)
	tr.signer, err = note.NewSigner(strings.TrimSpace(string(data)))
	must(t, err)
	s := tr.open(t, tr.recorder(), time.Minute)
	record(t, s, "1", "2")
	seal := []string{"seal", "-stream-key", key, "-nats", tr.sealer(), "-stream", tr.name, "-once", dir}
	if out := run(0, seal...); !strings.Contains(out, "sealed  3 events") {
		t.Errorf("it says %s", out)
	}
	record(t, s, "3", "4")
	stream, err := tr.js.Stream(t.Context(), tr.name)
	must(t, err)
	must(t, stream.DeleteMsg(t.Context(), 4))
	if out := run(1, seal...); !strings.Contains(out, "MISSING: 1 events from number 4") || !strings.Contains(out, "sealed  1 events") {
		t.Errorf("it says %s", out)
	}
	if out := run(0, "verify", dir); !strings.Contains(out, "intact") {
		t.Errorf("it says %s", out)
	}
	seal[4] = tr.recorder()
	run(2, seal...)
}
