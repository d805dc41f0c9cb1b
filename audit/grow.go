package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// Growth shows that a log has grown from one tree head to another and lost nothing: for somebody who knows the first and
// has nothing of the log, such as a witness.
type Growth struct {
	From, To   TreeHead
	Checkpoint []byte // that signs To
	// Proof is the consistency proof of RFC 6962, section 2.1.2, of which [tlog.CheckTree] makes sure; empty from size 0, and
	// where both are the same.
	Proof tlog.TreeProof
}

// Prover makes proofs of a log's growth from its directory, without a lock, and while somebody writes it. It keeps the
// right edge of the tree (some hashes) as far as it read, so that each proof costs what was added since the one before;
// the first one reads the leaf hashes that the log has, 32 bytes an event. It is not safe for use by several goroutines.
type Prover struct {
	dir       string
	origin    string
	keys      []string
	verifiers note.Verifiers
	known     []frontier // by size
	pruned    *pruned    // the record of what was deleted, as it was read last
}

// NewProver returns the prover of the log in dir. Verifiers are the log's public keys; without them those in log.json are
// used.
func NewProver(dir string, verifiers []string) (*Prover, error) {
	c, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		return nil, err
	}
	if len(verifiers) == 0 {
		verifiers = c.Verifiers
	}
	list, err := verifierList(verifiers, c.Origin)
	if err != nil {
		return nil, err
	}
	return &Prover{dir: dir, origin: c.Origin, keys: verifiers, verifiers: list}, nil
}

// Verifiers returns the verifier keys of the log that the prover goes by.
func (p *Prover) Verifiers() []string { return slices.Clone(p.keys) }

// Prove shows how the log grew from its first size events to its newest checkpoint. Where it has fewer the error wraps
// [ErrTampered]: it was cut, or an older copy was put in its place. From a size whose leaf hashes retention deleted
// ([Retention].DropHashes) nothing can be shown, which is an error of its own.
func (p *Prover) Prove(ctx context.Context, size int64) (*Growth, error) {
	sealed, err := newestCheckpoint(p.dir, p.origin, p.verifiers)
	if err != nil {
		return nil, err
	}
	if size > sealed.tree.N {
		return nil, &TamperError{checkpointsName, -1, fmt.Sprintf("the newest checkpoint seals %d events, and the log is known to have had %d: it was cut, or an older copy was put in its place", sealed.tree.N, size)}
	}
	if size < 0 {
		return nil, fmt.Errorf("audit: no log has %d events", size)
	}
	if p.pruned, err = recordOf(p.dir, p.verifiers, p.pruned); err != nil {
		return nil, err
	}
	g, err := p.prove(ctx, size, sealed)
	return g, shortened(p.dir, p.verifiers, p.pruned, err)
}

func (p *Prover) prove(ctx context.Context, size int64, sealed checkpoint) (*Growth, error) {
	hashed := p.pruned.edgeOfHashes()
	if size > 0 && size < hashed.size {
		return nil, fmt.Errorf("audit: that the log grew from %d events cannot be shown: retention deleted the leaf hashes of the first %d", size, hashed.size)
	}
	old, err := p.edge(ctx, size)
	if err != nil {
		return nil, err
	}
	g := &Growth{From: TreeHead{size, old.root()}, To: TreeHead{sealed.tree.N, sealed.tree.Hash}, Checkpoint: sealed.note}
	c := newConsistency(old, sealed.tree.N)
	edge := old.clone()
	if size < hashed.size { // from nothing, which needs no proof
		edge = hashed
	}
	err = readLeaves(ctx, p.dir, edge.size, sealed.tree.N, func(h tlog.Hash) {
		c.add(h)
		edge.add(h)
	})
	if err != nil {
		return nil, err
	}
	if edge.root() != sealed.tree.Hash {
		return nil, &TamperError{segmentsName, -1, fmt.Sprintf("its leaf hashes are not those that checkpoint %d seals", sealed.number)}
	}
	p.known = []frontier{old, edge}
	if size > 0 && size < sealed.tree.N {
		g.Proof = c.proof()
		if err := tlog.CheckTree(g.Proof, g.To.Size, g.To.Root, g.From.Size, g.From.Root); err != nil {
			return nil, fmt.Errorf("audit: the proof that the log grew does not hold: %w", err) // a fault of this package
		}
	}
	return g, nil
}

// edge returns the frontier of the first size leaves.
func (p *Prover) edge(ctx context.Context, size int64) (frontier, error) {
	var from frontier
	for _, f := range append(p.known, p.pruned.edgeOfHashes()) {
		if f.size <= size && f.size > from.size {
			from = f.clone()
		}
	}
	err := readLeaves(ctx, p.dir, from.size, size, from.add)
	return from, err
}

