package witness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// server is a witness as c2sp.org/tlog-witness describes one.
type server struct {
	*httptest.Server
	key     string // its verifier key
	signer  note.Signer
	logKeys map[string]string // by origin

	mu       sync.Mutex
	known    map[string]tlog.Tree
	requests int
	answer   func(http.ResponseWriter) bool // in place of the witness's own, where it returns true
}

func newServer(t *testing.T, name string, logKeys map[string]string) *server {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cosign.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{key: vkey, signer: signer, logKeys: logKeys, known: map[string]tlog.Tree{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.answer != nil && s.answer(w) {
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/w/add-checkpoint" {
		http.NotFound(w, r)
		return
	}
	status := func(code int) { http.Error(w, "no", code) }
	body := bufio.NewReader(r.Body)
	line, _ := body.ReadString('\n')
	old, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(line, "old "), "\n"), 10, 64)
	if err != nil || line != fmt.Sprintf("old %d\n", old) {
		status(http.StatusBadRequest)
		return
	}
	var proof tlog.TreeProof
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			status(http.StatusBadRequest)
			return
		}
		if line == "\n" {
			break
		}
		h, err := tlog.ParseHash(strings.TrimSuffix(line, "\n"))
		if err != nil || len(proof) == 63 {
			status(http.StatusBadRequest)
			return
		}
		proof = append(proof, h)
	}
	msg, err := io.ReadAll(body)
	if err != nil {
		status(http.StatusBadRequest)
		return
	}
	tree, err := tlog.ParseTree(msg2tree(msg))
	if err != nil {
		status(http.StatusBadRequest)
		return
	}
	origin, _, _ := strings.Cut(string(msg), "\n")
	key, ok := s.logKeys[origin]
	if !ok {
		status(http.StatusNotFound)
		return
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		status(http.StatusInternalServerError)
		return
	}
	n, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil {
		status(http.StatusForbidden)
		return
	}
	known := s.known[origin]
	switch {
	case old > tree.N:
		status(http.StatusBadRequest)
		return
	case old != known.N, old == tree.N && tree.Hash != known.Hash:
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintln(w, known.N)
		return
	case (old == 0 || old == tree.N) && len(proof) > 0, old > 0 && old < tree.N && tlog.CheckTree(proof, tree.N, tree.Hash, old, known.Hash) != nil:
		status(http.StatusUnprocessableEntity)
		return
	}
	s.known[origin] = tree
	signed, err := note.Sign(&note.Note{Text: n.Text}, s.signer)
	if err != nil {
		status(http.StatusInternalServerError)
		return
	}
	_, signatures, _ := bytes.Cut(signed, []byte("\n\n"))
	w.Write(signatures)
}

// msg2tree returns the text that golang.org/x/mod's own format of a tree head has.
func msg2tree(msg []byte) []byte {
	lines := strings.SplitN(string(msg), "\n", 4)
	if len(lines) < 4 {
		return nil
	}
	return []byte("go.sum database tree\n" + lines[1] + "\n" + lines[2] + "\n")
}

