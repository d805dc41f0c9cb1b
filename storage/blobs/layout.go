package blobs

import (
	"math"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
)

// Sizes of the stored format, in bytes. An object is the header of internal/envelope followed by one ciphertext of
// Tink's AES256-GCM-HKDF streaming AEAD with 64 KiB segments, whose wire format is specified at
// https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming: a header (its length in one byte, a salt
// of 32 bytes, a nonce prefix of 7), then segments of 64 KiB, each ending in a tag of 16 bytes. The first segment
// is shorter by Tink's header, the last one by what is missing.
const (
	objectHeaderSize = envelope.BlobHeaderSize
	streamHeaderSize = 1 + 32 + 7
	headersSize      = objectHeaderSize + streamHeaderSize
	segmentSize      = keys.BlobSegmentSize
	tagSize          = 16
	plainSegmentSize = segmentSize - tagSize
	// SealedOverhead is by how much the smallest object is longer in the store than its content: the headers and one
	// tag. Every further 65,520 bytes of content, the first 65,480 taken as such, add 16.
	SealedOverhead = headersSize + tagSize
)

// layout is where the segments of an object lie, as far as the object's size in the store tells.
type layout struct {
	stored   int64 // the object's size in the store
	segments int64 // at least 1
	size     int64 // of the plaintext
}

// layoutOf returns the layout of an object of the given stored size. It is false for a size that no object has.
func layoutOf(stored int64) (layout, bool) {
	stream := stored - objectHeaderSize
	if stream < streamHeaderSize+tagSize {
		return layout{}, false
	}
	n := (stream + segmentSize - 1) / segmentSize
	// Only an empty object has an empty segment; and Tink numbers segments with 32 bits, of which the highest is no number.
	last := stream - (n-1)*segmentSize
	if n > 1 && last <= tagSize || n > math.MaxUint32 {
		return layout{}, false
	}
	return layout{stored, n, stream - streamHeaderSize - n*tagSize}, true
}

// segmentOf returns the index of the segment that holds the plaintext byte at offset, which is below the size.
func (l layout) segmentOf(offset int64) int64 { return (offset + streamHeaderSize) / plainSegmentSize }

// plainStart returns the offset of a segment's first byte in the plaintext.
func (l layout) plainStart(segment int64) int64 {
	return max(0, segment*plainSegmentSize-streamHeaderSize)
}

// bounds returns where a segment's ciphertext begins and ends in the stored object.
func (l layout) bounds(segment int64) (start, end int64) {
	start = objectHeaderSize + segment*segmentSize
	end = min(start+segmentSize, l.stored)
	if segment == 0 {
		start = headersSize
	}
	return start, end
}

// isLast reports whether segment is the last one.
func (l layout) isLast(segment int64) bool { return segment == l.segments-1 }
