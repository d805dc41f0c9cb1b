package keys

import (
	"context"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/streamingaead/aesgcmhkdf"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/tenant"
)

// door lets the library's own packages open more of a tenant's keys than [Tenant] shows: see [tenantkeys.Open].
type door = tenantkeys.Door

// own is a tenant's opened keys for the library's own packages; [tenantkeys.Keys] says what its methods do.
type own struct{ *Tenant }

var _ tenantkeys.Keys = own{}

func (r *Keyring) openOwn(ctx context.Context, id tenant.ID) (tenantkeys.Keys, error) {
	t, err := r.Tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	return own{t}, nil
}

func (t own) HasDataKey(id uint32) bool { return id == t.dataID || statusIn(t.older, id) != "" }

func (t own) DataKeyDisabled(id uint32) bool { return statusIn(t.older, id) == KeyDisabled }

func (t own) IndexKeyIDs() []uint32 { return slices.Clone(t.indexIDs) }

func (t own) BlobKey(id uint32) (*aesgcmhkdf.Key, bool) {
	for _, k := range t.blobs {
		if k.id == id {
			return k.key, true
		}
	}
	return nil, false
}

func (t own) BlobKeyDisabled(id uint32) bool { return statusIn(t.oldBlobs, id) == KeyDisabled }

func (t own) NameKeys() ([]tenantkeys.NameKey, error) {
	if len(t.names) == 0 {
		return nil, fmt.Errorf("%w: tenant %s has no key for names of objects, which earlier versions did not make; call Keyring.Provision, which adds it", ErrNotProvisioned, t.id)
	}
	out := make([]tenantkeys.NameKey, len(t.names))
	for i := range t.names {
		p, err := t.names[i].primitive()
		if err != nil {
			return nil, err
		}
		out[i] = tenantkeys.NameKey{ID: t.names[i].id, Seals: t.names[i].seals, AEAD: p}
	}
	return out, nil
}

func (t own) NameKeyDisabled(id uint32) bool { return statusIn(t.oldNames, id) == KeyDisabled }
