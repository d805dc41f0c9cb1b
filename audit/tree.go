package audit

import (
	"crypto/sha256"
	"hash"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a Merkle tree as RFC 6962, section 2.1, defines it: the roots of the complete subtrees
// that the first size leaves form, largest first. It is all that is needed to add leaves and to tell the root.
type frontier struct {
	size  int64
	nodes []tlog.Hash
}

// add appends a leaf hash.
func (f *frontier) add(leaf tlog.Hash) {
	f.nodes = append(f.nodes, leaf)
	// Each trailing one bit of the old size is a complete subtree that the new leaf's one joins.
	for n := f.size; n&1 == 1; n >>= 1 {
		last := len(f.nodes) - 1
		f.nodes[last-1] = tlog.NodeHash(f.nodes[last-1], f.nodes[last])
		f.nodes = f.nodes[:last]
	}
	f.size++
}

// root returns the tree's root hash; that of the empty tree is the hash of nothing.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	h := f.nodes[len(f.nodes)-1]
	for i := len(f.nodes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.nodes[i], h)
	}
	return h
}

// leafHasher computes leaf hashes (RFC 6962: SHA-256 of a zero byte and the data) without allocating for each.
type leafHasher struct {
	h    hash.Hash
	zero [1]byte
	sum  tlog.Hash
}

func newLeafHasher() *leafHasher { return &leafHasher{h: sha256.New()} }

// leaf returns the hash of the line that the parts make up.
func (l *leafHasher) leaf(parts ...[]byte) tlog.Hash {
	l.h.Reset()
	l.h.Write(l.zero[:])
	for _, p := range parts {
		l.h.Write(p)
	}
	l.h.Sum(l.sum[:0])
	return l.sum
}
