package keys

import (
	"context"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
)

// complete adds what the record of an earlier version lacks. Only [Keyring.Provision] does, never an access: if a
// missing key came back by itself, whoever can write to the store could, with the record of before, have a tenant's
// objects vanish behind a new key without anybody being asked.
func (r *Keyring) complete(ctx context.Context, e *entry) error {
	t, err := r.intend(ctx, audit.CodeKeyProvision, e.id, e.sealer.Load().unlessUsedUp(), fmt.Sprintf("adds the keyset %q", purposeNames))
	if err != nil {
		return err
	}
	t.keyVersion = e.keys.Load().DataKeyID()
	return t.outcome(ctx, r.swap(ctx, e.id, func(rec *envelope.Record) (bool, error) { return r.addNames(ctx, rec) }))
}

// addNames makes the keyset of names and binds all keysets of the record to each other, under the root keyset there is:
// it needs no more of the KEK provider than opening the tenant does. The record changes as a whole or not at all.
func (r *Keyring) addNames(ctx context.Context, rec *envelope.Record) (bool, error) {
	switch {
	case rec.State != envelope.StateActive:
		return false, (&entry{id: rec.Tenant, state: rec.State}).refusal()
	case hasKeyset(rec, purposeNames):
		return false, nil // another process was first
	}
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return false, err
	}
	handles := map[string]*keyset.Handle{}
	for _, k := range rec.Keysets {
		if handles[k.Purpose], err = decryptKeyset(root, rec, k.Purpose); err != nil {
			return false, err
		}
	}
	if handles[purposeNames], err = newPurposeKeyset(purposeNames); err != nil {
		return false, err
	}
	if err := bind(root, rec, handles); err != nil {
		return false, err
	}
	return true, opens(root, rec)
}
