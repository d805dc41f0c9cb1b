package audit

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// splitNotes splits a checkpoints file into its notes, each with its blank line.
func splitNotes(data string) []string {
	var notes []string
	for c := range slices.Chunk(slices.Collect(strings.Lines(data)), checkpointLines+1) {
		notes = append(notes, strings.Join(c, ""))
	}
	return notes
}

// lines splits a segment into its lines, with their newlines.
func lines(data []byte) [][]byte {
	return slices.Collect(bytes.Lines(data))
}

// TestVerifyTampering tries every way of changing a log without its key.
func TestVerifyTampering(t *testing.T) {
	origin, key, pin := sample(t)
	cut := func(t *testing.T, name string, keep int) {
		data := lines(readFile(t, name))
		if keep < 0 {
			keep = len(data) + keep
		}
		writeFile(t, name, bytes.Join(data[:keep], nil))
	}
	notes := func(t *testing.T, dir string) ([]string, func([]string)) {
		name := filepath.Join(dir, checkpointsName)
		all := splitNotes(string(readFile(t, name)))
		return all, func(n []string) { writeFile(t, name, []byte(strings.Join(n, ""))) }
	}
	inMiddle := func(change func([][]byte) [][]byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			name := segments(t, dir)[1]
			writeFile(t, name, bytes.Join(change(lines(readFile(t, name))), nil))
		}
	}
	for name, tamper := range map[string]func(*testing.T, string){
		"delete an event":    inMiddle(func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) }),
		"insert an event":    inMiddle(func(l [][]byte) [][]byte { return slices.Insert(l, 2, []byte(`{"time":1,"metadata":{}}`+"\n")) }),
		"swap two events":    inMiddle(func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }),
		"duplicate an event": inMiddle(func(l [][]byte) [][]byte { return slices.Insert(l, 2, l[2]) }),
		"delete an event with its leaf": func(t *testing.T, dir string) {
			inMiddle(func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) })(t, dir)
			leaves := strings.TrimSuffix(segments(t, dir)[1], "jsonl") + "leaves"
			data := readFile(t, leaves)
			writeFile(t, leaves, slices.Delete(data, 64, 96))
		},
		"change an event and its leaf": func(t *testing.T, dir string) {
			name := segments(t, dir)[1]
			all := lines(readFile(t, name))
			all[2] = bytes.Replace(all[2], []byte("treatment"), []byte("marketing"), 1)
			writeFile(t, name, bytes.Join(all, nil))
			leaves := strings.TrimSuffix(name, "jsonl") + "leaves"
			data := readFile(t, leaves)
			hash := tlog.RecordHash(bytes.TrimSuffix(all[2], []byte("\n")))
			copy(data[64:], hash[:])
			writeFile(t, leaves, data)
		},
		"cut the tail":               func(t *testing.T, dir string) { cut(t, segments(t, dir)[len(segments(t, dir))-1], -1) },
		"cut the tail in an event":   func(t *testing.T, dir string) { chop(t, segments(t, dir)[len(segments(t, dir))-1], 40) },
		"cut the tail of leaves":     func(t *testing.T, dir string) { chop(t, lastLeaves(t, dir), 32) },
		"cut a leaf":                 func(t *testing.T, dir string) { chop(t, lastLeaves(t, dir), 5) },
		"append a leaf":              func(t *testing.T, dir string) { grow(t, lastLeaves(t, dir), make([]byte, 32)) },
		"append to a leaf":           func(t *testing.T, dir string) { grow(t, lastLeaves(t, dir), []byte{1}) },
		"append to an older segment": func(t *testing.T, dir string) { grow(t, segments(t, dir)[0], []byte(`{"time":1`)) },
		"append text":                func(t *testing.T, dir string) { grow(t, segments(t, dir)[len(segments(t, dir))-1], []byte("hello\n")) },
		"delete the first segment":   func(t *testing.T, dir string) { remove(t, segments(t, dir)[0]) },
		"delete a middle segment":    func(t *testing.T, dir string) { remove(t, segments(t, dir)[1]) },
		"delete a segment and its leaves": func(t *testing.T, dir string) {
			last := segments(t, dir)[len(segments(t, dir))-1]
			remove(t, last)
			remove(t, strings.TrimSuffix(last, "jsonl")+"leaves")
		},
		"delete leaves":        func(t *testing.T, dir string) { remove(t, strings.TrimSuffix(segments(t, dir)[0], "jsonl")+"leaves") },
		"delete newest leaves": func(t *testing.T, dir string) { remove(t, lastLeaves(t, dir)) },
		"delete all segments":  func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, segmentsName)) },
		"add a file": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, segmentsName, "notes.txt"), []byte("x"))
		},
		"delete checkpoints":    func(t *testing.T, dir string) { remove(t, filepath.Join(dir, checkpointsName)) },
		"empty checkpoints":     func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, checkpointsName), nil) },
		"delete log.json":       func(t *testing.T, dir string) { remove(t, filepath.Join(dir, configName)) },
		"delete 1st checkpoint": func(t *testing.T, dir string) { n, put := notes(t, dir); put(n[1:]) },
		"delete a checkpoint":   func(t *testing.T, dir string) { n, put := notes(t, dir); put(slices.Delete(n, 2, 3)) },
		"repeat a checkpoint":   func(t *testing.T, dir string) { n, put := notes(t, dir); put(slices.Insert(n, 2, n[2])) },
		"swap checkpoints":      func(t *testing.T, dir string) { n, put := notes(t, dir); n[1], n[2] = n[2], n[1]; put(n) },
		"a blank line more":     func(t *testing.T, dir string) { n, put := notes(t, dir); n[1] += "\n"; put(n) },
		"forge a checkpoint": func(t *testing.T, dir string) {
			n, put := notes(t, dir)
			secret, _, err := note.GenerateKey(crand.Reader, pinOrigin(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			signer, err := note.NewSigner(secret)
			if err != nil {
				t.Fatal(err)
			}
			last, err := parseCheckpoint([]byte(strings.TrimSuffix(n[len(n)-1], "\n")), signer.Name())
			if err != nil {
				t.Fatal(err)
			}
			c, err := signCheckpoint(signer, last.tree, last.number, last.before)
			if err != nil {
				t.Fatal(err)
			}
			n[len(n)-1] = string(c.note) + "\n"
			put(n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, origin)
			tamper(t, dir)
			for what, opts := range map[string]*VerifyOptions{"unpinned": {Verifiers: []string{key}}, "pinned": {Pins: []TreeHead{pin}}} {
				report, err := Verify(t.Context(), dir, opts)
				var where *TamperError
				if !errors.As(err, &where) || where.File == "" || where.What == "" {
					t.Errorf("%s: %v\n%v", what, err, report)
				}
			}
			// Nor does a log go on from there.
			l, err := OpenLog(dir, quiet())
			if err == nil {
				l.Close()
				t.Errorf("the log was opened")
			}
		})
	}
}

