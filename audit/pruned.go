package audit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// A log is pruned (C2SP tlog-tiles, "Pruning") by deleting the segments before its minimum index. The tree stays what it was:
// the leaf hashes of what was deleted are kept, so that every checkpoint, every pin and every proof of growth can still be
// checked; or they are deleted as well, and the file has the edge of the tree from which the others go on. Checkpoints may go, too. What
// went with the lines is how many events of each tenant they were, and what else is to be known of them; the file pruned has that, signed by the log's key, and an audit.pruned event, written and sealed before anything was deleted,
// states the minimum index and the SHA-256 of the file's body. Without both, a segment that is missing is tampering.
//
// The file is a C2SP signed note as that of the state is, with a title of its own; behind it stand a line of JSON, and a line
// for each tenant as in the state.
const (
	prunedName = "pruned"
	prunedText = "strongroom/audit-pruned/v1"
)

// pruned is what the file says.
type pruned struct {
	prunedHead
	tree    frontier
	hashed  frontier // of the events whose leaf hashes were deleted, too
	tenants map[string]*tenantState
	sum     string // of the body, base64: what the audit.pruned event states
	note    []byte // that signs it, where retained has read it
}

type prunedHead struct {
	Events     int64                `json:"events"`              // the minimum index: so many were deleted
	Tree       []byte               `json:"tree"`                // the frontier of their tree
	Last       Code                 `json:"last"`                // of the last of them
	Chain      string               `json:"chain"`               // the nonce of the session's chain there; "" for none
	Heads      int64                `json:"heads"`               // head leaves
	Unnumbered int64                `json:"unnumbered"`          // events without numbers
	Refusals   int64                `json:"refusals"`            // events about rows that were not authentic
	Missing    int64                `json:"missing"`             // numbers that are missing in streams
	Gaps       []StreamGap          `json:"gaps,omitempty"`      // the first of them
	Recovered  []Span               `json:"recovered,omitempty"` // events that nothing authenticates
	Streams    map[string]streamEnd `json:"streams,omitempty"`
	Hashes     int64                `json:"hashes,omitempty"`    // so many leaf hashes were deleted
	HashTree   []byte               `json:"hash_tree,omitempty"` // the frontier of their tree
	// Checkpoints says which were deleted, nil for none. As with Hashes, what is there of them is what an interruption left.
	Checkpoints *dropped `json:"checkpoints,omitempty"`
}

var errPruned = errors.New("it is no record by this log's key of what was deleted")

// readPruned reads the record of what was deleted, nil where there is none. That there is a file and it is no record of this
// log is an error that wraps errPruned.
func readPruned(fsys vfs.FS, dir, origin string, verifiers note.Verifiers) (*pruned, error) {
	p := &pruned{tenants: map[string]*tenantState{}}
	sum, err := readSigned(fsys, filepath.Join(dir, prunedName), prunedText, origin, verifiers, func(r io.Reader) bool {
		lines := bufio.NewReaderSize(r, 64<<10)
		head, err := lines.ReadBytes('\n')
		if err != nil || json.Unmarshal(head, &p.prunedHead) != nil {
			return false
		}
		var ok, hashed bool
		p.tree, ok = unpack(p.Events, p.Tree)
		p.hashed, hashed = unpack(p.Hashes, p.HashTree)
		return ok && hashed && p.Events > 0 && p.Hashes <= p.Events &&
			(p.Checkpoints == nil || p.Checkpoints.plausible(p.Events)) && readTenants(lines, p.tenants)
	})
	switch {
	case err == nil:
		p.sum = base64.StdEncoding.EncodeToString(sum)
		return p, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, errSigned), errors.Is(err, vfs.ErrNotRegular):
		return nil, fmt.Errorf("%w: %w", errPruned, err)
	}
	return nil, fmt.Errorf("audit: reading %s: %w", filepath.Join(dir, prunedName), err)
}

