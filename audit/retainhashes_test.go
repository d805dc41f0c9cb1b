package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestRetainDropHashes: without the leaf hashes of what was deleted, what remains verifies, is bundled, followed and shown to grow,
// and everybody is told from where on.
func TestRetainDropHashes(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	key := l.Verifier()
	early := fillLog(t, l, "s", 5)
	fillLog(t, l, "t", 35)
	before := copyDir(t, dir)
	done := mustRetain(t, l, &Retention{Compress: true, Bytes: 19 << 10, DropHashes: true})
	hashes := done.First
	var deleted frontier
	if err := readLeaves(background, before, 0, hashes, deleted.add); err != nil {
		t.Fatal(err)
	}
	edge := TreeHead{hashes, deleted.root()}
	if done.Deleted == 0 || hashes <= early.Size {
		t.Fatalf("%+v: the test wants more deleted than the first %d events", done, early.Size)
	}
	late := fillLog(t, l, "u", 5)
	mustClose(t, l)
	check := func(when string, first int64) {
		t.Helper()
		r, err := Verify(background, dir, &VerifyOptions{Verifiers: []string{key}, Pins: []TreeHead{late, early}})
		if err != nil || r.Pins != 2 || r.Deleted != first || r.Unhashed != hashes || !strings.Contains(r.String(), "checkpoints alone") {
			t.Fatalf("%s: %v\n%s", when, err, r)
		}
		entries, err := os.ReadDir(filepath.Join(dir, segmentsName))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if n, _, err := splitName(e.Name()); err != nil || n < hashes {
				t.Errorf("%s: %s is there", when, e.Name())
			}
		}
		forged := early
		forged.Root[5] ^= 1
		if _, err := Verify(background, dir, &VerifyOptions{Pins: []TreeHead{forged}}); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: a pin that is no checkpoint's: %v", when, err)
		}
		if hashes == edge.Size {
			forged := edge
			forged.Root[5] ^= 1
			if r, err := Verify(background, dir, &VerifyOptions{Pins: []TreeHead{edge, early}}); err != nil || r.Pins != 2 {
				t.Errorf("%s: a pin of just the events whose leaf hashes were deleted: %v", when, err)
			}
			if _, err := Verify(background, dir, &VerifyOptions{Pins: []TreeHead{forged}}); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), prunedName) {
				t.Errorf("%s: another root of just those events: %v", when, err)
			}
		}
		for _, size := range []int64{early.Size - 1, hashes - 1} {
			if _, err := Verify(background, dir, &VerifyOptions{Pins: []TreeHead{{size, early.Root}}}); err == nil || errors.Is(err, ErrTampered) {
				t.Errorf("%s: a pin that nothing can be compared with: %v", when, err)
			}
		}
		p, err := NewProver(dir, []string{key})
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{hashes, r.Sealed - 3, 0, late.Size, first, r.Sealed} {
			if g, err := p.Prove(background, size); err != nil || g.To.Size != r.Sealed { // which checks it
				t.Errorf("%s: growth from %d: %v", when, size, err)
			}
		}
		for _, size := range []int64{1, early.Size, hashes - 1} {
			if _, err := p.Prove(background, size); err == nil || errors.Is(err, ErrTampered) {
				t.Errorf("%s: growth from %d: %v", when, size, err)
			}
		}
		data, about := writeBundle(t, dir, acme)
		if got, err := VerifyBundle(background, bytes.NewReader(data), []string{key}); err != nil || got.After == 0 || got.Events != about.Events {
			t.Errorf("%s: the bundle: %v", when, err)
		}
		f := mustFollow(t, dir, nil)
		for f.Events() < r.Sealed {
			if some, err := f.Next(background, 100); err != nil || len(some) == 0 || some[0].Index < first {
				t.Fatalf("%s: following: %d events, %v", when, len(some), err)
			}
		}
	}
	check("closed", hashes)
	for _, state := range []bool{true, false} {
		if !state {
			if err := os.Remove(filepath.Join(dir, stateName)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		l = mustOpen(t, dir, opts)
		fillLog(t, l, "v", 3)
		mustClose(t, l)
		check("opened again", hashes)
	}
	// The next time the hashes are kept, and then not.
	for _, drop := range []bool{false, true} {
		l = mustOpen(t, dir, opts)
		late = fillLog(t, l, "w", 20)
		done = mustRetain(t, l, &Retention{Bytes: 30 << 10, DropHashes: drop})
		if done.Deleted == 0 || done.First > late.Size {
			t.Fatalf("%+v", done)
		}
		if drop {
			hashes = done.First
		}
		mustClose(t, l)
		check("shortened again", done.First)
		if drop {
			continue
		}
		// Of hashes that the record says are there none may be missing.
		copied := copyDir(t, dir)
		remove(t, leavesPath(copied, hashes))
		if r, err := Verify(background, copied, nil); !errors.Is(err, ErrTampered) {
			t.Errorf("leaf hashes that are to be there: %v\n%s", err, r)
		}
		if p, err := NewProver(copied, nil); err != nil {
			t.Error(err)
		} else if _, err := p.Prove(background, hashes); !errors.Is(err, ErrTampered) {
			t.Errorf("growth without leaf hashes that are to be there: %v", err)
		}
	}
}

// TestPathFromAnEdge compares with the library that checks the paths: from every edge before every leaf of every small tree.
func TestPathFromAnEdge(t *testing.T) {
	const most = 34
	var hashes []tlog.Hash
	for i := range most {
		hashes = append(hashes, tlog.RecordHash([]byte{byte(i)}))
	}
	edges := make([]frontier, most+1)
	for i, h := range hashes {
		edges[i+1] = edges[i].clone()
		edges[i+1].add(h)
	}
	for size := int64(1); size <= most; size++ {
		for index := range size {
			for from := range index + 1 {
				p := newPathBuilder(index, size)
				p.begin(edges[from].clone())
				for _, h := range hashes[from:size] {
					p.add(h)
				}
				if err := tlog.CheckRecord(p.path(), size, edges[size].root(), index, hashes[index]); err != nil {
					t.Fatalf("leaf %d of %d, from the edge of %d: %v", index, size, from, err)
				}
			}
		}
	}
}
