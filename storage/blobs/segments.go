package blobs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/streamingaead/aesgcmhkdf"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
)

// segments opens the segments of one object's stream in any order. It is the reading half of Tink's AES-GCM-HKDF
// streaming AEAD (https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming, and Hoang, Reyhanitabar,
// Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, CRYPTO 2015, as STREAM),
// whose implementation in Go reads from the beginning only. The tests hold it against Tink's.
type segments struct {
	aead  cipher.AEAD
	nonce [12]byte // the prefix of 7 bytes; the segment's index and the last-segment flag are filled in
}

// newSegments takes the first bytes of an object: its header and Tink's.
func newSegments(k tenantkeys.Keys, headers, ad []byte) (*segments, error) {
	if len(headers) != headersSize {
		return nil, isolation("the object's headers are incomplete")
	}
	id, err := envelope.ParseBlobHeader(headers[:objectHeaderSize])
	if err != nil {
		return nil, isolation("the object does not begin with this package's header")
	}
	key, ok := k.BlobKey(id)
	switch {
	case k.BlobKeyDisabled(id):
		return nil, fmt.Errorf("%w: the object needs the streaming key %d; Keyring.EnableKey lets it be opened, and Reseal moves it to a newer key",
			keys.ErrKeyDisabled, id)
	case !ok:
		return nil, isolation("the object is sealed with key %d, which the tenant has not, or not any more", id)
	}
	return deriveSegments(key, headers[objectHeaderSize:], ad)
}

func deriveSegments(key *aesgcmhkdf.Key, header, ad []byte) (*segments, error) {
	if header[0] != streamHeaderSize {
		return nil, isolation("the object's stream header is damaged")
	}
	salt, prefix := header[1:33], header[33:]
	ikm := key.KeyBytes().Data(insecuresecretdataaccess.Token{})
	defer clear(ikm)
	derived, err := hkdf.Key(sha256.New, ikm, salt, string(ad), 32)
	if err != nil {
		return nil, fmt.Errorf("blobs: derive the object's key: %w", err)
	}
	defer clear(derived)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("blobs: derive the object's key: %w", err)
	}
	s := new(segments)
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("blobs: derive the object's key: %w", err)
	}
	copy(s.nonce[:], prefix)
	return s, nil
}

// open decrypts a segment in place. A segment of another object or another place in this one, one that is or is not
// the last against what last says, and a damaged one are errors; then sealed is cleared.
func (s *segments) open(index uint32, last bool, sealed []byte) ([]byte, error) {
	binary.BigEndian.PutUint32(s.nonce[7:], index)
	s.nonce[11] = 0
	if last {
		s.nonce[11] = 1
	}
	plain, err := s.aead.Open(sealed[:0], s.nonce[:], sealed, nil)
	if err != nil {
		clear(sealed)
		return nil, isolation("segment %d of the object does not open", index)
	}
	return plain, nil
}