// TestVerifyNeedsPin shows the two classes that no log can show by itself, and that a pin shows.
func TestVerifyNeedsPin(t *testing.T) {
	origin, key, pin := sample(t)
	for name, tamper := range map[string]func(*testing.T, string){
		"cut log and checkpoints": func(t *testing.T, dir string) {
			// Down to the end of the first segment, and the checkpoints that are still true.
			all := segments(t, dir)
			first := int64(len(lines(readFile(t, all[0]))))
			for _, name := range all[1:] {
				remove(t, name)
				remove(t, strings.TrimSuffix(name, "jsonl")+"leaves")
			}
			name := filepath.Join(dir, checkpointsName)
			var kept []byte
			for _, n := range splitNotes(string(readFile(t, name))) {
				c, err := parseCheckpoint([]byte(strings.TrimSuffix(n, "\n")), pinOrigin(t, dir))
				if err == nil && c.tree.N <= first {
					kept = append(kept, n...)
				}
			}
			writeFile(t, name, kept)
		},
		"written anew with the stolen key": func(t *testing.T, dir string) { rewriteWithKey(t, dir, "treatment", "marketing") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, origin)
			tamper(t, dir)
			report, err := Verify(t.Context(), dir, &VerifyOptions{Verifiers: []string{key}})
			if err != nil {
				t.Fatalf("without a pin this cannot be told from an honest log, and yet: %v", err)
			}
			if !strings.Contains(report.String(), "unpinned") {
				t.Errorf("the report does not say so:\n%s", report)
			}
			report, err = Verify(t.Context(), dir, &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{pin}})
			if !errors.Is(err, ErrTampered) || report.Pins != 0 {
				t.Errorf("with a pin: %v", err)
			}
		})
	}
}

// rewriteWithKey makes a whole and consistent log with one event changed, as the thief of the key would.
func rewriteWithKey(t *testing.T, dir, old, new string) {
	t.Helper()
	signer, err := note.NewSigner(strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName)))))
	if err != nil {
		t.Fatal(err)
	}
	var tree frontier
	tenants := map[string]*frontier{}
	hasher := newLeafHasher()
	done := false
	for _, name := range segments(t, dir) {
		var out, leaves []byte
		for line := range bytes.Lines(readFile(t, name)) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			m, ok := parseMeta(line)
			if !ok {
				t.Fatalf("unreadable: %s", line)
			}
			f := tenants[string(m.tenant)]
			if f == nil {
				f = &frontier{}
				tenants[string(m.tenant)] = f
			}
			if !done && bytes.Contains(line, []byte(old)) {
				line, done = bytes.Replace(line, []byte(old), []byte(new), 1), true
			}
			if string(m.code) == string(CodeLogHead) {
				h, _ := parseHead(line)
				root := f.root()
				from, _ := json.Marshal(h.root[:])
				to, _ := json.Marshal(root[:])
				line = bytes.Replace(line, from, to, 1)
			} else {
				f.add(hasher.leaf(line))
			}
			hash := hasher.leaf(line)
			tree.add(hash)
			out, leaves = append(append(out, line...), '\n'), append(leaves, hash[:]...)
		}
		writeFile(t, name, out)
		writeFile(t, strings.TrimSuffix(name, "jsonl")+"leaves", leaves)
	}
	c, err := signCheckpoint(signer, tlog.Tree{N: tree.size, Hash: tree.root()}, 1, hashNote(nil))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, checkpointsName), append(c.note, '\n'))
	if !done {
		t.Fatal("nothing was changed")
	}
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

func pinOrigin(t *testing.T, dir string) string {
	t.Helper()
	var c config
	if err := json.Unmarshal(readFile(t, filepath.Join(dir, configName)), &c); err != nil {
		t.Fatal(err)
	}
	return c.Origin
}

func lastLeaves(t *testing.T, dir string) string {
	all := segments(t, dir)
	return strings.TrimSuffix(all[len(all)-1], "jsonl") + "leaves"
}

func chop(t *testing.T, name string, n int) {
	t.Helper()
	data := readFile(t, name)
	writeFile(t, name, data[:len(data)-n])
}

func grow(t *testing.T, name string, more []byte) {
	t.Helper()
	writeFile(t, name, append(readFile(t, name), more...))
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}
