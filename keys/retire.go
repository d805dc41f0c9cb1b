package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/apart"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Remaining counts the values that still need an older key of a purpose, wherever they are kept: what the key sealed, or the
// index values that it made. Only who knows all stores can, so that it is the caller's; it is asked before a key is taken
// away, and each number but 0, and each error, keeps the key. What to count is
//
//   - for [PurposeData] the sealed columns of every database and the attributes of the objects in every bucket,
//   - for [PurposeIndex] the blind indexes of every database,
//   - for [PurposeBlobs] the objects in every bucket,
//   - for [PurposeNames] the names of the objects in every bucket that seals them,
//
// and backups, if they are to open later. Sqldb.Reseal and blobs.Reseal count exactly, both in a dry run:
//
//	func(ctx context.Context) (int64, error) { // ctx carries the tenant's access
//		rows, err := sqldb.Reseal(ctx, db, &sqldb.ResealOptions{DryRun: true})
//		if err != nil {
//			return 0, err
//		}
//		n, err := rows.Remaining(keys.PurposeData)
//		if n > 0 || err != nil {
//			return n, err
//		}
//		objects, err := blobs.Reseal(ctx, bucket, &blobs.ResealOptions{DryRun: true})
//		if err != nil {
//			return 0, err
//		}
//		return objects.Remaining(keys.PurposeData)
//	}
//
// One that panics or ends its goroutine is an error: it is called on a goroutine of its own.
type Remaining func(context.Context) (int64, error)

func (r Remaining) count(ctx context.Context) (n int64, err error) {
	broke, err := apart.Call(func() (err error) { n, err = r(ctx); return err })
	if broke != "" {
		err = errors.New("what counts " + broke)
	}
	return n, err
}

// DisableKey takes an older key of one purpose out of use, once nothing needs it any more: what it sealed does not open, and
// rows are not searched for under it. [Keyring.EnableKey] puts it back. Otherwise the error wraps [ErrKeyNeeded] and nothing
// is changed: the key seals, or is about to, or remaining says that values need it. It takes a little longer than
// [Options.SuspendWithin]: after a rotation other processes seal with the older key until then, and remaining is asked after
// that. What a transaction wrote that began before, and that is still open, nobody can count, nor the object of a writer that
// is not closed yet: let those end first.
//
// It succeeds where the key is disabled already. Other processes see it within SuspendWithin. A suspended tenant's keys can
// be disabled, if remaining can count then. Reason is as in [Keyring.Suspend]. Nothing is disabled that cannot be recorded.
func (r *Keyring) DisableKey(ctx context.Context, id tenant.ID, p Purpose, key uint32, reason string, remaining Remaining) error {
	return r.retire(ctx, audit.CodeKeyDisable, id, p, key, reason, remaining)
}

// DestroyKey removes a disabled key of one purpose for good: what it sealed, backups included, can never be opened again.
// Remaining is asked as by [Keyring.DisableKey], where a key that is not disabled is refused with [ErrKeyNeeded]. It succeeds
// where the tenant has no such key: after an error or a crash it can be repeated.
//
// A process that cannot reach the store, and serves stale ([ServeStale]), seals with a key that was disabled for as long as
// [Options.StaleLimit], and nobody can count what it is yet to write. So with that policy DestroyKey waits until a little longer than the limit has
// gone by since this keyring has seen the key disabled, with no change of the purpose's keys in between that was not its own, and fails at once where ctx ends before: call it again then. From a keyring of
// another policy than the services', such as an operator's, call it no earlier than that after DisableKey.
//
// In the audit trail nothing is sealed anew: with a key of [PurposeAudit] the details of the events of its time are lost, and
// with one of [PurposePseudonym] nobody can tell any more whose pseudonym an older one is.
func (r *Keyring) DestroyKey(ctx context.Context, id tenant.ID, p Purpose, key uint32, reason string, remaining Remaining) error {
	return r.retire(ctx, audit.CodeKeyDestroy, id, p, key, reason, remaining)
}

// EnableKey puts a disabled key back: what it sealed opens again, and rows are searched for under it. It succeeds where the key
// is enabled. Reason is as in [Keyring.Suspend]. Nothing is enabled that cannot be recorded.
func (r *Keyring) EnableKey(ctx context.Context, id tenant.ID, p Purpose, key uint32, reason string) error {
	t, err := r.aboutKey(ctx, audit.CodeKeyEnable, id, p, key, reason)
	if err != nil {
		return err
	}
	return t.outcome(ctx, r.rekey(ctx, id, string(p), key, func(m *keyset.Manager, h *keyset.Handle) (bool, error) {
		all, err := versions(h)
		switch status := statusIn(all, key); {
		case err != nil:
			return false, err
		case status == "":
			return false, noSuchKey(p, key, id)
		case status != KeyDisabled:
			return false, nil
		}
		return true, m.Enable(key)
	}))
}