// body returns what the file has behind its note.
func (p *pruned) body() ([]byte, error) {
	p.Tree, p.Hashes, p.HashTree = p.tree.pack(), p.hashed.size, p.hashed.pack()
	head, err := json.Marshal(p.prunedHead)
	if err != nil {
		return nil, err
	}
	body := append(head, '\n')
	for _, t := range p.tenants {
		body = (&tenantEnd{t.id, t.covered, t.tree}).appendTo(body)
	}
	return body, nil
}

// same tells whether both are one record.
func (p *pruned) same(q *pruned) bool {
	if p == nil || q == nil {
		return p == q
	}
	return p.sum == q.sum
}

// first is the minimum index.
func (p *pruned) first() int64 {
	if p == nil {
		return 0
	}
	return p.Events
}

// firstHash is the index of the first event whose leaf hash is kept.
func (p *pruned) firstHash() int64 { return p.edgeOfHashes().size }

// edgeOfHashes is the frontier of the events before that one.
func (p *pruned) edgeOfHashes() frontier {
	if p == nil {
		return frontier{}
	}
	return p.hashed.clone()
}

// edge is the frontier of a tenant's events that were deleted.
func (p *pruned) edge(id tenant.ID) frontier {
	if p == nil || p.tenants[id.String()] == nil {
		return frontier{}
	}
	return p.tenants[id.String()].tree
}

// prunedClaim is what an audit.pruned event states.
type prunedClaim struct {
	Events int64  `json:"events"`
	Record string `json:"record"`
}

func parsePruned(line []byte) prunedClaim {
	var doc struct {
		Unmapped struct {
			Pruned prunedClaim `json:"pruned"`
		} `json:"unmapped"`
	}
	if json.Unmarshal(line, &doc) != nil {
		return prunedClaim{}
	}
	return doc.Unmapped.Pruned
}

// passOver takes in the leaf hashes of what was deleted, compares them with the checkpoints and pins, and goes on from the
// record.
//
// To the log itself, which signed the record, it is as good as having read them once more, as the state is: then what reading
// costs does not grow with what was deleted.
func (r *replay) passOver() error {
	p := r.pruned
	if r.fromState != nil || r.until > 0 {
		r.kept, r.tree = nil, p.tree.clone()
		for r.next != nil && r.next.tree.N <= p.Events {
			if r.sealed = *r.next; !r.behind() {
				r.requiredN = r.sealed.tree.N
			}
			if err := r.advance(); err != nil {
				return err
			}
		}
	}
	if r.kept != nil && p.Hashes > 0 {
		if err := r.passHashes(); err != nil {
			return err
		}
	}
	for _, first := range r.kept {
		if first >= p.Events {
			break
		}
		if first < p.Hashes {
			continue // its deletion was interrupted
		}
		if first != r.tree.size {
			return r.tampered(r.rel(leavesPath(r.dir, first)), r.tree.size, "the leaf hashes of what was deleted begin with event %d: some before are missing", first)
		}
		leaves, closeLeaves, err := r.openLeaves(first, 0, 1<<62)
		if err != nil {
			return err
		}
		if leaves.r == nil {
			return fmt.Errorf("audit: %s was deleted while it was read; read the log again: %w", leaves.name, fs.ErrNotExist)
		}
		err = r.passLeaves(leaves)
		if err = errors.Join(err, closeLeaves()); err != nil {
			return err
		}
	}
	switch {
	case r.tree.size != p.Events:
		return r.tampered(segmentsName, r.tree.size, "the leaf hashes of the %d events that were deleted are not all there", p.Events)
	case !slices.Equal(r.tree.nodes, p.tree.nodes):
		return r.tampered(prunedName, -1, "it is not about the events whose leaf hashes are there")
	case r.behind() || r.next.number <= p.droppedCheckpoints().Number:
		return r.tampered(checkpointsName, -1, "the newest checkpoint seals %d events, and %d were deleted: the log was cut", r.sealed.tree.N, p.Events)
	}
	r.tenants = p.tenants
	if p.Streams != nil {
		r.streams = p.Streams
	}
	r.lastCode, r.nonce = p.Last, p.Chain
	r.heads, r.unnumbered, r.refusals, r.gapped = p.Heads, p.Unnumbered, p.Refusals, p.Missing
	r.gaps, r.recovered = p.Gaps, p.Recovered
	return nil
}

