package sink_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/tenant"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openLog(t testing.TB, dir string) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute, CheckpointEvery: 5 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func record(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	for i := range n {
		must(t, l.Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: tenant.MustParse("acme"),
			Actor: "dr.okafor@example.org", Purpose: "treatment", Request: fmt.Sprint(i), Store: "postgresql", Name: "clinic", Tables: []string{"patients"}, Rows: -1, Bytes: -1}))
	}
}

func uids(t testing.TB, dir string) (list []string) {
	t.Helper()
	for e, err := range audit.Read(context.Background(), dir, nil) {
		must(t, err)
		list = append(list, e.UID)
	}
	return list
}

// receiver keeps what it is given, and fails as it is told.
type receiver struct {
	got  []string
	fail func(call int) error // asked after what was given is kept
	call int
	took int // that it has said it has
}

func (r *receiver) String() string { return "the receiver" }
func (r *receiver) Close() error   { return nil }

func (r *receiver) Deliver(_ context.Context, events []audit.Entry) (n int, err error) {
	for _, e := range events {
		r.got = append(r.got, e.UID)
	}
	r.call++
	if r.fail != nil {
		err = r.fail(r.call)
	}
	if n = len(events); err != nil {
		n = r.call % (len(events) + 1) // some are where they stay, or all
	}
	r.took += n
	return n, err
}

// once returns a list without what is there again, in the order of the first times.
func once(list []string) (first []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			first = append(first, s)
		}
	}
	return first
}

func newPaths(t testing.TB) (dir, cursor string) {
	tmp := t.TempDir()
	return filepath.Join(tmp, "log"), filepath.Join(tmp, "cursor")
}

// all delivers all that is sealed.
func all(t testing.TB, s *sink.Shipper) (delivered, failures int) {
	t.Helper()
	for {
		n, err := s.Round(t.Context())
		if delivered += n; err != nil {
			failures++
		} else if n == 0 {
			return delivered, failures
		}
	}
}

// TestEveryEventOnceAndAgain: across shippers that end and failures that come after the sink has
// the events, all arrive in order, and what arrives again has the uid that it had.
func TestEveryEventOnceAndAgain(t *testing.T) {
	dir, cursor := newPaths(t)
	r := &receiver{fail: func(call int) error {
		if call%3 == 0 {
			return errors.New("the answer was lost")
		}
		return nil
	}}
	for range 4 {
		l := openLog(t, dir)
		record(t, l, 40)
		must(t, l.Close())
		s, err := sink.Open(dir, cursor, r, &sink.Options{Batch: 7})
		must(t, err)
		before := r.took
		if n, failures := all(t, s); failures == 0 || n < 40 || n != r.took-before {
			t.Errorf("%d failures, %d events of %d", failures, n, r.took-before)
		}
		lag, err := s.Lag()
		if err != nil || lag.Behind != 0 || lag.Delivered != int64(len(uids(t, dir))) || !lag.Oldest.IsZero() {
			t.Errorf("lag %+v, %v", lag, err)
		}
		must(t, s.Close())
	}
	if got, want := once(r.got), uids(t, dir); !slices.Equal(got, want) || len(r.got) <= len(want) {
		t.Errorf("%d events arrived, %d of them once, in order %v; %d are in the log", len(r.got), len(got), slices.Equal(got, want), len(want))
	}
}

// TestADeadSinkDelaysNobody: while a sink never takes anything, events are recorded as ever, and
// the lag says how many it lacks.
func TestADeadSinkDelaysNobody(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	var told atomic.Int64
	hang := make(chan struct{})
	r := &hanging{hang: hang}
	s, err := sink.Open(dir, cursor, r, &sink.Options{MinPause: time.Millisecond, MaxPause: 2 * time.Millisecond, Timeout: time.Hour, Every: time.Millisecond,
		Progress: func(sink.Lag, error) { told.Add(1) }})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	record(t, l, 200) // returns, although the sink does not
	until(t, func() bool {
		lag, err := s.Lag()
		must(t, err)
		return lag.Behind >= 200 && !lag.Oldest.IsZero()
	})
	close(hang)
	until(t, func() bool {
		lag, err := s.Lag()
		must(t, err)
		return lag.Behind == 0 && lag.Delivered >= 200
	})
	cancel()
	must(t, <-ended)
	must(t, errors.Join(s.Close(), l.Close()))
	if told.Load() == 0 {
		t.Error("nobody was told")
	}
}

type hanging struct {
	receiver
	hang chan struct{}
}

func (h *hanging) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	select {
	case <-h.hang:
		return len(events), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func until(t testing.TB, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
	}
}

