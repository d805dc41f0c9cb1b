package natstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/natslog"
)

const sealDir = "STRONGROOM_NATSLOG_SEAL_DIR"

// sealUntilKilled is the process that TestSealerKilled kills.
func sealUntilKilled(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "sealer:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute, CheckpointEvery: 20 * time.Millisecond, SegmentBytes: 128 << 10})
	fail(err)
	signer, err := note.NewSigner(os.Getenv(sealDir + "_KEY"))
	fail(err)
	for {
		s, err := natslog.OpenSealer(ctx, os.Getenv(sealDir+"_URL"), l, natslog.SealOptions{Stream: os.Getenv(sealDir + "_STREAM"), Signers: []note.Signer{signer},
			Every: time.Millisecond, Rows: 40, Lease: time.Second, Progress: func(s natslog.Sealed, err error) { fmt.Println(s.Events, err) }})
		if errors.Is(err, natslog.ErrSealing) {
			continue
		}
		fail(err)
		fail(s.Run(ctx))
	}
}

// TestSealerKilled kills a sealer under load, again and again, wherever it is. The log has
// everything, once and without gaps.
func TestSealerKilled(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder(), time.Minute)
	l := startLoad(t, s)
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), sealDir+"="+dir, sealDir+"_URL="+tr.sealer(), sealDir+"_KEY="+tr.secret, sealDir+"_STREAM="+tr.name)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		// Killed once it has got somewhere, at another point each time.
		if _, err := out.Read(make([]byte, 256)); err != nil {
			t.Fatalf("round %d: the sealer ended: %v", round, err)
		}
		time.Sleep(time.Duration(round*1700) * time.Microsecond)
		must(t, cmd.Process.Kill())
		cmd.Wait() // it was killed
	}
	acked := l.end()
	must(t, s.Close())
	tr.allSealed(t, dir, acked)
}

// forge publishes a message as somebody who may publish and has not the key.
func (tr *trail) forge(t *testing.T, stream string, header nats.Header, data string) {
	t.Helper()
	m := nats.NewMsg("strongroom." + tr.name + ".event." + stream)
	m.Header, m.Data = header, []byte(data)
	_, err := tr.js.PublishMsg(t.Context(), m)
	must(t, err)
}

// streamOf returns the recorder's stream that a message is in.
func streamOf(m *jetstream.RawStreamMsg) string {
	return m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
}

// without returns a message's headers without its id.
func without(m *jetstream.RawStreamMsg) nats.Header {
	h := nats.Header{}
	for k, v := range m.Header {
		if k != nats.MsgIdHdr {
			h[k] = v
		}
	}
	return h
}

// TestForgedAndStoredTwice: what somebody without the key puts into the stream is left out and kept
// aside, and stops nothing; what a retry has stored a second time, as behind the window of
// duplicates, is there once.
func TestForgedAndStoredTwice(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder(), time.Minute)
	record(t, s, "one", "two")
	for _, m := range tr.messages(t)[1:] {
		tr.forge(t, streamOf(m), without(m), strings.Replace(string(m.Data), "clinic", "casino", 1)) // another event in its place
		h := without(m)
		h.Set("Strongroom-Number", "4")
		tr.forge(t, streamOf(m), h, string(m.Data)) // in the next one's place
		tr.forge(t, "no-stream", nats.Header{}, "{}")
		tr.forge(t, streamOf(m), nats.Header{"Strongroom-Mac": {strings.Repeat("A", 5000)}, "Strongroom-Number": {"-7"}}, "\x00")
	}
	record(t, s, "three")
	for _, m := range tr.messages(t) {
		if m.Header.Get(nats.MsgIdHdr) != "" {
			tr.again(t, m)
		}
	}
	must(t, s.Close())
	sealed, report := tr.seal(t, dir)
	if sealed.Events != 5 || sealed.Refused != 8 || sealed.Repeated != 4 || len(sealed.Gaps) != 0 || report.Missing != 0 || report.Refusals == 0 {
		t.Errorf("%+v\n%s", sealed, report)
	}
	seen := requests(t, dir)
	if seen["one"] != 1 || seen["two"] != 1 || seen["three"] != 1 || len(seen) != 3 {
		t.Errorf("the log has %v", seen)
	}
	kept := tr.messages(t)
	for _, m := range kept {
		if m.Subject != "strongroom."+tr.name+".refused" {
			t.Errorf("%s is left", m.Subject)
		}
	}
	if len(kept) != 8 {
		t.Errorf("%d messages are kept aside, want 8", len(kept))
	}
}

// TestTakenAway: messages that somebody deletes before they are sealed are missing for ever.
func TestTakenAway(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder(), time.Minute)
	record(t, s, "1", "2", "3", "4", "5")
	stream, err := tr.js.Stream(t.Context(), tr.name)
	must(t, err)
	must(t, stream.DeleteMsg(t.Context(), 3))
	must(t, stream.DeleteMsg(t.Context(), 4))
	sealed, report := tr.seal(t, dir)
	if sealed.Events != 4 || len(sealed.Gaps) != 1 || sealed.Gaps[0].Count != 2 || report.Missing != 2 || report.OpenStreams != 1 {
		t.Errorf("%+v\n%s", sealed, report)
	}
	if got := read(t, dir, &audit.Filter{Code: audit.CodeStreamGap}); len(got) != 1 {
		t.Errorf("%d events about what is missing", len(got))
	}
}

