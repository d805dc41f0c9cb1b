package offboard

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// envelope is the JSON envelope of DSSE: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md.
type envelope struct {
	Payload     string      `json:"payload"`
	PayloadType string      `json:"payloadType"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid,omitempty"` // a hint that nothing relies on
	Sig   string `json:"sig"`
}

// Limits of an envelope that is read, in bytes and signatures.
const (
	maxEnvelope   = 16 << 20
	maxSignatures = 16
)

// preAuth is DSSE's pre-authentication encoding, which is what is signed:
// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
func preAuth(payloadType string, payload []byte) []byte {
	b := append(make([]byte, 0, len(payload)+len(payloadType)+48), "DSSEv1 "...)
	b = append(strconv.AppendInt(b, int64(len(payloadType)), 10), ' ')
	b = append(append(b, payloadType...), ' ')
	b = append(strconv.AppendInt(b, int64(len(payload)), 10), ' ')
	return append(b, payload...)
}

// seal signs a payload.
func seal(payloadType string, payload []byte, signer tink.Signer, keyID string) ([]byte, error) {
	sig, err := signer.Sign(preAuth(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("offboard: the certificate cannot be signed: %w", err)
	}
	e := envelope{base64.StdEncoding.EncodeToString(payload), payloadType, []signature{{keyID, base64.StdEncoding.EncodeToString(sig)}}}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("offboard: the certificate cannot be encoded: %w", err)
	}
	return append(data, '\n'), nil
}

// ErrNotVerified means that an envelope is none, is of another type, or has no signature of the key that it was verified with.
var ErrNotVerified = errors.New("offboard: the certificate is not verified")

// open returns the payload of an envelope that the verifier's key has signed.
func open(data []byte, payloadType string, verifier tink.Verifier) ([]byte, error) {
	if len(data) > maxEnvelope {
		return nil, fmt.Errorf("%w: it has %d bytes, over the limit of %d", ErrNotVerified, len(data), maxEnvelope)
	}
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("%w: it is no DSSE envelope in JSON", ErrNotVerified)
	}
	payload, err := decode(e.Payload)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: its payload is not base64", ErrNotVerified)
	case e.PayloadType != payloadType:
		return nil, fmt.Errorf("%w: its payload is of another type than %s", ErrNotVerified, payloadType)
	case len(e.Signatures) == 0 || len(e.Signatures) > maxSignatures:
		return nil, fmt.Errorf("%w: it has %d signatures; 1 to %d are read", ErrNotVerified, len(e.Signatures), maxSignatures)
	}
	signed := preAuth(e.PayloadType, payload)
	for _, s := range e.Signatures {
		if sig, err := decode(s.Sig); err == nil && verifier.Verify(sig, signed) == nil {
			return payload, nil
		}
	}
	return nil, fmt.Errorf("%w: no signature is the given key's; pass the public key of who issued it, or somebody changed it", ErrNotVerified)
}

// decode takes standard and URL-safe base64, as DSSE wants of verifiers.
func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		b, err = base64.URLEncoding.Strict().DecodeString(s)
	}
	return b, err
}
