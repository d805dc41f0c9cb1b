package keys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/daead/aessiv"
	"github.com/tink-crypto/tink-go/v2/daead/subtle"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// nameKeySize is the length of an AES256-SIV key, in bytes: one half authenticates, the other encrypts (RFC 5297).
const nameKeySize = subtle.AESSIVKeySize

// nameKey is the key of objects' names. Its primitive takes well under a microsecond to make and has four times its
// size, so it is made for each operation and not kept: most tenants have no use for it.
type nameKey struct {
	id  uint32
	key [nameKeySize]byte
}

// newNameKey returns the one enabled key of a keyset. Names are looked up, not only opened: an object that was named
// under an older key would not be found under a newer one, so a keyset that was rotated is for a version that knows how.
func newNameKey(h *keyset.Handle) (*nameKey, error) {
	var k *nameKey
	err := enabled(h, func(e *keyset.Entry) error {
		key, ok := e.Key().(*aessiv.Key)
		if !ok || key.KeyBytes().Len() != nameKeySize || len(key.OutputPrefix()) != 5 {
			return fmt.Errorf("key %d is no AES256-SIV key with Tink's output prefix; upgrade this process if a newer one made it", e.KeyID())
		}
		if k != nil {
			return errors.New("it has several enabled keys, which this version does not know; upgrade this process")
		}
		k = &nameKey{id: e.KeyID(), key: [nameKeySize]byte(key.KeyBytes().Data(insecuresecretdataaccess.Token{}))}
		return nil
	})
	return k, err
}

// primitive returns what Tink's own factory makes of the keyset, without that one's monitoring and maps.
func (k *nameKey) primitive() (tink.DeterministicAEAD, error) {
	siv, err := subtle.NewAESSIV(k.key[:])
	if err != nil {
		return nil, err
	}
	p := nameAEAD{siv: siv}
	p.prefix[0] = 1
	binary.BigEndian.PutUint32(p.prefix[1:], k.id)
	return &p, nil
}

// nameAEAD is AES-SIV with Tink's output prefix: 1 and the key's id.
type nameAEAD struct {
	siv    *subtle.AESSIV
	prefix [5]byte
}

// EncryptDeterministically implements [tink.DeterministicAEAD].
func (p *nameAEAD) EncryptDeterministically(plaintext, associatedData []byte) ([]byte, error) {
	sealed, err := p.siv.EncryptDeterministically(plaintext, associatedData)
	if err != nil {
		return nil, err
	}
	return slices.Insert(sealed, 0, p.prefix[:]...), nil
}

// DecryptDeterministically implements [tink.DeterministicAEAD].
func (p *nameAEAD) DecryptDeterministically(ciphertext, associatedData []byte) ([]byte, error) {
	if len(ciphertext) < len(p.prefix) || [5]byte(ciphertext) != p.prefix {
		return nil, errDecrypt
	}
	return p.siv.DecryptDeterministically(ciphertext[len(p.prefix):], associatedData)
}

func hasKeyset(rec *envelope.Record, purpose string) bool {
	return slices.ContainsFunc(rec.Keysets, func(k envelope.Keyset) bool { return k.Purpose == purpose })
}
