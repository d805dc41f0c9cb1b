package keys

import (
	"context"
	"errors"
	"fmt"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// Retirer is a KEK provider of several, such as package routekek's, at one of which a tenant's key is no longer needed once the tenant has
// moved to another. It is an optional interface of a [KEK].
type Retirer interface {
	// Retire destroys the tenant's key at the provider of that name, if it is another one than that which wraps now. It is refused where
	// of is not of the tenant: [Keyring.RetireKEK] calls it.
	Retire(ctx context.Context, id tenant.ID, provider string, of Retirement) error
}

// Retirement says that a tenant's record was moved away from a key-encryption key, and that the trail says of the key that it is to be
// destroyed. Only [Keyring.RetireKEK] makes one; the zero value is of no tenant.
type Retirement struct{ id tenant.ID }

// Of tells whether it is of a tenant.
func (r Retirement) Of(id tenant.ID) bool { return !id.IsZero() && r.id == id }

// RetireKEK destroys the tenant's key-encryption key at a provider that it has left: copies of the tenant's record from before, in backups,
// open no more. First it does what [Keyring.Rewrap] does, so that nothing is lost of a tenant that was not moved yet; every process must name
// the new provider by then. It is refused where the keyring's provider is no [Retirer], and for what that one refuses. It may be repeated. Reason is
// as in [Keyring.Suspend]. Nothing is destroyed that cannot be recorded.
//
// Where the key there is one that tenants share the error is a [*SharedKeyError]: go on naming the provider for the tenant until
// [Keyring.DestroySharedKEK] has destroyed the versions that there are now, or what backups hold of the tenant opens, and shredding it
// would not tell of them.
func (r *Keyring) RetireKEK(ctx context.Context, id tenant.ID, provider, reason string) error {
	if r.retirer == nil {
		return errors.New("keys: the KEK provider is not one of several that a tenant can leave, as package routekek's is")
	}
	if err := r.Rewrap(ctx, id, reason); err != nil {
		return err
	}
	t, err := r.begin(ctx, audit.CodeKeyDestroy, id, reason)
	if err != nil {
		return err
	}
	t.kek = provider
	if err := t.intend(ctx); err != nil {
		return err
	}
	err = guarded(theKEK, func() error { return r.retirer.Retire(ctx, id, provider, Retirement{id}) })
	if err != nil {
		err = fmt.Errorf("keys: retire the KEK of tenant %s at %s: %w", id, provider, err)
	}
	return t.outcome(ctx, err)
}
