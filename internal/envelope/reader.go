package envelope

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is wrapped by every error about bytes that do not follow FORMAT.md. Such errors never repeat them.
var ErrMalformed = errors.New("envelope: malformed bytes")

// reader takes length-prefixed parts off the front of b. After the first part that is not there everything it
// returns is zero and ok stays false, so that callers check once.
type reader struct {
	b  []byte
	ok bool
}

func newReader(b []byte) *reader { return &reader{b, true} }

func (r *reader) take(n int) []byte {
	if !r.ok || n < 0 || n > len(r.b) {
		r.ok = false
		return nil
	}
	part := r.b[:n:n]
	r.b = r.b[n:]
	return part
}

func (r *reader) byte() byte {
	if b := r.take(1); r.ok {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); r.ok {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); r.ok {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// component is the inverse of the function component. The result shares memory with the input.
func (r *reader) component() []byte {
	n := r.uint32()
	if uint64(n) > uint64(len(r.b)) {
		r.ok = false
		return nil
	}
	return r.take(int(n))
}

// done reports whether all parts were there and nothing is left.
func (r *reader) done() bool { return r.ok && len(r.b) == 0 }
