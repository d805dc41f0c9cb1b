package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Shredded says what a shredding destroyed, as the tenant's record has it from then on.
type Shredded struct {
	Tenant  tenant.ID
	Keyring string // the keyring's label
	// At is when the record became a tombstone. It is zero, and Keys are empty, where an earlier version made it one.
	At time.Time
	// Keys are the keys that there were, by ascending purpose and id. It is empty where they could not be opened any more
	// when the tenant was shredded, as while the KEK provider was away: suspend a tenant then, and shred it afterwards.
	Keys []DestroyedKey
	// Tried tells that the record of before, kept in memory, was tried after the KEK was destroyed, and did not open. It is
	// false for a tenant that was shredded before: nothing is left to try.
	Tried bool
	// Shared are the keys that were not destroyed, because they wrap for other tenants as well. Copies of the record from before,
	// in backups of the store, open until they are: see [Keyring.DestroySharedKEK]. It is empty where the KEK was the tenant's own.
	Shared []SharedVersions
}

// SharedVersions are the versions of a key that many tenants share which may have wrapped for a tenant that was shredded.
type SharedVersions struct {
	Name string // of the key
	// Through is the newest of them, and the others are those before it.
	Through int
	// Destroyed tells that they were destroyed since: a copy of the record opens no more.
	Destroyed bool
}

// DestroyedKey is a key that no longer exists.
type DestroyedKey struct {
	Purpose Purpose
	ID      uint32 // of the Tink key; values that it sealed carry it
}

// Shred destroys the tenant's keys for good: what they sealed can never be read again. The record becomes a tombstone
// first, which takes effect everywhere within [Options.SuspendWithin], and then the KEK is destroyed, without which
// copies of the record in backups are worthless. At last the record of before, which was kept in memory, is tried: if it
// opened, Shred would fail. It is safe to repeat, and must be repeated after an error. Nothing is shredded that cannot be
// recorded. Reason is as in [Keyring.Suspend], but what is sealed with it is lost too.
//
// Whoever makes a KEK for the tenant meanwhile, to provision it or to move it to another provider, destroys it again. A process that is
// killed after it has made one, and before that, may leave it behind: it has wrapped nothing that was stored, and repeating Shred
// destroys it. Where a router of several providers does not name the one at which the tenant's KEK is nothing is shredded, and the error
// wraps [ErrIntegrity]: name it, or the KEK would stay there.
//
// A record that is put back from a backup does not open: there is nothing to unwrap it with. It says that the tenant is
// active, and shredding it again makes it a tombstone again. Backups of the KEK provider are another matter: they have to
// be destroyed with it.
//
// Where the KEK is shared with other tenants ([SharedKEK]) it is not destroyed. Then what is left is the record in backups of the
// store, which opens if it is put back, until [Keyring.DestroySharedKEK] has destroyed the versions of the KEK that there were.
// [Keyring.ShredWithReport] and the audit trail name them.
func (r *Keyring) Shred(ctx context.Context, id tenant.ID, reason string) error {
	_, err := r.ShredWithReport(ctx, id, reason)
	return err
}

// ShredWithReport is [Keyring.Shred], and says what was destroyed, now or when the tenant was shredded before.
func (r *Keyring) ShredWithReport(ctx context.Context, id tenant.ID, reason string) (*Shredded, error) {
	if err := r.usable(ctx, id); err != nil {
		return nil, err
	}
	if err := checkReason(reason); err != nil {
		return nil, err
	}
	t, err := r.intend(ctx, audit.CodeKeyShred, id, r.quickSealer(ctx, id), reason)
	if err != nil {
		return nil, err
	}
	tried, shared, err := r.shred(ctx, id)
	if shared != nil {
		t.note = "the KEK is shared and was not destroyed: copies of the record open until its versions are"
	}
	if err := t.outcome(ctx, err); err != nil {
		return nil, err
	}
	s, err := r.tombstone(ctx, id, shared)
	if err != nil {
		return nil, err
	}
	s.Tried = tried
	return s, nil
}

