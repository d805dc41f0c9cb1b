package keys

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// RotateKEK makes a new version of the tenant's KEK, and wraps the tenant's root keyset with it. Nothing that the tenant
// has sealed is touched, and every process opens the tenant anew, by one KEK call. After a crash, or an error, repeat
// it, or call [Keyring.Rewrap] if only that is missing: in between, older versions unwrap. A suspended tenant's KEK
// can be rotated. Reason is as in [Keyring.Suspend]. Nothing is rotated that cannot be recorded.
func (r *Keyring) RotateKEK(ctx context.Context, id tenant.ID, reason string) error {
	return r.onKEK(ctx, id, "kek", reason, func() error {
		// Not of a tenant that is shredded, or has no record.
		if err := r.swap(ctx, id, func(*envelope.Record) (bool, error) { return false, nil }); err != nil {
			return err
		}
		if err := r.kek.Rotate(ctx, id); err != nil {
			return fmt.Errorf("keys: rotate the KEK of tenant %s: %w", id, err)
		}
		return r.rewrap(ctx, id)
	})
}

// Rewrap wraps the tenant's root keyset with the newest version of its KEK, however that came to be. Otherwise it is as
// [Keyring.RotateKEK].
func (r *Keyring) Rewrap(ctx context.Context, id tenant.ID, reason string) error {
	return r.onKEK(ctx, id, "root", reason, func() error { return r.rewrap(ctx, id) })
}

// storedWithin bounds the time from when a root keyset is wrapped until that is stored. Whoever destroys the version of the KEK
// that wrapped it waits for as long, and then sees every record that needs it: see [Keyring.DestroySharedKEK].
func (o *Options) storedWithin() time.Duration { return 4 * o.Timeout }

// notInTime makes the end of that time an ErrUnavailable: it is no deadline of the caller's, who has ctx.
func (r *Keyring) notInTime(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return inTime(err, r.opts.storedWithin())
}

func (r *Keyring) onKEK(ctx context.Context, id tenant.ID, about, reason string, do func() error) error {
	t, err := r.begin(ctx, audit.CodeKeyRotate, id, reason)
	if err != nil {
		return err
	}
	t.about = about
	if err := t.intend(ctx); err != nil {
		return err
	}
	return t.outcome(ctx, do())
}

func (r *Keyring) rewrap(ctx context.Context, id tenant.ID) error {
	within, cancel := context.WithTimeout(ctx, r.opts.storedWithin())
	defer cancel()
	var before []byte
	var now *envelope.Record
	var begun time.Duration
	err := r.swap(within, id, func(rec *envelope.Record) (bool, error) {
		before, now, begun = rec.WrappedRoot, nil, r.opts.clock()
		wrapped, err := r.kek.Rewrap(within, id, before)
		if err != nil {
			return false, fmt.Errorf("keys: rewrap the root keyset of tenant %s: %w", id, err)
		}
		if bytes.Equal(wrapped, before) {
			return false, nil
		}
		// What cannot be opened again must never be stored, nor what is not this tenant's.
		rec.WrappedRoot = wrapped
		root, err := r.unwrapRoot(within, rec)
		if err != nil {
			return false, err
		}
		now = rec
		return true, opens(root, rec)
	})
	if err == nil && now != nil {
		d := &rewrapping{id: id, rec: *now, a: answer{rec: &envelope.Record{WrappedRoot: before}}, begun: begun, moved: true}
		r.rewrappedLate(ctx, []*rewrapping{d})
		err = d.err
	}
	err = r.notInTime(ctx, err)
	if err != nil && before != nil {
		within, cancel := r.lookBack(ctx)
		defer cancel()
		err = r.leftBehind(within, id, err)
	}
	return err
}
