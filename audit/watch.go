package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// WatchOptions are the optional settings of [Watch].
type WatchOptions struct {
	// Filter selects the entries. Without Since, what is in the logs when following begins is passed over.
	Filter *Filter
	// Every is how often the logs are looked at. Default: 250 ms.
	Every time.Duration
	// Cut is called when events from an index on that were returned are no longer there: a process crashed before it
	// acknowledged them, and opening its log cut them off. What stands there now comes again, with these indexes.
	Cut func(dir string, from int64)
}

// patience is how often a log is looked at before an event that is sealed, and not there, is an error: a copy that is brought up
// to date may have its checkpoints for a while before its events.
const patience = 40

// watchBatch is how many bytes of one log's entries are taken at a time.
const watchBatch = 2 << 20

// Watch returns the entries of logs as they are written, of several as one: what is new in all of them each time they are
// looked at, by time; an entry may so come behind a somewhat newer one of another log. It goes from segment to segment, waits for lines that are not whole until a checkpoint seals them, and checks nothing else but the form. The
// sequence ends without an error when ctx does, and with one when a log cannot be read or is not one, or when retention has deleted
// events that were still to come. It takes some 40 bytes for each event of a log's two newest segments.
func Watch(ctx context.Context, dirs []string, opts *WatchOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := watch(ctx, dirs, opts, yield); err != nil && ctx.Err() == nil {
			yield(Entry{}, err)
		}
	}
}