// shred reports whether the record of before was tried and did not open, and which keys there still are.
func (r *Keyring) shred(ctx context.Context, id tenant.ID) (tried bool, shared *SharedKeyError, err error) {
	var before *envelope.Record
	err = r.swap(ctx, id, func(rec *envelope.Record) (bool, error) {
		if err := r.reached(ctx, rec); err != nil {
			return false, err
		}
		kept := *rec
		before = &kept
		rec.Entomb(time.Now().UnixMilli(), r.keysOf(ctx, rec))
		return true, nil
	})
	if err != nil && !errors.Is(err, ErrShredded) {
		return false, nil, err
	}
	if err != nil {
		before = nil // somebody else's tombstone
	}
	shared, err = r.destroyKEK(ctx, id)
	if err == nil && shared != nil {
		err = r.rememberShared(ctx, id, shared.Keys)
	}
	switch {
	case err != nil:
		return false, nil, fmt.Errorf("keys: tenant %s can no longer be opened, but its KEK still exists; repeat the call: %w", id, err)
	case before == nil && shared == nil:
		return false, nil, r.wrapInVain(ctx, id)
	case before == nil:
		return false, shared, nil
	}
	tried, err = r.tryInVain(ctx, before, shared != nil)
	return tried, shared, err
}

// reached makes sure that the KEK which opens the record is one that Destroy destroys. Once the record is a tombstone nobody can tell any
// more at which provider it was. That one is away is no reason to leave the record as it is.
func (r *Keyring) reached(ctx context.Context, rec *envelope.Record) error {
	if r.sharedOf == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if _, _, err := r.sharedOf(ctx, Wrapped{rec.Tenant, rec.WrappedRoot}); errors.Is(err, ErrIntegrity) {
		return fmt.Errorf("keys: tenant %s was not shredded, since its KEK would not be destroyed: %w", rec.Tenant, err)
	}
	return nil
}

// destroyKEK destroys the tenant's KEK, but for keys that are other tenants' too, which it returns.
func (r *Keyring) destroyKEK(ctx context.Context, id tenant.ID) (*SharedKeyError, error) {
	err := r.kek.Destroy(ctx, id)
	// Not errors.As: joined with it there may be one that says that a key of the tenant's own is still there.
	for e := err; e != nil; e = errors.Unwrap(e) {
		if shared, ok := e.(*SharedKeyError); ok && len(shared.Keys) > 0 && len(shared.Keys) <= envelope.MaxShared {
			return shared, nil
		}
	}
	return nil, err
}

// rememberShared has the tombstone tell which keys were not destroyed. Their newest versions are those of now, after which nobody
// wraps for the tenant any more; what a tombstone says already of a key stays as it is.
func (r *Keyring) rememberShared(ctx context.Context, id tenant.ID, shared []SharedKey) error {
	return r.joined(id, func(t *inflight) error {
		for range conflicts {
			a := r.ask(ctx, t, nil)
			switch {
			case a.verdict == late:
				continue
			case a.err != nil:
				return a.err
			case a.rec.State != envelope.StateShredded:
				return fmt.Errorf("%w: tenant %s was shredded, and its record is none of a shredded tenant; an older one was put back: repeat the call", ErrConflict, id)
			}
			rec := *a.rec
			if rec.Shared = withShared(rec.Shared, shared); len(rec.Shared) == len(a.rec.Shared) {
				return nil
			}
			if len(rec.Shared) > envelope.MaxShared {
				return fmt.Errorf("tenant %s has been wrapped with more than %d keys that tenants share, of which its record could tell", id, envelope.MaxShared)
			}
			if rec.ShreddedAt == 0 {
				rec.ShreddedAt = time.Now().UnixMilli() // of an earlier version's
			}
			if _, err := r.put(ctx, t, &rec, a.version, opened{}, 0); !errors.Is(err, ErrConflict) {
				return err
			}
		}
		return fmt.Errorf("%w: tenant %s: the record changed %d times in a row; retry", ErrConflict, id, conflicts)
	})
}