// TestCursorIsOfOneLog: a cursor is worth nothing with another log, an older copy of the log, or
// for two shippers at once.
func TestCursorIsOfOneLog(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	record(t, l, 10)
	must(t, l.Close())
	older := filepath.Join(t.TempDir(), "older")
	must(t, os.CopyFS(older, os.DirFS(dir)))
	l = openLog(t, dir)
	record(t, l, 10)
	must(t, l.Close())
	r := &receiver{}
	s, err := sink.Open(dir, cursor, r, nil)
	must(t, err)
	all(t, s)
	n := len(r.got)
	if _, err := sink.Open(dir, cursor, r, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second shipper: %v", err)
	}
	must(t, s.Close())

	s, err = sink.Open(older, cursor, r, nil)
	must(t, err)
	if err := s.Run(t.Context()); !errors.Is(err, audit.ErrTampered) {
		t.Errorf("an older copy: %v", err)
	}
	must(t, s.Close())
	other := filepath.Join(t.TempDir(), "other")
	l, err = audit.OpenLog(other, &audit.Options{Origin: "example.com/other", ReserveBytes: -1})
	must(t, err)
	must(t, l.Close())
	if _, err := sink.Open(other, cursor, r, nil); err == nil || !strings.Contains(err.Error(), "position of its own") {
		t.Errorf("another log: %v", err)
	}
	if len(r.got) != n {
		t.Errorf("%d events of another log were delivered", len(r.got)-n)
	}
	if _, err := sink.Open(dir, filepath.Join(dir, "cursor"), r, nil); err == nil || !strings.Contains(err.Error(), "log's directory") {
		t.Errorf("in the log's directory: %v", err)
	}
	must(t, os.WriteFile(cursor, nil, 0o600))
	if _, err := sink.Open(dir, cursor, r, nil); err == nil || !strings.Contains(err.Error(), "no cursor") {
		t.Errorf("an empty file: %v", err)
	}
}

