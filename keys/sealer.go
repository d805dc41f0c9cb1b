package keys

import (
	"encoding/base32"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// pseudonymSize is the length of a pseudonym before encoding, in bytes: all that AES-CMAC gives. Two actors of a
// tenant share one with probability 2^-64 among 2^32 actors.
const pseudonymSize = 16

var pseudonymEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// auditSealer implements audit.Sealer with the tenant's audit keysets.
type auditSealer struct {
	id   tenant.ID
	aead tink.AEAD
	prf  prf.PRF // of the primary
}

func openSealer(root tink.AEAD, rec *envelope.Record) (*auditSealer, error) {
	h, err := decryptKeyset(root, rec, purposeAudit)
	if err != nil {
		return nil, err
	}
	s := &auditSealer{id: rec.Tenant}
	if s.aead, err = newAEAD(h); err != nil {
		return nil, integrity(rec, purposeAudit, err)
	}
	if h, err = decryptKeyset(root, rec, purposePseudonym); err != nil {
		return nil, err
	}
	set, _, err := newPRFs(h)
	if err != nil {
		return nil, integrity(rec, purposePseudonym, err)
	}
	s.prf = set.PRFs[set.PrimaryID]
	return s, nil
}

// Pseudonym returns "p-" and the actor's pseudonym in lower-case base32hex (RFC 4648) without padding, 28 bytes.
func (s *auditSealer) Pseudonym(actor string) (string, error) {
	sum, err := s.prf.ComputePRF(envelope.PseudonymInput(nil, s.id, actor), pseudonymSize)
	if err != nil {
		return "", fmt.Errorf("keys: pseudonym: %w", err)
	}
	return "p-" + pseudonymEncoding.EncodeToString(sum), nil
}

// SealDetails encrypts details under the tenant's audit key, bound to the tenant and uid.
func (s *auditSealer) SealDetails(details []byte, uid string) ([]byte, error) {
	return s.aead.Encrypt(details, envelope.AuditAD(nil, s.id, uid))
}

// OpenDetails is the inverse of SealDetails.
func (s *auditSealer) OpenDetails(sealed []byte, uid string) ([]byte, error) {
	details, err := s.aead.Decrypt(sealed, envelope.AuditAD(nil, s.id, uid))
	if err != nil {
		return nil, fmt.Errorf("%w: the details do not open as those of event %q of tenant %s", ErrIntegrity, uid, s.id)
	}
	return details, nil
}