// withShared adds the keys to those of a tombstone that it does not name yet, each once, with the highest of its versions: one that
// has two names with a router may be rotated between two answers.
func withShared(before []envelope.Shared, more []SharedKey) []envelope.Shared {
	all := slices.Clone(before)
	for _, k := range more {
		same := func(s envelope.Shared) bool { return s.Name == k.Name }
		if slices.ContainsFunc(before, same) {
			continue
		}
		version := uint32(max(k.Newest, 1))
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i].Version = max(all[i].Version, version)
		} else {
			all = append(all, envelope.Shared{Name: k.Name, Version: version})
		}
	}
	slices.SortFunc(all, func(a, b envelope.Shared) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// wrapInVain tries whether there is still a KEK where nothing is left that it could open: a call before may have failed for
// that.
func (r *Keyring) wrapInVain(ctx context.Context, id tenant.ID) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	_, err := r.kek.Wrap(ctx, id, []byte("is it still there?"))
	switch {
	case err == nil:
		return fmt.Errorf("keys: tenant %s: its KEK was said to be destroyed, and still encrypts; see what the KEK provider keeps, and repeat the call", id)
	case errors.Is(err, ErrNotFound):
		return nil
	}
	return fmt.Errorf("keys: tenant %s can no longer be opened, but whether its KEK is gone could not be tried; repeat the call: %w", id, err)
}

// tryInVain tries to open what must not open any more, unless a key that is shared opens it. That the KEK provider is away is no
// proof.
func (r *Keyring) tryInVain(ctx context.Context, before *envelope.Record, shared bool) (tried bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	_, err = r.unwrapRoot(ctx, before)
	switch {
	case err == nil && shared:
		return false, nil
	case err == nil:
		return false, fmt.Errorf("keys: tenant %s: its KEK was said to be destroyed, and still opens the record of before; see what the KEK provider keeps, and repeat the call", before.Tenant)
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrIntegrity):
		return true, nil
	}
	return false, fmt.Errorf("keys: tenant %s can no longer be opened, but whether its KEK is gone could not be tried; repeat the call: %w", before.Tenant, err)
}

// tombstone reads what the record of a shredded tenant says. Shared are the keys that there are now; nil for none.
func (r *Keyring) tombstone(ctx context.Context, id tenant.ID, shared *SharedKeyError) (*Shredded, error) {
	rec, err := r.stored(ctx, id)
	if err != nil {
		return nil, err
	}
	if rec.State != envelope.StateShredded {
		return nil, fmt.Errorf("%w: tenant %s was shredded, and its record is none of a shredded tenant; an older one was put back: repeat the call", ErrConflict, id)
	}
	s := &Shredded{Tenant: id, Keyring: rec.Keyring}
	if rec.ShreddedAt > 0 {
		s.At = time.UnixMilli(rec.ShreddedAt).UTC()
	}
	for _, d := range rec.Destroyed {
		s.Keys = append(s.Keys, DestroyedKey{Purpose(d.Purpose), d.Key})
	}
	for _, k := range rec.Shared {
		v := SharedVersions{Name: k.Name, Through: int(k.Version)}
		if shared != nil {
			v.Destroyed = slices.ContainsFunc(shared.Keys, func(now SharedKey) bool { return now.Name == v.Name && now.Oldest > v.Through })
		}
		s.Shared = append(s.Shared, v)
	}
	return s, nil
}

// keysOf lists the keys of a record, as far as they can be opened in time: that the KEK provider is away does not keep the
// record from becoming a tombstone.
func (r *Keyring) keysOf(ctx context.Context, rec *envelope.Record) []envelope.Destroyed {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return nil
	}
	var all []envelope.Destroyed
	for _, k := range rec.Keysets {
		h, err := decryptKeyset(root, rec, k.Purpose)
		if err != nil {
			continue // such a keyset did not open for anybody
		}
		for _, info := range h.KeysetInfo().GetKeyInfo() {
			all = append(all, envelope.Destroyed{Purpose: k.Purpose, Key: info.GetKeyId()})
		}
	}
	return all
}

// StatusNow returns the tenant's status as the store has it now, whatever the cache says. The error is as of
// [Keyring.Status], or wraps [ErrNotFound] where there is no record.
func (r *Keyring) StatusNow(ctx context.Context, id tenant.ID) (Status, error) {
	if err := r.usable(ctx, id); err != nil {
		return "", err
	}
	return statusOf(r.stored(ctx, id))
}

// SuspendWithin returns [Options.SuspendWithin].
func (r *Keyring) SuspendWithin() time.Duration { return r.opts.SuspendWithin }