func (s *server) in(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func record(t *testing.T, l *audit.Log, n int) {
	t.Helper()
	for range n {
		err := l.Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: tenant.MustParse("acme"), Store: "sqlite", Rows: -1, Bytes: -1})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const origin = "audit.example.com/a"

func openLog(t *testing.T, dir string) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(dir, &audit.Options{Origin: origin, ReserveBytes: -1, CheckpointEvery: time.Hour, SegmentBytes: 64 << 10, Durability: audit.Written, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func submitter(t *testing.T, dir string, s *server) *Submitter {
	t.Helper()
	sub, err := NewSubmitter(dir, s.URL+"/w", s.key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// TestSubmit takes a log that grows to two witnesses, by submitters that stay, are made anew, and lost what they knew; and
// verifies the log with what the witnesses signed as pins.
func TestSubmit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	logKeys := map[string]string{origin: l.Verifier()}
	one, two := newServer(t, "witness.example/one", logKeys), newServer(t, "witness.example/two", logKeys)
	stays := submitter(t, dir, one)
	for i := range 6 {
		record(t, l, 1+i*37)
		for _, s := range []*Submitter{stays, submitter(t, dir, one), submitter(t, dir, two)} {
			c, err := s.Submit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if c.Head.Size < int64(i) || time.Since(c.Time) > time.Hour || c.Witness != s.witness.Name() {
				t.Fatalf("%+v", c)
			}
		}
		if i == 3 {
			if err := os.RemoveAll(filepath.Join(dir, dirName)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir) // the directory's new folder does not disturb it
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	last, err := stays.Submit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := Load(dir, []string{l.Verifier()}, []string{two.key, one.key})
	if err != nil {
		t.Fatal(err)
	}
	if signed[1].Head != last.Head || signed[0].Head.Size >= last.Head.Size {
		t.Errorf("kept %+v, signed %+v", signed, last)
	}
	report, err := audit.Verify(t.Context(), dir, &audit.VerifyOptions{Verifiers: []string{l.Verifier()}, Pins: []audit.TreeHead{signed[0].Head, signed[1].Head}})
	if err != nil || report.Pins != 2 {
		t.Errorf("%v\n%v", report, err)
	}
}

// TestForks: a log that is not the one a witness knows gets no signature, and the submitter says what that means.
func TestForks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	record(t, l, 50)
	early := filepath.Join(t.TempDir(), "early")
	if err := os.CopyFS(early, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"signer.key", "pseudonym.key"} { // CopyFS lets everybody read them
		if err := os.Chmod(filepath.Join(early, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newServer(t, "witness.example/one", map[string]string{origin: l.Verifier()})
	record(t, l, 50)
	if _, err := submitter(t, dir, w).Submit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	tampered := func(what, dir string) {
		t.Helper()
		if c, err := submitter(t, dir, w).Submit(t.Context()); !errors.Is(err, audit.ErrTampered) || c != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := Load(dir, []string{l.Verifier()}, []string{w.key}); err == nil {
			t.Errorf("%s: a cosignature is kept", what)
		}
	}
	tampered("an older copy in the log's place", early)
	// The same key, and other events: as many, more.
	fork := openLog(t, early)
	for size := int64(0); size < 101; {
		record(t, fork, 1)
		msg, err := fork.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		head, err := audit.ParseCheckpoint(msg, []string{l.Verifier()})
		if err != nil {
			t.Fatal(err)
		}
		var known int64
		w.in(func() { known = w.known[origin].N })
		if size = head.Size; size == known || size == known+1 {
			tampered(fmt.Sprintf("another log of %d events, where the witness knows %d", size, known), early)
		}
	}
}

// TestWitnessesThatFail: nothing is kept that the witness did not sign.
func TestWitnessesThatFail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	record(t, l, 10)
	logKeys := map[string]string{origin: l.Verifier()}
	w, other := newServer(t, "witness.example/one", logKeys), newServer(t, "witness.example/one", logKeys) // of one name, with another key
	signatures := func(s *server) string {
		var text string
		s.in(func() {
			n, err := note.Sign(&note.Note{Text: "something\nelse\n"}, s.signer)
			if err != nil {
				t.Fatal(err)
			}
			_, text, _ = strings.Cut(string(n), "\n\n")
		})
		return text
	}
	foreign, theirs := signatures(w), ""
	if c, err := submitter(t, dir, other).Submit(t.Context()); err != nil {
		t.Fatal(err)
	} else {
		theirs = string(c.Note[bytes.LastIndex(c.Note[:len(c.Note)-1], []byte("\n"))+1:])
	}
	say := func(code int, kind, text string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			io.WriteString(w, text)
			return true
		}
	}
	for name, answer := range map[string]func(http.ResponseWriter) bool{
		"nothing":                       say(200, "", ""),
		"nonsense":                      say(200, "", "hello\n"),
		"another's signature":           say(200, "", theirs),
		"a signature of something else": say(200, "", foreign),
		"too much":                      say(200, "", strings.Repeat("x", 1<<20)),
		"500":                           say(500, "", "secret"),
		"a redirect": func(rw http.ResponseWriter) bool {
			rw.Header().Set("Location", other.URL+"/w/add-checkpoint")
			rw.WriteHeader(http.StatusTemporaryRedirect)
			return true
		},
		"conflict without a size":     say(409, "text/plain", "7\n"),
		"conflict with no number":     say(409, "text/x.tlog.size", "seven\n"),
		"conflict of the same size":   say(409, "text/x.tlog.size", "0\n"),
		"conflict from below nothing": say(409, "text/x.tlog.size", "-5\n"),
	} {
		w.in(func() { w.answer = answer })
		if c, err := submitter(t, dir, w).Submit(t.Context()); !errors.Is(err, ErrUnavailable) || c != nil {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the answer is repeated: %v", name, err)
		}
	}
	sizes := int64(0)
	w.in(func() {
		w.requests = 0
		w.answer = func(rw http.ResponseWriter) bool {
			sizes = 1 - sizes
			return say(409, "text/x.tlog.size", fmt.Sprintf("%d\n", sizes))(rw)
		}
	})
	if _, err := submitter(t, dir, w).Submit(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a witness that changes its mind: %v", err)
	}
	w.in(func() {
		if w.requests > 3 {
			t.Errorf("a witness that changes its mind was asked %d times", w.requests)
		}
		w.answer = nil
	})
	if _, err := Load(dir, []string{l.Verifier()}, []string{w.key}); err == nil {
		t.Error("something is kept")
	}
	// Settings that its operator must mend.
	w.in(func() { w.logKeys = nil })
	if _, err := submitter(t, dir, w).Submit(t.Context()); err == nil || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "origin") {
		t.Errorf("a witness that does not know the log: %v", err)
	}
	_, stranger, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	w.in(func() { w.logKeys = map[string]string{origin: stranger} })
	if _, err := submitter(t, dir, w).Submit(t.Context()); err == nil || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a witness that knows another key: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := submitter(t, dir, w).Submit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	w.Close()
	if _, err := submitter(t, dir, w).Submit(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a witness that is away: %v", err)
	}
	for _, prefix := range []string{"", "ftp://w", "http://", "http://u:p@w", "http://w?q=1", "://"} {
		if _, err := NewSubmitter(dir, prefix, w.key, nil); err == nil {
			t.Errorf("prefix %q", prefix)
		}
	}
	if _, err := NewSubmitter(dir, w.URL, "nonsense", nil); err == nil {
		t.Error("a key that is none")
	}
}

// TestKeptCosignatures: what was changed in the log's directory is not taken for a witness's word.
func TestKeptCosignatures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir)
	record(t, l, 10)
	logKeys := map[string]string{origin: l.Verifier()}
	w, other := newServer(t, "witness.example/one", logKeys), newServer(t, "witness.example/two", logKeys)
	for _, s := range []*server{w, other} {
		if _, err := submitter(t, dir, s).Submit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	keys := []string{l.Verifier()}
	v, err := verifier(w.key)
	if err != nil {
		t.Fatal(err)
	}
	o, err := verifier(other.key)
	if err != nil {
		t.Fatal(err)
	}
	good, err1 := os.ReadFile(path(dir, v))
	theirs, err2 := os.ReadFile(path(dir, o))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path(dir, v)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for name, text := range map[string][]byte{
		"empty":                   {},
		"another's":               theirs,
		"unsigned by the witness": bytes.Join(lines[:6], nil),
		"unsigned by the log":     append(bytes.Join(lines[:5], nil), lines[6]...),
		"of another size":         bytes.Replace(good, append([]byte("\n"), lines[1]...), []byte("\n9\n"), 1),
	} {
		if err := os.WriteFile(path(dir, v), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, keys, []string{w.key}); !errors.Is(err, audit.ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
		// The witness knows, and says so.
		if c, err := submitter(t, dir, w).Submit(t.Context()); err != nil {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	if err := os.Remove(path(dir, v)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, keys, []string{w.key}); err == nil {
		t.Error("deleted")
	}
	if _, err := Load(dir, keys, []string{other.key}); err != nil {
		t.Error(err)
	}
	if err := os.Symlink(path(dir, o), path(dir, v)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, keys, []string{w.key}); err == nil {
		t.Error("a symbolic link")
	}
}
