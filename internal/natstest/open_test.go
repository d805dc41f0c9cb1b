package natstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/natslog"
)

// refused opens a recorder that must not be opened.
func (tr *trail) refused(t *testing.T, servers, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := natslog.Open(ctx, servers, tr.options(time.Minute))
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, audit.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want one with %q", err, want)
	}
	if strings.Contains(fmt.Sprint(err), "secret-") {
		t.Errorf("the error shows a password: %v", err)
	}
}

// TestOpenRefusesStreams whose settings would lose events, double them, or not take them.
func TestOpenRefusesStreams(t *testing.T) {
	c := startCluster(t)
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"num_replicas is 1":          func(s *jetstream.StreamConfig) { s.Replicas = 1 },
		"storage is memory":          func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage },
		"discard is old":             func(s *jetstream.StreamConfig) { s.Discard = jetstream.DiscardOld },
		"duplicate_window is 100ms":  func(s *jetstream.StreamConfig) { s.Duplicates = 100 * time.Millisecond },
		"retention is WorkQueue":     func(s *jetstream.StreamConfig) { s.Retention = jetstream.WorkQueuePolicy },
		"retention is Interest":      func(s *jetstream.StreamConfig) { s.Retention = jetstream.InterestPolicy },
		"max_age is 1h":              func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour },
		"max_msgs_per_subject is 5":  func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 5 },
		"max_msg_size is 1048576":    func(s *jetstream.StreamConfig) { s.MaxMsgSize = 1 << 20 },
		"allow_atomic is off":        func(s *jetstream.StreamConfig) { s.AllowAtomicPublish = false },
		"allow_rollup_hdrs is on":    func(s *jetstream.StreamConfig) { s.AllowRollup = true },
		"allow_msg_ttl is on":        func(s *jetstream.StreamConfig) { s.AllowMsgTTL = true },
		"no_ack is on":               func(s *jetstream.StreamConfig) { s.NoAck, s.AllowAtomicPublish = true, false },
		"subjects lacks strongroom.": func(s *jetstream.StreamConfig) { s.Subjects = []string{"elsewhere." + s.Name} },
		"republish would show events to others": func(s *jetstream.StreamConfig) {
			s.RePublish = &jetstream.RePublish{Source: ">", Destination: "open.>"}
		},
		"subject_transform": func(s *jetstream.StreamConfig) {
			s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "x.>"}
		},
		"persist_mode is async": func(s *jetstream.StreamConfig) {
			s.Replicas, s.AllowAtomicPublish, s.PersistMode = 1, false, jetstream.AsyncPersistMode
		},
		"deny_purge is on": func(s *jetstream.StreamConfig) { s.DenyPurge = true },
	} {
		tr := c.trail(t, change)
		tr.refused(t, tr.recorder(), want)
		if t.Failed() {
			t.Log("the stream was to be refused for: " + want)
		}
		must(t, c.js.DeleteStream(t.Context(), tr.name))
		tr.refused(t, tr.recorder(), "the stream is missing")
	}
}

// TestOpenRefusesUsers who may do more than a recorder, or less.
func TestOpenRefusesUsers(t *testing.T) {
	tr := newTrail(t)
	before := len(tr.messages(t))
	for _, power := range []string{
		"read events while they are published", "read events", "pass for the sealer", "make streams", "change the stream", "delete events", "delete the stream", "stop the sealer",
	} {
		tr.refused(t, tr.servers("admin"), power)
	}
	tr.refused(t, tr.sealer(), "may not get answers")
	tr.refused(t, strings.ReplaceAll(tr.recorder(), "secret-recorder", "secret-wrong"), "uthorization")
	tr.refused(t, strings.ReplaceAll(tr.recorder(), tr.name, streamName(streams-1)), "may not get answers")
	last := tr.trailNamed(t, streamName(streams-1), nil)
	last.refused(t, tr.servers("mute"), "may not publish events")
	last.refused(t, tr.servers("blind"), "may not ask about the stream")
	// None of what was tried was carried out.
	s, err := tr.js.Stream(t.Context(), tr.name)
	must(t, err)
	if n := len(tr.messages(t)); n != before || s.CachedInfo().State.Consumers != 0 {
		t.Errorf("%d messages and %d consumers are there now", n, s.CachedInfo().State.Consumers)
	}
	if _, err := tr.js.Stream(t.Context(), "strongroom-probe"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a stream was made: %v", err)
	}
	tr.open(t, tr.recorder(), time.Minute)
}

// TestPlaintext: servers that are not on this machine are spoken to with TLS or not at all, also
// where the ones that were named are here and tell of others.
func TestPlaintext(t *testing.T) {
	tr := newTrail(t)
	for servers, want := range map[string]string{
		"ws://audit.example.com":      "plaintext",
		"http://audit.example.com":    "unknown scheme",
		"nats://user:secret-x@ex%zz":  "not understood",
		"tr://user:secret-x@host:422": "unknown scheme",
	} {
		tr.refused(t, servers, want)
	}
	// A name that is no loopback address, of a server that has no TLS.
	dialer := hostsDialer(tr.ports[0])
	opts := tr.options(time.Minute)
	opts.Connect = []nats.Option{nats.SetCustomDialer(dialer), nats.UserInfo("recorder-"+tr.name, "secret-recorder")}
	if _, err := natslog.Open(t.Context(), "nats://audit.example.com", opts); err == nil || !strings.Contains(err.Error(), "no TLS") {
		t.Errorf("a server without TLS: %v", err)
	}
	opts.Connect = opts.Connect[1:]
	s, err := natslog.Open(t.Context(), fmt.Sprint("nats://127.0.0.1:", tr.ports[0]), opts)
	must(t, err)
	must(t, s.Close())
}

// TestNothingIsReadable: with the recorder's rights nothing can be read, changed or deleted, by any request.
func TestNothingIsReadable(t *testing.T) {
	tr := newTrail(t)
	s := tr.open(t, tr.recorder(), time.Minute)
	record(t, s, "one", "two")
	thief, err := nats.Connect(tr.recorder(), nats.CustomInboxPrefix("strongroom."+tr.name+".inbox.recorder"))
	must(t, err)
	defer thief.Close()
	js, err := jetstream.New(thief)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, tr.name)
	must(t, err)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for what, try := range map[string]func() error{
		"GetMsg": func() error { _, err := stream.GetMsg(short(), 1); return err },
		"GetLastMsg": func() error {
			_, err := stream.GetLastMsgForSubject(short(), "strongroom."+tr.name+".event.>")
			return err
		},
		"CreateConsumer": func() error { _, err := js.CreateConsumer(short(), tr.name, jetstream.ConsumerConfig{}); return err },
		"Purge":          func() error { return stream.Purge(short()) },
		"DeleteMsg":      func() error { return stream.DeleteMsg(short(), 1) },
		"DeleteStream":   func() error { return js.DeleteStream(short(), tr.name) },
		"Update":         func() error { _, err := js.UpdateStream(short(), natslog.Config(tr.name, 1<<30)); return err },
		"Source": func() error {
			_, err := js.CreateStream(short(), jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: tr.name}}})
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("%s succeeded", what)
		}
	}
	// Headers that delete or hide.
	for name, value := range map[string]string{"Nats-Rollup": "all", "Nats-TTL": "1s"} {
		m := nats.NewMsg("strongroom." + tr.name + ".event.x")
		m.Header.Set(name, value)
		if _, err := js.PublishMsg(short(), m); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if n := len(tr.messages(t)); n != 3 {
		t.Errorf("%d messages are there, want 3", n)
	}
}
