package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// segment reads one segment beside its leaves.
func (r *replay) segment(ctx context.Context, first int64, last bool) (err error) {
	name := r.rel(segmentPath(r.dir, first))
	from := resumed{first: first}
	if r.resumed != nil && r.resumed.first == first {
		from = *r.resumed
	} else if first != r.tree.size {
		return r.tampered(name, r.tree.size, "the segment begins with event %d: a segment before it is missing, was cut or has too much", first)
	}
	if r.resumed == nil || r.resumed.first != first {
		r.summary = newSummary(first)
	}
	r.tail = tail{first: first, size: from.lines, sealed: from.lines, limit: r.tail.limit, leafLimit: r.tail.leafLimit}
	limit, leafLimit := int64(math.MaxInt64), int64(math.MaxInt64)
	if last {
		limit, leafLimit = r.tail.limit, r.tail.leafLimit
	}
	leaves, closeLeaves, err := r.openLeaves(first, from.leaves, leafLimit)
	if err != nil {
		return err
	}
	defer closeLeaves()
	s, err := openSegment(r.fs, r.dir, first, limit, func(raw io.Reader) io.Reader { return &countingReader{ctxReader{r.ctx, raw}, r.count} })
	if err != nil {
		return r.unreadable(compressedPath(r.dir, first), err)
	}
	defer s.Close()
	name = r.rel(s.name)
	if last && s.compressed { // meanwhile: there are newer ones by now
		s.Reader = io.LimitReader(s.Reader, limit)
	}
	if err := s.skip(from.lines); err == io.EOF {
		return r.tampered(name, -1, "%d bytes are under a checkpoint, and it has fewer: the log was cut", from.lines)
	} else if err != nil {
		return r.unreadable(s.name, err)
	}
	lines := r.lines(s, last)
	defer lines.close()
	for {
		line, known, err := lines.next()
		r.tell()
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		unsynced := last && r.behind() && bytes.IndexByte(line, 0) >= 0
		if err == errLongLine && !unsynced {
			return r.tampered(name, r.tree.size, "%v", err)
		}
		if err != nil && err != io.EOF && err != errLongLine && s.damaged() {
			return r.tampered(name, r.tree.size, "it does not decompress: %v", err)
		}
		if err != nil && err != io.EOF && err != errLongLine {
			return fmt.Errorf("audit: reading %s: %w", name, err)
		}
		if err == io.EOF || unsynced {
			return r.endSegment(name, line, lines.rest(), leaves, last, unsynced)
		}
		leaf, err := leaves.next()
		if err != nil {
			return err
		}
		// The newest segment's leaves may lag behind its lines.
		if !last && len(leaf) != tlog.HashSize {
			return r.tampered(leaves.name, r.tree.size, "its leaf hash is missing")
		}
		if line = line[:len(line)-1]; r.behind() {
			err = r.tailLine(name, line, leaf)
		} else {
			err = r.line(name, line, known, leaf)
		}
		if err != nil {
			return err
		}
		if leaves.compare(r.hash); !last && leaves.matched < leaves.hashes {
			return r.tampered(leaves.name, leaves.matched+first, "its bytes do not have the hash that was recorded for them")
		}
	}
}

// unreadable is the error about a segment that cannot be opened.
func (r *replay) unreadable(name string, err error) error {
	var bad *frameError
	switch {
	case errors.Is(err, vfs.ErrNotRegular):
		return r.tampered(r.rel(name), -1, "%v; put the file itself there", vfs.ErrNotRegular)
	case errors.As(err, &bad):
		return r.tampered(r.rel(name), -1, "%v", bad.err)
	}
	return fmt.Errorf("audit: %w", err)
}

// lineReader reads lines of any length up to a little more than the longest event's.
type lineReader struct {
	r    *bufio.Reader
	long []byte
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next line with its newline, or what is left with io.EOF. The line is valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	l.long = append(l.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) && len(l.long) <= maxLine {
		line, err = l.r.ReadSlice('\n')
		l.long = append(l.long, line...)
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		err = errLongLine
	}
	return l.long, err
}

var errLongLine = errors.New("a line is longer than any event")

