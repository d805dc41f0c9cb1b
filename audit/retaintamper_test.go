package audit

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// TestPrunedTampering: what is missing without the log's own word is tampering, and so is a record that is not the log's.
func TestPrunedTampering(t *testing.T) {
	origin, _, key, early, late := prunedLog(t)
	whole, wholeOpts := aging(t)
	l := mustOpen(t, whole, wholeOpts)
	fillLog(t, l, "w", 40)
	mustClose(t, l)
	first, err := Retained(origin)
	if err != nil {
		t.Fatal(err)
	}
	firsts, err := listSegments(origin)
	if err != nil {
		t.Fatal(err)
	}
	record := func(dir string) string { return filepath.Join(dir, prunedName) }
	kept := compressedPath(origin, firsts[0])
	inKept := func(dir string) string { return filepath.Join(dir, segmentsName, filepath.Base(kept)) }
	recompress := func(t *testing.T, dir string, change func([]byte) []byte) {
		dec, err1 := zstd.NewReader(nil)
		enc, err2 := zstd.NewWriter(nil)
		content, err3 := dec.DecodeAll(readFile(t, inKept(dir)), nil)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		writeFile(t, inKept(dir), enc.EncodeAll(change(content), nil))
	}
	for name, tamper := range map[string]func(*testing.T, string){
		"the record deleted": func(t *testing.T, dir string) { remove(t, record(dir)) },
		"one segment more deleted": func(t *testing.T, dir string) {
			remove(t, inKept(dir))
		},
		"one segment more deleted, with its leaves": func(t *testing.T, dir string) {
			remove(t, inKept(dir))
			remove(t, leavesPath(dir, firsts[0]))
		},
		"the record changed": func(t *testing.T, dir string) {
			data := readFile(t, record(dir))
			data[len(data)-8] ^= 1
			writeFile(t, record(dir), data)
		},
		"the record cut":          func(t *testing.T, dir string) { chop(t, record(dir), 1) },
		"the record empty":        func(t *testing.T, dir string) { writeFile(t, record(dir), nil) },
		"the state as the record": func(t *testing.T, dir string) { writeFile(t, record(dir), readFile(t, filepath.Join(dir, stateName))) },
		"a record by the log's key that no event states": func(t *testing.T, dir string) {
			c, err := readConfig(vfs.OS{}, dir)
			if err != nil {
				t.Fatal(err)
			}
			v, err := verifierList(c.Verifiers, c.Origin)
			if err != nil {
				t.Fatal(err)
			}
			p, err := readPruned(vfs.OS{}, dir, c.Origin, v)
			if err != nil {
				t.Fatal(err)
			}
			p.Heads++
			body, err := p.body()
			if err != nil {
				t.Fatal(err)
			}
			file, err := signBody(mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName))))), prunedText, body)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, record(dir), file)
		},
		"leaves of what was deleted are gone": func(t *testing.T, dir string) { remove(t, leavesPath(dir, 0)) },
		"a leaf of what was deleted changed": func(t *testing.T, dir string) {
			data := readFile(t, leavesPath(dir, 0))
			data[40] ^= 1
			writeFile(t, leavesPath(dir, 0), data)
		},
		"leaves of what was deleted cut":       func(t *testing.T, dir string) { chop(t, leavesPath(dir, 0), 32) },
		"leaves of what was deleted have more": func(t *testing.T, dir string) { grow(t, leavesPath(dir, 0), make([]byte, 32)) },
		"checkpoints cut to what was deleted": func(t *testing.T, dir string) {
			all := splitNotes(string(readFile(t, filepath.Join(dir, checkpointsName))))
			writeFile(t, filepath.Join(dir, checkpointsName), []byte(all[0]))
		},
		"a compressed segment cut": func(t *testing.T, dir string) { chop(t, inKept(dir), 9) },
		"a byte of a compressed segment": func(t *testing.T, dir string) {
			data := readFile(t, inKept(dir))
			data[len(data)/2] ^= 1
			writeFile(t, inKept(dir), data)
		},
		"a compressed segment is empty":         func(t *testing.T, dir string) { writeFile(t, inKept(dir), nil) },
		"a compressed segment is no such thing": func(t *testing.T, dir string) { writeFile(t, inKept(dir), []byte("hello\n")) },
		"an event changed in a compressed segment": func(t *testing.T, dir string) {
			recompress(t, dir, func(b []byte) []byte { return bytes.Replace(b, []byte("treatment"), []byte("marketing"), 1) })
		},
		"an event left out of a compressed segment": func(t *testing.T, dir string) {
			recompress(t, dir, func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] })
		},
		"a compressed segment with more behind": func(t *testing.T, dir string) {
			recompress(t, dir, func(b []byte) []byte { return append(b, "{\"time\":1}\n"...) })
		},
		"a second frame behind a compressed segment": func(t *testing.T, dir string) {
			data := readFile(t, inKept(dir))
			writeFile(t, inKept(dir), append(data, data...))
		},
		"the newest segment compressed": func(t *testing.T, dir string) {
			last := segmentPath(dir, firsts[len(firsts)-1])
			enc, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, last+".zst", enc.EncodeAll(readFile(t, last), nil))
			remove(t, last)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, origin)
			mustVerify(t, dir)
			tamper(t, dir)
			for what, opts := range map[string]*VerifyOptions{"unpinned": {Verifiers: []string{key}}, "pinned": {Pins: []TreeHead{early, late}}} {
				if r, err := Verify(background, dir, opts); !errors.Is(err, ErrTampered) {
					t.Errorf("%s: %v\n%s", what, err, r)
				}
			}
		})
	}
	t.Run("the record of a log in another's", func(t *testing.T) {
		dir := copyDir(t, whole)
		writeFile(t, record(dir), readFile(t, record(origin)))
		for _, first := range firsts[:1] {
			os.Remove(segmentPath(dir, first))
		}
		if r, err := Verify(background, dir, nil); !errors.Is(err, ErrTampered) {
			t.Errorf("%v\n%s", err, r)
		}
	})
	t.Run("an older record put back", func(t *testing.T) {
		dir := copyDir(t, origin)
		old := readFile(t, record(dir))
		_, opts := aging(t)
		l := mustOpen(t, dir, opts)
		fillLog(t, l, "more", 20)
		if done := mustRetain(t, l, &Retention{Bytes: 20 << 10}); done.Deleted == 0 {
			t.Fatalf("%+v", done)
		}
		mustClose(t, l)
		mustVerify(t, dir)
		writeFile(t, record(dir), old)
		if r, err := Verify(background, dir, nil); !errors.Is(err, ErrTampered) {
			t.Errorf("%v\n%s", err, r)
		}
	})
	t.Run("a beginning that is missing", func(t *testing.T) {
		dir := copyDir(t, whole)
		remove(t, segmentPath(dir, 0))
		if _, err := Retained(dir); !errors.Is(err, ErrTampered) {
			t.Errorf("Retained: %v", err)
		}
		for _, err := range Read(background, dir, nil) {
			if !errors.Is(err, ErrTampered) {
				t.Errorf("Read: %v", err)
			}
		}
		if _, err := WriteBundle(background, new(bytes.Buffer), dir, acme, nil); !errors.Is(err, ErrTampered) {
			t.Errorf("WriteBundle: %v", err)
		}
	})
	t.Run("what an interrupted deletion left", func(t *testing.T) {
		dir := copyDir(t, origin)
		writeFile(t, segmentPath(dir, 0), []byte("nobody reads it\n"))
		if r := mustVerify(t, dir); r.Deleted != first {
			t.Errorf("%s", r)
		}
		if all := entries(t, dir, nil); all[0].Index != first {
			t.Errorf("%d", all[0].Index)
		}
	})
}

