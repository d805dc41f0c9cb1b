package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// sample writes a log of several segments, checkpoints, tenants and head leaves, and returns its directory, its key and
// a pin on its first half.
func sample(t testing.TB) (dir, key string, pin TreeHead) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes = 12 << 10
	opts.HeadEvery = 4
	for session := range 2 {
		l := mustOpen(t, dir, opts)
		for i := range 12 {
			mustRecord(t, l, query(acme, fmt.Sprintf("a%d-%d", session, i)))
			if i%2 == 0 {
				mustRecord(t, l, query(globex, fmt.Sprintf("g%d-%d", session, i)))
			}
			if i%5 == 4 {
				msg, err := l.Checkpoint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if pin, err = ParseCheckpoint(msg, []string{l.Verifier()}); err != nil {
					t.Fatal(err)
				}
			}
		}
		mustClose(t, l)
		key = l.Verifier()
	}
	return dir, key, pin
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, segmentsName, "*.jsonl"))
	if err != nil || len(names) < 3 {
		t.Fatalf("%d segments, %v; the test needs some", len(names), err)
	}
	return names
}

func TestVerify(t *testing.T) {
	dir, key, pin := sample(t)
	copied := copyDir(t, dir)
	r, err := Verify(t.Context(), copied, &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{pin}})
	if err != nil {
		t.Fatal(err)
	}
	// 36 queries, two starts, two stops, and the head leaves.
	if r.Events != 40+r.Heads || r.Sealed != r.Events || r.Unsealed+r.Torn+r.Uncovered != 0 || r.Tenants != 2 || r.Heads < 10 || !r.Closed || r.Pins != 1 || !r.TrustedKeys || r.Segments < 3 {
		t.Errorf("unexpected report:\n%s", r)
	}
	if s := r.String(); strings.Contains(s, "unpinned") || strings.Contains(s, "unauthenticated") {
		t.Errorf("pinned, with trusted keys:\n%s", s)
	}
	if s := mustVerify(t, copied).String(); !strings.Contains(s, "unpinned") || !strings.Contains(s, "unauthenticated") {
		t.Errorf("without pins and keys the report does not say so:\n%s", s)
	}
	if _, err := os.Stat(filepath.Join(copied, lockName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("verifying made a LOCK: %v", err)
	}
	head, err := ParseCheckpoint(r.Checkpoint, []string{key})
	if err != nil || head != r.Head {
		t.Errorf("the newest checkpoint is %v, %v, the head %v", head, err, r.Head)
	}
}

// TestVerifyRoots computes every checkpoint's root again with other code than the log's.
func TestVerifyRoots(t *testing.T) {
	dir, key, _ := sample(t)
	verifier, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var list []tlog.Hash
		for _, i := range indexes {
			list = append(list, stored[i])
		}
		return list, nil
	})
	n := int64(0)
	for _, name := range segments(t, dir) {
		for line := range bytes.Lines(readFile(t, name)) {
			hashes, err := tlog.StoredHashes(n, bytes.TrimSuffix(line, []byte("\n")), reader)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, hashes...)
			n++
		}
	}
	count := 0
	for _, block := range splitNotes(string(readFile(t, filepath.Join(dir, checkpointsName)))) {
		opened, err := note.Open([]byte(strings.TrimSuffix(block, "\n")), note.VerifierList(verifier))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(opened.Text, "\n")
		var size int64
		if _, err := fmt.Sscan(lines[1], &size); err != nil {
			t.Fatal(err)
		}
		root, err := tlog.TreeHash(size, reader)
		if err != nil || lines[0] != verifier.Name() || lines[2] != root.String() {
			t.Errorf("checkpoint of size %d: %q, want the root %v (%v)", size, opened.Text, root, err)
		}
		count++
	}
	if count < 6 {
		t.Errorf("only %d checkpoints", count)
	}
}

// TestVerifyFlips changes bytes everywhere in a closed log, one at a time; each must be found.
func TestVerifyFlips(t *testing.T) {
	dir, key, _ := sample(t)
	random := rand.New(rand.NewPCG(1, 2))
	opts := &VerifyOptions{Verifiers: []string{key}}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		every := 7
		switch name := filepath.Base(path); {
		case filepath.Ext(name) == ".jsonl":
			every = 199
		case name == checkpointsName:
			every = 3
		case filepath.Ext(name) != ".leaves":
			return nil
		}
		data := readFile(t, path)
		try := func(i int, change byte) {
			changed := bytes.Clone(data)
			changed[i] ^= change
			writeFile(t, path, changed)
			if r, err := Verify(t.Context(), dir, opts); !errors.Is(err, ErrTampered) {
				t.Errorf("%s: byte %d (%q) with %#02x: %v\n%s", path, i, data[i], change, err, r)
			}
		}
		for i := random.IntN(every); i < len(data); i += 1 + random.IntN(2*every) {
			try(i, byte(1+random.IntN(255)))
		}
		// The ends of lines and files are where a change could pass for a torn write.
		for i, c := range data {
			if c == '\n' && (i == len(data)-1 || random.IntN(8) == 0) {
				for bit := range 8 {
					try(i, 1<<bit)
				}
				try(i, '\n') // a NUL
			}
		}
		writeFile(t, path, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustVerify(t, dir)
}

func TestVerifyUnsealedAndTorn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "1"), query(acme, "2"))
	copied := copyDir(t, dir) // as a crash would leave it
	grow(t, segmentPath(copied, 0), []byte(`{"time":17953788204`))
	r := mustVerify(t, copied)
	if r.Sealed != 1 || r.Unsealed != 2 || r.Torn != 19 || r.Closed {
		t.Errorf("unexpected report:\n%s", r)
	}
}

