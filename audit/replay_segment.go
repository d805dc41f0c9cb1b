package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"
)

// segment reads one segment beside its leaves.
func (r *replay) segment(ctx context.Context, first int64, last bool) (err error) {
	name := r.rel(segmentPath(r.dir, first))
	if first != r.tree.size {
		return r.tampered(name, r.tree.size, "the segment begins with event %d: a segment before it is missing, was cut or has too much", first)
	}
	// The leaves first: while somebody writes the log, the lines are always ahead of them.
	leaves, closeLeaves, err := r.openLeaves(first)
	if err != nil {
		return err
	}
	defer closeLeaves()
	f, _, err := r.open(segmentPath(r.dir, first))
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close()

	r.tail = tail{first: first}
	lines := newLineReader(&countingReader{r: f, replay: r})
	for {
		if r.tree.size&0xff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := lines.next()
		if err == errLongLine {
			return r.tampered(name, r.tree.size, "%v", err)
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("audit: reading %s: %w", name, err)
		}
		if unsynced := last && r.next == nil && bytes.IndexByte(line, 0) >= 0; err == io.EOF || unsynced {
			return r.endSegment(name, line, lines.r, leaves, last, unsynced)
		}
		leaf, err := leaves.next()
		if err != nil {
			return err
		}
		// The newest segment's leaves may lag behind its lines.
		if !last && len(leaf) != tlog.HashSize {
			return r.tampered(leaves.name, r.tree.size, "its leaf hash is missing")
		}
		if err := r.line(name, line[:len(line)-1], leaf); err != nil {
			return err
		}
		r.tail.size += int64(len(line))
		if r.tree.size == r.sealed.tree.N {
			r.tail.sealed = r.tail.size
		}
	}
}

// lineReader reads lines of any length up to a little more than the longest event's.
type lineReader struct {
	r    *bufio.Reader
	long []byte
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, 256<<10)} }

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
	r.tail.torn = int64(len(rest))
	if unsynced {
		n, err := io.Copy(io.Discard, lines)
		if err != nil {
			return fmt.Errorf("audit: reading %s: %w", name, err)
		}
		r.tail.torn += n
	} else if len(rest) > 0 && (!last || r.next != nil || !beginsLine(rest)) {
		return r.tampered(name, r.tree.size, "the segment ends with %d bytes that are no whole event", len(rest))
	}
	r.tail.leaves, r.tail.stray = leaves.count, leaves.stray
	extra, err := leaves.next()
	if err != nil {
		return err
	}
	if len(extra) > 0 {
		return r.tampered(leaves.name, r.tree.size, "there is a leaf hash and no event")
	}
	return nil
}

// leafReader reads a segment's leaf hashes.
type leafReader struct {
	r     *bufio.Reader // nil where the file is missing
	name  string
	count int64 // whole hashes read
	stray int64 // bytes of an unfinished one
	buf   tlog.Hash
}

func (r *replay) openLeaves(first int64) (*leafReader, func() error, error) {
	path := leavesPath(r.dir, first)
	l := &leafReader{name: r.rel(path)}
	f, size, err := r.open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, func() error { return nil }, nil
	case err != nil:
		return nil, nil, fmt.Errorf("audit: %w", err)
	}
	l.r = bufio.NewReaderSize(io.LimitReader(f, size), 64<<10)
	return l, f.Close, nil
}

// next returns the next leaf hash: of the newest segment's file perhaps only the beginning, or nothing at its end.
func (l *leafReader) next() ([]byte, error) {
	if l.r == nil {
		return nil, nil
	}
	n, err := io.ReadFull(l.r, l.buf[:])
	switch {
	case err == nil:
		l.count++
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		l.stray += int64(n)
	default:
		return nil, fmt.Errorf("audit: reading %s: %w", l.name, err)
	}
	return l.buf[:n], nil
}

type countingReader struct {
	r      io.Reader
	replay *replay
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.replay.read += int64(n)
	if c.replay.progress != nil {
		c.replay.progress(c.replay.read, c.replay.total)
	}
	return n, err
}
