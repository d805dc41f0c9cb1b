package storetest

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// getChanged is for stores that are a [keys.BatchStore]; others have nothing to show.
func getChanged(s *suite) {
	store, ok := s.store.(keys.BatchStore)
	if !ok {
		s.Skip("the store is no keys.BatchStore")
	}
	var ids []tenant.ID
	var known, versions []int64
	for i := range keys.MaxBatch {
		id := tenant.MustParse(fmt.Sprintf("t.%03d:%s", (i*101)%keys.MaxBatch, "Aa-_"[i%4:]))
		ids = append(ids, id)
		version := int64(0)
		if i%5 != 0 { // the others are not there
			version = s.put(id, "first "+id.String(), 0)
			if i%3 == 0 {
				version = s.put(id, "second "+id.String(), version)
			}
		}
		versions = append(versions, version)
		known = append(known, []int64{0, version, version - 1, version + 1}[i%4])
	}
	s.put(idA, "another's", 0)
	got, err := store.GetChanged(s.ctx, ids, known)
	if err != nil || len(got) != len(ids) {
		s.Fatalf("GetChanged of %d tenants: %d records, %v", len(ids), len(got), err)
	}
	for i, rec := range got {
		alone, err := s.second.Get(s.ctx, ids[i])
		if err != nil && versions[i] != 0 {
			s.Fatal(err)
		}
		if versions[i] == known[i] {
			alone.Data = nil
		}
		if rec.Version != alone.Version || string(rec.Data) != string(alone.Data) || (rec.Data == nil) != (alone.Data == nil) {
			s.Errorf("%s, known in version %d: version %d, %d bytes; want version %d, %d bytes", ids[i], known[i], rec.Version, len(rec.Data), alone.Version, len(alone.Data))
		}
	}
	if _, err := store.GetChanged(s.ctx, append(ids, idA), append(known, 0)); err == nil {
		s.Error("GetChanged answers for more than MaxBatch tenants")
	}
	if _, err := store.GetChanged(s.ctx, []tenant.ID{idA, {}}, []int64{0, 0}); err == nil {
		s.Error("GetChanged answers for the zero ID")
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := store.GetChanged(ctx, ids[:1], known[:1]); err == nil {
		s.Error("GetChanged answers although its context has ended")
	}
}
