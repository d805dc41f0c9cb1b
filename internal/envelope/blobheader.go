package envelope

import (
	"encoding/binary"
	"fmt"
)

// BlobHeaderSize is the length of what stands before an object's Tink stream, in bytes.
const BlobHeaderSize = 8

// blobMagic begins every object: "SRB" and the format's version.
var blobMagic = [4]byte{'S', 'R', 'B', 1}

// AppendBlobHeader appends the header of an object: "SRB", the version, and the id of the streaming key that seals
// it as a big-endian uint32. Tink's streams do not name their key themselves.
func AppendBlobHeader(dst []byte, keyID uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, blobMagic[:]...), keyID)
}

// ParseBlobHeader is the inverse of [AppendBlobHeader]. The error wraps [ErrMalformed].
func ParseBlobHeader(b []byte) (keyID uint32, err error) {
	if len(b) != BlobHeaderSize || [4]byte(b) != blobMagic {
		return 0, fmt.Errorf("%w: not an object header of version %d", ErrMalformed, blobMagic[3])
	}
	return binary.BigEndian.Uint32(b[4:]), nil
}
