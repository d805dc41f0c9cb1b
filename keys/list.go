package keys

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// listPage is how many ids are asked of the store at once.
const listPage = MaxBatch

// Listed is a tenant that [Keyring.Tenants] lists.
type Listed struct {
	ID     tenant.ID
	Status Status // empty where there is an error
}

// Tenants lists the tenants that have a record, in the byte order of their ids, as the store has them now and not the
// cache: those of the given statuses, or all. They are read in pages as they come up; one that appears or changes meanwhile is
// listed as before or as after. An error with an ID is about that tenant alone, whatever its status (its record is
// damaged, for one), and the list goes on; one without ends it. The KEK provider is not needed.
//
//	for t, err := range ring.Tenants(ctx, keys.StatusSuspended) {
func (r *Keyring) Tenants(ctx context.Context, only ...Status) iter.Seq2[Listed, error] {
	return r.TenantsAfter(ctx, tenant.ID{}, only...)
}

// TenantsAfter is [Keyring.Tenants] from the first tenant on whose id is behind after, for who goes on where an earlier list ended.
func (r *Keyring) TenantsAfter(ctx context.Context, after tenant.ID, only ...Status) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		after := after // each time that the list is ranged over
		for {
			ids, err := r.listPage(ctx, after)
			if err != nil {
				yield(Listed{}, err)
				return
			}
			if len(ids) == 0 {
				return // and not at a page that is not full: a store may list fewer than it is asked for
			}
			stored := r.storedPage(ctx, ids)
			for i, id := range ids {
				status, err := stored(i)
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
	// In another order, as a collation of a database's may have, tenants are left out behind a page, or come for ever.
	last := after
	for _, id := range ids {
		if id.String() <= last.String() {
			return nil, fmt.Errorf("%w: the store does not list the ids behind the one that it was given in the byte order of their text", ErrIntegrity)
		}
		last = id
	}
	return ids, nil
}

// storedPage returns what tells the status of each tenant in the store: all were read at once where the store can, else, or
// where that failed, which one record may be the cause of, each is when it is asked for.
func (r *Keyring) storedPage(ctx context.Context, ids []tenant.ID) func(i int) (Status, error) {
	if r.batch.store != nil && len(ids) > 0 {
		if all, err := r.getChanged(ctx, ids, make([]int64, len(ids))); err == nil {
			return func(i int) (Status, error) {
				if all[i].Version == 0 {
					return "", ErrNotFound
				}
				return statusOf(r.parse(ids[i], all[i].Data))
			}
		}
	}
	return func(i int) (Status, error) { return statusOf(r.stored(ctx, ids[i])) }
}

func statusOf(rec *envelope.Record, err error) (Status, error) {
	if err != nil {
		return "", err
	}
	return (&entry{state: rec.State}).status(), nil
}
