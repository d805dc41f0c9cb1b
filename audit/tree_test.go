package audit

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestFrontier compares the frontier with the tree that golang.org/x/mod keeps, which stores every node.
func TestFrontier(t *testing.T) {
	var f frontier
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var list []tlog.Hash
		for _, i := range indexes {
			list = append(list, stored[i])
		}
		return list, nil
	})
	hasher := newLeafHasher()
	for n := int64(0); n < 1100; n++ {
		want, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		if f.size != n || f.root() != want {
			t.Fatalf("size %d: root %v of size %d, want %v", n, f.root(), f.size, want)
		}
		data := fmt.Appendf(nil, "event %d", n)
		hashes, err := tlog.StoredHashes(n, data, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		f.add(hasher.leaf(data))
	}
}

// TestNodesOfARange: the complete subtrees that a range of leaves makes are the same in every tree that has it, and make the tree.
func TestNodesOfARange(t *testing.T) {
	leaf := func(i int64) tlog.Hash { return tlog.RecordHash([]byte(strconv.FormatInt(i, 10))) }
	for first := range int64(40) {
		var before frontier
		for i := range first {
			before.add(leaf(i))
		}
		tree, s := before.clone(), newSummary(first)
		for end := first; end < first+70; end++ {
			all := levels(first, end)
			if nodes := s.nodes(&tree); len(nodes) != len(all)*tlog.HashSize {
				t.Fatalf("%d to %d: %d bytes of nodes for %d", first, end, len(nodes), len(all))
			}
			grown := before.clone()
			grown.addNodes(end, s.nodes(&tree))
			if grown.size != tree.size || grown.root() != tree.root() {
				t.Fatalf("%d to %d: the nodes make another tree", first, end)
			}
			p := packedSummary{First: first, Events: end - first, Nodes: s.nodes(&tree)}
			if again := p.unpack(&tree); !slices.Equal(again.left, s.left) {
				t.Fatalf("%d to %d: a summary that is gone on with has %d nodes of %d", first, end, len(again.left), len(s.left))
			}
			s.grow(&tree, leaf(end))
		}
	}
}
