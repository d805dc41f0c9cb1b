package audit

import (
	"cmp"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// pathBuilder computes the audit path of one leaf (RFC 6962, section 2.1.1) while all leaves of the tree go by. It holds
// the right edges of the path's subtrees alone, so its memory is that of the tree's depth. What it makes,
// [tlog.CheckRecord] checks.
type pathBuilder struct {
	siblings []sibling // by their leaves
	at       int
	size     int64 // leaves so far
}

// sibling is a subtree whose root is in the path: the leaves from first to before end, depth levels below the root.
type sibling struct {
	first, end int64
	depth      int
	tree       frontier
}

// newPathBuilder begins the path of the leaf with this index in the tree of so many leaves.
func newPathBuilder(index, size int64) *pathBuilder {
	p := &pathBuilder{}
	for first, end := int64(0), size; end-first > 1; {
		// The left subtree has the largest power of two that is less than the leaves there are.
		middle := first + 1<<(bits.Len64(uint64(end-first-1))-1)
		s := sibling{first: first, end: middle, depth: len(p.siblings)}
		if index < middle {
			s.first, s.end = middle, end
			end = middle
		} else {
			first = middle
		}
		p.siblings = append(p.siblings, s)
	}
	slices.SortFunc(p.siblings, func(a, b sibling) int { return cmp.Compare(a.first, b.first) })
	return p
}

// add takes the next leaf's hash.
func (p *pathBuilder) add(leaf tlog.Hash) {
	if p.at < len(p.siblings) {
		if s := &p.siblings[p.at]; p.size >= s.first {
			s.tree.add(leaf)
			if p.size+1 == s.end {
				p.at++
			}
		}
	}
	p.size++
}

// begin takes, before any leaf, the right edge of the tree of the first leaves, none of which is behind the path's own. A node of it
// is within one sibling: a larger one would have the path's leaf.
func (p *pathBuilder) begin(edge frontier) {
	for i, first := 0, int64(0); i < len(edge.nodes); i++ {
		width := int64(1) << (bits.Len64(uint64(edge.size-first)) - 1)
		for p.at < len(p.siblings) && p.siblings[p.at].end <= first {
			p.at++
		}
		s := &p.siblings[p.at].tree
		s.nodes, s.size = append(s.nodes, edge.nodes[i]), s.size+width
		first += width
	}
	if p.size = edge.size; p.at < len(p.siblings) && p.siblings[p.at].end == p.size {
		p.at++
	}
}

// path returns the audit path, the leaf's own sibling first. All leaves must have been added.
func (p *pathBuilder) path() tlog.RecordProof {
	path := make(tlog.RecordProof, len(p.siblings))
	for _, s := range p.siblings {
		path[len(path)-1-s.depth] = s.tree.root()
	}
	return path
}
