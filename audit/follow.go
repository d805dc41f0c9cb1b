package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// Follower reads a log's events as they are sealed, each once, and goes on where it was in an
// earlier process: see [Follower.Position]. It needs no lock, and the log may be open elsewhere. It
// is not safe for concurrent use.
type Follower struct {
	dir       string
	origin    string
	verifiers note.Verifiers
	at        frontier    // of the events that were returned
	sealed    tlog.Tree   // the newest checkpoint whose events are known to continue those
	marks     []tlog.Tree // trees on the way there, by size, and that one; what is returned is compared with the next of them
	segment   int64       // the first event of the segment that the next event is in
	offset    int64       // of the next event there; below 0 for not known
	pruned    *pruned     // the record of what was deleted, as it was read last
	hasher    *leafHasher
	lines     *lineReader
	kept      *opened         // from the last call; nil for none
	ctx       context.Context // of the call under way
	bytes     int64           // that were read of segments
}

// position is what [Follower.Position] returns, as JSON.
type position struct {
	Version int         `json:"version"`
	Log     string      `json:"log"`    // origin
	Events  int64       `json:"events"` // that were returned
	Nodes   []tlog.Hash `json:"nodes"`  // the frontier of the tree over them
}

const positionVersion = 1

// markEvery is how many events there are between marks: so many leaf hashes are read once more, at most, for each portion.
const markEvery = 1024

// Follow returns a follower of the log in dir, from the log's first event on or, where at is
// not empty, from where the follower was that returned it. Verifiers are the log's public keys,
// from a source that is trusted; without them those in log.json are used.
func Follow(dir string, at []byte, verifiers ...string) (*Follower, error) {
	config, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		return nil, err
	}
	f := &Follower{dir: dir, origin: config.Origin, offset: -1, hasher: newLeafHasher(), lines: newLineReader(nil)}
	if len(verifiers) == 0 {
		verifiers = config.Verifiers
	}
	if f.verifiers, err = verifierList(verifiers, config.Origin); err != nil {
		return nil, err
	}
	if len(at) == 0 {
		return f, nil
	}
	p, err := positionIn(dir, config.Origin, at)
	if err != nil {
		return nil, err
	}
	f.at = frontier{p.Events, p.Nodes}
	return f, nil
}

// Followed returns how many events of the log in dir were returned before a position, which is the index of the first one that
// was not: what retention has to keep, see [Retention].Needed. A position in another log is an error, and so is one in another life of
// this log, which was put back from a backup and went on with other events: those were not returned. Leaf hashes show it (32 bytes an event
// that retention has left).
func Followed(dir string, at []byte) (int64, error) {
	c, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		return 0, err
	}
	p, err := positionIn(dir, c.Origin, at)
	if err != nil {
		return 0, err
	}
	verifiers, err := verifierList(c.Verifiers, c.Origin)
	if err != nil {
		return 0, err
	}
	sealed, err := newestCheckpoint(dir, c.Origin, verifiers)
	if err != nil {
		return 0, err
	}
	_, deleted, err := retained(dir, verifiers, nil)
	if err != nil || p.Events < deleted.first() { // which keeps more than there is
		return p.Events, err
	}
	var tree frontier
	if deleted != nil {
		tree = deleted.tree.clone()
	}
	if p.Events <= sealed.tree.N {
		if err := readLeaves(context.Background(), dir, tree.size, p.Events, tree.add); err != nil {
			return 0, shortened(dir, verifiers, deleted, err)
		}
	}
	if tree.size != p.Events || !slices.Equal(tree.nodes, p.Nodes) {
		return 0, &TamperError{checkpointsName, -1, fmt.Sprintf("the log does not have the %d events that were read before the position: the log was cut, or an older copy put back", p.Events)}
	}
	return p.Events, nil
}

func positionIn(dir, origin string, at []byte) (position, error) {
	p, err := parsePosition(at)
	if err == nil && p.Log != origin {
		return position{}, fmt.Errorf("audit: the position is one in the log %q, and %s is the log %q; give each log a position of its own", p.Log, dir, origin)
	}
	return p, err
}

func parsePosition(at []byte) (p position, err error) {
	if err := json.Unmarshal(at, &p); err != nil || p.Version != positionVersion || p.Events < 0 || len(p.Nodes) != bits.OnesCount64(uint64(p.Events)) {
		return position{}, errors.New("audit: the position is none that a follower has returned; without one, following begins at the log's first event")
	}
	return p, nil
}

// Position returns where the follower is, behind all events that Next has returned. It holds the
// tree over these events, so that a follower which goes on there notices when the log is another
// one, or no longer has exactly these.
func (f *Follower) Position() []byte {
	data, err := json.Marshal(position{positionVersion, f.origin, f.at.size, f.at.nodes})
	if err != nil {
		panic(err) // hashes and numbers
	}
	return data
}

// Log returns the log's name.
func (f *Follower) Log() string { return f.origin }

// Events returns how many events were returned, now and before.
func (f *Follower) Events() int64 { return f.at.size }

// Behind returns how many events are sealed and were not returned yet.
func (f *Follower) Behind() (int64, error) {
	c, err := f.newest()
	return max(0, c.N-f.at.size), err
}

