package blobs

import (
	"context"
	"slices"

	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
)

// An operation holds the keys that it was admitted with. One that takes longer than keys.Options.SuspendWithin, since the
// audit trail or the store is slow, or a listing is long, may end after the key of names was rotated, and objects were
// moved to names that its keys do not know. So it asks once more in the end. Where the keys of then know no other names
// either, nothing was moved yet: keys.Keyring.Rotate lets a key seal only after all have known it for longer than that.

// renamed returns the tenant's keys by now, and whether they have names that others have not.
func (b *bucket) renamed(ctx context.Context, pass *gate.Pass, was tenantkeys.Keys) (now tenantkeys.Keys, renamed bool, err error) {
	if !b.sealNames {
		return was, false, nil
	}
	if now, err = pass.Current(ctx); err != nil {
		return nil, false, err
	}
	if now == was {
		return now, false, nil
	}
	old, err := was.NameKeys()
	if err != nil {
		return nil, false, err
	}
	all, err := now.NameKeys()
	renamed = slices.ContainsFunc(all, func(n tenantkeys.NameKey) bool {
		return !slices.ContainsFunc(old, func(o tenantkeys.NameKey) bool { return o.ID == n.ID })
	})
	return now, renamed, err
}

// find looks for an object, and once more where it failed and the object may have another name by now.
func (b *bucket) find(ctx context.Context, pass *gate.Pass, key string, p place, look func(tenantkeys.Keys, place) error) error {
	for k := pass.Keys(); ; {
		err := look(k, p)
		if err == nil {
			return nil
		}
		now, renamed, failed := b.renamed(ctx, pass, k)
		if failed != nil || !renamed {
			return err
		}
		if p, failed = b.place(now, key); failed != nil {
			return failed
		}
		k = now
	}
}

// deleteObject deletes an object at all names that it may have, also those that it got meanwhile. Unknown tells that it may
// be deleted although there is an error.
func (b *bucket) deleteObject(ctx context.Context, pass *gate.Pass, key string, p place) (unknown bool, err error) {
	deleted := false
	for k := pass.Keys(); ; {
		err = b.deletePlace(ctx, k, key, p)
		switch {
		case err == nil:
			deleted = true
		case err == errMark:
		case gcerrors.Code(err) != gcerrors.NotFound:
			return deleted || unanswered(err), fromStore(err)
		}
		now, renamed, failed := b.renamed(ctx, pass, k)
		if failed == nil && renamed {
			p, failed = b.place(now, key)
		}
		switch {
		case failed != nil:
			return deleted, failed
		case !renamed && deleted:
			return false, nil
		case !renamed && err == errMark:
			return false, err
		case !renamed:
			return false, b.absent(ctx, now, err)
		}
		k = now
	}
}
