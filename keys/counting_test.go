package keys_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// countingStore numbers the records of each tenant 1, 2, 3, as stores did that gave a number again once the record was deleted.
type countingStore struct {
	keys.Store
	mu     sync.Mutex
	counts map[tenant.ID]int64
}

func counting(s keys.Store) *countingStore {
	return &countingStore{Store: s, counts: map[tenant.ID]int64{}}
}

func (s *countingStore) Get(ctx context.Context, id tenant.ID) (keys.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.Store.Get(ctx, id)
	if err == nil {
		rec.Version = s.counts[id]
	}
	return rec, err
}

func (s *countingStore) Put(ctx context.Context, id tenant.ID, data []byte, version int64) (int64, error) {
	return s.change(ctx, id, version, version+1, func(stored int64) error {
		_, err := s.Store.Put(ctx, id, data, stored)
		return err
	})
}

func (s *countingStore) Delete(ctx context.Context, id tenant.ID, version int64) error {
	_, err := s.change(ctx, id, version, 0, func(stored int64) error { return s.Store.Delete(ctx, id, stored) })
	return err
}

func (s *countingStore) change(ctx context.Context, id tenant.ID, version, next int64, do func(stored int64) error) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != s.counts[id] {
		return 0, fmt.Errorf("%w: version %d is stored, not %d", keys.ErrConflict, s.counts[id], version)
	}
	var stored int64
	if version > 0 {
		rec, err := s.Store.Get(ctx, id)
		if err != nil {
			return 0, err
		}
		stored = rec.Version
	}
	err := do(stored)
	if err == nil {
		s.counts[id] = next
	}
	return next, err
}
