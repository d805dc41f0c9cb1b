// Package tenantkeys is what the library's own packages need of a tenant's opened keys: all that package keys shows to applications,
// and how keys are told apart that were rotated, disabled or destroyed. It stands below keys, which implements it; who has a keyring
// gets there by [Open].
package tenantkeys

import (
	"context"

	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/streamingaead/aesgcmhkdf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// Keys are one tenant's opened keys: a keys.Tenant, which says what the methods do that it has too. Two of them are equal where they
// are the same opened keys.
type Keys interface {
	ID() tenant.ID
	Data() tink.AEAD
	DataKeyID() uint32
	Index() *prf.Set
	Blobs() tink.StreamingAEAD
	BlobKeyID() uint32
	BlobsByID(id uint32) (tink.StreamingAEAD, bool)
	Audit() audit.Sealer

	// HasDataKey tells whether the tenant has a data key of that id, also a disabled one.
	HasDataKey(id uint32) bool
	// DataKeyDisabled tells whether a data key is disabled: what it sealed belongs to the tenant and does not open.
	DataKeyDisabled(id uint32) bool
	// IndexKeyIDs are the ids of the keys in Index, the primary first.
	IndexKeyIDs() []uint32
	// BlobKey is a streaming key itself, for reading a range of an object whose header names it: Tink's streams have no seek.
	BlobKey(id uint32) (*aesgcmhkdf.Key, bool)
	// BlobKeyDisabled tells whether a streaming key is disabled: what it sealed belongs to the tenant and does not open.
	BlobKeyDisabled(id uint32) bool
	// NameKeys are the enabled keys of objects' names, the newest first, one or two. An object is where the newest has it, else
	// where the older one has it. The newest seals, but for the time of a rotation in which there may be processes that do not
	// know it yet. The error wraps keys.ErrNotProvisioned where the tenant was provisioned by a version that made no key for
	// names: Keyring.Provision adds one.
	NameKeys() ([]NameKey, error)
	// NameKeyDisabled tells whether a key of names is disabled: what it named belongs to the tenant and is not found.
	NameKeyDisabled(id uint32) bool
}

// NameKey is one key of objects' names.
type NameKey struct {
	ID    uint32
	Seals bool                   // new objects get their names from it
	AEAD  tink.DeterministicAEAD // AES256-SIV with Tink's output prefix
}

// Ring is a *keys.Keyring, and nothing else: only what embeds a [Door] is one.
type Ring interface {
	tenantKeys(ctx context.Context, id tenant.ID) (Keys, error)
}

// Open returns what Keyring.Tenant does, with the same errors.
func Open(ctx context.Context, ring Ring, id tenant.ID) (Keys, error) {
	return ring.tenantKeys(ctx, id)
}

// Door makes a [Ring] of the type that embeds it. Package keys embeds it by a name that is not exported, so that its keyring has no
// method for this that applications see.
type Door struct {
	open func(ctx context.Context, id tenant.ID) (Keys, error)
}

// NewDoor returns the door to what open opens.
func NewDoor(open func(ctx context.Context, id tenant.ID) (Keys, error)) Door { return Door{open} }

func (d Door) tenantKeys(ctx context.Context, id tenant.ID) (Keys, error) { return d.open(ctx, id) }