// endSegment looks at what stands behind the last whole line. Only the newest segment may have anything there: what a
// write that was never acknowledged left. That is the beginning of a line; or, behind the last checkpoint, whatever
// follows a line that was never filled in, for no line that was synced holds a NUL.
func (r *replay) endSegment(name string, rest []byte, lines io.Reader, leaves *leafReader, last, unsynced bool) error {
	if !last && len(r.batches.lines) > 0 {
		return r.tampered(name, r.tree.size, "the segment ends with %d events that are no whole batch", len(r.batches.lines))
	}
	r.dropBatch()
	if unsynced {
		var behind unfilled
		behind.Write(rest)
		_, err := io.Copy(&behind, lines)
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("audit: reading %s: %w", name, err)
		}
		r.tail.torn += behind.filled
	} else if len(rest) > 0 && (!last || !r.behind() || !beginsLine(rest)) {
		return r.tampered(name, r.tree.size, "the segment ends with %d bytes that are no whole event", len(rest))
	}
	if !unsynced {
		r.tail.torn += int64(len(rest))
	}
	r.tail.leaves = leaves.matched
	return r.endLeaves(leaves, last)
}

// unfilled tells what of the bytes written to it stands before the zeros at the end, which the log's writer or its file
// system put there for events to come.
type unfilled struct{ filled, all int64 }

func (u *unfilled) Write(p []byte) (int, error) {
	if n := len(bytes.TrimRight(p, "\x00")); n > 0 {
		u.filled = u.all + int64(n)
	}
	u.all += int64(len(p))
	return len(p), nil
}

// endLeaves looks at what stands behind the last line's leaf hash. Leaves are written after their lines are synced, so
// where events stand behind the last checkpoint, a loss of power may have left zeros.
func (r *replay) endLeaves(leaves *leafReader, last bool) error {
	mayLag := last && r.behind() && (r.tail.torn > 0 || r.tree.size > r.sealed.tree.N)
	for {
		extra, err := leaves.next()
		if err != nil {
			return err
		}
		if len(extra) == 0 {
			break
		}
		if !mayLag || len(bytes.Trim(extra, "\x00")) > 0 {
			return r.tampered(leaves.name, r.tree.size, "there is a leaf hash and no event")
		}
	}
	r.tail.stray = leaves.read - leaves.matched*tlog.HashSize
	return nil
}

// leafReader reads a segment's leaf hashes.
type leafReader struct {
	r       *bufio.Reader // nil where the file is missing
	name    string
	read    int64 // bytes
	hashes  int64 // whole ones among them
	matched int64 // leading ones that are those of the lines
	buf     tlog.Hash
}

func (r *replay) openLeaves(first, skip, limit int64) (*leafReader, func() error, error) {
	path := leavesPath(r.dir, first)
	l := &leafReader{name: r.rel(path)}
	f, size, err := r.open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, func() error { return nil }, nil
	case err != nil:
		return nil, nil, fmt.Errorf("audit: %w", err)
	}
	if size = min(size, limit); size < skip*tlog.HashSize {
		return l, f.Close, nil // as one that is missing: a checkpoint seals more
	}
	l.read, l.hashes, l.matched = skip*tlog.HashSize, skip, skip
	l.r = bufio.NewReaderSize(ctxReader{r.ctx, io.NewSectionReader(f, l.read, size-l.read)}, 64<<10)
	return l, f.Close, nil
}

// next returns the next leaf hash: of the newest segment's file perhaps only the beginning, or nothing at its end.
func (l *leafReader) next() ([]byte, error) {
	if l.r == nil {
		return nil, nil
	}
	n, err := io.ReadFull(l.r, l.buf[:])
	l.read += int64(n)
	switch {
	case err == nil:
		l.hashes++
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, fmt.Errorf("audit: reading %s: %w", l.name, err)
	}
	return l.buf[:n], nil
}

// compare counts the hash that next returned, where it is whole and right, and so are all before it.
func (l *leafReader) compare(hash tlog.Hash) {
	if l.matched == l.hashes-1 && l.buf == hash {
		l.matched++
	}
}
