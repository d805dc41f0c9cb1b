package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// TreeHead names the first Size events of a log by the root hash of their Merkle tree (RFC 6962).
type TreeHead struct {
	Size int64
	Root [32]byte
}

// replay reads a whole log and checks all that can be checked: every leaf against its line's bytes, the tree against
// every checkpoint and pin, each tenant's sequence numbers and head leaves. [OpenLog] goes on from where it ends,
// [Verify] reports what it found.
type replay struct {
	fs        vfs.FS
	dir       string
	origin    string
	verifiers note.Verifiers
	pins      []TreeHead
	progress  func(done, total int64)
	// parallel has several goroutines hash the lines.
	parallel bool
	// chained leaves the signatures of all checkpoints but the newest unchecked. It vouches for them, since each
	// holds the hash of the one before.
	chained bool
	// chain opens the chain of the session that ended in a crash; nil for those who have not the log's key.
	chain func(nonce string) (*chain, error)
	// fromState goes on from the log's state, where there is one that fits and is signed by this key; nil reads everything.
	fromState note.Verifiers
	resumed   *resumed
	until     int64 // where to end, a segment's first index; 0 for the log's end
	stated    int64 // the size of the tree under the state; 0 without
	// whole, if set, gets the summary of each segment but the last as soon as it was read, or nil where there is none to be made of
	// its events.
	whole   func(first int64, s *packedSummary) error
	summary *summary // of the segment that is read; nil where its first events were not seen

	tree       frontier
	tenants    map[string]*tenantState
	heads      int64
	unnumbered int64 // events of tenants that take part in no numbers
	lastCode   Code
	nonce      string // of the chain of the newest session; "" for none
	recovered  []Span // events that audit.recovered says nothing authenticates
	streams    map[string]streamEnd
	gaps       []StreamGap // the first of them
	gapped     int64       // events that are missing in all of them
	refusals   int64       // events stream.gap about rows that are not authentic
	segments   []int64     // the first index of each
	pruned     *pruned     // the record of those that were deleted; nil where none were
	kept       []int64     // the first index of every file of leaves
	claimed    bool        // an audit.pruned event states the record
	unused     []string    // files of a segment that was begun and never written to
	tail       tail
	sealed     checkpoint // the newest checkpoint
	end        sealedEnd  // what stands there
	cpEnd      int64      // bytes of whole checkpoints
	cpTorn     int64      // bytes behind them

	ctx         context.Context
	hasher      *leafHasher
	hash        tlog.Hash // of the newest line
	checkpoints *checkpointReader
	lacks       int64       // bytes of deleted checkpoints that the file lacks
	required    int64       // bytes of checkpoints that were there before the events were looked at
	requiredN   int64       // events that those seal, as far as they are reached
	next        *checkpoint // the first one that the tree has not reached
	batches     batchReader
	read        atomic.Int64 // bytes, for progress
	told, total int64
}

// tail is the end of the last segment and its leaves.
type tail struct {
	first   int64 // index of its first event
	size    int64 // bytes of whole lines that are taken in
	sealed  int64 // bytes of those under a checkpoint
	torn    int64 // bytes behind them
	dropped int64 // whole lines among those
	leaves  int64 // leading leaf hashes in its file that are those of its lines
	stray   int64 // bytes behind them
	// The sizes of its files when reading began; -1 for a segment before the last.
	limit, leafLimit int64
}

// sealedLeaves is how many of the last segment's leaf hashes a checkpoint seals.
func (r *replay) sealedLeaves() int64 { return max(0, r.sealed.tree.N-r.tail.first) }

func (r *replay) tampered(file string, index int64, format string, args ...any) error {
	return &TamperError{File: file, Index: index, What: fmt.Sprintf(format, args...)}
}