// passHashes goes on from the record where the leaf hashes were deleted, too. Of the checkpoints before, what can be checked is
// that the log's key signed them, and that each continues the one before: the newest one vouches for all. So a pin of that age is
// compared with them.
func (r *replay) passHashes() error {
	r.tree = r.pruned.edgeOfHashes()
	for r.next != nil && r.next.tree.N <= r.tree.size {
		if r.next.tree.N == r.tree.size && r.next.tree.Hash != r.tree.root() {
			return r.tampered(prunedName, -1, "it is not about the events that checkpoint %d seals", r.next.number)
		}
		for len(r.pins) > 0 && r.pins[0].Size <= r.next.tree.N {
			if r.pins[0].Size < r.next.tree.N {
				return r.unpinnable()
			}
			if r.pins[0].Root != r.next.tree.Hash {
				return r.tampered(checkpointsName, -1, "checkpoint %d is not the pin: the log was rewritten, and signed again with its key", r.next.number)
			}
			r.pins = r.pins[1:]
		}
		if r.sealed = *r.next; !r.behind() {
			r.requiredN = r.sealed.tree.N
		}
		if err := r.advance(); err != nil {
			return err
		}
	}
	if len(r.pins) > 0 && r.pins[0].Size < r.tree.size {
		return r.unpinnable()
	}
	return r.milestones(prunedName, nil) // a pin of just so many events
}

// unpinnable is the error about a pin that nothing is left to compare with.
func (r *replay) unpinnable() error {
	return fmt.Errorf("audit: the pin of %d events cannot be checked: the leaf hashes of the first %d were deleted, and no checkpoint is of that size; "+
		"use a pin of at least %d events, or find out whose this one is", r.pins[0].Size, r.pruned.Hashes, r.pruned.Hashes)
}

func (r *replay) passLeaves(leaves *leafReader) error {
	for {
		leaf, err := leaves.next()
		if err != nil {
			return err
		}
		if len(leaf) == 0 {
			return nil
		}
		if len(leaf) < len(leaves.buf) {
			return r.tampered(leaves.name, r.tree.size, "its leaf hash was cut")
		}
		r.tree.add(leaves.buf)
		if err := r.milestones(leaves.name, nil); err != nil {
			return err
		}
	}
}

// record is what is to be known of the events that were read, all of which are to be deleted, perhaps with checkpoints of theirs.
func (r *replay) record(checkpoints bool) *pruned {
	p := &pruned{
		prunedHead: prunedHead{Events: r.tree.size, Last: r.lastCode, Chain: r.nonce, Heads: r.heads, Unnumbered: r.unnumbered,
			Refusals: r.refusals, Missing: r.gapped, Gaps: r.gaps, Recovered: mergeSpans(slices.Clone(r.recovered)), Streams: r.streams},
		tree: r.tree, hashed: r.pruned.edgeOfHashes(), tenants: r.tenants,
	}
	last, end := &r.sealed, int64(0)
	if checkpoints { // the next one was read already
		end = r.checkpoints.end - int64(len(r.next.note)) - 1
	}
	if d := r.pruned.droppable(last, end, r.required); d.Number > 0 {
		p.Checkpoints = &d
	}
	return p
}

