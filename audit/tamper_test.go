package audit

import (
	"bytes"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

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
		"append unfinished text":     func(t *testing.T, dir string) { grow(t, segments(t, dir)[len(segments(t, dir))-1], []byte("hello")) },
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
	done := false
	rebuild(t, dir, true, func(line []byte) []byte {
		if !done && bytes.Contains(line, []byte(old)) {
			line, done = bytes.Replace(line, []byte(old), []byte(new), 1), true
		}
		return line
	})
	if !done {
		t.Fatal("nothing was changed")
	}
}

// rebuild signs a log anew with its own key, with every line as change returns it and none where that is nil. Head
// leaves are made true again where heads is set.
func rebuild(t *testing.T, dir string, heads bool, change func([]byte) []byte) {
	t.Helper()
	signer := mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName)))))
	var tree frontier
	tenants := map[string]*frontier{}
	hasher := newLeafHasher()
	var out, leaves []byte
	for _, name := range segments(t, dir) {
		for line := range bytes.Lines(readFile(t, name)) {
			line = change(bytes.TrimSuffix(line, []byte("\n")))
			m, ok := parseMeta(line)
			if line == nil {
				continue
			}
			if !ok {
				t.Fatalf("unreadable: %s", line)
			}
			f := tenants[string(m.tenant)]
			if f == nil {
				f = &frontier{}
				tenants[string(m.tenant)] = f
			}
			if string(m.code) != string(CodeLogHead) {
				f.add(hasher.leaf(line))
			} else if heads {
				h, _ := parseHead(line)
				root := f.root()
				line = bytes.Replace(line, []byte(tlog.Hash(h.root).String()), []byte(tlog.Hash(root).String()), 1)
			}
			hash := hasher.leaf(line)
			tree.add(hash)
			out, leaves = append(append(out, line...), '\n'), append(leaves, hash[:]...)
		}
		remove(t, name)
		remove(t, strings.TrimSuffix(name, "jsonl")+"leaves")
	}
	writeFile(t, segmentPath(dir, 0), out)
	writeFile(t, leavesPath(dir, 0), leaves)
	c, err := signCheckpoint(signer, tlog.Tree{N: tree.size, Hash: tree.root()}, 1, hashNote(nil))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, checkpointsName), append(c.note, '\n'))
}

// TestVerifyWithStolenKey: even a log that was signed anew must agree with itself. Each of these is found by one check
// alone.
func TestVerifyWithStolenKey(t *testing.T) {
	origin, _, _ := sample(t)
	same := func(line []byte) []byte { return line }
	resign := func(t *testing.T, dir string, change func(i int, c *checkpoint)) {
		signer := mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName)))))
		name := filepath.Join(dir, checkpointsName)
		var out []byte
		var before checkpoint
		for i, n := range splitNotes(string(readFile(t, name))) {
			c, err := parseCheckpoint([]byte(strings.TrimSuffix(n, "\n")), signer.Name())
			if err != nil {
				t.Fatal(err)
			}
			c.before = hashNote(before.note)
			change(i, &c)
			if c, err = signCheckpoint(signer, c.tree, c.number, c.before); err != nil {
				t.Fatal(err)
			}
			before = c
			out = append(append(out, c.note...), '\n')
		}
		writeFile(t, name, out)
	}
	for name, c := range map[string]struct {
		tamper func(*testing.T, string)
		want   string // "" where all must be well
	}{
		"nothing": {func(t *testing.T, dir string) { rebuild(t, dir, true, same) }, ""},
		"a tenant's last event left out": {func(t *testing.T, dir string) {
			rebuild(t, dir, true, func(line []byte) []byte {
				if bytes.Contains(line, []byte(`"request":"a1-11"`)) {
					return nil
				}
				return line
			})
		}, "states"}, // the head leaf behind it counts one more
		"an event left out": {func(t *testing.T, dir string) {
			rebuild(t, dir, true, func(line []byte) []byte {
				if bytes.Contains(line, []byte(`"request":"a0-0"`)) {
					return nil
				}
				return line
			})
		}, "number 2 of its tenant's events"},
		"a false head leaf": {func(t *testing.T, dir string) {
			rebuild(t, dir, false, func(line []byte) []byte {
				return bytes.Replace(line, []byte(`"request":"a0-0"`), []byte(`"request":"b0-0"`), 1)
			})
		}, "states"},
		"a checkpoint of another tree": {func(t *testing.T, dir string) {
			resign(t, dir, func(i int, c *checkpoint) {
				if i == 0 {
					c.tree.Hash[0] ^= 1
				}
			})
		}, "not those that checkpoint 1 seals"},
		"a number left out": {func(t *testing.T, dir string) {
			resign(t, dir, func(i int, c *checkpoint) {
				if i >= 2 {
					c.number++
				}
			})
		}, "follows number 2"},
		"a broken chain": {func(t *testing.T, dir string) {
			resign(t, dir, func(i int, c *checkpoint) {
				if i == 2 {
					c.before[0] ^= 1
				}
			})
		}, "does not continue"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, origin)
			c.tamper(t, dir)
			_, err := Verify(t.Context(), dir, nil)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if !errors.Is(err, ErrTampered) {
				t.Errorf("not found: %v", err)
			} else if !strings.Contains(err.Error(), c.want) {
				t.Errorf("found for another reason: %v", err)
			}
		})
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
