package keys

import (
	"encoding/base32"
	"fmt"
	"sync"
	"weak"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/aescmacprf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// pseudonymSize is the length of a pseudonym before encoding, in bytes: all that AES-CMAC gives. Two actors of a
// tenant share one with probability 2^-64 among 2^32 actors.
const pseudonymSize = 16

var pseudonymEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// auditSealer implements audit.Sealer with the tenant's audit keysets. It holds the keys, 32 bytes each, for as long as
// the tenant is cached, and the primitives made of them, some 1,500 bytes, only until the garbage collector wants the
// memory back: most cached tenants are idle, and making them again takes two microseconds.
type auditSealer struct {
	id        tenant.ID
	details   []*aesgcm.Key // the primary first
	pseudonym *aescmacprf.Key
	tally     *tally // nil where nothing is counted

	mu   sync.Mutex
	made weak.Pointer[auditPrimitives]
}

type auditPrimitives struct {
	aead tink.AEAD
	prf  prf.PRF
}

func openSealer(root tink.AEAD, rec *envelope.Record) (*auditSealer, error) {
	h, err := decryptKeyset(root, rec, purposeAudit)
	if err != nil {
		return nil, err
	}
	s := &auditSealer{id: rec.Tenant}
	if s.details, err = aesKeys(h); err != nil {
		return nil, integrity(rec, purposeAudit, err)
	}
	if h, err = decryptKeyset(root, rec, purposePseudonym); err != nil {
		return nil, err
	}
	keys, _, err := cmacKeys(h)
	if err != nil {
		return nil, integrity(rec, purposePseudonym, err)
	}
	s.pseudonym = keys[0]
	return s, nil
}

// primitives returns the primitives, made anew where they were let go.
func (s *auditSealer) primitives() (*auditPrimitives, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.made.Value(); p != nil {
		return p, nil
	}
	a, err := newAEADSet(s.details)
	if err != nil {
		return nil, err
	}
	f, err := newPRF(s.pseudonym)
	if err != nil {
		return nil, err
	}
	p := &auditPrimitives{a, f}
	s.made = weak.Make(p)
	return p, nil
}

// Pseudonym returns "p-" and the actor's pseudonym in lower-case base32hex (RFC 4648) without padding, 28 bytes.
func (s *auditSealer) Pseudonym(actor string) (string, error) {
	p, err := s.primitives()
	if err != nil {
		return "", fmt.Errorf("keys: pseudonym: %w", err)
	}
	sum, err := p.prf.ComputePRF(envelope.PseudonymInput(nil, s.id, actor), pseudonymSize)
	if err != nil {
		return "", fmt.Errorf("keys: pseudonym: %w", err)
	}
	return "p-" + pseudonymEncoding.EncodeToString(sum), nil
}

// SealDetails encrypts details under the tenant's audit key, bound to the tenant and uid.
func (s *auditSealer) SealDetails(details []byte, uid string) ([]byte, error) {
	p, err := s.primitives()
	if err == nil {
		err = s.tally.one()
	}
	if err != nil {
		return nil, fmt.Errorf("keys: seal audit details: %w", err)
	}
	return p.aead.Encrypt(details, envelope.AuditAD(nil, s.id, uid))
}

// key is the id of the key that seals.
func (s *auditSealer) key() uint32 {
	id, _ := s.details[0].IDRequirement() // as every key with Tink's output prefix has
	return id
}

// OpenDetails is the inverse of SealDetails.
func (s *auditSealer) OpenDetails(sealed []byte, uid string) ([]byte, error) {
	p, err := s.primitives()
	if err != nil {
		return nil, fmt.Errorf("keys: open audit details: %w", err)
	}
	details, err := p.aead.Decrypt(sealed, envelope.AuditAD(nil, s.id, uid))
	if err != nil {
		return nil, fmt.Errorf("%w: the details do not open as those of event %q of tenant %s", ErrIntegrity, uid, s.id)
	}
	return details, nil
}
