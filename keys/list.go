package keys

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/strongroom-go/strongroom/tenant"
)

// listPage is how many ids are asked of the store at once.
const listPage = 256

// Listed is a tenant that [Keyring.Tenants] lists.
type Listed struct {
	ID     tenant.ID
	Status Status // empty where there is an error
}

// Tenants lists the tenants that have a record, in the byte order of their ids, as the store has them now and not the
// cache: those of the given statuses, or all. Each is read as it comes up; one that appears or changes meanwhile is
// listed as before or as after. An error with an ID is about that tenant alone, whatever its status (its record is
// damaged, for one), and the list goes on; one without ends it. The KEK provider is not needed.
//
//	for t, err := range ring.Tenants(ctx, keys.StatusSuspended) {
func (r *Keyring) Tenants(ctx context.Context, only ...Status) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		var after tenant.ID
		for {
			ids, err := r.listPage(ctx, after)
			if err != nil {
				yield(Listed{}, err)
				return
			}
			for _, id := range ids {
				status, err := r.stored(ctx, id)
				switch {
				case errors.Is(err, ErrNotFound):
					continue // deleted meanwhile
				case ctx.Err() != nil:
					yield(Listed{}, ctx.Err())
					return
				case err == nil && len(only) > 0 && !slices.Contains(only, status):
					continue
				}
				if !yield(Listed{id, status}, err) {
					return
				}
			}
			if len(ids) < listPage {
				return
			}
			after = ids[len(ids)-1]
		}
	}
}

func (r *Keyring) listPage(ctx context.Context, after tenant.ID) ([]tenant.ID, error) {
	if r.book.closed.Load() {
		return nil, ErrClosed
	}
	ids, err := r.store.List(ctx, after, listPage)
	if err != nil {
		return nil, fmt.Errorf("keys: list the tenants: %w", err)
	}
	if len(ids) > 0 && !after.IsZero() && ids[0].String() <= after.String() {
		return nil, fmt.Errorf("%w: the store lists what it was not asked for", ErrIntegrity) // and would for ever
	}
	return ids, nil
}

// stored returns the status in the store.
func (r *Keyring) stored(ctx context.Context, id tenant.ID) (Status, error) {
	stored, err := r.store.Get(ctx, id)
	if err != nil {
		return "", fmt.Errorf("keys: read the record of tenant %s: %w", id, err)
	}
	rec, err := r.parse(id, stored.Data)
	if err != nil {
		return "", err
	}
	return (&entry{state: rec.State}).status(), nil
}
