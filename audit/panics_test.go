package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// failing is a signer that does something else after so many signatures.
type failing struct {
	note.Signer
	after atomic.Int64
	then  func(msg []byte) ([]byte, error)
}

func (s *failing) Sign(msg []byte) ([]byte, error) {
	if s.after.Add(-1) < 0 {
		return s.then(msg)
	}
	return s.Signer.Sign(msg)
}

const secretOfAPanic = "k-9f3a77"

// TestSignerFails: a signer that panics, or signs with another key, at whatever step has failed as one that returns an error: nobody is
// told that anything is recorded, the process goes on, and what is in the log is as good as ever.
func TestSignerFails(t *testing.T) {
	for what, then := range map[string]func(msg []byte) ([]byte, error){
		"panics": func([]byte) ([]byte, error) { panic(secretOfAPanic) },
		"ends its goroutine": func([]byte) ([]byte, error) {
			runtime.Goexit()
			return nil, nil
		},
		"signs with another key": func(msg []byte) ([]byte, error) {
			secret, _, err := note.GenerateKey(rand.Reader, "other")
			if err != nil {
				return nil, err
			}
			other, err := note.NewSigner(secret)
			if err != nil {
				return nil, err
			}
			return other.Sign(msg)
		},
	} {
		t.Run(what, func(t *testing.T) {
			origin, opts := phased(t)
			own := ownSigner(t, origin)
			opts.Verifier = ownVerifier(t, origin)
			opened, failed := false, false
			for n := int64(0); !opened || failed; n++ {
				dir := copyDir(t, origin)
				s := &failing{Signer: own, then: then}
				s.after.Store(n)
				opts.Signer = s
				opts.CheckpointEvery = time.Millisecond
				failed = false
				l, err := OpenLog(dir, opts)
				if err == nil {
					opened = true
					for i := 0; i < 3 && err == nil; i++ {
						if err = l.Record(background, query(acme, "x")); err == nil {
							_, err = l.Checkpoint(background)
						}
					}
					err = errors.Join(err, l.Close())
				}
				if failed = err != nil; failed && strings.Contains(err.Error(), secretOfAPanic) {
					t.Errorf("the error repeats what the panic says: %v", err)
				}
				if failed && opened && !errors.Is(err, ErrUnavailable) {
					t.Errorf("after %d signatures: %v", n, err)
				}
				opts.Signer = own
				l, err = OpenLog(dir, opts)
				if err != nil {
					t.Fatalf("after %d signatures the log does not open: %v", n, err)
				}
				mustRecord(t, l, query(acme, "y"))
				mustClose(t, l)
				mustVerify(t, dir)
			}
		})
	}
}

// TestNeededPanics: what retention asks of the application may panic, and then nothing is deleted.
func TestNeededPanics(t *testing.T) {
	dir, opts := phased(t)
	opts.Retention = &Retention{Bytes: 1, Needed: func(context.Context) (int64, error) { panic(secretOfAPanic) }}
	l := mustOpen(t, dir, opts) // which asks on a goroutine of its own
	wait(t, func() bool { return l.Stats().Retention != nil })
	if err := l.Stats().Retention; !strings.Contains(err.Error(), "Needed panicked") || strings.Contains(err.Error(), secretOfAPanic) {
		t.Errorf("%v", err)
	}
	mustClose(t, l)
	if r := mustVerify(t, dir); r.Deleted > 0 {
		t.Errorf("%d events are deleted", r.Deleted)
	}
}

// panicEngine is an engine that answers, then panics, and then ends its goroutine.
type panicEngine struct {
	calls atomic.Int64
	rows  []Row
}

func (e *panicEngine) String() string { return "the test's engine" }
func (e *panicEngine) Close() error   { panic(secretOfAPanic) }

func (e *panicEngine) Append(_ context.Context, rows []Row) error {
	switch e.calls.Add(1) % 3 {
	case 2:
		panic(secretOfAPanic)
	case 0:
		runtime.Goexit()
	}
	for _, r := range rows {
		r.Line, r.MAC = bytes.Clone(r.Line), bytes.Clone(r.MAC)
		e.rows = append(e.rows, r)
	}
	return nil
}

// TestEngineAndItsSignerPanic: an engine that panics has not answered, and is asked again.
func TestEngineAndItsSignerPanic(t *testing.T) {
	signer := ownSigner(t, mustClosed(t))
	e := &panicEngine{}
	s, err := OpenStream(background, e, StreamOptions{Signer: signer, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Record(background, query(acme, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err == nil || strings.Contains(err.Error(), secretOfAPanic) {
		t.Errorf("closing: %v", err)
	}
	for i, r := range e.rows {
		if r.Number != int64(i)+1 {
			t.Errorf("row %d has number %d", i, r.Number)
		}
	}
	if len(e.rows) != 5 {
		t.Errorf("%d rows", len(e.rows))
	}
	bad := &failing{Signer: signer, then: func([]byte) ([]byte, error) { panic(secretOfAPanic) }}
	if _, err := OpenStream(background, &panicEngine{}, StreamOptions{Signer: bad}); err == nil || strings.Contains(err.Error(), secretOfAPanic) {
		t.Errorf("opening: %v", err)
	}
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	if _, err := l.Adopter(bad); err == nil || strings.Contains(err.Error(), secretOfAPanic) {
		t.Errorf("adopting: %v", err)
	}
	bad.after.Store(2) // it is asked twice when it is given
	a, err := l.Adopter(bad)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Adopt(background, e.rows); !errors.Is(err, ErrUnavailable) {
		t.Errorf("adopting: %v", err)
	}
	bad.after.Store(1 << 30)
	if done, err := a.Adopt(background, e.rows); err != nil || done.Events != len(e.rows) {
		t.Errorf("adopting: %+v, %v", done, err)
	}
}

// TestStreamSignerChanges: where a recorder goes on in another stream and its signer has another key by then, nothing is acknowledged that a
// sealer would refuse.
func TestStreamSignerChanges(t *testing.T) {
	dir := mustClosed(t)
	own, other := ownSigner(t, dir), ownSigner(t, mustClosed(t))
	for n := int64(2); n < 16; n++ { // it is asked twice for pseudonyms, and four times for each stream
		e := &panicEngine{}
		signer := &failing{Signer: own, then: other.Sign}
		signer.after.Store(n)
		s, err := OpenStream(background, e, StreamOptions{Signer: signer, Timeout: 200 * time.Millisecond, batches: 3})
		if err != nil {
			if n < 6 && errors.Is(err, ErrUnavailable) {
				continue
			}
			t.Fatal(err)
		}
		acknowledged := 0
		for range 8 {
			if s.Record(background, query(acme, "x")) == nil {
				acknowledged++
			}
		}
		if s.Close(); acknowledged == 0 {
			t.Errorf("after %d signatures nothing is recorded", n)
		}
		home, opts := aging(t)
		l := mustOpen(t, home, opts)
		a, err := l.Adopter(own)
		if err != nil {
			t.Fatal(err)
		}
		done, err := a.Adopt(background, e.rows)
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		if got := len(entries(t, home, &Filter{Code: CodeQuery})); got < acknowledged || len(done.Refused) > 0 {
			t.Errorf("after %d signatures: %d events are acknowledged, %d sealed and %d rows refused", n, acknowledged, got, len(done.Refused))
		}
	}
}

func mustClosed(t *testing.T) (dir string) {
	dir, opts := aging(t)
	mustClose(t, mustOpen(t, dir, opts))
	return dir
}