func watch(ctx context.Context, dirs []string, opts *WatchOptions, yield func(Entry, error) bool) error {
	var o WatchOptions
	if opts != nil {
		o = *opts
	}
	if set(&o.Every, 250*time.Millisecond); o.Every < 0 {
		return errors.New("audit: WatchOptions.Every is negative; use a positive time, or 0 for 250ms")
	}
	if err := o.Filter.Check(); err != nil {
		return err
	}
	logs, err := watchers(ctx, dirs, &o)
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range logs {
			l.release()
		}
	}()
	ticker := time.NewTicker(o.Every)
	defer ticker.Stop()
	for {
		var round []Entry
		full := false
		for _, l := range logs {
			more, err := l.poll(ctx, &round)
			if err != nil {
				return err
			}
			full = full || more
		}
		if len(logs) > 1 {
			slices.SortStableFunc(round, func(a, b Entry) int { return a.Time.Compare(b.Time) })
		}
		for _, e := range round {
			if ctx.Err() != nil || !yield(e, nil) {
				return nil
			}
		}
		if full {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func watchers(ctx context.Context, dirs []string, o *WatchOptions) ([]*watcher, error) {
	names := map[string]string{}
	var logs []*watcher
	for _, dir := range dirs {
		c, err := readConfig(vfs.OS{}, dir)
		if err != nil {
			return nil, err
		}
		origin := c.Origin
		verifiers, err := verifierList(c.Verifiers, origin)
		if err != nil {
			return nil, err
		}
		if other, twice := names[origin]; twice {
			return nil, sameLog(other, dir, origin)
		}
		names[origin] = dir
		known, err := summariesOf(dir, o.Filter)
		if err != nil {
			return nil, err
		}
		if trusted, err := o.Filter.trusted(dir); err != nil {
			return nil, err
		} else if trusted != nil {
			verifiers = trusted
		}
		segments, deleted, err := retained(dir, verifiers, nil)
		if err != nil {
			return nil, err
		}
		l := &watcher{dir: dir, origin: origin, verifiers: verifiers, filter: o.Filter, cut: o.Cut, hasher: newLeafHasher()}
		if l.first = segments[0]; o.Filter == nil || o.Filter.Since.IsZero() {
			l.first, l.from = segments[len(segments)-1], math.MaxInt64
			l.began = l.first
			if l.passed, err = filledTo(segmentPath(dir, l.first)); err != nil {
				return nil, fmt.Errorf("audit: %w", err)
			}
		} else {
			skip := known.skipped(ctx, segments, deleted, o.Filter)
			l.first = segments[slices.Index(skip, false)] // the newest is never skipped
		}
		logs = append(logs, l)
	}
	return logs, nil
}

// filledTo returns where the whole lines of a segment end that are there now. What is behind comes, or is the zeros that it takes the
// place of. Of a segment that is not there, or is compressed by now, that is all.
func filledTo(name string) (int64, error) {
	f, err := vfs.OS{}.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return math.MaxInt64, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	block := make([]byte, 64<<10)
	for end := info.Size(); end > 0; {
		begin := max(0, end-int64(len(block)))
		n, err := f.ReadAt(block[:end-begin], begin)
		if err != nil && err != io.EOF { // which it is where the log was opened meanwhile
			return 0, err
		}
		if at := bytes.LastIndexByte(block[:n], '\n'); at >= 0 {
			return begin + int64(at) + 1, nil
		}
		end = begin
	}
	return 0, nil
}

// watcher is how far one log is read.
type watcher struct {
	dir       string
	origin    string
	verifiers note.Verifiers
	filter    *Filter
	cut       func(dir string, from int64)
	hasher    *leafHasher

	waited int        // how often an event that is sealed was not there
	first  int64      // of the segment
	offset int64      // of the next line there
	lines  []readLine // before it
	from   int64      // what comes before this index is passed over
	began  int64      // until that is known: the segment that it began with,
	passed int64      // and how much of that was there then
	before *watcher   // the same when the segment before this one ended
	kept   *unpacked  // the segment, where it is compressed; nil for none
	bytes  int64      // that were read of segments
}

// unpacked is a compressed segment that is being read. It is kept from one look to the next: to come to a place in it, everything
// before has to be decompressed.
type unpacked struct {
	first int64
	file  *segmentReader
	lines *lineReader
	ctx   context.Context // of the look under way
}

// release closes what was kept.
func (l *watcher) release() {
	if l.kept != nil {
		l.kept.file.Close()
		l.kept = nil
	}
}

// readLine is a line that was read.
type readLine struct {
	offset int64
	hash   tlog.Hash
}

func (l *watcher) index() int64 { return l.first + int64(len(l.lines)) }

// poll appends what is new to list, at most a batch of it, and tells whether there is more.
func (l *watcher) poll(ctx context.Context, list *[]Entry) (more bool, err error) {
	room := watchBatch
	sealed, err := newestCheckpoint(l.dir, l.origin, l.verifiers)
	if err != nil { // which nothing here goes by but patience
		sealed = checkpoint{}
	}
	for {
		end, err := l.segment(ctx, list, &room)
		if err != nil || room <= 0 {
			return true, err
		}
		if !end {
			continue // in another segment
		}
		_, err = os.Lstat(segmentPath(l.dir, l.index()))
		if errors.Is(err, fs.ErrNotExist) {
			_, err = os.Lstat(compressedPath(l.dir, l.index()))
		}
		switch {
		case len(l.lines) > 0 && err == nil:
			l.before = &watcher{first: l.first, offset: l.offset, lines: l.lines}
			l.first, l.offset, l.lines = l.index(), 0, nil
		case err == nil || errors.Is(err, fs.ErrNotExist):
			l.from = min(l.from, l.index()) // the end of what there was
			if l.waited++; l.index() >= sealed.tree.N {
				l.waited = 0
			}
			if l.waited > 0 {
				if deleted, err := l.retained(); deleted || err != nil {
					return deleted, err
				}
			}
			if l.waited > patience {
				return false, &TamperError{segmentsName, l.index(), "it is sealed, and no whole event is there"}
			}
			return false, nil
		default:
			return false, fmt.Errorf("audit: %w", err)
		}
	}
}

// segment reads what is new in the segment while there is room, and tells whether that was all.
func (l *watcher) segment(ctx context.Context, list *[]Entry, room *int) (end bool, err error) {
	name := segmentPath(l.dir, l.first)
	lines, done, err := l.open(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return l.back()
	}
	if err != nil {
		return false, err
	}
	defer done()
	for *room > 0 {
		line, err := lines.next()
		if err == io.EOF || slices.Contains(line, 0) {
			return true, nil // it is not whole yet, or was never filled in and will be cut off
		}
		var e Entry
		if err == nil {
			e, err = parseEntry(line[:len(line)-1], l.index())
		}
		if err != nil {
			return false, fmt.Errorf("audit: %s, event %d: %w", name, l.index(), err)
		}
		if l.from == math.MaxInt64 && (l.first != l.began || l.offset >= l.passed) {
			l.from = e.Index
		}
		l.took(line)
		if e.Index >= l.from && l.filter.match(&e) {
			*list = append(*list, e)
			*room -= len(line)
		}
	}
	return false, nil
}

// open returns the segment's lines from the next one on. Done is to be called when they were read. The error wraps
// [fs.ErrNotExist] where the segment is gone.
func (l *watcher) open(ctx context.Context) (lines *lineReader, done func(), err error) {
	if k := l.kept; k != nil && k.first == l.first {
		k.ctx = ctx
		return k.lines, func() {}, nil
	}
	l.release()
	k := &unpacked{first: l.first, ctx: ctx}
	f, err := openSegment(vfs.OS{}, l.dir, l.first, math.MaxInt64, func(raw io.Reader) io.Reader { return watched{l, k, raw} })
	if err != nil {
		return nil, nil, fmt.Errorf("audit: %w", err)
	}
	if f.compressed { // an old one, which stays as it is
		err = f.skip(l.offset)
	} else {
		err = l.resume(ctx, f.file)
		f.Reader = ctxReader{ctx, io.NewSectionReader(f.file, l.offset, math.MaxInt64-l.offset)}
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("audit: reading %s: %w", f.name, err)
	}
	lines = newLineReader(f)
	if !f.compressed {
		return lines, func() { f.Close() }, nil
	}
	k.file, k.lines = f, lines
	l.kept = k
	return lines, func() {}, nil
}

// watched reads a segment for the look that is under way.
type watched struct {
	l *watcher
	k *unpacked
	r io.Reader
}

func (r watched) Read(p []byte) (int, error) {
	n, err := ctxReader{r.k.ctx, r.r}.Read(p)
	r.l.bytes += int64(n)
	return n, err
}

func (l *watcher) took(line []byte) {
	l.lines = append(l.lines, readLine{l.offset, l.hasher.leaf(line[:len(line)-1])})
	l.offset += int64(len(line))
}

// resume looks whether the newest line that was read is still there. Where it is not, the log's tail was cut off, and perhaps
// written anew: what is left of it is found from the segment's beginning.
func (l *watcher) resume(ctx context.Context, f vfs.File) error {
	if len(l.lines) == 0 {
		return nil
	}
	last := l.lines[len(l.lines)-1]
	line, err := newLineReader(io.NewSectionReader(f, last.offset, l.offset-last.offset)).next()
	if err == nil && l.hasher.leaf(line[:len(line)-1]) == last.hash {
		return nil
	}
	if err != nil && err != io.EOF && err != errLongLine {
		return err
	}
	known := l.lines
	l.lines, l.offset = nil, 0
	lines := newLineReader(ctxReader{ctx, io.NewSectionReader(f, 0, math.MaxInt64)})
	for _, k := range known {
		line, err := lines.next()
		if err != nil && err != io.EOF && err != errLongLine {
			return err
		}
		if err != nil || l.hasher.leaf(line[:len(line)-1]) != k.hash {
			break
		}
		l.took(line)
	}
	l.lost()
	return nil
}

// retained looks whether retention deleted the segment that is gone. Where all of it had been read, it goes on with the next; where
// anything was not, that is an error, and none about the log.
func (l *watcher) retained() (deleted bool, err error) {
	p, err := recordOf(l.dir, l.verifiers, nil)
	if err != nil || p.first() <= l.first {
		return false, err
	}
	if p.first() > l.index() {
		return false, fmt.Errorf("audit: retention has deleted events %d to %d of %s before they were followed; follow the log again, which then begins with event %d",
			l.index(), p.first()-1, l.dir, p.first())
	}
	l.first, l.offset, l.lines, l.before = l.index(), 0, nil, nil
	return true, nil
}

// back goes to the segment before one that is gone: it was begun before a crash, and nothing in it was acknowledged.
func (l *watcher) back() (end bool, err error) {
	if deleted, err := l.retained(); deleted || err != nil {
		return false, err
	}
	if l.before == nil {
		return false, fmt.Errorf("audit: %s is gone, and with it what comes next; follow the log again from now on", segmentPath(l.dir, l.first))
	}
	gone := len(l.lines) > 0
	l.first, l.offset, l.lines, l.before = l.before.first, l.before.offset, l.before.lines, nil
	if gone {
		l.lost()
	}
	return false, nil
}

// lost says that what was returned from here on is gone, and has what stands there now returned again.
func (l *watcher) lost() {
	if l.from == math.MaxInt64 {
		return // nothing was
	}
	at := max(l.from, l.index())
	l.from = at
	if l.cut != nil {
		l.cut(l.dir, at)
	}
}