// run reads everything. Errors that wrap [ErrTampered] are about the log, all others about reading it.
func (r *replay) run(ctx context.Context) error {
	r.tenants, r.streams = map[string]*tenantState{}, map[string]streamEnd{}
	r.hasher = newLeafHasher()
	slices.SortFunc(r.pins, func(a, b TreeHead) int { return cmp.Compare(a.Size, b.Size) })
	r.ctx = ctx
	f, size, err := r.begin()
	if err != nil {
		return err
	}
	defer f.Close()
	if r.lacks, err = r.lacking(f); err != nil {
		return err
	}
	r.checkpoints = newCheckpointReader(io.LimitReader(ctxReader{ctx, f}, size), r.origin)
	r.checkpoints.dropped = r.pruned.droppedCheckpoints()
	if s := r.state(f); s != nil {
		r.resume(s)
		r.checkpoints = newCheckpointReader(ctxReader{ctx, io.NewSectionReader(f, s.Checkpoints, size-s.Checkpoints)}, r.origin)
		r.checkpoints.last, r.checkpoints.end = s.checkpoint, s.Checkpoints
	}
	if err := r.advance(); err != nil {
		return err
	}
	if r.next == nil && r.resumed == nil {
		return r.tampered(checkpointsName, -1, "the file has no whole checkpoint; a log has one from its beginning")
	}
	if r.pruned != nil && r.resumed == nil {
		if err := r.passOver(); err != nil {
			return err
		}
	}
	for i, first := range r.segments {
		if r.until > 0 && first >= r.until {
			return r.reached()
		}
		if r.resumed != nil && first < r.resumed.first {
			continue
		}
		last := i == len(r.segments)-1
		if err := r.segment(ctx, first, last); err != nil {
			return err
		}
		if r.whole != nil && r.summary != nil && !last {
			if err := r.whole(first, r.summary.packWhole(&r.tree)); err != nil {
				return err
			}
		}
	}
	return r.finish()
}

// begin opens the checkpoints, finds the segments, and returns how many bytes of checkpoints there are.
//
// While somebody writes the log: the checkpoints that are there first seal no more events than are there when the events are looked
// at, and those that are there afterwards reach as far as the sessions of the events that were. Where another file has taken their
// place meanwhile, for retention deleted the oldest of them, it begins anew.
func (r *replay) begin() (f vfs.File, size int64, err error) {
	name := filepath.Join(r.dir, checkpointsName)
	for range 4 {
		if f, r.required, err = r.open(name); errors.Is(err, fs.ErrNotExist) {
			return nil, 0, r.tampered(checkpointsName, -1, "the file is missing; a log has a checkpoint from its beginning")
		}
		if err != nil {
			return nil, 0, err
		}
		if err := r.listAll(); err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
		info, err1 := f.Stat()
		now, err2 := r.fs.Lstat(name)
		if errors.Is(err2, fs.ErrNotExist) {
			err2 = r.tampered(checkpointsName, -1, "the file was taken away while it was read")
		}
		if err := errors.Join(err1, err2); err != nil {
			return nil, 0, errors.Join(fmt.Errorf("audit: %w", err), f.Close())
		}
		if os.SameFile(info, now) {
			return f, info.Size(), nil
		}
		if err := f.Close(); err != nil {
			return nil, 0, fmt.Errorf("audit: %w", err)
		}
	}
	return nil, 0, errors.New("audit: checkpoints were deleted again and again while the log was looked at; try again")
}

// lacking returns how many bytes of checkpoints the file lacks that were deleted.
func (r *replay) lacking(f io.ReaderAt) (int64, error) {
	d := r.pruned.droppedCheckpoints()
	n, err := d.lacks(f, r.origin)
	var bad *TamperError
	if errors.As(err, &bad) {
		return 0, bad
	}
	if err != nil {
		return 0, fmt.Errorf("audit: reading %s: %w", filepath.Join(r.dir, checkpointsName), err)
	}
	return n, nil
}