// TestNothingHidesByDeletion: a log that is not intact is not shortened, and its lines are not compressed.
func TestNothingHidesByDeletion(t *testing.T) {
	change := func(t *testing.T, dir string, first int64) (at int, changed []byte) {
		name := segmentPath(dir, first)
		all := lines(readFile(t, name))
		at = slices.IndexFunc(all, func(line []byte) bool { return bytes.Contains(line, []byte("treatment")) })
		all[at] = bytes.Replace(all[at], []byte("treatment"), []byte("marketing"), 1)
		writeFile(t, name, bytes.Join(all, nil))
		return at, bytes.TrimSuffix(all[at], []byte("\n"))
	}
	for name, c := range map[string]struct {
		retention *Retention
		tamper    func(t *testing.T, dir string, firsts []int64)
	}{
		"delete":   {&Retention{Bytes: 1}, func(t *testing.T, dir string, firsts []int64) { change(t, dir, 0) }},
		"compress": {&Retention{Compress: true}, func(t *testing.T, dir string, firsts []int64) { change(t, dir, 0) }},
		// Behind the last checkpoint of what goes, with the leaf hash.
		"delete what agrees with its leaf hash": {&Retention{Bytes: 1}, func(t *testing.T, dir string, firsts []int64) {
			first := firsts[len(firsts)-3]
			at, changed := change(t, dir, first)
			hash := tlog.RecordHash(changed)
			leaves := readFile(t, leavesPath(dir, first))
			copy(leaves[at*tlog.HashSize:], hash[:])
			writeFile(t, leavesPath(dir, first), leaves)
		}},
	} {
		r := c.retention
		dir, opts := aging(t)
		opts.HeadEvery = 1000 // which a head leaf would find too
		l := mustOpen(t, dir, opts)
		fillLog(t, l, "s", 40)
		firsts, err := listSegments(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.tamper(t, dir, firsts)
		before := filesIn(t, dir)
		if done, err := l.Retain(background, r); !errors.Is(err, ErrTampered) || done.Deleted+int64(done.Compressed) != 0 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		if after := filesIn(t, dir); after["jsonl"] != before["jsonl"] || after["jsonl.zst"] != 0 {
			t.Errorf("%s: %v, before %v", name, after, before)
		}
		if err := l.Err(); err != nil {
			t.Errorf("%s: the log no longer records: %v", name, err)
		}
		mustClose(t, l)
	}
}

// TestForgedDeletionUnderATrustedKey: whoever can write a log's files, and so its log.json, and has not its key, makes nobody who gives the
// key believe that retention deleted events.
func TestForgedDeletionUnderATrustedKey(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 20)
	mustClose(t, l)
	key, origin := ownVerifier(t, dir), ownSigner(t, dir).Name()
	firsts, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	secret, forger, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	p := &pruned{prunedHead: prunedHead{Events: firsts[3]}}
	if err := readLeaves(background, dir, 0, firsts[3], p.tree.add); err != nil {
		t.Fatal(err)
	}
	body, err := p.body()
	if err != nil {
		t.Fatal(err)
	}
	content, err := signBody(mustSigner(t, secret), prunedText, body)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, configName)
	writeFile(t, name, bytes.Replace(readFile(t, name), []byte(`"verifiers": [`), []byte(`"verifiers": ["`+forger+`",`), 1))
	writeFile(t, filepath.Join(dir, prunedName), content)
	if first, err := Retained(dir); first != firsts[3] || err != nil {
		t.Fatalf("%d, %v: the test wants it to be believed by who has no key", first, err)
	}
	f := &Filter{Verifiers: []string{key}, Since: time.Unix(1, 0)}
	ctx, cancel := context.WithTimeout(background, time.Second)
	defer cancel()
	for what, entries := range map[string]iter.Seq2[Entry, error]{
		"Read": Read(background, dir, f), "ReadAll": ReadAll(background, []string{dir}, f), "Watch": Watch(ctx, []string{dir}, &WatchOptions{Filter: f}),
	} {
		n := 0
		var last error
		for _, err := range entries {
			n++
			last = err
		}
		if n != 1 || !errors.Is(last, ErrTampered) {
			t.Errorf("%s: %d entries, %v", what, n, last)
		}
	}
}