// Next returns the next events, oldest first, at most limit and about 4 MiB of them, or none where
// nothing new is sealed. An error that wraps [ErrTampered] tells that the log does not continue
// what was returned, or that what it has now is not what its checkpoints seal: nothing of that is
// returned. Verify says more.
func (f *Follower) Next(ctx context.Context, limit int) ([]Entry, error) {
	segments, err := f.segments(ctx)
	if err != nil || f.at.size == f.sealed.N {
		return nil, err
	}
	at, segment, offset := f.at.clone(), f.segment, f.offset
	var entries []Entry
	const most = 4 << 20
	for bytes := 0; len(entries) < limit && bytes < most && at.size < f.sealed.N; {
		first, end := within(segments, at.size)
		if first < 0 {
			return nil, &TamperError{segmentsName, at.size, "the segment that it was in is not there"}
		}
		if first != segment || offset < 0 {
			segment, offset = first, -1
		}
		read, err := f.read(ctx, first, min(end, f.sealed.N), offset, at.size, func(line []byte) (bool, error) {
			e, err := parseEntry(line, at.size)
			if err != nil {
				return false, err
			}
			entries, bytes = append(entries, e), bytes+len(line)
			at.add(f.hasher.leaf(line))
			return len(entries) < limit && bytes < most, nil
		})
		if err != nil {
			return nil, err
		}
		offset = read
	}
	if err := f.confirm(ctx, at, segments); err != nil {
		return nil, err
	}
	f.at, f.segment, f.offset = at, segment, offset
	return entries, nil
}

// newest returns the tree of the log's newest checkpoint.
func (f *Follower) newest() (tlog.Tree, error) {
	if info, err := os.Lstat(filepath.Join(f.dir, checkpointsName)); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return tlog.Tree{}, nil // it was just created
	}
	c, err := newestCheckpoint(f.dir, f.origin, f.verifiers)
	return c.tree, err
}

// segments returns the first events of the segments that there are, in order. Where all that was known to be sealed is
// returned, it looks for a newer checkpoint.
//
// The log is written meanwhile: a checkpoint is read before the segments are listed, so that what it seals is in those.
func (f *Follower) segments(ctx context.Context) ([]int64, error) {
	if f.at.size < f.sealed.N {
		return f.retained()
	}
	tree, err := f.newest()
	if err != nil {
		return nil, err
	}
	before := f.at.size
	segments, err := f.retained()
	if err != nil {
		return nil, err
	}
	if f.at.size > before && f.at.size > tree.N { // it begins with what was left since the checkpoint was read
		f.sealed = tlog.Tree{N: f.at.size, Hash: f.at.root()}
		return segments, nil
	}
	return segments, f.advance(ctx, tree, segments)
}

// advance checks by the leaf hashes that what a checkpoint seals continues what was returned.
func (f *Follower) advance(ctx context.Context, tree tlog.Tree, segments []int64) error {
	switch {
	case tree.N < f.at.size:
		return &TamperError{checkpointsName, -1, fmt.Sprintf("the newest checkpoint seals %d events, and %d had been sealed and read before: the log was cut, or an older copy put back", tree.N, f.at.size)}
	}
	ahead := f.at.clone()
	var marks []tlog.Tree
	err := f.extend(ctx, &ahead, tree.N, segments, func() {
		if ahead.size%markEvery == 0 {
			marks = append(marks, tlog.Tree{N: ahead.size, Hash: ahead.root()})
		}
	})
	if err != nil {
		return err
	}
	if tree.N > 0 && ahead.root() != tree.Hash {
		return &TamperError{checkpointsName, -1, fmt.Sprintf("the events up to %d do not continue the %d that were read before: it is another log of the same name, or events were changed", tree.N, f.at.size)}
	}
	f.sealed, f.marks = tree, append(marks, tree)
	return nil
}

// confirm compares a tree over what is to be returned, and over the leaf hashes from there to the next mark, with that: the
// files may have been changed since advance read them.
func (f *Follower) confirm(ctx context.Context, at frontier, segments []int64) error {
	next := slices.IndexFunc(f.marks, func(m tlog.Tree) bool { return m.N >= at.size })
	if next < 0 {
		return nil // nothing was read
	}
	f.marks = f.marks[next:]
	to, ahead := f.marks[0], at.clone()
	if err := f.extend(ctx, &ahead, to.N, segments, func() {}); err != nil {
		return err
	}
	if ahead.root() != to.Hash {
		return &TamperError{segmentsName, to.N, "the events before are not those that the checkpoint seals: somebody changes the files now"}
	}
	return nil
}

// extend adds the leaf hashes of the events before one to a tree, and calls each behind every one.
func (f *Follower) extend(ctx context.Context, tree *frontier, to int64, segments []int64, each func()) error {
	for tree.size < to {
		first, end := within(segments, tree.size)
		if first < 0 {
			return &TamperError{segmentsName, tree.size, "the segment that it was in is not there"}
		}
		if err := f.leaves(ctx, first, tree.size, min(end, to), func(h tlog.Hash) { tree.add(h); each() }); err != nil {
			return err
		}
	}
	return nil
}

