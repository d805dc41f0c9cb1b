package audit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/recordertest"
	"github.com/strongroom-go/strongroom/tenant"
)

// engine keeps rows in memory, by the contract of audit.Engine, and can be told to misbehave.
type engine struct {
	mu     sync.Mutex
	rows   []audit.Row
	closed bool
	// fault is asked before each Append and may do what it likes to the engine; with an error, before or after the rows
	// are stored, nothing is answered.
	fault func(rows []audit.Row) (before, after error)
	hung  chan struct{}
}

func (e *engine) Append(ctx context.Context, rows []audit.Row) error {
	e.mu.Lock()
	hung, fault := e.hung, e.fault
	e.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var before, after error
	if fault != nil {
		before, after = fault(rows)
	}
	if before != nil {
		return before
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.ContainsFunc(e.rows, func(r audit.Row) bool { return r.UID == rows[0].UID }) {
		return audit.ErrRepeated
	}
	if slices.ContainsFunc(e.rows, func(r audit.Row) bool { return r.Stream == rows[0].Stream && r.Number == rows[0].Number }) {
		return audit.ErrTaken
	}
	for _, r := range rows {
		r.Line, r.MAC = bytes.Clone(r.Line), bytes.Clone(r.MAC)
		e.rows = append(e.rows, r)
	}
	return after
}

func (e *engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return nil
}

func (e *engine) String() string { return "the test's memory" }

func (e *engine) stored() []audit.Row {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.rows)
}

func (e *engine) put(rows ...audit.Row) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rows = append(e.rows, rows...)
}

func (e *engine) setFault(f func([]audit.Row) (before, after error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = f
}

func (e *engine) hang() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hung = make(chan struct{})
}

func (e *engine) goOn() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hung != nil {
		close(e.hung)
		e.hung = nil
	}
}

func streamSigner(t testing.TB) note.Signer {
	t.Helper()
	secret, _, err := note.GenerateKey(rand.Reader, "example.com/trail")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openStream(t testing.TB, e *engine, signer note.Signer, timeout time.Duration) *audit.Stream {
	t.Helper()
	s, err := audit.OpenStream(t.Context(), e, audit.StreamOptions{Signer: signer, Service: "clinic", Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.goOn()
		s.Close()
	})
	return s
}

// TestRecorderStream runs the conformance suite on a stream, as its engine has it, and as the log has it that a sealer
// makes of that.
func TestRecorderStream(t *testing.T) {
	direct := func(e *engine, _ note.Signer) func(t *testing.T) [][]byte {
		return func(t *testing.T) (lines [][]byte) {
			for _, r := range e.stored() {
				lines = append(lines, r.Line)
			}
			return lines
		}
	}
	sealed := func(e *engine, signer note.Signer) func(t *testing.T) [][]byte {
		return func(t *testing.T) [][]byte {
			t.Helper()
			dir := filepath.Join(t.TempDir(), "log")
			adoptAll(t, dir, signer, e.stored())
			return logLines(t, dir)
		}
	}
	for name, lines := range map[string]func(*engine, note.Signer) func(t *testing.T) [][]byte{"engine": direct, "sealed": sealed} {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T, timeout time.Duration) *recordertest.Target {
				e, signer := &engine{}, streamSigner(t)
				s := openStream(t, e, signer, timeout)
				return &recordertest.Target{Recorder: s, Close: s.Close, Lines: lines(e, signer), Break: e.hang, Mend: e.goOn}
			}
			recordertest.Run(t, func(t *testing.T) *recordertest.Target {
				target := open(t, time.Minute)
				target.Impatient = func(t *testing.T) *recordertest.Target { return open(t, 200*time.Millisecond) }
				return target
			})
		})
	}
}

func openLog(t testing.TB, dir string) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute, CheckpointEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// adoptAll takes rows into the log in dir, which it closes again, and verifies it.
func adoptAll(t testing.TB, dir string, signer note.Signer, rows []audit.Row) (*audit.Adopted, *audit.Report) {
	t.Helper()
	l := openLog(t, dir)
	a, err := l.Adopter(signer)
	if err != nil {
		t.Fatal(err)
	}
	done, err := a.Adopt(t.Context(), rows)
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return done, report
}

func logLines(t testing.TB, dir string) (lines [][]byte) {
	t.Helper()
	for e, err := range audit.Read(t.Context(), dir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, e.Raw)
	}
	return lines
}

func single(id, request string) *audit.Event {
	return &audit.Event{Code: audit.CodeQuery, Phase: audit.Single, Status: audit.Success, Tenant: tenant.MustParse(id), Request: request,
		Store: "postgresql", Name: "clinic", Rows: -1, Bytes: -1}
}

