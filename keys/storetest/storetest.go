// Package storetest is the conformance suite of [keys.Store]. Every implementation passes it; run it from the tests of
// your own:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) (first, second keys.Store) { … })
//	}
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	idA = tenant.MustParse("a")
	idB = tenant.MustParse("b")
	// ordered are ids in the byte order of their text, which is not that of any language or folded case.
	ordered = []tenant.ID{tenant.MustParse("1"), tenant.MustParse("A"), tenant.MustParse("B-b"), tenant.MustParse("B.b"),
		tenant.MustParse("B:b"), tenant.MustParse("B_b"), tenant.MustParse("Bb"), tenant.MustParse("a"), tenant.MustParse("a-"),
		tenant.MustParse("a.b"), tenant.MustParse("ab"), tenant.MustParse(strings.Repeat("z", tenant.MaxIDLength))}
)

// Run runs the suite. Open is called once for each test and returns two stores on the same, empty, storage, as two
// processes would have them.
func Run(t *testing.T, open func(t testing.TB) (first, second keys.Store)) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Versions", versions}, {"Bytes", contents}, {"Delete", remove}, {"List", list}, {"ZeroID", zeroID}, {"Cancelled", cancelled}, {"CompareAndSwap", compareAndSwap},
		{"GetChanged", getChanged}, {"MadeAgain", madeAgain},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, second := open(t)
			test.run(&suite{t, first, second, t.Context()})
		})
	}
}

type suite struct {
	*testing.T
	store, second keys.Store
	ctx           context.Context
}

func (s *suite) put(id tenant.ID, data string, version int64) int64 {
	s.Helper()
	next, err := s.store.Put(s.ctx, id, []byte(data), version)
	if err != nil {
		s.Fatalf("Put of version %d: %v", version, err)
	}
	if next <= version {
		s.Fatalf("Put after version %d returned version %d", version, next)
	}
	return next
}

func (s *suite) holds(id tenant.ID, data string, version int64) {
	s.Helper()
	for _, store := range []keys.Store{s.store, s.second} {
		rec, err := store.Get(s.ctx, id)
		if err != nil || string(rec.Data) != data || rec.Version != version {
			s.Fatalf("Get: %d bytes, version %d, %v; want %d bytes, version %d", len(rec.Data), rec.Version, err, len(data), version)
		}
	}
}

func (s *suite) fails(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got the error %v, want one that wraps %q", what, err, want)
	}
}

func versions(s *suite) {
	_, err := s.store.Get(s.ctx, idA)
	s.fails("Get of nothing", err, keys.ErrNotFound)
	_, err = s.store.Put(s.ctx, idA, []byte("x"), 1)
	s.fails("Put of version 1 after nothing", err, keys.ErrConflict)
	_, err = s.store.Get(s.ctx, idA)
	s.fails("Get after a refused Put", err, keys.ErrNotFound)
	one := s.put(idA, "one", 0)
	s.holds(idA, "one", one)
	_, err = s.store.Put(s.ctx, idA, []byte("other"), 0)
	s.fails("Put to create what is there", err, keys.ErrConflict)
	two := s.put(idA, "two", one)
	for _, version := range []int64{-1, 0, one, two + 1} {
		_, err = s.second.Put(s.ctx, idA, []byte("other"), version)
		s.fails("Put after another version", err, keys.ErrConflict)
	}
	s.holds(idA, "two", two)
	_, err = s.store.Get(s.ctx, idB)
	s.fails("Get of another tenant", err, keys.ErrNotFound)
}

// madeAgain: no number is that of two records, or who knows one of them takes the other for it.
func madeAgain(s *suite) {
	given := map[int64]bool{}
	for range 3 {
		version := int64(0)
		for i := range 3 {
			version = s.put(idA, "a", version)
			if given[version] {
				s.Errorf("Put after record %d: version %d is that of a record that was deleted; number records as keys.NextVersion does", i, version)
			}
			given[version] = true
		}
		if err := s.second.Delete(s.ctx, idA, version); err != nil {
			s.Fatalf("Delete: %v", err)
		}
	}
}

func contents(s *suite) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := bytes.Repeat(all, 256)[:64<<10-1]
	version := s.put(idA, string(all), 0)
	s.holds(idA, string(all), version)
	version = s.put(idA, string(large), version)
	s.holds(idA, string(large), version)
	for _, data := range [][]byte{nil, {}, make([]byte, 64<<10+1)} {
		if _, err := s.store.Put(s.ctx, idA, data, version); err == nil {
			s.Errorf("Put accepted a record of %d bytes", len(data))
		}
	}
	data := []byte("mine")
	version, err := s.store.Put(s.ctx, idA, data, version)
	if err != nil {
		s.Fatalf("Put: %v", err)
	}
	data[0] = 'x'
	s.holds(idA, "mine", version)
	rec, _ := s.store.Get(s.ctx, idA)
	rec.Data[0] = 'x'
	s.holds(idA, "mine", version)
}

