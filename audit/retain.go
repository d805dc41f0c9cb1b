package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Retention is how long a log keeps events on its disk. The zero value keeps all, as they are.
//
// Whole segments are compressed and deleted, the oldest first, and never one that a checkpoint does not seal to its end and
// beyond: the newest segment and whatever was not sealed stay as they are.
type Retention struct {
	// Compress compresses segments (Zstandard; to some 15 % of their size).
	Compress bool
	// Age deletes segments of which every event is older. 0: none is too old. It goes by the events' times, so a clock that runs
	// ahead deletes too much, and an event from the future keeps its segment and those behind it.
	Age time.Duration
	// Bytes deletes segments until the others have at most so many bytes, compressed or not, the newest included. 0: no limit.
	Bytes int64
	// Needed, if set, returns the index of the first event that somebody has still to read, such as a sink's cursor: it and
	// what follows is kept whatever Age and Bytes say. Where it fails, nothing is deleted. Witnesses and provers need nothing:
	// leaf hashes are kept, unless DropHashes is set: then the size that a witness has cosigned last is needed, too.
	Needed func(context.Context) (int64, error)
	// DropHashes deletes with the events their leaf hashes (32 bytes an event, which otherwise grow for ever). What remains
	// verifies as before, for the log's record holds the edge of the tree there. What is lost: a tree head of fewer events than
	// were deleted cannot be shown to have grown into the log's. [Verify] compares a pin of that age with the checkpoints alone,
	// and a witness that has cosigned none since then needs to begin anew. Earlier releases take such a log for tampered with.
	DropHashes bool
	// DropCheckpoints deletes with the events the checkpoints that seal no others (some 300 bytes each, one every
	// Options.CheckpointEvery in which something was recorded), whenever they are half of all or more: what is kept of them is written
	// anew. What remains verifies as before, and so do pins and cosignatures of any age, which are compared with the leaf hashes;
	// with DropHashes, too, none of fewer events than were deleted can be checked any more. Earlier releases take such a log for
	// tampered with.
	DropCheckpoints bool
}

func (r *Retention) check() error {
	if r != nil && (r.Age < 0 || r.Bytes < 0) {
		return errors.New("audit: Retention.Age or Retention.Bytes is negative; 0 stands for no limit")
	}
	return nil
}

// RetentionResult is what became of a log's old events.
type RetentionResult struct {
	Compressed int   // segments
	Deleted    int64 // events
	First      int64 // index of the first event that is kept
	Freed      int64 // bytes
}

