package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// keptRows is an engine that keeps rows and does nothing else.
type keptRows []Row

func (k *keptRows) Append(_ context.Context, rows []Row) error {
	for _, r := range rows {
		r.Line, r.MAC = bytes.Clone(r.Line), bytes.Clone(r.MAC)
		*k = append(*k, r)
	}
	return nil
}

func (k *keptRows) Close() error   { return nil }
func (k *keptRows) String() string { return "memory" }

// streamRows returns what a stream makes of events, each in a batch of its own, between its first row and its last.
func streamRows(t testing.TB, signer note.Signer, events ...*Event) []Row {
	t.Helper()
	var rows keptRows
	s, err := OpenStream(t.Context(), &rows, StreamOptions{Signer: signer})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := s.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func trailSigner(t testing.TB) note.Signer {
	t.Helper()
	secret, _, err := note.GenerateKey(rand.Reader, "example.com/trail")
	if err != nil {
		t.Fatal(err)
	}
	return mustSigner(t, secret)
}

func mustAdopt(t testing.TB, l *Log, signer note.Signer, rows []Row) *Adopted {
	t.Helper()
	a, err := l.Adopter(signer)
	if err != nil {
		t.Fatal(err)
	}
	done, err := a.Adopt(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func requests(t testing.TB, dir string) (list []string) {
	t.Helper()
	for _, e := range entries(t, dir, &Filter{Code: CodeQuery}) {
		list = append(list, e.Request)
	}
	return list
}

func queries(n int) (list []*Event) {
	for i := range n {
		list = append(list, query(acme, fmt.Sprint(i)))
	}
	return list
}

// TestAdoptKeepsLines: an event in the log is the row's line, and the tenant's number.
func TestAdoptKeepsLines(t *testing.T) {
	signer := trailSigner(t)
	sealed := query(acme, "sealed")
	sealed.Sealer, sealed.Details = newSealer(t), map[string]string{"key": "k"}
	rows := streamRows(t, signer, sealed, denial(globex), query(globex, "known"), denial(globex))
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	if done := mustAdopt(t, l, signer, rows); done.Events != 6 || done.Repeated+len(done.Refused)+len(done.Gaps) != 0 {
		t.Fatalf("%+v", done)
	}
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Streams != 1 || r.OpenStreams != 0 || r.Missing != 0 || r.Tenants != 2 || r.Unnumbered != 1 {
		t.Errorf("%s", r)
	}
	n := 0
	for _, e := range entries(t, dir, nil) {
		if e.Stream == "" {
			continue
		}
		raw := e.Raw
		if at := bytes.LastIndex(raw, []byte(`,"labels":["batch:`)); at > 0 {
			raw = append(bytes.Clone(raw[:at]), "}}"...)
		}
		if at := bytes.LastIndex(raw, []byte(sequenceKey)); at > 0 {
			raw = append(bytes.Clone(raw[:at]), "}}"...)
		}
		if r := rows[n]; !bytes.Equal(raw, r.Line) || e.UID != r.UID || e.Number != r.Number || e.Stream != r.Stream {
			t.Errorf("the log has\n%s\nfor\n%s", e.Raw, r.Line)
		}
		n++
	}
	if n != len(rows) {
		t.Errorf("%d of %d rows are in the log", n, len(rows))
	}
}

// TestAdoptResumes: rows that were taken in are not taken in again, by this opening of the log or a later one, with the
// log's state or without.
func TestAdoptResumes(t *testing.T) {
	signer := trailSigner(t)
	rows := streamRows(t, signer, queries(20)...)
	other := streamRows(t, signer, query(globex, "other"))
	for _, every := range []int64{1, 1 << 40} {
		dir := filepath.Join(t.TempDir(), "log")
		opts := quiet()
		opts.stateEvents, opts.SegmentBytes = every, 8<<10
		for round, want := range []Adopted{{Events: 10}, {Events: 3, Repeated: 6}, {Repeated: 13}, {Events: 12, Repeated: 10}, {Repeated: 22}} {
			part := [][]Row{rows[:10], slices.Concat(rows[4:10], other), slices.Concat(other, rows[:10]), rows, rows}[round]
			l := mustOpen(t, dir, opts)
			if _, err := l.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			if done := mustAdopt(t, l, signer, part); done.Events != want.Events || done.Repeated != want.Repeated || len(done.Gaps)+len(done.Refused) != 0 {
				t.Fatalf("state every %d, round %d: %+v, want %+v", every, round, *done, want)
			}
			if round%2 == 0 { // it crashes
				dir = copyDir(t, dir)
				continue
			}
			mustClose(t, l)
		}
		if r := mustVerify(t, dir); r.Missing != 0 || r.Streams != 2 || r.OpenStreams != 0 {
			t.Errorf("%s", r)
		}
		if got := requests(t, dir); len(got) != 21 {
			t.Errorf("the log has %q", got)
		}
	}
}

// TestAdoptGaps: rows that were taken away leave a gap for ever, and what remains of their batch and stream is authentic.
func TestAdoptGaps(t *testing.T) {
	signer := trailSigner(t)
	rows := streamRows(t, signer, queries(10)...)
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	done := mustAdopt(t, l, signer, slices.Concat(rows[1:3], rows[5:6]))
	mustClose(t, l)
	l = mustOpen(t, dir, quiet())
	done2 := mustAdopt(t, l, signer, rows[11:])
	mustClose(t, l)
	id := rows[0].Stream
	want := []StreamGap{{id, 1, 1}, {id, 4, 2}, {id, 7, 5}}
	if got := slices.Concat(done.Gaps, done2.Gaps); !slices.Equal(got, want) {
		t.Errorf("the gaps are %v, want %v", got, want)
	}
	r := mustVerify(t, dir)
	if !slices.Equal(r.Gaps, want) || r.Missing != 8 {
		t.Errorf("Verify finds %v", r.Gaps)
	}
	for _, g := range want {
		if !strings.Contains(r.String(), fmt.Sprintf("MISSING: %d events from number %d on of stream %s", g.Count, g.First, g.Stream)) {
			t.Errorf("%v is not in the report:\n%s", g, r)
		}
	}
	for i, e := range entries(t, dir, &Filter{Code: CodeStreamGap}) {
		if got := parseGap(e.Raw); got != want[i] || e.Status != Failure || e.Severity != "High" {
			t.Errorf("event %d is about %v: %s", i, got, e.Raw)
		}
	}
	// The rows that were taken away come back, too late to stand in their place.
	l = mustOpen(t, dir, quiet())
	if done := mustAdopt(t, l, signer, rows); done.Repeated != len(rows) || done.Events != 0 {
		t.Errorf("%+v", done)
	}
}

// TestAdoptRefusesForgeries: whoever can write rows, and has not the key, gets none into the log.
func TestAdoptRefusesForgeries(t *testing.T) {
	signer := trailSigner(t)
	rows := streamRows(t, signer, queries(4)...)
	another := streamRows(t, signer, queries(4)...)
	foreign := streamRows(t, trailSigner(t), queries(4)...) // a key of the same name
	for what, change := range map[string]func(r *Row){
		"its line":             func(r *Row) { r.Line = bytes.Replace(r.Line, []byte("treatment"), []byte("research!"), 1) },
		"its number":           func(r *Row) { r.Number++ },
		"its batch":            func(r *Row) { r.Batch-- },
		"its stream":           func(r *Row) { r.Stream = another[0].Stream },
		"its uid":              func(r *Row) { r.UID = another[2].UID },
		"its MAC":              func(r *Row) { r.MAC[31] ^= 1 },
		"no MAC":               func(r *Row) { r.MAC = nil },
		"another stream's row": func(r *Row) { id := r.Stream; *r = another[2]; r.Stream = id },
		"another row's MAC":    func(r *Row) { r.MAC = rows[3].MAC },
		"another key":          func(r *Row) { *r = foreign[2] },
		"a stream's id":        func(r *Row) { r.Stream = "'); DROP TABLE x; --\n" },
		"a hostile batch":      func(r *Row) { r.Number, r.Batch = 1<<62, 1<<61 },
		"a negative number":    func(r *Row) { r.Number = -r.Number },
	} {
		t.Run(what, func(t *testing.T) {
			row := rows[2]
			row.Line, row.MAC = bytes.Clone(row.Line), bytes.Clone(row.MAC)
			change(&row)
			dir := filepath.Join(t.TempDir(), "log")
			l := mustOpen(t, dir, quiet())
			done := mustAdopt(t, l, signer, slices.Concat(rows[:2], []Row{row}, rows[2:]))
			mustClose(t, l)
			if !slices.Equal(done.Refused, []int{2}) || done.Events != len(rows) || len(done.Gaps) != 0 {
				t.Errorf("%+v", done)
			}
			if r := mustVerify(t, dir); r.Refusals != 1 || r.Missing != 0 || !strings.Contains(r.String(), "NOT AUTHENTIC") {
				t.Errorf("%s", r)
			}
			if got := requests(t, dir); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
				t.Errorf("the log has %q", got)
			}
			for _, e := range entries(t, dir, &Filter{Code: CodeStreamGap}) {
				if bytes.Contains(e.Raw, []byte("DROP")) || bytes.Contains(e.Raw, []byte("research")) {
					t.Errorf("the event repeats what the row said: %s", e.Raw)
				}
			}
		})
	}
}

// TestAdoptRefusesLines: even with the key nobody brings a line into the log that makes it one which does not verify, or
// that speaks for the log itself.
func TestAdoptRefusesLines(t *testing.T) {
	signer := trailSigner(t)
	good := streamRows(t, signer, query(acme, "r"))[1]
	for what, change := range map[string][2]string{
		"a newline":           {`"phase"`, "\n\"phase\""},
		"a NUL":               {`"purpose":"treatment"`, "\"purpose\":\"treat\x00\""},
		"no JSON":             {`"phase":`, `"phase"`},
		"the log's own code":  {`"event_code":"sql.query"`, `"event_code":"audit.stopping"`},
		"a gap":               {`"event_code":"sql.query"`, `"event_code":"stream.gap"`},
		"an unknown code":     {`"event_code":"sql.query"`, `"event_code":"sql.explode"`},
		"a sequence number":   {`,"loggers"`, `,"sequence":7,"loggers"`},
		"a tag":               {`,"loggers"`, `,"labels":["batch:0:x"],"loggers"`},
		"another number":      {`"event_uid":"2"`, `"event_uid":"3"`},
		"no tenant id":        {`"tenant_uid":"acme"`, `"tenant_uid":" "`},
		"something behind it": {`"event_uid":"2"}]}}`, `"event_uid":"2"}]}} `},
		// No sink could deliver these, and none passes an event over: one recorder would stop what all others' events go to.
		"a uid that is none":     {good.UID, good.UID + "\x7f"},
		"a uid without end":      {good.UID, strings.Repeat("1", 1<<20)},
		"a time in no calendar":  {`{"time":`, `{"time":9999`},
		"bytes that are no text": {`"purpose":"treatment"`, "\"purpose\":\"\xff\""},
	} {
		t.Run(what, func(t *testing.T) {
			row := good
			row.Line = []byte(strings.Replace(string(good.Line), change[0], change[1], 1))
			row.UID = strings.Replace(good.UID, change[0], change[1], 1)
			if bytes.Equal(row.Line, good.Line) {
				t.Fatalf("the line has no %s: %s", change[0], good.Line)
			}
			c, err := deriveChain(signer, streamText, row.Stream, streamEpoch)
			if err != nil {
				t.Fatal(err)
			}
			c.skip(row.Batch)
			sum := c.rowMAC(newLeafHasher(), row.Number, row.Line)
			row.MAC = sum[:]
			dir := filepath.Join(t.TempDir(), "log")
			l := mustOpen(t, dir, quiet())
			if done := mustAdopt(t, l, signer, []Row{row}); len(done.Refused) != 1 || done.Events != 0 {
				t.Errorf("%+v", done)
			}
			mustClose(t, l)
			mustVerify(t, dir)
		})
	}
}

// TestAdoptManyBatches: more than one write has, in segments that are small, beside events of the log itself.
func TestAdoptManyBatches(t *testing.T) {
	signer := trailSigner(t)
	var events []*Event
	for i := range 300 {
		e := query(acme, fmt.Sprint(i))
		e.Statement = strings.Repeat("x", i*100)
		events = append(events, e)
	}
	rows := streamRows(t, signer, events...)
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes, opts.HeadEvery = 256<<10, 7
	l := mustOpen(t, dir, opts)
	done := make(chan error, 1)
	go func() {
		for i := range 50 {
			if err := l.Record(background, query(globex, fmt.Sprint("own ", i))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	if got := mustAdopt(t, l, signer, rows); got.Events != 302 {
		t.Errorf("%+v", got)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Missing != 0 || r.Segments < 10 || r.Uncovered != 0 {
		t.Errorf("%s", r)
	}
	if got := requests(t, dir); len(got) != 350 {
		t.Errorf("%d events are in the log", len(got))
	}
}

// failingSigner stops to sign, as a key service that is away does.
type failingSigner struct {
	note.Signer
	away bool
}

func (f *failingSigner) Sign(msg []byte) ([]byte, error) {
	if f.away {
		return nil, errors.New("the key service is away")
	}
	return f.Signer.Sign(msg)
}

// TestAdoptSignerAway: rows that cannot be checked are not refused: they wait. And keys are told apart.
func TestAdoptSignerAway(t *testing.T) {
	signer := &failingSigner{Signer: trailSigner(t)}
	rows := streamRows(t, signer, queries(2)...)
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	a, err := l.Adopter(trailSigner(t), signer)
	if err != nil {
		t.Fatal(err)
	}
	signer.away = true
	if done, err := a.Adopt(t.Context(), rows); !errors.Is(err, ErrUnavailable) || done != nil {
		t.Errorf("%+v, %v", done, err)
	}
	signer.away = false
	if done, err := a.Adopt(t.Context(), rows); err != nil || done.Events != 4 {
		t.Errorf("%+v, %v", done, err)
	}
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Refusals != 0 {
		t.Errorf("%s", r)
	}
	for what, signers := range map[string][]note.Signer{"none": nil, "nil": {nil}, "one twice": {signer, signer}} {
		if _, err := l.Adopter(signers...); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

// TestStreamEnds: a stream has an end, and its recorder none.
func TestStreamEnds(t *testing.T) {
	signer := trailSigner(t)
	var rows keptRows
	s, err := OpenStream(t.Context(), &rows, StreamOptions{Signer: signer, batches: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range queries(10) {
		if err := s.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	if done := mustAdopt(t, l, signer, rows); done.Events != 10+2*4 || len(done.Gaps)+len(done.Refused) != 0 {
		t.Errorf("%+v", done)
	}
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Streams != 4 || r.OpenStreams != 0 || r.Missing != 0 {
		t.Errorf("%s", r)
	}
	if got := requests(t, dir); fmt.Sprint(got) != "[0 1 2 3 4 5 6 7 8 9]" {
		t.Errorf("the log has %v", got)
	}
}

// TestStreamKeysAreFound: the key of a batch is the same however far a reader skips.
func TestStreamKeysAreFound(t *testing.T) {
	signer := trailSigner(t)
	const id = "0199fd8c-0000-7000-8000-000000000000"
	walk, err := deriveChain(signer, streamText, id, streamEpoch)
	if err != nil {
		t.Fatal(err)
	}
	h := newLeafHasher()
	for ; walk.position < 3*streamEpoch; walk.advance() {
		if p := walk.position % streamEpoch; p > 1 && p < streamEpoch-1 {
			continue
		}
		skip, err := deriveChain(signer, streamText, id, streamEpoch)
		if err != nil {
			t.Fatal(err)
		}
		skip.skip(walk.position)
		if walk.rowMAC(h, 1, []byte("line")) != skip.rowMAC(h, 1, []byte("line")) {
			t.Fatalf("batch %d has two keys", walk.position)
		}
	}
}
