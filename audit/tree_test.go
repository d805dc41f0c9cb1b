package audit

import (
	"fmt"
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