func record(t testing.TB, r audit.Recorder, requests ...string) {
	t.Helper()
	for _, request := range requests {
		if err := r.Record(t.Context(), single("acme", request)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStreamNothingLostOrDoubled has the engine lose answers, rows and both, under load. What was acknowledged is there
// once, what was not at most once, and the stream has no gap.
func TestStreamNothingLostOrDoubled(t *testing.T) {
	e, signer := &engine{}, streamSigner(t)
	n := 0
	e.fault = func(rows []audit.Row) (before, after error) {
		switch n++; {
		case rows[0].Number == 1:
		case n%5 == 1:
			return nil, errors.New("the answer was lost")
		case n%5 == 3:
			return errors.New("the request was lost"), nil
		}
		return nil, nil
	}
	s := openStream(t, e, signer, time.Minute)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 20 {
				record(t, s, fmt.Sprintf("%d %d", c, i))
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rows := e.stored()
	for i, r := range rows {
		if r.Number != int64(i+1) || r.Stream != rows[0].Stream {
			t.Fatalf("row %d has number %d", i, r.Number)
		}
	}
	if len(rows) != 162 || n < 20 {
		t.Errorf("%d rows are there after %d attempts", len(rows), n)
	}
	done, report := adoptAll(t, filepath.Join(t.TempDir(), "log"), signer, rows)
	if done.Events != 162 || report.Missing != 0 || report.Streams != 1 || report.OpenStreams != 0 {
		t.Errorf("%+v\n%s", done, report)
	}
}

// TestStreamTakenNumber: somebody who can insert rows puts one where the recorder's next belongs. The recorder takes it for
// nobody's acknowledgement, goes on elsewhere, and the sealer leaves the forged row out.
func TestStreamTakenNumber(t *testing.T) {
	e, signer := &engine{}, streamSigner(t)
	s := openStream(t, e, signer, time.Minute)
	record(t, s, "one")
	forged := e.stored()[1]
	forged.Number, forged.UID = 3, "0199fd8c-0000-7000-8000-000000000000"
	forged.Line = bytes.Replace(forged.Line, []byte(`"request":"one"`), []byte(`"request":"forged"`), 1)
	e.put(forged)
	record(t, s, "two", "three")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	done, report := adoptAll(t, dir, signer, e.stored())
	if done.Events != 6 || !slices.Equal(done.Refused, []int{2}) || report.Missing != 0 || report.Refusals != 1 || report.Streams != 2 || report.OpenStreams != 1 {
		t.Errorf("%+v\n%s", done, report)
	}
	lines := logLines(t, dir)
	if got := count(lines, `"request":"forged"`); got != 0 {
		t.Errorf("the forged event is in the log %d times", got)
	}
	for _, what := range []string{`"request":"two"`, `"request":"three"`, "goes on from stream " + forged.Stream, "1 rows are not authentic"} {
		if got := count(lines, what); got != 1 {
			t.Errorf("%s is in the log %d times", what, got)
		}
	}
}

// TestStreamTakenWhileInDoubt: an answer is lost, and the engine names the number and not the uid as what is there already.
// The events are there, and not a second time.
func TestStreamTakenWhileInDoubt(t *testing.T) {
	e, signer := &engine{}, streamSigner(t)
	attempts := 0
	e.fault = func(rows []audit.Row) (before, after error) {
		if !bytes.Contains(rows[0].Line, []byte(`"request":"doubt"`)) {
			return nil, nil
		}
		switch attempts++; attempts {
		case 1:
			return nil, errors.New("the answer was lost")
		case 2:
			return audit.ErrTaken, nil
		}
		return nil, nil
	}
	s := openStream(t, e, signer, time.Minute)
	record(t, s, "doubt", "next")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	done, report := adoptAll(t, dir, signer, e.stored())
	lines := logLines(t, dir)
	if done.Events != 5 || report.Missing != 0 || len(done.Refused) != 0 || count(lines, `"request":"doubt"`) != 1 || count(lines, `"request":"next"`) != 1 {
		t.Errorf("%+v\n%s", done, report)
	}
}

func count(lines [][]byte, what string) (n int) {
	for _, l := range lines {
		if bytes.Contains(l, []byte(what)) {
			n++
		}
	}
	return n
}

// TestStreamCloseGivesUp: an engine that does not answer keeps Close no longer than the timeout, and what is in doubt is
// nobody's acknowledgement.
func TestStreamCloseGivesUp(t *testing.T) {
	e, signer := &engine{}, streamSigner(t)
	s := openStream(t, e, signer, 50*time.Millisecond)
	record(t, s, "before")
	e.hang()
	p, err := s.Queue(t.Context(), single("acme", "during"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Close: %v", err)
	}
	if err := p.Wait(t.Context()); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Wait: %v", err)
	}
	if err := s.Err(); !errors.Is(err, audit.ErrUnavailable) || !e.closed {
		t.Errorf("Err: %v; the engine is closed: %v", err, e.closed)
	}
}

// TestStreamErr tells a service why its trail stands still.
func TestStreamErr(t *testing.T) {
	e, signer := &engine{}, streamSigner(t)
	s := openStream(t, e, signer, time.Minute)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	e.setFault(func([]audit.Row) (error, error) { return errors.New("disk full over there"), nil })
	p, err := s.Queue(t.Context(), single("acme", "x"))
	if err != nil {
		t.Fatal(err)
	}
	for err = s.Err(); err == nil; err = s.Err() {
		time.Sleep(time.Millisecond)
	}
	if !errors.Is(err, audit.ErrUnavailable) || !strings.Contains(err.Error(), "disk full over there") {
		t.Errorf("Err: %v", err)
	}
	e.setFault(nil)
	if err := errors.Join(p.Wait(t.Context()), s.Err()); err != nil {
		t.Errorf("the engine answers again: %v", err)
	}
}

// TestReadyCallersShareARoundTrip: callers that are about to record when the first of them has are not left to the engine's next round trip.
func TestReadyCallersShareARoundTrip(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that being ready and running are two things
	const callers, each = 16, 50
	e, signer := &engine{}, streamSigner(t)
	trips := 0
	var came atomic.Int64
	e.fault = func([]audit.Row) (before, after error) {
		if trips++; trips == 2 { // behind the stream's own; an engine takes its time, in which the others come
			for came.Load() < callers {
				runtime.Gosched()
			}
			runtime.Gosched()
		}
		return nil, nil
	}
	s := openStream(t, e, signer, time.Minute)
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			came.Add(1)
			for i := range each {
				record(t, s, fmt.Sprint(c, "-", i))
			}
		})
	}
	group.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if trips > callers*each/2 {
		t.Errorf("%d round trips for %d events of %d callers at a time", trips, callers*each, callers)
	} else {
		t.Logf("%d round trips for %d events", trips, callers*each)
	}
}