// retained returns the first indexes of the segments that a log has, and the record of those that were deleted, which is nil
// where none were. What an interrupted deletion left is not among them.
//
// What is deleted while it looks makes it look again. Verifiers are the log's keys; where they are nil, those in log.json are
// used, which whoever deletes a segment can write as well. Known is a record that was read before, or nil: where the file begins
// with its note still, the rest of it, a line for each tenant, is not read again.
func retained(dir string, verifiers note.Verifiers, known *pruned) (firsts []int64, p *pruned, err error) {
	for range 4 {
		var before *pruned
		if before, err = recordOf(dir, verifiers, known); err != nil {
			return nil, nil, err
		}
		if firsts, err = listSegments(dir); err != nil {
			return nil, nil, fmt.Errorf("audit: %s is not the directory of a log: %w", dir, err)
		}
		if p, err = recordOf(dir, verifiers, before); err != nil {
			return nil, nil, err
		}
		if before.same(p) {
			break
		}
	}
	firsts = slices.DeleteFunc(firsts, func(first int64) bool { return first < p.first() })
	if len(firsts) == 0 || firsts[0] != p.first() {
		return nil, nil, &TamperError{segmentsName, p.first(), "its segment is missing, and no record says that it was deleted"}
	}
	return firsts, p, nil
}

// recordOf returns the record of what was deleted from the log in dir, nil where there is none.
func recordOf(dir string, verifiers note.Verifiers, known *pruned) (*pruned, error) {
	var fsys vfs.FS = vfs.OS{}
	msg, err := prunedNote(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && known != nil && bytes.Equal(msg, known.note) {
		return known, nil
	}
	c, err := readConfig(fsys, dir)
	if err != nil {
		return nil, err
	}
	if verifiers == nil {
		if verifiers, err = verifierList(c.Verifiers, c.Origin); err != nil {
			return nil, err
		}
	}
	p, err := readPruned(fsys, dir, c.Origin, verifiers)
	if errors.Is(err, errPruned) {
		return nil, &TamperError{prunedName, -1, err.Error()}
	}
	if p != nil {
		p.note = msg // of an older one, where it was replaced meanwhile: then it is read again
	}
	return p, err
}

// prunedNote returns what the record begins with. The error wraps [fs.ErrNotExist] where there is none.
func prunedNote(fsys vfs.FS, dir string) ([]byte, error) {
	f, err := fsys.OpenFile(filepath.Join(dir, prunedName), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	var msg []byte
	if err == nil {
		msg, err = frontNote(f, info.Size())
	}
	return msg, errors.Join(err, f.Close())
}

// listSegments returns the first indexes of the segments in a log's directory, in order.
func listSegments(dir string) ([]int64, error) {
	names, err := segmentFileNames(dir)
	if err != nil {
		return nil, err
	}
	var firsts []int64
	for _, name := range names {
		first, ext, err := splitName(name)
		if err != nil {
			return nil, err
		}
		if ext == "leaves" {
			// A listing may have missed both forms of a segment that is being compressed.
			if _, err := (vfs.OS{}).Lstat(compressedPath(dir, first)); err != nil {
				continue
			}
		}
		if !slices.Contains(firsts[max(0, len(firsts)-2):], first) {
			firsts = append(firsts, first)
		}
	}
	if len(firsts) == 0 {
		return nil, errors.New("it has no segments")
	}
	slices.Sort(firsts)
	return slices.Compact(firsts), nil
}

// Retained returns the index of the first event that the log in dir has: 0, or, where retention deleted what was before
// ([Log.Retain]), its minimum index as the log's own signed record says. A segment that is missing without one is an error
// that wraps [ErrTampered]; whether the record itself stands in the log is for [Verify] to say.
func Retained(dir string) (int64, error) {
	_, p, err := retained(dir, nil, nil)
	return p.first(), err
}

// splitName takes a file's name in the segments' directory apart.
func splitName(name string) (first int64, ext string, err error) {
	base, ext, _ := strings.Cut(name, ".")
	first, err = parseFirst(base)
	if err != nil {
		err = fmt.Errorf("%s is not named for its first event", plainName(name))
	}
	return first, ext, err
}
