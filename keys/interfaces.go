package keys

import (
	"context"
	"errors"

	"github.com/strongroom-go/strongroom/tenant"
)

// Errors of keyrings, KEK providers and stores. Each is wrapped with the tenant and what to do.
var (
	// ErrNotProvisioned means that the tenant has no keys yet: call [Keyring.Provision].
	ErrNotProvisioned = errors.New("keys: the tenant is not provisioned")
	// ErrSuspended means that access to the tenant's keys is suspended; [Keyring.Resume] restores it.
	ErrSuspended = errors.New("keys: the tenant is suspended")
	// ErrShredded means that the tenant's keys were destroyed for good.
	ErrShredded = errors.New("keys: the tenant's keys were shredded")
	// ErrNotShredded means that something was refused that is only for tenants whose keys were shredded, by
	// [Keyring.Shred].
	ErrNotShredded = errors.New("keys: the tenant is not shredded")
	// ErrUnavailable means that the KEK provider or the store could not be reached in time. It may be retried.
	ErrUnavailable = errors.New("keys: the key service is unavailable; retry later")
	// ErrExhausted means that a key has sealed as many values as it safely may, and nothing could rotate it in time:
	// [Keyring.Rotate] does. What is sealed still opens.
	ErrExhausted = errors.New("keys: the key has sealed as much as it may")
	// ErrKeyDisabled means that a value was sealed with a key of the tenant that is disabled: [Keyring.EnableKey] lets it be
	// opened again.
	ErrKeyDisabled = errors.New("keys: the key is disabled")
	// ErrKeyNeeded means that a key was not disabled, or not destroyed, because it seals or because values need it.
	ErrKeyNeeded = errors.New("keys: the key is still needed")
	// ErrConflict means that a store's record changed since it was read.
	ErrConflict = errors.New("keys: the stored record was changed by somebody else")
	// ErrNotFound means that a store has no record, or a KEK provider no key, for the tenant.
	ErrNotFound = errors.New("keys: not found")
	// ErrIntegrity means that stored key material is damaged, or belongs to another tenant, keyring or KEK than the
	// one it was found under. Nothing was opened with it. Restore the tenant's record from a backup.
	ErrIntegrity = errors.New("keys: stored key material is damaged or not this tenant's")
	// ErrClosed means that the keyring was closed.
	ErrClosed = errors.New("keys: the keyring is closed")
)

// KEK wraps and unwraps root keysets with one key-encryption key per tenant, which never leaves the provider.
// Implementations must be safe for concurrent use, must honour ctx, must wrap [ErrNotFound] where the tenant has no
// key and [ErrUnavailable] where trying again may help, and must pass the kektest suite. To a keyring a call that panics, or
// ends its goroutine, is one without an answer, and its error wraps ErrUnavailable; calls are made on goroutines of their own. Where one key is many tenants', it is to be a [SharedKEK], of which less is asked.
type KEK interface {
	// Create makes the tenant's key. It succeeds without effect where the key exists.
	Create(ctx context.Context, id tenant.ID) error
	// Wrap encrypts plaintext (at most 16 KiB) under the newest version of the tenant's key.
	Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error)
	// Unwrap decrypts what Wrap or Rewrap returned for the same tenant. For anything else, another tenant's included,
	// the error wraps [ErrIntegrity].
	Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error)
	// Rotate adds a new version of the tenant's key, which Wrap uses from then on. Older versions still unwrap.
	Rotate(ctx context.Context, id tenant.ID) error
	// Rewrap encrypts under the newest version what an older version wrapped; its errors are those of Unwrap.
	Rewrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error)
	// Destroy deletes every version of the tenant's key for good. It succeeds without effect where there is none.
	Destroy(ctx context.Context, id tenant.ID) error
}

// Store keeps one opaque record per tenant. Records are small (below 64 KiB) and hold nothing secret: keysets are
// encrypted before they get here. Implementations must be safe for concurrent use by several processes, must honour
// ctx, must wrap [ErrUnavailable] where trying again may help, and must pass the storetest suite. To a keyring a call that
// panics, or ends its goroutine, is one without an answer, and its error wraps ErrUnavailable; calls are made on goroutines of their own.
type Store interface {
	// Get returns the tenant's record and its version, or an error that wraps [ErrNotFound].
	Get(ctx context.Context, id tenant.ID) (Record, error)
	// Put stores data durably as the record that follows version: 0 to create it. Where the stored version is
	// another one, nothing is changed and the error wraps [ErrConflict]. It returns the new version, which is higher, and
	// one that no other record of the tenant had, deleted ones and those of before a restore included: see [NextVersion].
	Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error)
	// Delete removes the record whose version is given, or returns an error that wraps [ErrConflict] or [ErrNotFound].
	Delete(ctx context.Context, id tenant.ID, version int64) error
	// List returns up to limit ids greater than after in the byte order of their text; after may be zero. None are returned only
	// where there are none.
	List(ctx context.Context, after tenant.ID, limit int) ([]tenant.ID, error)
}

// BatchStore is a [Store] that can be asked about many tenants by one question. A keyring on one confirms the tenants in use
// together, so that how often it asks does not grow with their number, and opens and lists tenants by fewer questions.
type BatchStore interface {
	Store
	// GetChanged returns the records of up to [MaxBatch] different tenants in the order of their ids, each as it was stored at
	// some moment of the call. Where the stored version is the known one, known having as many elements as ids, the record's
	// Data is nil; where there is no record, its Version is 0.
	GetChanged(ctx context.Context, ids []tenant.ID, known []int64) ([]Record, error)
}

// MaxBatch is how many tenants a [BatchStore] or a [BatchKEK] is asked about at once.
const MaxBatch = 256

// Watcher is a [Store] that can tell of changes soon after they happened, whoever made them. A keyring on one sees a
// suspension sooner than within [Options.SuspendWithin]; it does not depend on it, since news may be lost, late or forged.
type Watcher interface {
	// Watch calls changed, from one goroutine, with each tenant whose record was changed and the record's new version,
	// until ctx ends or it cannot go on; the keyring calls it again, but not where the error is [errors.ErrUnsupported].
	Watch(ctx context.Context, changed func(id tenant.ID, version int64)) error
}

// Record is what a [Store] holds for one tenant.
type Record struct {
	Data    []byte
	Version int64 // above 0, higher with every Put, and never given again
}