// state returns the log's state, or nil where there is none to go on from: then everything is read.
func (r *replay) state(checkpoints io.ReaderAt) *state {
	if r.fromState == nil {
		return nil
	}
	s, err := readState(r.fs, r.dir, r.origin, r.fromState)
	if err != nil || !s.fits(checkpoints, r.lacks, r.segments, r.pruned) {
		return nil
	}
	r.stated = s.checkpoint.tree.N
	return s
}

// finish checks what must have been reached by the end.
func (r *replay) finish() error {
	if !r.behind() {
		return r.tampered(checkpointsName, -1, "checkpoint %d seals %d events and only %d are there: the log was cut", r.next.number, r.next.tree.N, r.tree.size)
	}
	if len(r.pins) > 0 {
		return r.tampered(segmentsName, -1, "a pin knows %d events and only %d are there: the log was cut", r.pins[0].Size, r.tree.size)
	}
	for _, name := range r.unused {
		if name != leavesPath(r.dir, r.tree.size) && name != segmentPath(r.dir, r.tree.size) {
			return r.alone(name)
		}
	}
	if n := r.tail.first + r.tail.leaves; n < r.requiredN {
		return r.tampered(r.rel(leavesPath(r.dir, r.tail.first)), n, "its leaf hash is missing although a checkpoint seals it")
	}
	if r.pruned != nil && r.resumed == nil && !r.claimed {
		return r.tampered(prunedName, -1, "it says that %d events were deleted, and no event in the log does", r.pruned.Events)
	}
	r.cpEnd, r.cpTorn = r.checkpoints.end, r.checkpoints.torn
	return r.signed(&r.sealed)
}

// advance reads the next checkpoint and checks its signature.
func (r *replay) advance() error {
	c, err := r.checkpoints.next()
	var bad *noteError
	switch {
	case err == io.EOF:
		r.next = nil
		return nil
	case errors.As(err, &bad):
		return r.tampered(checkpointsName, -1, "%v", bad)
	case r.ctx.Err() != nil:
		return r.ctx.Err()
	case err != nil:
		return fmt.Errorf("audit: reading %s: %w", filepath.Join(r.dir, checkpointsName), err)
	}
	r.next = &c
	if r.chained {
		return nil
	}
	return r.signed(&c)
}

func (r *replay) signed(c *checkpoint) error {
	if _, err := note.Open(c.note, r.verifiers); err != nil {
		return r.tampered(checkpointsName, -1, "checkpoint %d: its signature is not by the log's key", c.number)
	}
	return nil
}

// line takes in one event that a checkpoint seals, of which these are known. Leaf is its recorded hash, or as much of it as
// there is.
func (r *replay) line(file string, line []byte, known lineFacts, leaf []byte) error {
	hash := known.hash
	r.hash = hash
	if !bytes.HasPrefix(hash[:], leaf) {
		return r.tampered(file, r.tree.size, "its bytes do not have the hash that was recorded for them")
	}
	if !known.ok {
		return r.malformed(file, r.tree.size)
	}
	return r.accept(file, line, hash, known.meta)
}

func (r *replay) malformed(file string, index int64) error {
	return r.tampered(file, index, "it is not an event as this package writes them")
}

