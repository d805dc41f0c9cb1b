package audit

import (
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// batch is the lines that share one write and one sync. The writer has one and uses it again and again.
type batch struct {
	buf    []byte
	lines  []batchLine
	hashes []tlog.Hash // of the lines
	items  []*item
}

// batchLine is one line of a batch.
type batchLine struct {
	end    int          // its end in buf, newline included
	tenant *tenantState // whose tree it enters; nil for none
	item   *item        // whom to tell; nil for nobody
	about  subject
}

func (b *batch) reset() {
	const keep = 2 * maxBatch // a burst's buffer is not kept for ever
	if cap(b.buf) > keep {
		b.buf = nil
	}
	clear(b.items)
	clear(b.lines)
	b.buf, b.lines, b.hashes, b.items = b.buf[:0], b.lines[:0], b.hashes[:0], b.items[:0]
}

// add appends an event with its tenant's next number. One of no tenant's numbers has none.
func (b *batch) add(line []byte, t *tenantState, it *item, about subject) {
	if t != nil {
		t.assigned++
		b.buf = strconv.AppendInt(append(b.buf, line...), t.assigned, 10)
	} else {
		b.buf = append(b.buf, line[:len(line)-len(sequenceKey)]...)
	}
	b.buf = append(b.buf, lineEnd...)
	b.lines = append(b.lines, batchLine{len(b.buf), t, it, about})
}

// hash computes the lines' leaf hashes, and ends the last line with the tag that authenticates them, where there is a
// chain.
func (b *batch) hash(h *leafHasher, c *chain, first int64) {
	start := 0
	for _, l := range b.lines {
		b.hashes = append(b.hashes, h.leaf(b.buf[start:l.end-1]))
		start = l.end
	}
	if c == nil {
		return
	}
	last := len(b.lines) - 1
	start = 0
	if last > 0 {
		start = b.lines[last-1].end
	}
	b.buf = appendTag(b.buf[:len(b.buf)-len(lineEnd)], c.position, c.mac(first, b.hashes))
	b.lines[last].end = len(b.buf)
	b.hashes[last] = h.leaf(b.buf[start : len(b.buf)-1])
}

// acknowledge tells everybody who waits.
func (b *batch) acknowledge(err error) {
	for i := range b.lines {
		if it := b.lines[i].item; it != nil {
			b.lines[i].item = nil
			it.done <- err
		}
	}
}