// retained returns the first events of the segments that there are, in order. A follower that has returned nothing yet begins
// with the first event that retention has left.
func (f *Follower) retained() ([]int64, error) {
	firsts, p, err := retained(f.dir, f.verifiers, f.pruned)
	if err != nil {
		return nil, err
	}
	f.pruned = p
	if p != nil && f.at.size == 0 {
		f.at = frontier{p.tree.size, slices.Clone(p.tree.nodes)}
	}
	if first := p.first(); f.at.size < first {
		return nil, fmt.Errorf("audit: retention has deleted events %d to %d of %s before they were followed; without a position, following begins with event %d", f.at.size, first-1, f.dir, first)
	}
	return firsts, nil
}

// within returns the first event of the segment that an event is in, and that of the next one;
// below 0 where there is none.
func within(segments []int64, index int64) (first, end int64) {
	first, end = -1, 1<<62
	for _, s := range segments {
		if s > index {
			return first, s
		}
		first = s
	}
	return first, end
}

// leaves calls add with the hashes of events of one segment.
func (f *Follower) leaves(ctx context.Context, first, from, to int64, add func(tlog.Hash)) error {
	name := leavesPath(f.dir, first)
	file, err := vfs.OS{}.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(ctxReader{ctx, io.NewSectionReader(file, (from-first)*tlog.HashSize, (to-from)*tlog.HashSize)}, 64<<10)
	for range to - from {
		var h tlog.Hash
		if _, err := io.ReadFull(r, h[:]); err != nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			return &TamperError{strings.TrimPrefix(name, f.dir+string(filepath.Separator)), from, "it has fewer hashes than the checkpoint seals events: " + err.Error()}
		}
		add(h)
	}
	return nil
}

// opened is a segment that is being read. One that is compressed is kept from one call of Next to the next: to come to a place in
// it, everything before has to be decompressed.
type opened struct {
	first, offset int64 // of the segment, and of the next line in it; below 0 for not known
	file          *segmentReader
	lines         *lineReader
}

// open opens a segment at an offset; below 0 is its beginning. The file is opened each time but for what was kept, and only
// sealed lines are read: what stands behind them may be zeros that the writer will fill.
func (f *Follower) open(first, offset int64) (*opened, error) {
	kept := f.kept
	f.kept = nil
	if kept != nil && kept.first == first && kept.offset == offset {
		return kept, nil
	}
	if kept != nil {
		kept.file.Close()
	}
	file, err := openSegment(vfs.OS{}, f.dir, first, math.MaxInt64, func(raw io.Reader) io.Reader { return followed{f, raw} })
	var bad *frameError
	if errors.As(err, &bad) {
		return nil, &TamperError{segmentsName, first, err.Error()}
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err := file.skip(max(offset, 0)); err != nil {
		file.Close()
		if err := f.ctx.Err(); err != nil {
			return nil, err
		}
		return nil, &TamperError{segmentsName, first, "its segment is shorter than it was: " + err.Error()}
	}
	o := &opened{first, offset, file, f.lines}
	if file.compressed {
		o.lines = newLineReader(file)
	} else {
		o.lines.r.Reset(file)
	}
	return o, nil
}

// followed reads a segment for the call of Next that is under way.
type followed struct {
	f *Follower
	r io.Reader
}

func (r followed) Read(p []byte) (int, error) {
	n, err := ctxReader{r.f.ctx, r.r}.Read(p)
	r.f.bytes += int64(n)
	return n, err
}

// read calls each with the lines of one segment, from the event from on and before the event to, until it returns false, and
// returns where the next line is. Every line is one whose hash the segment's leaves have. Offset is where the first of them is,
// if that is known.
func (f *Follower) read(ctx context.Context, first, to, offset, from int64, each func([]byte) (bool, error)) (end int64, err error) {
	f.ctx = ctx
	o, err := f.open(first, offset)
	if err != nil {
		return 0, err
	}
	defer func() {
		if o.offset = end; f.kept != o {
			err = errors.Join(err, o.file.Close())
		}
	}()
	index := from
	if offset < 0 {
		index, offset = first, 0
	}
	hashes := make(map[int64]tlog.Hash, 1024)
	for ; index < to; index++ {
		line, err := o.lines.next()
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			return 0, &TamperError{segmentsName, index, "it is sealed, and no whole line: " + err.Error()}
		}
		offset += int64(len(line))
		if index < from {
			continue
		}
		want, ok := hashes[index]
		if !ok {
			clear(hashes)
			at := index
			if err := f.leaves(ctx, first, index, min(to, index+1024), func(h tlog.Hash) { hashes[at] = h; at++ }); err != nil {
				return 0, err
			}
			want = hashes[index]
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if f.hasher.leaf(line) != want {
			return 0, &TamperError{segmentsName, index, "it is not the event that the checkpoint seals"}
		}
		more, err := each(line)
		if err != nil {
			return 0, err
		}
		if !more {
			if o.file.compressed {
				f.kept = o
			}
			return offset, nil
		}
	}
	return offset, nil
}