// TestCursorByAnotherName: a link does not bring a cursor into the log's directory, where it would keep the log from being opened.
func TestCursorByAnotherName(t *testing.T) {
	dir, _ := newPaths(t)
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	for _, c := range [][2]string{{dir, filepath.Join(link, "seg", "cursor")}, {link, filepath.Join(dir, "seg", "cursor")}, {link, filepath.Join(link, "seg", "cursor")}} {
		s, err := sink.Open(c[0], c[1], &receiver{}, nil)
		if err == nil {
			err = s.Close()
			t.Errorf("a cursor at %s, of the log at %s: %v", c[1], c[0], err)
		}
	}
	if l, err = audit.OpenLog(dir, &audit.Options{ReserveBytes: -1}); err != nil {
		t.Fatalf("the log cannot be opened any more: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCursorThroughALink: a link where a new cursor is prepared, as in a directory that others may write to, leads to no other file, such
// as the log's.
func TestCursorThroughALink(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	record(t, l, 10)
	must(t, l.Close())
	want := uids(t, dir)
	segments, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%v, %v", segments, err)
	}
	for _, to := range append(segments, filepath.Join(dir, "absent")) {
		if err := os.Symlink(to, cursor+".tmp"); err != nil {
			t.Skip(err)
		}
		r := &receiver{}
		s, err := sink.Open(dir, cursor, r, nil)
		must(t, err)
		all(t, s)
		must(t, s.Close())
		if got := uids(t, dir); !slices.Equal(got, want) || len(r.got) != len(want) {
			t.Fatalf("%s: the log has %d of %d events, and %d were delivered", filepath.Base(to), len(got), len(want), len(r.got))
		}
		must(t, os.Remove(cursor))
	}
	stray := filepath.Join(filepath.Dir(segments[0]), "absent")
	must(t, os.Remove(cursor+".lock"))
	must(t, os.Symlink(stray, cursor+".lock"))
	if s, err := sink.Open(dir, cursor, &receiver{}, nil); err == nil {
		t.Errorf("it was opened with a lock elsewhere, %v", s.Close())
	}
	for _, name := range []string{filepath.Join(dir, "absent"), stray} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

// TestCursorThatCannotBeWritten: what the cursor does not say is not gone past.
func TestCursorThatCannotBeWritten(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	record(t, l, 10)
	must(t, l.Close())
	r := &receiver{}
	s, err := sink.Open(dir, cursor, r, &sink.Options{Batch: 4})
	must(t, err)
	must(t, os.Mkdir(cursor+".tmp", 0o700)) // where the new cursor is prepared
	if _, err := s.Round(t.Context()); err == nil {
		t.Error("no error")
	}
	for range 3 {
		if n, err := s.Round(t.Context()); err == nil || n != 0 || len(r.got) != 4 {
			t.Errorf("it goes on without a cursor: %d, %v, %d events", n, err, len(r.got))
		}
	}
	if lag, err := s.Lag(); err != nil || lag.Delivered != 0 {
		t.Errorf("lag %+v, %v", lag, err)
	}
	must(t, os.RemoveAll(cursor+".tmp"))
	all(t, s)
	must(t, s.Close())
	if !slices.Equal(r.got, uids(t, dir)) {
		t.Errorf("%d events arrived", len(r.got))
	}
}

// panicking is a sink of an application that panics every other time.
type panicking struct {
	receiver
	calls int
}

func (p *panicking) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	if p.calls++; p.calls%2 == 1 {
		panic("of the event " + events[0].UID)
	}
	return p.receiver.Deliver(ctx, events)
}

// TestSinkPanics: a sink that panics has taken nothing, and is asked again.
func TestSinkPanics(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	record(t, l, 3)
	must(t, l.Close())
	r := &panicking{}
	s, err := sink.Open(dir, cursor, r, nil)
	must(t, err)
	defer s.Close()
	if n, err := s.Round(t.Context()); n != 0 || err == nil || strings.Contains(err.Error(), "of the event") {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Round(t.Context()); n == 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got, want := r.got, uids(t, dir); !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

// TestSlog: records say what events say, and nothing of actors beyond that.
func TestSlog(t *testing.T) {
	dir, cursor := newPaths(t)
	l := openLog(t, dir)
	record(t, l, 3)
	must(t, l.Record(t.Context(), &audit.Event{Code: audit.CodeIsolation, Phase: audit.Single, Status: audit.Failure, Tenant: tenant.MustParse("acme"), Actor: "dr.okafor@example.org",
		Reason: "a value did not open", Details: map[string]string{"key": "s3cret-object"}, Rows: -1, Bytes: -1}))
	must(t, l.Close())
	var out bytes.Buffer
	s, err := sink.Open(dir, cursor, sink.Slog(slog.NewJSONHandler(&out, nil)), nil)
	must(t, err)
	n, _ := all(t, s)
	must(t, s.Close())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != n || strings.Contains(out.String(), "okafor") || strings.Contains(out.String(), "s3cret") {
		t.Errorf("%d lines of %d events:\n%s", len(lines), n, &out)
	}
	want := uids(t, dir)
	for i, line := range lines {
		var r struct {
			Level, Msg, UID, Tenant, Purpose, Actor string
			Rows                                    *int64
		}
		must(t, json.Unmarshal([]byte(line), &r))
		if r.UID != want[i] || r.Rows != nil {
			t.Errorf("%s", line)
		}
		if i == 1 && (r.Level != "INFO" || r.Msg != "sql.query" || r.Tenant != "acme" || r.Purpose != "treatment" || r.Actor == "") {
			t.Errorf("%s", line)
		}
		if r.Msg == "alert.isolation" && r.Level != "ERROR" {
			t.Errorf("%s", line)
		}
	}
}

// rows is an [audit.Engine] that keeps what is recorded.
type rows struct{ all []audit.Row }

func (r *rows) String() string { return "the test's memory" }
func (r *rows) Close() error   { return nil }

func (r *rows) Append(_ context.Context, list []audit.Row) error {
	for _, row := range list {
		row.Line, row.MAC = bytes.Clone(row.Line), bytes.Clone(row.MAC)
		r.all = append(r.all, row)
	}
	return nil
}

// TestLogOfStreams: a sink is told the log that events are in, by whose name and their indexes they are found again, although
// they came from a trail of another name, which several logs may have.
func TestLogOfStreams(t *testing.T) {
	secret, _, err := note.GenerateKey(rand.Reader, "example.com/trail")
	must(t, err)
	signer, err := note.NewSigner(secret)
	must(t, err)
	engine := &rows{}
	trail, err := audit.OpenStream(t.Context(), engine, audit.StreamOptions{Signer: signer, Service: "clinic"})
	must(t, err)
	must(t, trail.Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: tenant.MustParse("acme"), Rows: -1, Bytes: -1}))
	must(t, trail.Close())
	dir, cursor := newPaths(t)
	l, err := audit.OpenLog(dir, &audit.Options{Origin: "example.com/log", ReserveBytes: -1, Timeout: time.Minute})
	must(t, err)
	adopter, err := l.Adopter(signer)
	must(t, err)
	_, err = adopter.Adopt(t.Context(), engine.all)
	must(t, err)
	must(t, l.Close())
	brought := 0
	r := &looking{look: func(e *audit.Entry) {
		if e.Log != "example.com/log" {
			t.Errorf("event %d of example.com/log is said to be of %s", e.Index, e.Log)
		}
		if e.Stream != "" {
			brought++
		}
	}}
	s, err := sink.Open(dir, cursor, r, nil)
	must(t, err)
	all(t, s)
	must(t, s.Close())
	if brought != 3 {
		t.Errorf("%d events of the trail", brought)
	}
}

type looking struct {
	receiver
	look func(*audit.Entry)
}

func (l *looking) Deliver(_ context.Context, events []audit.Entry) (int, error) {
	for i := range events {
		l.look(&events[i])
	}
	return len(events), nil
}