func (f *frontier) clone() frontier { return frontier{f.size, slices.Clone(f.nodes)} }

// shortened returns err, or, where it accuses somebody of leaf hashes that retention deleted while they were read, what to do. Known is
// the record of before.
func shortened(dir string, verifiers note.Verifiers, known *pruned, err error) error {
	if !errors.Is(err, ErrTampered) {
		return err
	}
	if now, rerr := recordOf(dir, verifiers, known); rerr == nil && !now.same(known) {
		return fmt.Errorf("audit: retention shortened the log while it was read; read it again: %w", fs.ErrNotExist)
	}
	return err
}

// readLeaves reads the recorded leaf hashes of a log from one index to before another.
func readLeaves(ctx context.Context, dir string, from, to int64, each func(tlog.Hash)) error {
	if from >= to {
		return nil
	}
	names, err := segmentFileNames(dir)
	if err != nil {
		return fmt.Errorf("audit: %s is not the directory of a log: %w", dir, err)
	}
	var files []int64
	for _, name := range names {
		first, ext, err := splitName(name)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if ext == "leaves" { // which may be kept when their events are deleted
			files = append(files, first)
		}
	}
	for i, first := range files {
		if i+1 < len(files) && files[i+1] <= from {
			continue
		}
		if first > from {
			return &TamperError{segmentsName, from, "the segment of this event is missing, or was cut"}
		}
		if from, err = readLeafFile(ctx, leavesPath(dir, first), first, from, to, each); err != nil {
			return err
		}
		if from == to {
			return nil
		}
	}
	return &TamperError{segmentsName, from, "its leaf hash is missing although a checkpoint seals it"}
}

func readLeafFile(ctx context.Context, name string, first, from, to int64, each func(tlog.Hash)) (int64, error) {
	f, err := vfs.OS{}.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return from, &TamperError{segmentsName, from, "its leaf hash is missing although a checkpoint seals it"}
	}
	if err != nil {
		return from, fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	r := io.NewSectionReader(f, (from-first)*tlog.HashSize, (to-from)*tlog.HashSize)
	for block := make([]byte, 2048*tlog.HashSize); from < to; {
		n, err := io.ReadFull(ctxReader{ctx, r}, block)
		for b := block[:n-n%tlog.HashSize]; len(b) > 0; b = b[tlog.HashSize:] {
			each(tlog.Hash(b[:tlog.HashSize]))
			from++
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			if ctx.Err() != nil {
				return from, ctx.Err()
			}
			return from, fmt.Errorf("audit: reading %s: %w", name, err)
		}
	}
	return from, nil
}

// consistency computes the proof of RFC 6962, section 2.1.2, from the right edge of the old tree while the leaves that
// were added go by: each hash in such a proof is that of a subtree of old leaves, which is a node of the edge, or of a
// subtree of new ones.
type consistency struct {
	parts []part // in the proof's order
	size  int64  // leaves so far
}

type part struct {
	first, end int64 // of its leaves
	tree       frontier
}

func newConsistency(old frontier, size int64) *consistency {
	c := &consistency{size: old.size}
	if old.size == 0 || old.size == size {
		return c
	}
	// From the root down; the proof is from the bottom up.
	for first, end := int64(0), size; ; {
		if end == old.size {
			if first > 0 { // otherwise it is the old tree itself, whose root the other side knows
				c.parts = append(c.parts, part{first: first, end: end, tree: old.subtree(first)})
			}
			break
		}
		middle := first + 1<<(bits.Len64(uint64(end-first-1))-1)
		if old.size <= middle {
			c.parts = append(c.parts, part{first: middle, end: end})
			end = middle
		} else {
			c.parts = append(c.parts, part{first: first, end: middle, tree: old.subtree(first)})
			first = middle
		}
	}
	slices.Reverse(c.parts)
	return c
}

// subtree returns the node of the edge whose leaves begin at first.
func (f *frontier) subtree(first int64) frontier {
	at := int64(0)
	for i := range f.nodes {
		width := int64(1) << (bits.Len64(uint64(f.size-at)) - 1)
		if at == first {
			return frontier{size: width, nodes: f.nodes[i : i+1]}
		}
		at += width
	}
	panic("audit: a consistency proof names a subtree that is no node of the edge")
}

func (c *consistency) add(leaf tlog.Hash) {
	for i := range c.parts {
		if p := &c.parts[i]; p.first <= c.size && c.size < p.end {
			p.tree.add(leaf)
		}
	}
	c.size++
}

func (c *consistency) proof() tlog.TreeProof {
	proof := make(tlog.TreeProof, len(c.parts))
	for i := range c.parts {
		proof[i] = c.parts[i].tree.root()
	}
	return proof
}
