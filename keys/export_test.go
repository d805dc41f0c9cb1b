package keys

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Clock is a fake clock.
type Clock struct {
	mu  sync.Mutex
	now time.Duration
}

// Add moves the clock on.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
}

// Set makes o use the clock.
func (c *Clock) Set(o *Options) {
	o.clock = func() time.Duration {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.now
	}
}

// Cached reports how many tenants are in the cache.
func (r *Keyring) Cached() int {
	n := 0
	r.book.cache.entries.Range(func(any, any) bool { n++; return true })
	return n
}

// AwaitRefresh returns when nothing is asked about the tenant any more.
func (r *Keyring) AwaitRefresh(id tenant.ID) {
	for {
		r.book.mu.Lock()
		var f *flight
		if t := r.book.inflight[id]; t != nil {
			if f = t.reading; f == nil {
				f = t.opening
			}
		}
		r.book.mu.Unlock()
		if f == nil {
			return
		}
		<-f.landed
	}
}

// AddKey rotates a purpose of the tenant's record by hand: it adds a key, and makes it the primary or not.
func (r *Keyring) AddKey(ctx context.Context, id tenant.ID, purpose string, primary bool) error {
	stored, err := r.store.Get(ctx, id)
	if err != nil {
		return err
	}
	rec, err := envelope.ParseRecord(stored.Data)
	if err != nil {
		return err
	}
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return err
	}
	h, err := decryptKeyset(root, rec, purpose)
	if err != nil {
		return err
	}
	params, err := parametersOf(purpose)
	if err != nil {
		return err
	}
	m := keyset.NewManagerFromHandle(h)
	added, err := m.AddNewKeyFromParameters(params)
	if err != nil {
		return err
	}
	if primary {
		if err := m.SetPrimary(added); err != nil {
			return err
		}
	}
	if h, err = m.Handle(); err != nil {
		return err
	}
	for i := range rec.Keysets {
		if rec.Keysets[i].Purpose == purpose {
			if rec.Keysets[i].Encrypted, err = encryptKeyset(root, rec, purpose, h); err != nil {
				return err
			}
		}
	}
	_, err = r.store.Put(ctx, id, envelope.AppendRecord(nil, rec), stored.Version)
	return err
}

// MakeEarlier makes the tenant's record one of an earlier version, without a keyset for names of objects.
func (r *Keyring) MakeEarlier(ctx context.Context, id tenant.ID) error {
	stored, err := r.store.Get(ctx, id)
	if err != nil {
		return err
	}
	rec, err := envelope.ParseRecord(stored.Data)
	if err != nil {
		return err
	}
	root, err := r.unwrapRoot(ctx, rec)
	if err != nil {
		return err
	}
	earlier := *rec
	earlier.Format, earlier.Keysets = envelope.Separate, nil
	for _, k := range rec.Keysets {
		if k.Purpose == purposeNames {
			continue
		}
		h, err := decryptKeyset(root, rec, k.Purpose)
		if err != nil {
			return err
		}
		if k.Encrypted, err = encryptKeyset(root, &earlier, k.Purpose, h); err != nil {
			return err
		}
		earlier.Keysets = append(earlier.Keysets, k)
	}
	_, err = r.store.Put(ctx, id, envelope.AppendRecord(nil, &earlier), stored.Version)
	return err
}

// ForgedRoot has the KEK of one tenant wrap another tenant's root payload, as an attacker could who may use Vault's
// encrypt for a tenant of their own.
func (r *Keyring) ForgedRoot(ctx context.Context, victim, attacker tenant.ID) error {
	stored, err := r.store.Get(ctx, victim)
	if err != nil {
		return err
	}
	rec, err := envelope.ParseRecord(stored.Data)
	if err != nil {
		return err
	}
	payload, err := r.kek.Unwrap(ctx, victim, rec.WrappedRoot)
	if err != nil {
		return err
	}
	wrapped, err := r.kek.Wrap(ctx, attacker, payload)
	if err != nil {
		return err
	}
	target, err := r.store.Get(ctx, attacker)
	if err != nil {
		return err
	}
	forged := *rec
	forged.Tenant, forged.WrappedRoot = attacker, wrapped
	_, err = r.store.Put(ctx, attacker, envelope.AppendRecord(nil, &forged), target.Version)
	return err
}

// EditRecord changes the stored record.
func (r *Keyring) EditRecord(ctx context.Context, id tenant.ID, edit func(*envelope.Record)) error {
	stored, err := r.store.Get(ctx, id)
	if err != nil {
		return err
	}
	rec, err := envelope.ParseRecord(bytes.Clone(stored.Data))
	if err != nil {
		return err
	}
	edit(rec)
	_, err = r.store.Put(ctx, id, envelope.AppendRecord(nil, rec), stored.Version)
	return err
}

// RootPayload returns what the tenant's KEK wraps.
func (r *Keyring) RootPayload(ctx context.Context, id tenant.ID) ([]byte, error) {
	stored, err := r.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	rec, err := envelope.ParseRecord(stored.Data)
	if err != nil {
		return nil, err
	}
	return r.kek.Unwrap(ctx, id, rec.WrappedRoot)
}

// ClearKeyset returns a keyset of the tenant in the clear, in Tink's JSON.
func (r *Keyring) ClearKeyset(ctx context.Context, id tenant.ID, purpose string) ([]byte, error) {
	payload, err := r.RootPayload(ctx, id)
	if err != nil {
		return nil, err
	}
	root, err := envelope.ParseRoot(payload)
	if err != nil {
		return nil, err
	}
	h, err := insecurecleartextkeyset.Read(keysetBytes(root.Keyset))
	if err != nil {
		return nil, err
	}
	if purpose != "root" {
		a, err := newAEAD(h)
		if err != nil {
			return nil, err
		}
		stored, err := r.store.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		rec, err := envelope.ParseRecord(stored.Data)
		if err != nil {
			return nil, err
		}
		if h, err = decryptKeyset(a, rec, purpose); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	err = insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&out))
	return out.Bytes(), err
}

// SetSeals sets how often the tenant's data key may have sealed, in the record.
func (r *Keyring) SetSeals(ctx context.Context, id tenant.ID, key uint32, seals uint64) error {
	stored, err := r.store.Get(ctx, id)
	if err != nil {
		return err
	}
	rec, err := envelope.ParseRecord(stored.Data)
	if err != nil {
		return err
	}
	rec.Counts = []envelope.Count{{Key: key, Seals: seals}}
	_, err = r.store.Put(ctx, id, envelope.AppendRecord(nil, rec), stored.Version)
	return err
}

// AwaitRotation returns when the tenant's data key is not being rotated by itself.
func (r *Keyring) AwaitRotation(id tenant.ID) {
	for busy := true; busy; time.Sleep(time.Millisecond) {
		_, busy = r.rotating.Load(id)
	}
}

// AwaitNews returns when the store is not being asked about the tenant because of news.
func (r *Keyring) AwaitNews(id tenant.ID) {
	for busy := true; busy; time.Sleep(time.Millisecond) {
		r.hearing.mu.Lock()
		_, busy = r.hearing.again[id]
		r.hearing.mu.Unlock()
	}
}

// Inflight reports about how many tenants something is being asked.
func (r *Keyring) Inflight() int {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	return len(r.book.inflight)
}

// Waiting is how many calls there are, and tenants that wait for them, among those that are opened together.
func (r *Keyring) Waiting() int {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	return len(r.crowd.calls) + len(r.crowd.waiting)
}
