package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit/natslog"
)

// TestNATSSetup: what is printed for an administrator is what natslog asks for, and -nats is one of two places.
func TestNATSSetup(t *testing.T) {
	out, _ := try(t, 0, "nats", "-stream", "CLINIC", "-gib", "2")
	var got struct {
		Stream      jetstream.StreamConfig
		Permissions map[string]struct{ Publish, Subscribe struct{ Allow []string } }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	recorder, _ := natslog.Permissions("CLINIC")
	if got.Stream.Name != "CLINIC" || got.Stream.MaxBytes != 2<<30 || got.Stream.Replicas != 3 || strings.Join(got.Permissions["recorder"].Publish.Allow, " ") != strings.Join(recorder.Publish, " ") {
		t.Errorf("it prints %s", out)
	}
	try(t, 2, "nats", "-stream", "a.b")
	try(t, 2, "nats", "-gib", "0")
	key := t.TempDir() + "/key"
	try(t, 0, "stream-key", "-name", "example.com/trail", key)
	for _, args := range [][]string{{"-db", "postgres://127.0.0.1/x"}, {"-table", "x"}} {
		_, errs := try(t, 2, append(append([]string{"seal", "-stream-key", key, "-nats", "nats://127.0.0.1:1"}, args...), t.TempDir()+"/log")...)
		if !strings.Contains(errs, "one of the two") {
			t.Errorf("both places: %s", errs)
		}
	}
	_, errs := try(t, 2, "seal", "-stream-key", key, "-nats", "ws://user:secret@example.com", t.TempDir()+"/log")
	if !strings.Contains(errs, "plaintext") || strings.Contains(errs, "secret") {
		t.Errorf("plaintext: %s", errs)
	}
}
