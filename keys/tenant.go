package keys

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Tenant is one tenant's opened keys. It is immutable, safe for concurrent use, and stays usable while it is held,
// whatever becomes of the tenant: hold it for one operation, not longer.
type Tenant struct {
	data     sealing // first: see entry
	id       tenant.ID
	dataID   uint32
	index    *prf.Set
	indexIDs []uint32
	older    []KeyVersion // data keys beside the one that seals; nil for none
	blobs    []blobKey    // the primary first
	oldBlobs []KeyVersion // streaming keys beside the one that seals; nil for none
	names    []nameKey    // the newest first; nil where the record is of an earlier version
	oldNames []KeyVersion // keys of names beside the one that seals; nil for none
	audit    *auditSealer
}

// open opens the keysets of an active tenant.
func (t *Tenant) open(root tink.AEAD, rec *envelope.Record, sealer *auditSealer) error {
	t.id, t.audit = rec.Tenant, sealer
	data, err := decryptKeyset(root, rec, purposeData)
	if err != nil {
		return err
	}
	if t.data.AEAD, err = newAEAD(data); err != nil {
		return integrity(rec, purposeData, err)
	}
	primary, err := data.Primary()
	if err != nil {
		return integrity(rec, purposeData, err)
	}
	t.dataID = primary.KeyID()
	if t.older, err = beside(data); err != nil {
		return integrity(rec, purposeData, err)
	}
	index, err := decryptKeyset(root, rec, purposeIndex)
	if err != nil {
		return err
	}
	if t.index, t.indexIDs, err = newPRFs(index); err != nil {
		return integrity(rec, purposeIndex, err)
	}
	blobs, err := decryptKeyset(root, rec, purposeBlobs)
	if err != nil {
		return err
	}
	if t.blobs, err = newBlobKeys(blobs); err != nil {
		return integrity(rec, purposeBlobs, err)
	}
	if t.oldBlobs, err = beside(blobs); err != nil {
		return integrity(rec, purposeBlobs, err)
	}
	if !hasKeyset(rec, purposeNames) {
		return nil
	}
	names, err := decryptKeyset(root, rec, purposeNames)
	if err != nil {
		return err
	}
	if t.names, err = newNameKeys(names); err != nil {
		return integrity(rec, purposeNames, err)
	}
	if t.oldNames, err = beside(names); err != nil {
		return integrity(rec, purposeNames, err)
	}
	return nil
}

func integrity(rec *envelope.Record, purpose string, err error) error {
	return fmt.Errorf("%w: the keyset %q of tenant %s: %w", ErrIntegrity, purpose, rec.Tenant, err)
}

// ID returns whose keys they are.
func (t *Tenant) ID() tenant.ID { return t.id }

// Data is the AEAD of sealed columns and of objects' attributes: AES256-GCM with Tink's output prefix. It seals with
// the primary key and opens with every enabled one. Each seal is counted ([Options.RotateAfterSeals]); the first, and then
// one in many, may wait for the store, and fail with what [Keyring.Tenant] does or [ErrExhausted].
func (t *Tenant) Data() tink.AEAD { return &t.data }

// DataKeyID is the id of the key that Data seals with. It stands in bytes 1 to 4 of each ciphertext.
func (t *Tenant) DataKeyID() uint32 { return t.dataID }

// Index is the PRF set (AES-CMAC, 16 bytes) of blind indexes; every enabled key is in it. It must not be changed.
func (t *Tenant) Index() *prf.Set { return t.index }

// Blobs is the streaming AEAD of objects: AES256-GCM-HKDF with segments of [BlobSegmentSize]. It seals with the
// primary key. Tink's streams do not name their key: what the primary did not seal, BlobsByID opens.
func (t *Tenant) Blobs() tink.StreamingAEAD { return t.blobs[0] }

// BlobKeyID is the id of the key that Blobs seals with, for the object's header.
func (t *Tenant) BlobKeyID() uint32 { return t.blobs[0].id }

// BlobsByID is the streaming AEAD of one key alone, for an object whose header names it.
func (t *Tenant) BlobsByID(id uint32) (tink.StreamingAEAD, bool) {
	for _, k := range t.blobs {
		if k.id == id {
			return k, true
		}
	}
	return nil, false
}

// Audit seals the personal parts of audit events.
func (t *Tenant) Audit() audit.Sealer { return t.audit }
