package offboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinksignature "github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/tenant"
)

// PayloadType is the type of a certificate in its DSSE envelope.
const PayloadType = "application/vnd.strongroom.offboarding.v1+json"

// Certificate is what an offboarding says of itself. Times are UTC.
type Certificate struct {
	Tenant tenant.ID `json:"tenant"`
	Keys   Keys      `json:"keys"`
	// Databases and Buckets are in the order of the [Plan].
	Databases []Database      `json:"databases"`
	Buckets   []ClearedBucket `json:"buckets"`
	Began     time.Time       `json:"began"`
	Finished  time.Time       `json:"finished"` // when all had been looked through once more and nothing was found
	Actor     string          `json:"actor"`    // a pseudonym, or [Plan.Actor]
	Purpose   string          `json:"purpose"`  // of the access
	Request   string          `json:"request,omitempty"`
	Reason    string          `json:"reason"`
	// Log names the audit log that has the events, and under whose key Actor is a pseudonym; empty where it has no name.
	Log string `json:"log,omitempty"`
}

// Keys says which keys were destroyed.
type Keys struct {
	Keyring string `json:"keyring"` // its label
	// ShreddedAt is when the record of the keys became a tombstone.
	ShreddedAt time.Time `json:"shredded_at,omitzero"`
	// Before tells that an earlier run destroyed the keys, and that this one went on: the counts in the certificate are of what
	// that had left. The audit trail has an event for each part that it deleted.
	Before bool `json:"shredded_before"`
	// TriedInVain tells that the wrapped keys, kept in memory, were tried after the KEK was destroyed, and did not open. An
	// earlier run may have done so; nothing is left that could be tried again.
	TriedInVain bool `json:"tried_in_vain"`
	// Destroyed are the keys that there were. It is empty where they could not be opened any more to be counted.
	Destroyed []Key `json:"destroyed"`
	// Shared are the key-encryption keys that were not destroyed, because they are other tenants' too. As long as they are there a
	// backup of the key store from before opens what is left of the tenant. Absent where the tenant had a key of its own.
	Shared []SharedKey `json:"shared,omitempty"`
}

// SharedKey is a key-encryption key that many tenants share.
type SharedKey struct {
	Name string `json:"name"`
	// Through is the newest version that a backup may need, of those from 1 on.
	Through int `json:"through"`
	// Destroyed tells that those versions had been destroyed when the certificate was written: then no backup of the key store
	// opens.
	Destroyed bool `json:"destroyed"`
}

// Key is one key that there was.
type Key struct {
	Purpose string `json:"purpose"`
	ID      uint32 `json:"id"` // what values that it sealed carry
}

// Database is what was deleted in one database.
type Database struct {
	Engine string  `json:"engine"`
	Name   string  `json:"name"`
	Tables []Table `json:"tables"` // all that are scoped, also those in which there was nothing
	Events string  `json:"events"` // the correlation of its events in the audit trail
}

// Table counts the rows that were deleted.
type Table struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// ClearedBucket is what was deleted in one bucket.
type ClearedBucket struct {
	Label     string `json:"label"`
	Objects   int64  `json:"objects"`
	Bytes     int64  `json:"bytes"`               // that they had in the store
	Leftovers *int64 `json:"leftovers,omitempty"` // pieces that were no objects; absent where nobody looked for any
	Events    string `json:"events"`
}

// Sign returns the certificate in an envelope, signed. KeyID is a hint for who has many keys; it may be empty, and is not signed.
func (c *Certificate) Sign(signer tink.Signer, keyID string) ([]byte, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("offboard: the certificate cannot be encoded: %w", err)
	}
	return seal(PayloadType, payload, signer, keyID)
}

// Verify returns the certificate of an envelope if the verifier's key has signed it. It needs nothing but the two. The error
// wraps [ErrNotVerified] otherwise, and where the certificate says what this version does not know of.
func Verify(envelope []byte, verifier tink.Verifier) (*Certificate, error) {
	if verifier == nil {
		return nil, errors.New("offboard: no verifier; make one with signature.NewVerifier of the public keyset")
	}
	payload, err := open(envelope, PayloadType, verifier)
	if err != nil {
		return nil, err
	}
	var c Certificate
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("%w: it is signed, and says what this version does not know of; use a newer release of Strongroom", ErrNotVerified)
	}
	if _, err := d.Token(); err != io.EOF || c.Tenant.IsZero() || c.Finished.IsZero() {
		return nil, fmt.Errorf("%w: it is signed, and no whole certificate", ErrNotVerified)
	}
	return &c, nil
}

// NewKeyset makes a keyset for signing certificates, Ed25519 without Tink's prefix. Make signers of it with
// [signature.NewSigner], and keep it encrypted, as Tink's keyset.Handle.WriteWithAssociatedData does: who has it can issue
// certificates. Its public half, Handle.Public, is for everybody.
//
// [signature.NewSigner]: https://pkg.go.dev/github.com/tink-crypto/tink-go/v2/signature#NewSigner
func NewKeyset() (*keyset.Handle, error) {
	h, err := keyset.NewHandle(tinksignature.ED25519KeyWithoutPrefixTemplate())
	if err != nil {
		return nil, fmt.Errorf("offboard: make a keyset: %w", err)
	}
	return h, nil
}