// TestBombs: a file that decompresses to more than a segment holds is refused before it has been.
func TestBombs(t *testing.T) {
	origin, _, _, _, _ := prunedLog(t)
	firsts, err := listSegments(origin)
	if err != nil {
		t.Fatal(err)
	}
	bomb := func(size int, options ...zstd.EOption) []byte {
		var b bytes.Buffer
		enc, err := zstd.NewWriter(&b, options...)
		if err != nil {
			t.Fatal(err)
		}
		line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
		for range size >> 20 {
			if _, err := enc.Write(line); err != nil {
				t.Fatal(err)
			}
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"without a length":    bomb(256 << 20),
		"too long":            enc.EncodeAll(make([]byte, maxSegment+1), nil),
		"one line":            enc.EncodeAll(make([]byte, 32<<20), nil),
		"a window of 512 MiB": bomb(1<<20, zstd.WithWindowSize(zstd.MaxWindowSize), zstd.WithSingleSegment(false)),
		"skippable":           append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, readFile(t, compressedPath(origin, firsts[0]))...),
	} {
		dir := copyDir(t, origin)
		writeFile(t, compressedPath(dir, firsts[0]), data)
		if r, err := Verify(background, dir, nil); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v\n%s", name, err, r)
		}
		for _, err := range Read(background, dir, nil) {
			if err == nil {
				t.Errorf("%s: an entry was read", name)
			}
			break
		}
	}
}
