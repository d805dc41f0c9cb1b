package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestConsistency compares with the library that checks the proofs.
func TestConsistency(t *testing.T) {
	const most = 66
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
		for old := int64(1); old < size; old++ {
			c := newConsistency(edges[old], size)
			for _, h := range hashes[old:size] {
				c.add(h)
			}
			if err := tlog.CheckTree(c.proof(), size, edges[size].root(), old, edges[old].root()); err != nil {
				t.Fatalf("from %d to %d: %v", old, size, err)
			}
		}
	}
}

func TestProver(t *testing.T) {
	dir, key := bundled(t, false)
	p, err := NewProver(dir, []string{key})
	if err != nil {
		t.Fatal(err)
	}
	size := mustVerify(t, dir).Sealed
	fresh := func() *Prover {
		p, err := NewProver(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, from := range []int64{0, 1, 100, 100, 3, size - 1, size, 250} { // forwards and back
		g, err := p.Prove(background, from)
		if err != nil {
			t.Fatalf("from %d: %v", from, err)
		}
		if head, err := ParseCheckpoint(g.Checkpoint, []string{key}); err != nil || head != g.To || g.From.Size != from {
			t.Errorf("from %d: %+v, %v", from, g, err)
		}
		if again, err := fresh().Prove(background, from); err != nil || again.From != g.From || again.To != g.To {
			t.Errorf("from %d: another prover says %+v, %v", from, again, err)
		}
	}
	if _, err := p.Prove(background, size+1); !errors.Is(err, ErrTampered) {
		t.Errorf("of a log that was longer: %v", err)
	}
	if _, err := p.Prove(background, -1); err == nil {
		t.Error("from below nothing")
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := fresh().Prove(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := NewProver(dir, []string{"nonsense"}); err == nil {
		t.Error("a key that is none")
	}
	names, err := segmentPaths(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(leaves string) error{
		"changed": func(leaves string) error {
			data, err := os.ReadFile(leaves)
			data[40] ^= 1
			return errors.Join(err, os.WriteFile(leaves, data, 0o600))
		},
		"cut":  func(leaves string) error { return os.Truncate(leaves, 64) },
		"gone": os.Remove,
	} {
		copied := copyDir(t, dir)
		if err := damage(filepath.Join(copied, segmentsName, filepath.Base(names[0][:len(names[0])-len(".jsonl")]+".leaves"))); err != nil {
			t.Fatal(err)
		}
		p, err := NewProver(copied, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Prove(background, size-1); !errors.Is(err, ErrTampered) {
			t.Errorf("leaf hashes %s: %v", name, err)
		}
	}
}