// TestOneSealer: a stream is sealed by one sealer at a time, into one log.
func TestOneSealer(t *testing.T) {
	tr := newTrail(t)
	record(t, tr.open(t, tr.recorder(), time.Minute), "one")
	first, other := openLog(t, newDir(t)), openLog(t, newDir(t))
	s, err := natslog.OpenSealer(t.Context(), tr.sealer(), first, tr.sealOptions())
	must(t, err)
	if _, err := natslog.OpenSealer(t.Context(), tr.sealer(), other, tr.sealOptions()); err == nil || !strings.Contains(err.Error(), "two logs would each have a part") {
		t.Errorf("another log: %v", err)
	}
	ctx, cancel := contextOf(t)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	// One more for the same log, as a copy of its directory on another machine would bring about.
	if _, err := natslog.OpenSealer(t.Context(), tr.sealer(), first, tr.sealOptions()); !errors.Is(err, natslog.ErrSealing) {
		t.Errorf("a second sealer: %v", err)
	}
	cancel()
	must(t, <-ran)
	must(t, s.Close())
	second, err := natslog.OpenSealer(t.Context(), tr.sealer(), first, tr.sealOptions())
	must(t, err)
	defer second.Close()
	if sealed, err := second.Round(t.Context()); err != nil || sealed.Events+sealed.Repeated > 2 {
		t.Errorf("%+v, %v", sealed, err)
	}
	written, err := audit.OpenLog(newDir(t), &audit.Options{Durability: audit.Written, ReserveBytes: -1})
	must(t, err)
	defer written.Close()
	if _, err := natslog.OpenSealer(t.Context(), tr.sealer(), written, tr.sealOptions()); err == nil || !strings.Contains(err.Error(), "Durable") {
		t.Errorf("a log that may lose what was deleted: %v", err)
	}
}

// TestSealerOvertaken: a sealer that was away for longer than its lease does not go on beside the
// one that has the stream now.
func TestSealerOvertaken(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	r := tr.open(t, tr.recorder(), time.Minute)
	record(t, r, "one")
	l := openLog(t, dir)
	asleep, err := natslog.OpenSealer(t.Context(), tr.sealer(), l, tr.sealOptions())
	must(t, err)
	awake, err := natslog.OpenSealer(t.Context(), tr.sealer(), l, tr.sealOptions()) // waits for the lease to end
	must(t, err)
	record(t, r, "two", "three")
	if sealed := roundsFor(t, awake, 4); sealed.Events != 4 {
		t.Errorf("%+v", sealed)
	}
	record(t, r, "four")
	for range 3 {
		if sealed, err := asleep.Round(t.Context()); !errors.Is(err, natslog.ErrSealing) {
			t.Errorf("a sealer that was overtaken: %+v, %v", sealed, err)
		}
	}
	must(t, errors.Join(asleep.Close(), r.Close()))
	if _, err := awake.Round(t.Context()); err != nil {
		t.Error(err)
	}
	must(t, errors.Join(awake.Close(), l.Close()))
	if seen := requests(t, dir); len(seen) != 4 || seen["four"] != 1 || len(tr.messages(t)) != 0 {
		t.Errorf("the log has %v, the stream %d", seen, len(tr.messages(t)))
	}
}

// TestKeys: a sealer with another key than the recorders' leaves their messages alone, and one with
// both seals them all.
func TestKeys(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	before := *tr
	before.newKey(t)
	for i, of := range []*trail{&before, tr, &before} {
		s := of.open(t, of.recorder(), time.Minute)
		record(t, s, fmt.Sprint(i))
		must(t, s.Close())
	}
	sealed, report := tr.seal(t, dir)
	if sealed.Events != 3 || sealed.Refused != 0 || sealed.OtherKeys != 6 || len(tr.messages(t)) != 6 || report.Streams != 1 {
		t.Errorf("%+v, %d messages left\n%s", sealed, len(tr.messages(t)), report)
	}
	l := openLog(t, dir)
	opts := tr.sealOptions()
	opts.Signers = append(opts.Signers, before.signer)
	s, err := natslog.OpenSealer(t.Context(), tr.sealer(), l, opts)
	must(t, err)
	if sealed := roundsFor(t, s, 6); sealed.Events != 6 || len(tr.messages(t)) != 0 {
		t.Errorf("%+v, %v, %d messages left", sealed, err, len(tr.messages(t)))
	}
	must(t, errors.Join(s.Close(), l.Close()))
	if report, err := audit.Verify(t.Context(), dir, nil); err != nil || report.Refusals != 0 || report.Missing != 0 || report.Streams != 3 {
		t.Errorf("%v\n%s", err, report)
	}
}

// again publishes a message a second time under its id, behind the window of duplicates.
func (tr *trail) again(t *testing.T, m *jetstream.RawStreamMsg) {
	t.Helper()
	config := natslog.Config(tr.name, 128<<20)
	config.Duplicates = 100 * time.Millisecond
	_, err := tr.js.UpdateStream(t.Context(), config)
	must(t, err)
	for ack := (&jetstream.PubAck{Duplicate: true}); ack.Duplicate; time.Sleep(10 * time.Millisecond) {
		m2 := nats.NewMsg(m.Subject)
		m2.Header, m2.Data = without(m), m.Data
		m2.Header.Set(nats.MsgIdHdr, m.Header.Get(nats.MsgIdHdr))
		ack, err = tr.js.PublishMsg(t.Context(), m2)
		must(t, err)
	}
	config.Duplicates = 2 * time.Minute
	_, err = tr.js.UpdateStream(t.Context(), config)
	must(t, err)
}