// Retain compresses and deletes the log's old segments. It does its work beside the goroutine that writes, and may be
// interrupted anywhere: what is left is a log that verifies, and the next call goes on. Calls wait for each other.
//
// Before a segment is deleted its events are read and checked once more, as [Verify] checks them; where one is not what was
// recorded, the error wraps [ErrTampered] and nothing is deleted. Then an audit.pruned event is recorded and sealed that states how
// many events are going, and by which record. Leaf hashes (32 bytes an event) and checkpoints are kept, but for what
// [Retention].DropHashes and DropCheckpoints say: every pin and every proof holds as before, and [Verify] says from which event on there
// is more than hashes ([Report.Deleted]).
//
// Where a full disk has no room to compress a segment, what is too old is deleted all the same, and nothing for Retention.Bytes; and where it
// has none to write the checkpoints anew that are kept, events are deleted.
//
// Segments without a summary, such as those of an earlier release, get one in the end; where one is missing, all events are read and
// checked for it. One that cannot be written is an error, each time, and events are not read for it again.
//
// An error that wraps [ErrUnavailable] is one of recording the event; the log then records nothing more.
func (l *Log) Retain(ctx context.Context, r *Retention) (result *RetentionResult, err error) {
	if r == nil {
		r = &Retention{}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	l.retaining.Lock()
	defer l.retaining.Unlock()
	ctx, cancel := l.untilClosed(ctx)
	defer func() {
		if err != nil && context.Cause(ctx) == errClosed && errors.Is(err, context.Canceled) { // which the caller's was not
			err = fmt.Errorf("audit: the log's old events were left as they are: %w", errClosed)
		}
		cancel(nil)
	}()
	j := &retaining{log: l, ctx: ctx}
	if err := l.do(ctx, func(w *writer) {
		j.segments, j.sealed, j.signer = slices.Clone(w.disk.segments), w.last.tree, w.signer
	}); err != nil {
		return nil, err
	}
	done := &j.done
	done.First = j.segments[0]
	defer func() { // in the end, since nothing depends on it: whatever is in its way, the events have gone
		if left := j.clearSummaries(done.First); left != nil {
			err = errors.Join(err, left)
		}
	}()
	before, err := j.recorded()
	if err != nil {
		return done, err
	}
	if err := j.clear(j.segments[0], min(before.firstHash(), j.segments[0])); err != nil { // what an interrupted call left
		return done, err
	}
	// What is kept of them is written anew, for which there may be no room: then that is left to be done, and what is deleted makes some.
	undropped := j.dropCheckpoints(before.droppedCheckpoints())
	if stops(j.ctx, undropped) {
		return done, undropped
	}
	tooOld, err := j.tooOld(r.Age)
	if err != nil {
		return done, err
	}
	var uncompressed error
	if r.Compress {
		uncompressed = j.compress(tooOld)
	}
	policy := *r
	if uncompressed != nil {
		// There may be no room for it on the disk, and what is too old takes that. What is too much is not known before it is compressed.
		policy.Bytes = 0
		if stops(j.ctx, uncompressed) {
			return done, errors.Join(undropped, uncompressed)
		}
	}
	index, err := j.minimum(&policy, tooOld)
	if err == nil && index > j.segments[0] {
		if err = j.prune(index, &policy, undropped != nil); err == nil {
			undropped = nil // it was tried once more
		}
	}
	if err == nil && uncompressed == nil && undropped == nil {
		err = j.summarize()
	}
	return done, errors.Join(undropped, uncompressed, err)
}

// stops tells whether nothing is to be deleted after an error: whether it is another than that the disk is full, for which deleting helps.
func stops(ctx context.Context, err error) bool {
	return err != nil && (!isFull(err) || errors.Is(err, ErrUnavailable) || ctx.Err() != nil)
}

// recorded returns the record of what was deleted before, nil where nothing was. It takes one by the key that the log signs with, as
// opening does, and by none beside it in log.json: whoever can write to the log's files can put others there.
func (j *retaining) recorded() (*pruned, error) {
	own, err := verifierList([]string{j.log.key}, j.signer.Name())
	if err != nil {
		return nil, err
	}
	p, err := readPruned(j.log.opts.fs, j.log.dir, j.signer.Name(), own)
	if errors.Is(err, errPruned) {
		return nil, &TamperError{prunedName, -1, err.Error()}
	}
	return p, err
}

// retaining is one call of Retain.
type retaining struct {
	log      *Log
	ctx      context.Context
	signer   note.Signer
	segments []int64   // the first index of each
	sealed   tlog.Tree // under the newest checkpoint
	done     RetentionResult
}

// do has the writer call f, between two batches.
func (l *Log) do(ctx context.Context, f func(*writer)) error {
	done := make(chan struct{})
	select {
	case l.tasks <- func(w *writer) { defer close(done); f(w) }:
	case <-l.stopped:
		return l.Err()
	case <-ctx.Done():
		return fmt.Errorf("audit: the log's old events were left as they are: %w", context.Cause(ctx))
	}
	<-done
	return nil
}

// untilClosed returns a context that ends when ctx does, and with errClosed when the log is closed.
func (l *Log) untilClosed(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-l.quit:
			cancel(errClosed)
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// start begins to write, and to keep to Options.Retention.
func (l *Log) start(w *writer) {
	if l.opts.Durability == Durable {
		w.disk.makeAhead(l.opts.AheadBytes, l.opts.SegmentBytes)
	}
	go w.run()
	if l.opts.Retention != nil {
		go l.retain()
	}
}

// retain does in the background what Options.Retention says, until the log is closed.
func (l *Log) retain() {
	tick := time.NewTicker(l.opts.RetainEvery)
	defer tick.Stop()
	for {
		_, err := l.Retain(context.Background(), l.opts.Retention)
		l.mu.Lock()
		l.stats.Retention = err
		l.mu.Unlock()
		select {
		case <-tick.C:
		case <-l.stopped:
			return
		}
	}
}

// settled tells whether nothing will be appended to a segment, and none of its events cut off: events behind it are sealed.
func (j *retaining) settled(i int) bool { return i+1 < len(j.segments) && j.segments[i+1] < j.sealed.N }

// tooOld returns how many of the oldest segments have no event that is younger than age. Each is read whole before it is judged:
// events that a stream brought, or whose caller gave their time, are not in the order of their times.
func (j *retaining) tooOld(age time.Duration) (n int, err error) {
	if age == 0 {
		return 0, nil
	}
	before := j.log.opts.now().Add(-age)
	for j.settled(n) {
		older, err := j.allBefore(j.segments[n], before)
		if err != nil || !older {
			return n, err
		}
		n++
	}
	return n, nil
}

// allBefore tells whether all events of a segment are before a time.
func (j *retaining) allBefore(first int64, before time.Time) (bool, error) {
	s, err := openSegment(j.log.opts.fs, j.log.dir, first, math.MaxInt64, j.reader)
	if err != nil {
		return false, fmt.Errorf("audit: looking how old a segment is: %w", err)
	}
	defer s.Close()
	for lines, index := newLineReader(s), first; ; index++ {
		line, err := lines.next()
		if err == io.EOF && len(line) == 0 {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("audit: looking how old %s is: %w", s.name, err)
		}
		when, ok := parseTime(line)
		if !ok {
			return false, &TamperError{segmentsName, index, "it is not an event as this package writes them"}
		}
		if !when.Before(before) {
			return false, nil
		}
	}
}

func (j *retaining) reader(raw io.Reader) io.Reader { return ctxReader{j.ctx, raw} }

// compress compresses the segments from one on.
func (j *retaining) compress(from int) error {
	fsys, dir := j.log.opts.fs, j.log.dir
	for i := from; j.settled(i); i++ {
		if err := j.ctx.Err(); err != nil {
			return err
		}
		before, err := fsys.Lstat(segmentPath(dir, j.segments[i]))
		if errors.Is(err, fs.ErrNotExist) {
			continue // done already
		}
		if err == nil {
			err = compressSegment(fsys, dir, j.segments[i], j.reader)
		}
		if err != nil {
			return fmt.Errorf("audit: compressing %s: %w", segmentPath(dir, j.segments[i]), err)
		}
		after, err := fsys.Lstat(compressedPath(dir, j.segments[i]))
		if errors.Is(err, fs.ErrNotExist) {
			continue // one event that is longer than a compressed segment may be
		}
		if err != nil {
			return fmt.Errorf("audit: compressing: %w", err)
		}
		j.done.Compressed++
		j.done.Freed += before.Size() - after.Size()
	}
	return nil
}

// minimum returns the index of the first event to keep, which begins a segment.
func (j *retaining) minimum(r *Retention, tooOld int) (int64, error) {
	n := tooOld
	if r.Bytes > 0 {
		size := int64(0)
		for i := len(j.segments) - 1; i >= n; i-- {
			bytes, err := j.size(j.segments[i])
			if err != nil {
				return 0, err
			}
			if size += bytes; size > r.Bytes {
				n = i + 1
			}
		}
	}
	for n > 0 && !j.settled(n-1) {
		n--
	}
	if n > 0 && r.Needed != nil {
		needed, err := r.needed(j.ctx)
		if err != nil {
			return 0, fmt.Errorf("audit: nothing is deleted, since it is not known what is still needed: %w", err)
		}
		for n > 0 && j.segments[n] > needed {
			n--
		}
	}
	return j.segments[n], nil
}

func (j *retaining) size(first int64) (int64, error) {
	for _, name := range []string{segmentPath(j.log.dir, first), compressedPath(j.log.dir, first)} {
		info, err := j.log.opts.fs.Lstat(name)
		if err == nil {
			return info.Size(), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("audit: %w", err)
		}
	}
	return 0, &TamperError{segmentsName, first, "its segment is missing"}
}
