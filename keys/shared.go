package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/tenant"
)

// SharedKey is a key-encryption key of a provider's that wraps the root keysets of many tenants.
type SharedKey struct {
	// Name tells the key from others of the same provider, such as the path of a Transit key.
	Name string
	// Newest is the version that wraps, and Oldest the oldest that was not destroyed. Versions count from 1.
	Oldest, Newest int
	// Enabled is the oldest version that opens where older ones are disabled, by whomever, and 0 where none is.
	Enabled int
	// Proving tells that they were disabled by [SharedKEK.DisableVersions], as far as the provider can tell: a destruction is under way,
	// or was interrupted.
	Proving bool
}

// SharedKeyError is the error of [KEK.Destroy] and [KEK.Rotate] where the tenant's root keyset is wrapped with a key that wraps
// those of other tenants too, and nothing was done to that key. Where the tenant has a key of its own besides, at another
// provider, Destroy has destroyed that one.
type SharedKeyError struct {
	Keys []SharedKey // ascending by name
}

func (e *SharedKeyError) Error() string {
	names := make([]string, len(e.Keys))
	for i, k := range e.Keys {
		names[i] = fmt.Sprintf("%s, versions %d to %d", k.Name, k.Oldest, k.Newest)
	}
	return "keys: the KEK is not this tenant's own: it wraps for other tenants as well, and nothing was done to it; " +
		"Keyring.DestroySharedKEK, or keyctl kek, does it for all of them (" + strings.Join(names, "; ") + ")"
}

// Is makes it an [errors.ErrUnsupported].
func (e *SharedKeyError) Is(target error) bool { return target == errors.ErrUnsupported }

// SharedKEK is a [KEK] with one key for all tenants that it wraps for. For it,
//
//   - Create makes no key. What it makes sure of is that the key is there and is what it should be. A tenant without a record in
//     the [Store] is one that was never provisioned, and the KEK does not know of it.
//   - Rotate and Destroy do nothing, and say so with a [*SharedKeyError].
//   - where the key itself is not there every call fails with [ErrNotFound].
//
// [Keyring.DestroySharedKEK] destroys its older versions. It must pass kektest.RunShared.
type SharedKEK interface {
	BatchKEK
	// SharedKey returns the key as it is now, and not as a copy has it that lags: by it several destructions at once keep out of each
	// other's way.
	SharedKey(ctx context.Context) (SharedKey, error)
	// Needs reports whether a version up to through may be needed for what Wrap or Rewrap returned: none is for through 0, since
	// versions begin with 1. It asks nobody, and where it cannot tell it says true.
	Needs(wrapped []byte, through int) bool
	// RotateSharedKey adds a single version, which wraps from then on.
	RotateSharedKey(ctx context.Context) error
	// DisableVersions makes all versions below oldest neither wrap nor unwrap, and all others unwrap. It can be taken back by
	// another call with a lower number. SharedKey tells of it.
	DisableVersions(ctx context.Context, oldest int) error
	// DestroyVersions destroys all versions below oldest for good; they must be disabled.
	DestroyVersions(ctx context.Context, oldest int) error
}

// SharedRouter is a [KEK] over others, as package routekek's is, some of which may be a [SharedKEK].
type SharedRouter interface {
	KEK
	// SharedOf returns the one that wrapped what Wrap or Rewrap returned, and what that one returned itself. It returns nil where it is no
	// SharedKEK.
	SharedOf(ctx context.Context, w Wrapped) (SharedKEK, []byte, error)
}

// sharedBehind returns what finds the provider whose key tenants share behind a keyring's own; nil where there can be none.
func sharedBehind(kek KEK) func(context.Context, Wrapped) (SharedKEK, []byte, error) {
	switch k := kek.(type) {
	case SharedKEK:
		return func(_ context.Context, w Wrapped) (SharedKEK, []byte, error) { return k, w.Bytes, nil }
	case SharedRouter:
		return func(ctx context.Context, w Wrapped) (shared SharedKEK, inner []byte, err error) {
			err = guarded(theKEK, func() (err error) { shared, inner, err = k.SharedOf(ctx, w); return err })
			return shared, inner, err
		}
	}
	return nil
}

// Wrapped is the root keyset of a tenant as [KEK.Wrap] or [KEK.Rewrap] returned it.
type Wrapped struct {
	Tenant tenant.ID
	Bytes  []byte
}

// Result is what a [BatchKEK] answers about one tenant: the bytes, or why there are none, as of [KEK.Unwrap] and [KEK.Rewrap].
type Result struct {
	Bytes []byte
	Err   error
}

// BatchKEK is a [KEK] that can be asked about many tenants by one call.
type BatchKEK interface {
	KEK
	// Group tells which tenants can be asked about together: those for which it returns the same text, unless that is empty.
	// It asks nobody; of whom it says nothing within half a second, that one is asked about alone, until it has said something after all.
	Group(ctx context.Context, w Wrapped) string
	// UnwrapBatch unwraps up to [MaxBatch] tenants' root keysets of one group, each as [KEK.Unwrap] does, and returns a result for
	// each in the same order. What is wrong with one is that one's error; the error of the whole means that there was no answer.
	UnwrapBatch(ctx context.Context, all []Wrapped) ([]Result, error)
	// RewrapBatch is likewise for [KEK.Rewrap].
	RewrapBatch(ctx context.Context, all []Wrapped) ([]Result, error)
}
