package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// memoryStore is a store without the cost of one, for rows about what is done with records.
type memoryStore struct{ records sync.Map }

func (s *memoryStore) Get(_ context.Context, id tenant.ID) (keys.Record, error) {
	if v, ok := s.records.Load(id); ok {
		return v.(keys.Record), nil
	}
	return keys.Record{}, keys.ErrNotFound
}

func (s *memoryStore) Put(_ context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	rec := keys.Record{Data: bytes.Clone(data), Version: version + 1}
	if version == 0 {
		if _, loaded := s.records.LoadOrStore(id, rec); loaded {
			return 0, keys.ErrConflict
		}
		return rec.Version, nil
	}
	old, _ := s.Get(context.Background(), id)
	if old.Version != version {
		return 0, keys.ErrConflict
	}
	s.records.Store(id, rec)
	return rec.Version, nil
}

func (s *memoryStore) Delete(context.Context, tenant.ID, int64) error { return keys.ErrNotFound }

func (s *memoryStore) List(context.Context, tenant.ID, int) ([]tenant.ID, error) { return nil, nil }

// fixture is tenants provisioned under a local KEK.
type fixture struct {
	kek     *localkek.KEK
	store   *memoryStore
	ids     []tenant.ID
	cleanup func()
}

func newFixture(tenants int) (*fixture, error) {
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	f := &fixture{store: &memoryStore{}, cleanup: func() { os.RemoveAll(dir) }}
	if f.kek, err = localkek.Open(filepath.Join(dir, "kek"), nil); err != nil {
		return nil, err
	}
	for i := range tenants {
		f.ids = append(f.ids, tenant.MustParse(fmt.Sprintf("tenant-%06d", i)))
	}
	return f, nil
}

// ring returns a keyring on the fixture with all tenants provisioned. Many tenants share one KEK: a local file is
// written as a whole for each, and the rows are not about that.
func (f *fixture) ring(kek keys.KEK, o *keys.Options) (*keys.Keyring, error) {
	var opts keys.Options
	if o != nil {
		opts = *o
	}
	opts.InsecureWithoutAudit = true // the rows are about keys
	ring, err := keys.Open(context.Background(), kek, f.store, &opts)
	if err != nil {
		return nil, err
	}
	for _, id := range f.ids {
		if err := ring.Provision(context.Background(), id); err != nil {
			return nil, err
		}
	}
	return ring, nil
}

// oneKEK wraps every tenant's root keyset under one tenant's KEK.
type oneKEK struct {
	keys.KEK
	id tenant.ID
}

func (k oneKEK) Create(context.Context, tenant.ID) error { return nil }

func (k oneKEK) Wrap(ctx context.Context, _ tenant.ID, plaintext []byte) ([]byte, error) {
	return k.KEK.Wrap(ctx, k.id, plaintext)
}

func (k oneKEK) Unwrap(ctx context.Context, _ tenant.ID, wrapped []byte) ([]byte, error) {
	return k.KEK.Unwrap(ctx, k.id, wrapped)
}

func (f *fixture) shared() (keys.KEK, error) {
	id := tenant.MustParse("shared")
	return oneKEK{f.kek, id}, f.kek.Create(context.Background(), id)
}

func keyRows() []Row {
	return []Row{
		{"keys.cold", "Tink: read one encrypted keyset, make its AEAD", coldTenant},
		{"keys.hot", "a sync.Map lookup", hotTenant},
		{"keys.memory", "Tink's AEAD, PRF and streaming primitives", tenantMemory},
	}
}

// coldTenant opens a tenant that is in no cache, the local KEK's unwrapping included.
func coldTenant() (*Pair, error) {
	f, err := newFixture(2)
	if err != nil {
		return nil, err
	}
	// A cache of one tenant, and two in turns: each is always cold.
	ring, err := f.ring(f.kek, &keys.Options{CacheSize: 1})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	ours := func(n int) error {
		for i := range n {
			if _, err := ring.Tenant(ctx, f.ids[i%2]); err != nil {
				return err
			}
		}
		return nil
	}
	rootHandle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	root, err := aead.New(rootHandle)
	if err != nil {
		return nil, err
	}
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	var encrypted bytes.Buffer
	ad := []byte("tenant-000001")
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&encrypted), root, ad); err != nil {
		return nil, err
	}
	peer := func(n int) error {
		for range n {
			h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(encrypted.Bytes())), root, ad)
			if err != nil {
				return err
			}
			if _, err := aead.New(h); err != nil {
				return err
			}
		}
		return nil
	}
	return &Pair{Ours: ours, Peer: peer, Cleanup: f.cleanup}, nil
}

// hotTenant looks a cached tenant up.
func hotTenant() (*Pair, error) {
	f, err := newFixture(1)
	if err != nil {
		return nil, err
	}
	ring, err := f.ring(f.kek, nil)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	ours := func(n int) error {
		for range n {
			if _, err := ring.Tenant(ctx, f.ids[0]); err != nil {
				return err
			}
		}
		return nil
	}
	var m sync.Map
	m.Store(f.ids[0].String(), &Pair{})
	peer := func(n int) error {
		for range n {
			if _, ok := m.Load(f.ids[0].String()); !ok {
				return keys.ErrNotFound
			}
		}
		return nil
	}
	return &Pair{Ours: ours, Peer: peer, Cleanup: f.cleanup}, nil
}

// tenantMemory is what a cached tenant keeps on the heap: all five purposes, and its place in the cache.
func tenantMemory() (*Pair, error) {
	const n = 2000
	f, err := newFixture(n)
	if err != nil {
		return nil, err
	}
	kek, err := f.shared()
	if err != nil {
		return nil, err
	}
	first, err := f.ring(kek, nil)
	if err != nil {
		return nil, err
	}
	first.Close()
	ours := func(n int) (any, error) {
		ring, err := f.ring(kek, nil)
		if err != nil {
			return nil, err
		}
		for _, id := range f.ids[:n] {
			if _, err := ring.Tenant(context.Background(), id); err != nil {
				return nil, err
			}
		}
		return ring, nil
	}
	type primitives struct {
		aead      tink.AEAD
		prf       *prf.Set
		streaming tink.StreamingAEAD
	}
	peer := func(n int) (any, error) {
		all := make([]primitives, n)
		for i := range all {
			a, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
			if err != nil {
				return nil, err
			}
			p, err := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
			if err != nil {
				return nil, err
			}
			s, err := keyset.NewHandle(streamingaead.AES256GCMHKDF1MBKeyTemplate())
			if err != nil {
				return nil, err
			}
			if all[i].aead, err = aead.New(a); err != nil {
				return nil, err
			}
			if all[i].prf, err = prf.NewPRFSet(p); err != nil {
				return nil, err
			}
			if all[i].streaming, err = streamingaead.New(s); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return &Pair{Bytes: &Retained{n, ours, peer}, Cleanup: f.cleanup}, nil
}
