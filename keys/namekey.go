package keys

import (
	"encoding/binary"
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
	id    uint32
	seals bool
	key   [nameKeySize]byte
}

// maxNameKeys bounds the enabled keys of names. Each is a place more in which an object is looked for; two are what it takes to
// go from one to the next.
const maxNameKeys = 2

// newNameKeys returns the enabled keys of a keyset, the newest first: the keys of a keyset are in the order in which they were
// made. The newest need not be the one that seals: see stage.
func newNameKeys(h *keyset.Handle) (all []nameKey, err error) {
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, err
		}
		if e.KeyStatus() != keyset.Enabled {
			continue
		}
		key, ok := e.Key().(*aessiv.Key)
		if !ok || key.KeyBytes().Len() != nameKeySize || len(key.OutputPrefix()) != 5 {
			return nil, fmt.Errorf("key %d is no AES256-SIV key with Tink's output prefix; upgrade this process if a newer one made it", e.KeyID())
		}
		all = slices.Insert(all, 0, nameKey{e.KeyID(), e.IsPrimary(), [nameKeySize]byte(key.KeyBytes().Data(insecuresecretdataaccess.Token{}))})
	}
	if len(all) > maxNameKeys {
		return nil, fmt.Errorf("it has %d enabled keys, and %d are known to this version; upgrade this process", len(all), maxNameKeys)
	}
	return all, nil
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
