// Package keys holds the tenants' keys. (Skeleton of the API that other packages build on: replaced by keyring.go.)
package keys

import (
	"context"

	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// Keyring opens tenants' keys and manages their life cycle.
type Keyring struct{}

// Options of Open.
type Options struct {
	Audit audit.Recorder
}

// Status of a tenant's keys.
type Status string

// The statuses.
const (
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended"
	StatusShredded  Status = "shredded"
)

func Open(ctx context.Context, kek KEK, store Store, opts *Options) (*Keyring, error) {
	panic("skeleton")
}

func (r *Keyring) Provision(ctx context.Context, id tenant.ID) error              { panic("skeleton") }
func (r *Keyring) Suspend(ctx context.Context, id tenant.ID, reason string) error { panic("skeleton") }
func (r *Keyring) Resume(ctx context.Context, id tenant.ID, reason string) error  { panic("skeleton") }
func (r *Keyring) Status(ctx context.Context, id tenant.ID) (Status, error)       { panic("skeleton") }
func (r *Keyring) Close() error                                                   { panic("skeleton") }

// Tenant returns the active tenant's opened keys; ErrSuspended, ErrShredded, ErrNotProvisioned, ErrUnavailable otherwise.
func (r *Keyring) Tenant(ctx context.Context, id tenant.ID) (*Tenant, error) { panic("skeleton") }

// AuditSealer returns the sealer for audit events even of a suspended tenant, best effort (nil sealer and an error if
// it cannot be had: shredded, unknown, unavailable).
func (r *Keyring) AuditSealer(ctx context.Context, id tenant.ID) (audit.Sealer, error) {
	panic("skeleton")
}

// Tenant is one tenant's opened keys: immutable, safe for concurrent use, stays usable while held.
type Tenant struct{}

func (t *Tenant) ID() tenant.ID { panic("skeleton") }

// Data is the AEAD for sealed columns and for blob attributes.
func (t *Tenant) Data() tink.AEAD   { panic("skeleton") }
func (t *Tenant) DataKeyID() uint32 { panic("skeleton") }

// Index is the PRF set (AES-CMAC) of blind indexes; every live key version is in it.
func (t *Tenant) Index() *prf.Set { panic("skeleton") }

// IndexKeyIDs are the live index key ids, the primary first.
func (t *Tenant) IndexKeyIDs() []uint32 { panic("skeleton") }

// Blobs is the AES256-GCM-HKDF streaming AEAD with 64 KiB segments, and the primary key's id; BlobKey returns key material for range reads of a given key id.
func (t *Tenant) Blobs() tink.StreamingAEAD { panic("skeleton") }
func (t *Tenant) BlobKeyID() uint32         { panic("skeleton") }

// BlobsByID is the streaming AEAD of one key id alone, for reading an object whose header names it.
func (t *Tenant) BlobsByID(id uint32) (tink.StreamingAEAD, bool) { panic("skeleton") }

// Audit seals audit details.
func (t *Tenant) Audit() audit.Sealer { panic("skeleton") }
