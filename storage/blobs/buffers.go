package blobs

import "sync"

// buffers are for segments that are read: one is made, or comes from an object that was closed. What was in it is
// overwritten before that, so that nothing of one tenant's is in memory that serves another.
type buffers struct{ pool sync.Pool }

// minPooled is the shortest buffer that is worth keeping: making a large one, and collecting it, costs as much as
// decrypting what goes into it.
const minPooled = 16 << 10

// buffer is a segment's ciphertext, decrypted in place. Nobody but its object may refer to it.
type buffer struct {
	bytes []byte
	owner *buffers // nil where it is not kept
}

func (b *buffers) get(n int) *buffer {
	if n < minPooled {
		return &buffer{bytes: make([]byte, n)}
	}
	if kept, ok := b.pool.Get().(*buffer); ok {
		return kept
	}
	return &buffer{make([]byte, segmentSize), b}
}

// release gives the buffer back. It must not be used afterwards.
func (b *buffer) release() {
	if b == nil || b.owner == nil {
		return
	}
	clear(b.bytes)
	b.owner.pool.Put(b)
}
