package audit

import (
	"crypto/sha256"
	"hash"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a Merkle tree as RFC 6962, section 2.1, defines it: the roots of the complete subtrees
// that the first size leaves form, largest first. It is all that is needed to add leaves and to tell the root.
type frontier struct {
	size  int64
	nodes []tlog.Hash
}

// add appends a leaf hash.
func (f *frontier) add(leaf tlog.Hash) { f.addTo(0, leaf, nil, 0) }

// addTo appends the root of a complete subtree of 2^level leaves, for which the tree has room: its size is a multiple of that. Of the
// nodes that are joined with one that begins before the leaf first, and begin with it or behind, it appends those to left: with the
// frontier's own that do, they are what the leaves from first on make of the tree.
func (f *frontier) addTo(level uint, node tlog.Hash, left []tlog.Hash, first int64) []tlog.Hash {
	f.nodes = append(f.nodes, node)
	end := f.size + 1<<level
	// Each trailing one bit of the old size is a complete subtree that the new one joins.
	for n := f.size >> level; n&1 == 1; n >>= 1 {
		last := len(f.nodes) - 1
		if begin := end - 1<<level; begin >= first && begin-1<<level < first {
			left = append(left, f.nodes[last])
		}
		f.nodes[last-1] = tlog.NodeHash(f.nodes[last-1], f.nodes[last])
		f.nodes = f.nodes[:last]
		level++
	}
	f.size = end
	return left
}

// addNodes appends the complete subtrees that the leaves up to an index make of the tree.
func (f *frontier) addNodes(end int64, nodes []byte) {
	for i, level := range levels(f.size, end) {
		f.addTo(level, tlog.Hash(nodes[i*tlog.HashSize:][:tlog.HashSize]), nil, 0)
	}
}

// from returns the nodes that begin with the leaf first or behind.
func (f *frontier) from(first int64) []tlog.Hash {
	at := int64(0)
	for i := range f.nodes {
		if at >= first {
			return f.nodes[i:]
		}
		at += 1 << (bits.Len64(uint64(f.size-at)) - 1)
	}
	return nil
}

// levels returns those of the complete subtrees that the leaves from one to before another make of every tree that has them: as few as can
// be, in their order. A subtree of 2^level leaves begins with a multiple of that.
func levels(first, end int64) (all []uint) {
	for first < end {
		level := uint(bits.Len64(uint64(end-first)) - 1)
		if first > 0 {
			level = min(level, uint(bits.TrailingZeros64(uint64(first))))
		}
		all = append(all, level)
		first += 1 << level
	}
	return all
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
