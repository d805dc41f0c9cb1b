package keys

import (
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// DangerousExport hands out the tenant's keys of one purpose, for use elsewhere: another program that reads what this one
// sealed, or an owner who leaves with its data. From then on nothing here protects what these keys sealed and will seal, no
// suspension, no shredding and no audit trail, until [Keyring.Rotate] has made a new key, and for older values after that.
//
// It is an event of severity high, durable before anything is handed out, with the reason, which must not be empty. A keyring
// without an audit trail exports nothing, and neither does one that cannot record it. The tenant must be active. Keysets are
// Tink's: write them encrypted, with [keyset.Handle.WriteWithAssociatedData].
func (r *Keyring) DangerousExport(ctx context.Context, id tenant.ID, p Purpose, reason string) (*keyset.Handle, error) {
	switch err := p.known(); {
	case err != nil:
		return nil, err
	case reason == "":
		return nil, errors.New("keys: keys are exported for a reason only; say it, it is recorded")
	case r.opts.Audit == nil:
		return nil, errors.New("keys: keys are exported on the record only; set Options.Audit")
	}
	t, err := r.begin(ctx, audit.CodeKeyExport, id, reason)
	if err != nil {
		return nil, err
	}
	t.about = string(p)
	if err := t.intend(ctx); err != nil {
		return nil, err
	}
	h, err := r.export(ctx, id, p)
	if err := t.outcome(ctx, err); err != nil {
		return nil, err
	}
	return h, nil
}

// export opens a keyset from the record that the store has now, and not from one that was opened before.
func (r *Keyring) export(ctx context.Context, id tenant.ID, p Purpose) (h *keyset.Handle, err error) {
	err = r.swap(ctx, id, func(rec *envelope.Record) (bool, error) {
		if rec.State != envelope.StateActive {
			return false, (&entry{id: id, state: rec.State}).refusal()
		}
		root, err := r.unwrapRoot(ctx, rec)
		if err != nil {
			return false, err
		}
		h, err = decryptKeyset(root, rec, string(p))
		return false, err
	})
	if err != nil {
		return nil, fmt.Errorf("keys: export: %w", err)
	}
	return h, nil
}