// TestVerifyLive verifies a log again and again while it is written, rolled and sealed: nothing looks like tampering.
func TestVerifyLive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, &Options{Durability: Written, SegmentBytes: 16 << 10, CheckpointEvery: time.Millisecond, HeadEvery: 10, ReserveBytes: -1, Timeout: time.Minute})
	// Each round lets in as many events as fill a segment or two, so that the log's length does not depend on how fast
	// this machine verifies.
	const rounds, perRound = 40, 25
	events := make(chan struct{}, perRound)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range events {
				if err := l.Record(t.Context(), query(acme, "x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var last *Report
	for range rounds {
		for range perRound {
			events <- struct{}{}
		}
		r, err := Verify(t.Context(), dir, nil)
		if err != nil {
			t.Errorf("%v\n%s", err, r)
			break
		}
		last = r
	}
	close(events)
	wg.Wait()
	if last == nil || last.Segments < 4 {
		t.Errorf("the log was not rolled: %v", last)
	}
}

// TestVerifyWhileOpened verifies a log again and again while it is closed and opened: what an opening has written and not
// yet sealed looks like no tampering.
func TestVerifyWhileOpened(t *testing.T) {
	dir := filepath.Join(memoryDir(t), "log")
	opts := quiet()
	opts.SegmentBytes = 8 << 10
	mustClose(t, mustOpen(t, dir, opts))
	done := make(chan struct{})
	var verified atomic.Int64
	go func() {
		defer close(done)
		for i := 0; i < 60 || verified.Load() < 20 && !t.Failed(); i++ {
			l, err := OpenLog(dir, opts)
			if err != nil {
				t.Error(err)
				return
			}
			for range i % 4 {
				if err := l.Record(t.Context(), query(acme, "x")); err != nil {
					t.Error(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		r, err := Verify(t.Context(), dir, nil)
		if err != nil {
			t.Errorf("%v\n%s", err, r)
			<-done
			return
		}
		verified.Add(1)
		select {
		case <-done:
			return
		default:
		}
	}
}

// TestVerifyWhileSealed lets the log grow and seal exactly when the reader has seen the end of its lines.
func TestVerifyWhileSealed(t *testing.T) {
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), quiet())
	mustRecord(t, l, query(acme, "1"))
	fsys := faultfs.New()
	reads := 0
	fsys.Before = func(s faultfs.Step) error {
		if s.Op != faultfs.Read || !strings.HasSuffix(s.Name, ".leaves") {
			return nil
		}
		if reads++; reads == 1 {
			return nil
		}
		mustRecord(t, l, query(acme, "2"))
		_, err := l.Checkpoint(t.Context())
		return err
	}
	verifiers, err := verifierList([]string{l.Verifier()}, pinOrigin(t, l.dir))
	if err != nil {
		t.Fatal(err)
	}
	r := &replay{fs: fsys, dir: l.dir, origin: pinOrigin(t, l.dir), verifiers: verifiers}
	if err := r.run(t.Context()); err != nil || reads == 0 {
		t.Errorf("after %d reads of leaves: %v", reads, err)
	}
}

func TestVerifyWrongKey(t *testing.T) {
	dir, key, _ := sample(t)
	other := mustOpen(t, filepath.Join(t.TempDir(), "log"), &Options{Origin: pinOrigin(t, dir), ReserveBytes: -1})
	if _, err := Verify(t.Context(), dir, &VerifyOptions{Verifiers: []string{other.Verifier()}}); !errors.Is(err, ErrTampered) {
		t.Errorf("with another key of the same name: %v", err)
	}
	if _, err := Verify(t.Context(), dir, &VerifyOptions{Verifiers: []string{"x"}}); err == nil || errors.Is(err, ErrTampered) {
		t.Errorf("with no key at all: %v", err)
	}
	if _, err := ParseCheckpoint(mustVerify(t, dir).Checkpoint, []string{other.Verifier()}); !errors.Is(err, ErrTampered) {
		t.Errorf("a pin under another key: %v", err)
	}
	if _, err := ParseCheckpoint(mustVerify(t, dir).Checkpoint, []string{other.Verifier(), key}); err != nil {
		t.Error(err)
	}
}

func TestVerifyCancelled(t *testing.T) {
	dir, _, _ := sample(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, err := range Read(ctx, dir, nil) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestVerifyNoLog(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "none"), filepath.Join("testdata", "ocsf-1.8.0-trimmed.json")} {
		if _, err := Verify(t.Context(), dir, nil); err == nil || errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestVerifyProgress: progress is told by the goroutine that verifies, although others read ahead; so it may panic, and touch what its
// caller does, and is not told behind an end.
func TestVerifyProgress(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opts := quiet()
	opts.SegmentBytes = 2 << 20
	l := mustOpen(t, dir, opts)
	for range 150 { // blocks of several segments
		e := query(acme, "1")
		e.Statement = strings.Repeat("x", 30<<10)
		mustRecord(t, l, e)
	}
	mustClose(t, l)
	var calls, last, all int64 // which only this goroutine may touch
	verify := func(ctx context.Context, f func()) error {
		calls = 0
		_, err := Verify(ctx, dir, &VerifyOptions{Progress: func(done, total int64) {
			calls++
			last, all = done, total
			f()
		}})
		return err
	}
	if err := verify(background, func() {}); err != nil || calls < 3 || last != all {
		t.Errorf("%d calls, %d of %d bytes, %v", calls, last, all, err)
	}
	ctx, cancel := context.WithCancel(background)
	if err := verify(ctx, cancel); !errors.Is(err, context.Canceled) || calls == 0 {
		t.Errorf("%d calls, %v", calls, err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic of Progress did not come to who called Verify")
			}
		}()
		verify(background, func() { panic("no") })
	}()
}