// accept adds an event to the trees and compares them with what it and the checkpoints say.
func (r *replay) accept(file string, line []byte, hash tlog.Hash, m lineMeta) error {
	index := r.tree.size
	t, err := r.tenant(m)
	if err != nil {
		return r.tampered(file, index, "its tenant is not a tenant id")
	}
	switch {
	case t == nil:
		r.unnumbered++
	case string(m.code) == string(CodeLogHead):
		h, ok := parseHead(line)
		if !ok || h.size != t.tree.size || h.root != t.tree.root() || t.id.IsZero() {
			return r.tampered(file, index, "it states %d events of its tenant, which are not the %d before it", h.size, t.tree.size)
		}
		t.covered = h.size
		r.heads++
	case m.sequence != t.tree.size+1:
		return r.tampered(file, index, "it is number %d of its tenant's events and %d come before it: some were taken out, put in or moved", m.sequence, t.tree.size)
	default:
		t.tree.add(hash)
	}
	if m.stream != nil {
		if err := r.streamLine(file, m); err != nil {
			return err
		}
	}
	switch r.lastCode = Code(m.code); r.lastCode {
	case CodeStreamGap:
		if m.stream == nil && parseGap(line).Count == 0 {
			r.refusals++
		}
	case CodeLogPruned:
		if p := r.pruned; p != nil && m.tenant == nil && parsePruned(line) == (prunedClaim{p.Events, p.sum}) {
			r.claimed = true
		}
	case CodeLogStarted:
		r.nonce = parseOwn(line).chain
	case CodeLogRecovered:
		if u := parseOwn(line).unproven; u.First >= 0 && u.Count > 0 && u.First <= index && u.Count <= index-u.First {
			r.recovered = append(r.recovered, u)
		}
	}
	r.summary.grow(&r.tree, hash)
	r.summary.add(line, &m, t)
	r.tail.size += int64(len(line)) + 1
	return r.milestones(file, line)
}

// tenant returns the state of a line's tenant, or nil for an event that takes part in no tenant's numbers.
func (r *replay) tenant(m lineMeta) (*tenantState, error) {
	if t := r.tenants[string(m.tenant)]; t != nil && (m.sequence > 0 || m.tenant == nil || string(m.code) == string(CodeLogHead)) {
		return t, nil
	}
	t := &tenantState{}
	if m.tenant != nil {
		id, err := tenant.Parse(string(m.tenant))
		if err != nil {
			return nil, err
		}
		if m.sequence == 0 && string(m.code) != string(CodeLogHead) {
			return nil, nil
		}
		t.id = id
	}
	r.tenants[string(m.tenant)] = t
	return t, nil
}

// sealedLine notes what stands at a checkpoint.
func (r *replay) sealedLine(line []byte) {
	r.tail.sealed = r.tail.size
	r.end = sealedEnd{r.lastCode, r.nonce, 0}
	if t, ok := parseTag(line); ok {
		r.end.position = t.position + 1
	}
	r.batches = batchReader{position: r.end.position}
}

// reached checks that what was read so far, to a segment's beginning, is what the next checkpoint seals.
func (r *replay) reached() error {
	if r.tree.size != r.until || r.next == nil {
		return r.tampered(segmentsName, r.until, "no segment begins with it, or no checkpoint seals it")
	}
	edge := r.tree.clone()
	if err := readLeaves(r.ctx, r.dir, r.until, r.next.tree.N, edge.add); err != nil {
		return err
	}
	if edge.root() != r.next.tree.Hash {
		return r.tampered(segmentsName, r.until, "the events up to here are not those that checkpoint %d seals", r.next.number)
	}
	return r.signed(r.next)
}

// milestones compares the tree with the checkpoints and pins of its size. Line is the one that made it that size, or nil
// where it was deleted.
func (r *replay) milestones(file string, line []byte) error {
	n := r.tree.size
	var root tlog.Hash
	if r.next != nil && r.next.tree.N == n || len(r.pins) > 0 && r.pins[0].Size == n {
		root = r.tree.root()
	}
	if r.next != nil && r.next.tree.N == n {
		if root != r.next.tree.Hash {
			return r.tampered(file, n-1, "the events up to here are not those that checkpoint %d seals; one between %d and here differs", r.next.number, r.sealed.tree.N)
		}
		if r.sealed = *r.next; !r.behind() {
			r.requiredN = n
		}
		if line != nil {
			r.sealedLine(line)
		}
		if err := r.advance(); err != nil {
			return err
		}
	}
	for len(r.pins) > 0 && r.pins[0].Size == n {
		if root != r.pins[0].Root {
			return r.tampered(file, n-1, "the events up to here are not those of the pin: the log was rewritten, and signed again with its key if the checkpoints agree")
		}
		r.pins = r.pins[1:]
	}
	return nil
}
