package keys

import (
	"fmt"
	"io"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/streamingaead/aesgcmhkdf"
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// blobKey is one streaming key. Its primitive is a copy of the key and a few numbers, so it is made for each stream
// and not kept.
type blobKey struct {
	id  uint32
	key *aesgcmhkdf.Key
}

// newBlobKeys returns the enabled keys of a keyset, the primary first.
func newBlobKeys(h *keyset.Handle) ([]blobKey, error) {
	keys := make([]blobKey, 0, h.Len())
	err := enabled(h, func(e *keyset.Entry) error {
		k, ok := e.Key().(*aesgcmhkdf.Key)
		if !ok {
			return fmt.Errorf("key %d is no AES-GCM-HKDF streaming key; upgrade this process if a newer one made it", e.KeyID())
		}
		p := k.Parameters().(*aesgcmhkdf.Parameters)
		if p.HKDFHashType() != aesgcmhkdf.SHA256 || p.SegmentSizeInBytes() != BlobSegmentSize || p.DerivedKeySizeInBytes() != 32 {
			return fmt.Errorf("key %d has parameters that this version does not know; upgrade this process", e.KeyID())
		}
		keys = append(keys, blobKey{e.KeyID(), k})
		return nil
	})
	return keys, err
}

func (k blobKey) primitive() (*subtle.AESGCMHKDF, error) {
	return subtle.NewAESGCMHKDF(k.key.KeyBytes().Data(insecuresecretdataaccess.Token{}), "SHA256", 32, BlobSegmentSize, 0)
}

// NewEncryptingWriter implements [tink.StreamingAEAD].
func (k blobKey) NewEncryptingWriter(w io.Writer, associatedData []byte) (io.WriteCloser, error) {
	p, err := k.primitive()
	if err != nil {
		return nil, err
	}
	return p.NewEncryptingWriter(w, associatedData)
}

// NewDecryptingReader implements [tink.StreamingAEAD].
func (k blobKey) NewDecryptingReader(r io.Reader, associatedData []byte) (io.Reader, error) {
	p, err := k.primitive()
	if err != nil {
		return nil, err
	}
	return p.NewDecryptingReader(r, associatedData)
}
