package blobs

import (
	"bytes"
	"errors"
	"hash"
	"io"
)

// proof opens what was sealed before it goes on to the store: each segment of an object, by other code than sealed it. The
// object's layout is known beforehand: what is sealed anew is as long as it was.
type proof struct {
	to       io.Writer
	segments *segments
	layout   layout
	sum      hash.Hash // of what was opened
	next     int64     // the segment that is being written
	held     []byte    // of it
	opened   []byte
}

var errUnproven = errors.New("blobs: what was sealed anew does not open as what was read; nothing was replaced, and this process or its memory is not to be trusted")

// Write implements io.Writer.
func (p *proof) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		if p.next == p.layout.segments {
			return written, errUnproven
		}
		start, end := p.layout.bounds(p.next)
		n := min(len(b), int(end-start)-len(p.held))
		p.held = append(p.held, b[:n]...)
		b = b[n:]
		if len(p.held) == int(end-start) {
			if err := p.pass(); err != nil {
				return written, err
			}
		}
		written += n
	}
	return written, nil
}

// pass opens the segment that is held, and lets it go on.
func (p *proof) pass() error {
	p.opened = append(p.opened[:0], p.held...)
	plain, err := p.segments.open(uint32(p.next), p.layout.isLast(p.next), p.opened)
	if err != nil {
		return errUnproven
	}
	p.sum.Write(plain)
	clear(plain)
	_, err = p.to.Write(p.held)
	p.held = p.held[:0]
	p.next++
	return err
}

// whole reports whether all was written and is what has the SHA-256 sum.
func (p *proof) whole(sum []byte) error {
	if p.next != p.layout.segments || len(p.held) > 0 || !bytes.Equal(p.sum.Sum(nil), sum) {
		return errUnproven
	}
	return nil
}
