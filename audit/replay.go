package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	// chained leaves the signatures of all checkpoints but the newest unchecked. It vouches for them, since each
	// holds the hash of the one before.
	chained bool

	tree     frontier
	tenants  map[string]*tenantState
	heads    int64
	lastCode Code
	segments []int64 // the first index of each
	tail     tail
	sealed   checkpoint // the newest checkpoint
	cpEnd    int64      // bytes of whole checkpoints
	cpTorn   int64      // bytes behind them

	hasher      *leafHasher
	checkpoints *checkpointReader
	next        *checkpoint // the first one that the tree has not reached
	read, total int64       // bytes, for progress
}

// tail is the end of the last segment and its leaves.
type tail struct {
	first  int64 // index of its first event
	size   int64 // bytes of whole lines
	sealed int64 // bytes of those under a checkpoint
	torn   int64 // bytes behind them
	leaves int64 // whole leaf hashes in its file
	stray  int64 // bytes behind them
}

func (r *replay) tampered(file string, index int64, format string, args ...any) error {
	return &TamperError{File: file, Index: index, What: fmt.Sprintf(format, args...)}
}

// run reads everything. Errors that wrap [ErrTampered] are about the log, all others about reading it.
func (r *replay) run(ctx context.Context) error {
	r.tenants = map[string]*tenantState{}
	r.hasher = newLeafHasher()
	slices.SortFunc(r.pins, func(a, b TreeHead) int { return cmp.Compare(a.Size, b.Size) })
	// The checkpoints' length is taken first: while somebody writes the log, the events are always ahead of it.
	f, size, err := r.open(filepath.Join(r.dir, checkpointsName))
	if errors.Is(err, fs.ErrNotExist) {
		return r.tampered(checkpointsName, -1, "the file is missing; a log has a checkpoint from its beginning")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r.checkpoints = newCheckpointReader(io.LimitReader(f, size), r.origin)
	if err := r.advance(); err != nil {
		return err
	}
	if r.next == nil {
		return r.tampered(checkpointsName, -1, "the file has no whole checkpoint; a log has one from its beginning")
	}
	if err := r.list(); err != nil {
		return err
	}
	for i, first := range r.segments {
		if err := r.segment(ctx, first, i == len(r.segments)-1); err != nil {
			return err
		}
	}
	return r.finish()
}

// finish checks what must have been reached by the end.
func (r *replay) finish() error {
	if r.next != nil {
		return r.tampered(checkpointsName, -1, "checkpoint %d seals %d events and only %d are there: the log was cut", r.next.number, r.next.tree.N, r.tree.size)
	}
	if len(r.pins) > 0 {
		return r.tampered(segmentsName, -1, "a pin knows %d events and only %d are there: the log was cut", r.pins[0].Size, r.tree.size)
	}
	if n := r.tail.first + r.tail.leaves; n < r.sealed.tree.N {
		return r.tampered(r.rel(leavesPath(r.dir, r.tail.first)), n, "its leaf hash is missing although a checkpoint seals it")
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

func (r *replay) segmentFiles() ([]fs.DirEntry, error) {
	entries, err := r.fs.ReadDir(filepath.Join(r.dir, segmentsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, r.tampered(segmentsName, -1, "the directory is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("audit: listing the segments: %w", err)
	}
	return entries, nil
}

// segmentOf returns the index of the first event in the segment that a file belongs to.
func (r *replay) segmentOf(e fs.DirEntry) (int64, error) {
	base, ext, _ := strings.Cut(e.Name(), ".")
	first, err := strconv.ParseInt(base, 10, 64)
	if err != nil || len(base) != 20 || first < 0 || ext != "jsonl" && ext != "leaves" || !e.Type().IsRegular() {
		return 0, r.tampered(segmentsName+"/"+e.Name(), -1, "it is neither a segment nor its leaves; move it elsewhere if you put it there")
	}
	return first, nil
}

// list finds the segments. A file that is no segment is refused, for nobody would look at what is in it.
//
// A listing may miss a file that is made while it is taken, and have one that is made after that. So it is taken twice,
// and of the second what goes as far as the first: all of that was there when the second began.
func (r *replay) list() error {
	entries, err := r.segmentFiles()
	if err != nil {
		return err
	}
	newest := int64(-1)
	for _, e := range entries {
		first, err := r.segmentOf(e)
		if err != nil {
			return err
		}
		newest = max(newest, first)
	}
	if entries, err = r.segmentFiles(); err != nil {
		return err
	}
	leaves := map[int64]bool{}
	for _, e := range entries {
		first, err := r.segmentOf(e)
		if err != nil {
			return err
		}
		switch {
		case first > newest:
			continue // made meanwhile
		case strings.HasSuffix(e.Name(), ".leaves"):
			leaves[first] = true
			continue
		}
		r.segments = append(r.segments, first)
		if info, err := e.Info(); err == nil {
			r.total += info.Size()
		}
	}
	slices.Sort(r.segments)
	for _, first := range r.segments {
		delete(leaves, first)
	}
	for first := range leaves {
		return r.tampered(r.rel(segmentPath(r.dir, first)), first, "the segment is missing and its leaves are there")
	}
	if len(r.segments) == 0 {
		return r.tampered(segmentsName, -1, "there is no segment")
	}
	return nil
}

// line takes one event in. Leaf is its recorded hash, or as much of it as there is.
func (r *replay) line(file string, line []byte, leaf []byte) error {
	index := r.tree.size
	hash := r.hasher.leaf(line)
	if !bytes.HasPrefix(hash[:], leaf) {
		return r.tampered(file, index, "its bytes do not have the hash that was recorded for them")
	}
	m, ok := parseMeta(line)
	// A sealed line is compared with its checkpoint; one behind the last must at least be what this package writes.
	if !ok || r.next == nil && !json.Valid(line) {
		return r.tampered(file, index, "it is not an event as this package writes them")
	}
	t, err := r.tenant(m.tenant)
	if err != nil {
		return r.tampered(file, index, "its tenant is not a tenant id")
	}
	if string(m.code) == string(CodeLogHead) {
		h, ok := parseHead(line)
		if !ok || h.size != t.tree.size || h.root != t.tree.root() || t.id.IsZero() {
			return r.tampered(file, index, "it states %d events of its tenant, which are not the %d before it", h.size, t.tree.size)
		}
		t.covered = h.size
		r.heads++
	} else {
		if m.sequence != t.tree.size+1 {
			return r.tampered(file, index, "it is number %d of its tenant's events and %d come before it: some were taken out, put in or moved", m.sequence, t.tree.size)
		}
		t.tree.add(hash)
	}
	r.lastCode = Code(m.code)
	r.tree.add(hash)
	return r.milestones(file)
}

func (r *replay) tenant(name []byte) (*tenantState, error) {
	if t := r.tenants[string(name)]; t != nil {
		return t, nil
	}
	t := &tenantState{}
	if name != nil {
		id, err := tenant.Parse(string(name))
		if err != nil {
			return nil, err
		}
		t.id = id
	}
	r.tenants[string(name)] = t
	return t, nil
}

// milestones compares the tree with the checkpoints and pins of its size.
func (r *replay) milestones(file string) error {
	n := r.tree.size
	var root tlog.Hash
	if r.next != nil && r.next.tree.N == n || len(r.pins) > 0 && r.pins[0].Size == n {
		root = r.tree.root()
	}
	if r.next != nil && r.next.tree.N == n {
		if root != r.next.tree.Hash {
			return r.tampered(file, n-1, "the events up to here are not those that checkpoint %d seals; one between %d and here differs", r.next.number, r.sealed.tree.N)
		}
		r.sealed = *r.next
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

// open opens a file for reading and returns its size.
func (r *replay) open(name string) (vfs.File, int64, error) {
	f, err := r.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// rel returns a path in the log's directory as reports show it.
func (r *replay) rel(name string) string {
	rel, err := filepath.Rel(r.dir, name)
	if err != nil {
		return name
	}
	return filepath.ToSlash(rel)
}
