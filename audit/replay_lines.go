package audit

import (
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// lineFacts are what can be said of a line by itself.
type lineFacts struct {
	hash tlog.Hash // as a leaf
	meta lineMeta
	ok   bool // it has the form of an event
}

// factsOf returns a function for one goroutine that works out what can be said of a line.
func factsOf() func(line []byte) lineFacts {
	hasher := newLeafHasher()
	return func(line []byte) (f lineFacts) {
		f.hash = hasher.leaf(line)
		f.meta, f.ok = parseMeta(line)
		return f
	}
}

// segmentLines are the lines of a segment and what can be said of each.
type segmentLines interface {
	// next returns a line with its newline, or what is left with an error. Both are valid until the next call.
	next() ([]byte, lineFacts, error)
	// rest reads what is behind what next returned last. Only the last segment has it.
	rest() io.Reader
	close()
}

// lines reads a segment. The last one is read by this goroutine alone: its end needs a closer look.
func (r *replay) lines(from io.Reader, last bool) segmentLines {
	if !last && r.parallel {
		return aheadLines{newAhead(r.ctx, from, factsOf)}
	}
	return &ownLines{newLineReader(from), factsOf()}
}

// count notes that so many bytes were read, by the goroutine that reads, which is ahead.
func (r *replay) count(n int) { r.read.Add(int64(n)) }

// tell reports what was read since it was told, by the goroutine that called run.
func (r *replay) tell() {
	if r.progress == nil {
		return
	}
	if read := r.read.Load(); read != r.told {
		r.told = read
		r.progress(read, r.total)
	}
}

type aheadLines struct{ *ahead[lineFacts] }

func (aheadLines) rest() io.Reader { return nil }

type ownLines struct {
	*lineReader
	facts func(line []byte) lineFacts
}

func (l *ownLines) next() (line []byte, f lineFacts, err error) {
	if line, err = l.lineReader.next(); err == nil {
		f = l.facts(line[:len(line)-1])
	}
	return line, f, err
}

func (l *ownLines) rest() io.Reader { return l.r }
func (l *ownLines) close()          {}

type countingReader struct {
	r     io.Reader
	count func(n int)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.count(n)
	return n, err
}
