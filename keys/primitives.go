package keys

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/daead/aessiv"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/aescmacprf"
	prfsubtle "github.com/tink-crypto/tink-go/v2/prf/subtle"
	"github.com/tink-crypto/tink-go/v2/streamingaead/aesgcmhkdf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// BlobSegmentSize is the ciphertext segment of objects, in bytes.
const BlobSegmentSize = 64 << 10

func dataParameters() (key.Parameters, error) {
	return aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink})
}

// parametersOf returns the parameters of new keys of a purpose.
func parametersOf(purpose string) (key.Parameters, error) {
	switch purpose {
	case purposeData, purposeAudit:
		return dataParameters()
	case purposeIndex, purposePseudonym:
		params, err := aescmacprf.NewParameters(32)
		return &params, err
	case purposeBlobs:
		return aesgcmhkdf.NewParameters(aesgcmhkdf.ParametersOpts{
			KeySizeInBytes: 32, DerivedKeySizeInBytes: 32, HKDFHashType: aesgcmhkdf.SHA256, SegmentSizeInBytes: BlobSegmentSize})
	case purposeNames:
		return aessiv.NewParameters(nameKeySize, aessiv.VariantTink)
	default:
		return nil, fmt.Errorf("keys: the purpose %q is unknown", purpose)
	}
}

// enabled calls f for each enabled entry of a keyset, the primary first.
func enabled(h *keyset.Handle, f func(*keyset.Entry) error) error {
	primary, err := h.Primary()
	if err != nil {
		return err
	}
	if err := f(primary); err != nil {
		return err
	}
	for i := range h.Len() {
		entry, err := h.Entry(i)
		if err != nil {
			return err
		}
		if entry.IsPrimary() || entry.KeyStatus() != keyset.Enabled {
			continue
		}
		if err := f(entry); err != nil {
			return err
		}
	}
	return nil
}

// aeadSet is a keyset of AES-GCM keys as one AEAD: it seals with the primary, and opens with the key whose output
// prefix the ciphertext begins with. It is what Tink's own factory makes, without that one's monitoring and map,
// which cost more memory than the keys.
type aeadSet struct {
	prefixes [][5]byte
	aeads    []tink.AEAD // the primary first
}

var errDecrypt = errors.New("keys: decryption failed")

// Encrypt implements [tink.AEAD].
func (s *aeadSet) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return s.aeads[0].Encrypt(plaintext, associatedData)
}

// Decrypt implements [tink.AEAD].
func (s *aeadSet) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if len(ciphertext) < 5 {
		return nil, errDecrypt
	}
	i := slices.Index(s.prefixes, [5]byte(ciphertext))
	if i < 0 {
		return nil, errDecrypt
	}
	return s.aeads[i].Decrypt(ciphertext, associatedData)
}

// aesKeys returns the enabled keys of a keyset of AES-GCM keys with Tink's output prefix, the primary first.
func aesKeys(h *keyset.Handle) ([]*aesgcm.Key, error) {
	keys := make([]*aesgcm.Key, 0, h.Len())
	err := enabled(h, func(e *keyset.Entry) error {
		k, ok := e.Key().(*aesgcm.Key)
		if !ok || len(k.OutputPrefix()) != 5 {
			return fmt.Errorf("key %d is no AES-GCM key with Tink's output prefix; upgrade this process if a newer one made it", e.KeyID())
		}
		keys = append(keys, k)
		return nil
	})
	return keys, err
}

// newAEAD makes the AEAD of a keyset.
func newAEAD(h *keyset.Handle) (tink.AEAD, error) {
	keys, err := aesKeys(h)
	if err != nil {
		return nil, err
	}
	return newAEADSet(keys)
}

func newAEADSet(keys []*aesgcm.Key) (tink.AEAD, error) {
	s := new(aeadSet)
	for _, k := range keys {
		a, err := aesgcm.NewAEAD(k)
		if err != nil {
			return nil, err
		}
		if len(keys) == 1 {
			return a, nil // it checks its own prefix
		}
		s.prefixes, s.aeads = append(s.prefixes, [5]byte(k.OutputPrefix())), append(s.aeads, a)
	}
	return s, nil
}

// cmacKeys returns the enabled keys of a keyset of AES-CMAC keys and their ids, the primary first.
func cmacKeys(h *keyset.Handle) (keys []*aescmacprf.Key, ids []uint32, err error) {
	err = enabled(h, func(e *keyset.Entry) error {
		k, ok := e.Key().(*aescmacprf.Key)
		if !ok {
			return fmt.Errorf("key %d is no AES-CMAC key; upgrade this process if a newer one made it", e.KeyID())
		}
		keys, ids = append(keys, k), append(ids, e.KeyID())
		return nil
	})
	return keys, ids, err
}

func newPRF(k *aescmacprf.Key) (prf.PRF, error) {
	return prfsubtle.NewAESCMACPRF(k.KeyBytes().Data(insecuresecretdataaccess.Token{}))
}

// newPRFs makes the set of a keyset of AES-CMAC keys, and returns its key ids, the primary first.
func newPRFs(h *keyset.Handle) (*prf.Set, []uint32, error) {
	keys, ids, err := cmacKeys(h)
	if err != nil {
		return nil, nil, err
	}
	set := &prf.Set{PrimaryID: ids[0], PRFs: make(map[uint32]prf.PRF, len(ids))}
	for i, k := range keys {
		if set.PRFs[ids[i]], err = newPRF(k); err != nil {
			return nil, nil, err
		}
	}
	return set, ids, nil
}