func remove(s *suite) {
	s.fails("Delete of nothing", s.store.Delete(s.ctx, idA, 1), keys.ErrNotFound)
	one := s.put(idA, "a", 0)
	b := s.put(idB, "b", 0)
	two := s.put(idA, "a2", one)
	s.fails("Delete of an older version", s.store.Delete(s.ctx, idA, one), keys.ErrConflict)
	s.holds(idA, "a2", two)
	if err := s.second.Delete(s.ctx, idA, two); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	_, err := s.store.Get(s.ctx, idA)
	s.fails("Get after Delete", err, keys.ErrNotFound)
	s.holds(idB, "b", b)
}

func list(s *suite) {
	if ids, err := s.store.List(s.ctx, tenant.ID{}, 10); err != nil || len(ids) != 0 {
		s.Fatalf("List of nothing: %v, %v", ids, err)
	}
	shuffled := slices.Clone(ordered)
	slices.Reverse(shuffled)
	for i, id := range shuffled {
		version := s.put(id, id.String(), 0)
		if i%2 == 0 {
			s.put(id, id.String(), version)
		}
	}
	for _, limit := range []int{1, 3, len(ordered), 1000} {
		var got []tenant.ID
		for after := (tenant.ID{}); ; after = got[len(got)-1] {
			page, err := s.second.List(s.ctx, after, limit)
			if err != nil {
				s.Fatalf("List: %v", err)
			}
			if len(page) > limit {
				s.Fatalf("List returned %d ids, over the limit of %d", len(page), limit)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
		}
		if !slices.Equal(got, ordered) {
			s.Errorf("List by %d: got %v, want %v", limit, got, ordered)
		}
	}
	if _, err := s.store.List(s.ctx, tenant.ID{}, 0); err == nil {
		s.Error("List accepted the limit 0")
	}
}

func zeroID(s *suite) {
	var zero tenant.ID
	_, err := s.store.Get(s.ctx, zero)
	s.fails("Get", err, tenant.ErrInvalidID)
	_, err = s.store.Put(s.ctx, zero, []byte("x"), 0)
	s.fails("Put", err, tenant.ErrInvalidID)
	s.fails("Delete", s.store.Delete(s.ctx, zero, 1), tenant.ErrInvalidID)
}

// cancelled: an ended context ends every call, without effect.
func cancelled(s *suite) {
	version := s.put(idA, "a", 0)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.store.Get(ctx, idA)
	s.fails("Get", err, context.Canceled)
	_, err = s.store.Put(ctx, idA, []byte("x"), version)
	s.fails("Put", err, context.Canceled)
	_, err = s.store.Put(ctx, idB, []byte("x"), 0)
	s.fails("Put of a new record", err, context.Canceled)
	s.fails("Delete", s.store.Delete(ctx, idA, version), context.Canceled)
	_, err = s.store.List(ctx, tenant.ID{}, 10)
	s.fails("List", err, context.Canceled)
	s.holds(idA, "a", version)
	_, err = s.store.Get(s.ctx, idB)
	s.fails("Get after a cancelled Put", err, keys.ErrNotFound)
}

// compareAndSwap: of several that change a record at once, each change counts exactly once.
func compareAndSwap(s *suite) {
	const workers, rounds = 4, 8
	created := make(chan int64, workers)
	var wg sync.WaitGroup
	for i := range workers {
		store := []keys.Store{s.store, s.second}[i%2]
		wg.Go(func() {
			version, err := store.Put(s.ctx, idA, make([]byte, 8), 0)
			if err == nil {
				created <- version
			} else if !errors.Is(err, keys.ErrConflict) && !errors.Is(err, keys.ErrUnavailable) {
				s.Errorf("Put: %v", err)
			}
			for done := 0; done < rounds; {
				ok, err := increment(s.ctx, store)
				if err != nil {
					s.Errorf("increment: %v", err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	wg.Wait()
	if len(created) != 1 {
		s.Errorf("%d of %d creations succeeded", len(created), workers)
	}
	rec, err := s.store.Get(s.ctx, idA)
	if err != nil {
		s.Fatal(err)
	}
	if got := binary.BigEndian.Uint64(rec.Data); got != workers*rounds {
		s.Errorf("%d changes were made, and %d arrived", workers*rounds, got)
	}
}

// increment reports false where somebody else was first.
func increment(ctx context.Context, store keys.Store) (bool, error) {
	rec, err := store.Get(ctx, idA)
	if errors.Is(err, keys.ErrNotFound) || errors.Is(err, keys.ErrUnavailable) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	next := binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(rec.Data)+1)
	_, err = store.Put(ctx, idA, next, rec.Version)
	if errors.Is(err, keys.ErrConflict) || errors.Is(err, keys.ErrUnavailable) {
		return false, nil
	}
	return err == nil, err
}
