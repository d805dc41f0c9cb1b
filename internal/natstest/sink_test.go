package natstest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/natssink"
)

// TestSink delivers a log to a stream while its leader is killed. Everything arrives; what was
// delivered again within the window of duplicates is there once.
func TestSink(t *testing.T) {
	c, dir := startCluster(t), newDir(t)
	const name = "EVENTS"
	_, err := c.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"siem.>"}, Replicas: 3})
	must(t, err)
	t.Cleanup(func() { c.js.DeleteStream(t.Context(), name) })
	l := openLog(t, dir)
	for i := range 300 {
		record(t, l, fmt.Sprint(i))
	}
	must(t, l.Close())
	want := map[string]audit.Entry{}
	for _, e := range read(t, dir, nil) {
		want[e.UID] = e
	}
	s, err := natssink.Open(t.Context(), c.servers("admin"), natssink.Options{Stream: name, Subject: "siem"})
	must(t, err)
	cursor := filepath.Join(t.TempDir(), "cursor")
	sh, err := sink.Open(dir, cursor, s, &sink.Options{Batch: 20, Timeout: 5 * time.Second})
	must(t, err)
	failures := 0
	for round, n := 0, 1; n > 0 || err != nil; round++ {
		if round == 3 {
			c.kill(t, c.leader(t, name))
		}
		if n, err = sh.Round(t.Context()); err != nil {
			failures++
			time.Sleep(50 * time.Millisecond) // as Run pauses
		}
	}
	must(t, sh.Close())
	c.heal(t)
	// All once more, as with a cursor that was lost.
	s, err = natssink.Open(t.Context(), c.servers("admin"), natssink.Options{Stream: name, Subject: "siem"})
	must(t, err)
	sh, err = sink.Open(dir, cursor+"2", s, nil)
	must(t, err)
	for n := 1; n > 0; {
		n, err = sh.Round(t.Context())
		must(t, err)
	}
	must(t, sh.Close())
	tr := &trail{cluster: c, name: name}
	var got []string
	for _, m := range tr.messages(t) {
		id := m.Header.Get("Nats-Msg-Id")
		if e, ok := want[id]; !ok || string(m.Data) != string(e.Raw) || m.Subject != "siem."+string(e.Code) || m.Header.Get("Strongroom-Index") != fmt.Sprint(e.Index) {
			t.Errorf("the message %s on %s is not the event %s", id, m.Subject, m.Data)
		}
		if slices.Contains(got, id) {
			t.Errorf("%s is there twice", id)
		}
		got = append(got, id)
	}
	if len(got) != len(want) {
		t.Errorf("%d messages of %d events", len(got), len(want))
	}
	t.Logf("%d deliveries failed", failures)
}

// TestSinkRefuses streams that would lose what was delivered, or not say that they have it.
func TestSinkRefuses(t *testing.T) {
	c := startCluster(t)
	for problem, config := range map[string]jetstream.StreamConfig{
		"memory": {Storage: jetstream.MemoryStorage}, "no_ack": {NoAck: true}, "max_msg_size": {MaxMsgSize: 1 << 20},
	} {
		config.Name, config.Subjects = "REFUSED", []string{"refused.>"}
		_, err := c.js.CreateStream(t.Context(), config)
		must(t, err)
		if _, err := natssink.Open(t.Context(), c.servers("admin"), natssink.Options{Stream: "REFUSED"}); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", problem, err)
		}
		must(t, c.js.DeleteStream(t.Context(), "REFUSED"))
	}
	if _, err := natssink.Open(t.Context(), c.servers("admin"), natssink.Options{Stream: "REFUSED"}); err == nil {
		t.Error("a stream that is not there")
	}
	if _, err := natssink.Open(t.Context(), "ws://user:secret-x@siem.example.com", natssink.Options{Stream: "X"}); err == nil || !strings.Contains(err.Error(), "plaintext") || strings.Contains(err.Error(), "secret-") {
		t.Errorf("plaintext: %v", err)
	}
}

// TestSinkUnanswered: messages that a cluster never answers, as one whose leader changes may not, are in the way of none that
// come later, once it does.
func TestSinkUnanswered(t *testing.T) {
	c, dir := startCluster(t), newDir(t)
	const name = "UNANSWERED"
	config := jetstream.StreamConfig{Name: name, Subjects: []string{"answered.>"}}
	_, err := c.js.CreateStream(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { c.js.DeleteStream(t.Context(), name) })
	silent, err := c.admin.SubscribeSync("silent.>") // takes the messages, and says nothing
	must(t, err)
	defer silent.Unsubscribe()
	must(t, c.admin.Flush())
	l := openLog(t, dir)
	for i := range 300 {
		record(t, l, fmt.Sprint(i))
	}
	must(t, l.Close())
	s, err := natssink.Open(t.Context(), c.servers("admin"), natssink.Options{Stream: name, Subject: "silent"})
	must(t, err)
	sh, err := sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), s, &sink.Options{Batch: 250, Timeout: 300 * time.Millisecond})
	must(t, err)
	defer func() { must(t, sh.Close()) }()
	for range 6 { // more messages than may be under way
		if n, err := sh.Round(t.Context()); n != 0 || err == nil {
			t.Fatalf("%d events, %v", n, err)
		}
	}
	must(t, silent.Unsubscribe())
	config.Subjects = append(config.Subjects, "silent.>")
	_, err = c.js.UpdateStream(t.Context(), config)
	must(t, err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		n, err := sh.Round(t.Context())
		if n > 0 && err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events, %v", n, err)
		}
	}
}