// aboutKey begins an operation on one key, and records that it is meant.
func (r *Keyring) aboutKey(ctx context.Context, code audit.Code, id tenant.ID, p Purpose, key uint32, reason string) (*trail, error) {
	if err := p.known(); err != nil {
		return nil, err
	}
	t, err := r.begin(ctx, code, id, reason)
	if err != nil {
		return nil, err
	}
	t.about, t.key = string(p), key
	return t, t.intend(ctx)
}

func (r *Keyring) retire(ctx context.Context, code audit.Code, id tenant.ID, p Purpose, key uint32, reason string, remaining Remaining) error {
	if remaining == nil {
		return errors.New("keys: nothing says whether values need the key; pass a Remaining that counts them in every store")
	}
	t, err := r.aboutKey(ctx, code, id, p, key, reason)
	if err != nil {
		return err
	}
	return t.outcome(ctx, r.retireKey(ctx, code, id, p, key, remaining))
}

func (r *Keyring) retireKey(ctx context.Context, code audit.Code, id tenant.ID, p Purpose, key uint32, remaining Remaining) error {
	stored, all, err := r.storedVersions(ctx, id, p)
	if err != nil {
		return err
	}
	if done, err := mayRetire(code, all, id, p, key); done || err != nil {
		return err
	}
	about := disabledKey{id, p, key}
	if code == audit.CodeKeyDestroy && r.opts.WhenUnavailable == ServeStale {
		err = r.outlived(ctx, about, stored)
	} else {
		err = r.everywhere(ctx)
	}
	if err != nil {
		return fmt.Errorf("keys: the %s key %d of tenant %s was left as it is; repeat the call: %w", p, key, id, err)
	}
	n, err := remaining.count(ctx)
	if err != nil {
		return fmt.Errorf("keys: the %s key %d of tenant %s was left as it is, since what needs it could not be counted: %w", p, key, id, err)
	}
	if n != 0 {
		return fmt.Errorf("%w: %d values need the %s key %d of tenant %s; re-seal them first", ErrKeyNeeded, n, p, key, id)
	}
	var before []byte
	err = r.swap(ctx, id, func(rec *envelope.Record) (bool, error) {
		before = keysetOf(rec, p)
		changed, err := r.rekeyIn(ctx, rec, string(p), func(m *keyset.Manager, h *keyset.Handle) (bool, error) {
			now, err := versions(h)
			if err != nil {
				return false, err
			}
			if done, err := mayRetire(code, now, id, p, key); done || err != nil {
				return false, err
			}
			if code == audit.CodeKeyDisable {
				return true, m.Disable(key)
			}
			return true, m.Delete(key)
		})
		if changed && code == audit.CodeKeyDestroy && (p == PurposeData || p == PurposeAudit) {
			rec.Counts = slices.DeleteFunc(slices.Clone(rec.Counts), func(c envelope.Count) bool { return c.Key == key })
		}
		stored = keysetOf(rec, p)
		return changed, err
	})
	if err != nil {
		return err
	}
	r.stillDisabled(id, p, before, stored, key)
	if code == audit.CodeKeyDisable {
		r.seenDisabled(about, stored)
	} else {
		r.disabled.Delete(about)
	}
	return nil
}

// mayRetire tells whether a key can be taken away, or is already.
func mayRetire(code audit.Code, all []KeyVersion, id tenant.ID, p Purpose, key uint32) (done bool, err error) {
	status := statusIn(all, key)
	switch {
	case status == "" && code == audit.CodeKeyDestroy:
		return true, nil
	case status == "":
		return false, noSuchKey(p, key, id)
	case status == KeySeals || status == KeyNext:
		return false, fmt.Errorf("%w: the %s key %d of tenant %s seals, or is about to; Keyring.Rotate makes another", ErrKeyNeeded, p, key, id)
	case code == audit.CodeKeyDisable:
		return status == KeyDisabled, nil
	case status != KeyDisabled:
		return false, fmt.Errorf("%w: the %s key %d of tenant %s is not disabled; call Keyring.DisableKey, and see that nothing misses it", ErrKeyNeeded, p, key, id)
	}
	return false, nil
}

func noSuchKey(p Purpose, key uint32, id tenant.ID) error {
	return fmt.Errorf("%w: tenant %s has no %s key %d; Keyring.Versions lists those there are", ErrNotFound, id, p, key)
}

func statusIn(all []KeyVersion, key uint32) KeyStatus {
	for _, k := range all {
		if k.ID == key {
			return k.Status
		}
	}
	return ""
}
