package vaultkek_test

import (
	"context"
	"errors"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// preceded is a provider at which something happens before a tenant's key is made.
type preceded struct {
	*vaultkek.KEK
	make func()
}

func (b preceded) Create(ctx context.Context, id tenant.ID) error {
	if b.make != nil {
		b.make()
	}
	return b.KEK.Create(ctx, id)
}

// TestNoKeyIsMadeForAShreddedTenant: one process is about to make a tenant's key, to provision it or to move it to another Vault's engine, when
// another one shreds the tenant. None is left, at neither, with the rights of the documented policy.
func TestNoKeyIsMadeForAShreddedTenant(t *testing.T) {
	server := testenv.Vault(t)
	root := server.Client(t)
	engine := func() *vaultkek.KEK {
		mount := server.EnableTransit(t)
		return open(t, server.Addr, vaultkek.Token(token(t, root, mount, vaultkek.Policy(mount, ""), "1h")), &vaultkek.Options{Mount: mount})
	}
	from, to := engine(), engine()
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	ring := func(to keys.KEK, route routekek.Route) *keys.Keyring {
		kek, err := routekek.New(map[string]keys.KEK{"from": from, "to": to}, func(context.Context, tenant.ID) (routekek.Route, error) { return route, nil }, nil)
		must(t, err)
		r, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
		must(t, err)
		t.Cleanup(func() { r.Close() })
		return r
	}
	moved := routekek.Route{Provider: "to", Also: []string{"from"}}
	other := ring(to, moved)
	shred := func(id tenant.ID) func() { return func() { must(t, other.Shred(t.Context(), id, "")) } }

	must(t, ring(to, routekek.Route{Provider: "from", Also: []string{"to"}}).Provision(t.Context(), idA))
	err = ring(preceded{to, shred(idA)}, moved).Rewrap(t.Context(), idA, "")
	if !errors.Is(err, keys.ErrShredded) && !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("the move: %v", err)
	}
	err = ring(preceded{to, func() { must(t, other.Provision(t.Context(), idB)); shred(idB)() }}, moved).Provision(t.Context(), idB)
	if !errors.Is(err, keys.ErrShredded) {
		t.Errorf("the provisioning: %v", err)
	}
	for _, id := range []tenant.ID{idA, idB} {
		for name, kek := range map[string]*vaultkek.KEK{"from": from, "to": to} {
			if err := kek.Check(t.Context(), id); !errors.Is(err, keys.ErrNotFound) {
				t.Errorf("tenant %s at %s: %v", id, name, err)
			}
		}
	}
}
