package keys_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestShreddingSaysWhatItDestroyed: also when it is repeated by another process. Keys that cannot be opened it does not know.
func TestShreddingSaysWhatItDestroyed(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, &keys.Options{SuspendWithin: 10 * time.Millisecond})
	provision(t, r, idA)
	must(t, r.Rotate(t.Context(), idA, keys.PurposeData, ""))
	k := open(t, r, idA)
	before := time.Now().Truncate(time.Millisecond)
	s, err := r.ShredWithReport(t.Context(), idA, "left")
	must(t, err)
	if s.Tenant != idA || s.Keyring != "main" || !s.Tried || s.At.Before(before) || s.At.After(time.Now()) {
		t.Errorf("%+v", s)
	}
	count := map[keys.Purpose]int{}
	for _, key := range s.Keys {
		count[key.Purpose]++
	}
	if count[keys.PurposeData] != 2 || count[keys.PurposeIndex] != 1 || count["names"] != 1 || len(count) != 6 || len(s.Keys) != 7 {
		t.Errorf("%v", s.Keys)
	}
	if !slices.Contains(s.Keys, keys.DestroyedKey{Purpose: keys.PurposeData, ID: k.DataKeyID()}) {
		t.Errorf("the key that sealed, %d, is not among %v", k.DataKeyID(), s.Keys)
	}
	again, err := openRing(t, l.kek, l.store, nil).ShredWithReport(t.Context(), idA, "")
	must(t, err)
	if again.Tried || !again.At.Equal(s.At) || !slices.Equal(again.Keys, s.Keys) {
		t.Errorf("repeated: %+v", again)
	}

	f := newFaulty(l)
	provision(t, r, idB)
	must(t, r.Suspend(t.Context(), idB, ""))
	f.set(errAway, nil) // Unwrap only
	_, err = openRing(t, f, f, nil).ShredWithReport(t.Context(), idB, "")
	wantErr(t, err, keys.ErrUnavailable) // it could not be tried
	wantStatus(t, openRing(t, f, f, nil), idB, keys.StatusShredded)
	f.set(nil, nil)
	s, err = openRing(t, f, f, nil).ShredWithReport(t.Context(), idB, "")
	must(t, err)
	if len(s.Keys) != 0 || s.At.IsZero() || s.Tried {
		t.Errorf("%+v", s)
	}
}

// keeper is a KEK provider that says it destroyed a key and did not.
type keeper struct{ keys.KEK }

func (keeper) Destroy(context.Context, tenant.ID) error { return nil }

// TestShreddingTriesWhatItDestroyed: a KEK that is still there does not go unnoticed.
func TestShreddingTriesWhatItDestroyed(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, keeper{l.kek}, l.store, nil)
	provision(t, r, idA)
	_, err := r.ShredWithReport(t.Context(), idA, "")
	if err == nil || !strings.Contains(err.Error(), "still opens") {
		t.Fatalf("the KEK was kept, and shredding said %v", err)
	}
}

// TestARecordPutBackAfterShreddingOpensNothing: the store is restored from a backup, the KEK provider is not.
func TestARecordPutBackAfterShreddingOpensNothing(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	backup := record(t, l, idA)
	must(t, r.Shred(t.Context(), idA, ""))
	_, err := r.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrShredded)

	tombstone := record(t, l, idA)
	_, err = l.store.Put(t.Context(), idA, backup.Data, tombstone.Version)
	must(t, err)
	for name, ring := range map[string]*keys.Keyring{"the process": r, "another process": openRing(t, l.kek, l.store, nil)} {
		if k, err := ring.Tenant(t.Context(), idA); err == nil {
			t.Fatalf("%s opened what was shredded: %v", name, k)
		}
		if err := ring.Provision(t.Context(), idA); err == nil {
			t.Errorf("%s provisioned over it", name)
		}
	}
	// Not even a new KEK of the tenant's name opens it.
	must(t, l.kek.Create(t.Context(), idA))
	fresh := openRing(t, l.kek, l.store, nil)
	_, err = fresh.Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrIntegrity)

	s, err := fresh.ShredWithReport(t.Context(), idA, "again")
	must(t, err)
	if !s.Tried || len(s.Keys) != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := l.kek.Wrap(t.Context(), idA, []byte("x")); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("the new KEK is still there: %v", err)
	}
	wantStatus(t, openRing(t, l.kek, l.store, nil), idA, keys.StatusShredded)
}

// TestStatusNowAsksTheStore, whatever the cache says.
func TestStatusNowAsksTheStore(t *testing.T) {
	l := newLocal(t)
	r, other := openRing(t, l.kek, l.store, nil), openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	must(t, other.Suspend(t.Context(), idA, ""))
	if s, err := r.StatusNow(t.Context(), idA); err != nil || s != keys.StatusSuspended {
		t.Errorf("%s, %v", s, err)
	}
	_, err := r.StatusNow(t.Context(), idB)
	wantErr(t, err, keys.ErrNotFound)
	_, err = r.StatusNow(t.Context(), tenant.ID{})
	wantErr(t, err, tenant.ErrInvalidID)
}

// sharing is a KEK provider whose key other tenants share.
type sharing struct {
	sharedKEK
	err error
}

func (s *sharing) Destroy(context.Context, tenant.ID) error { return s.err }

// TestShreddingUnderASharedKEK says what was not destroyed, also after an interruption; and a key of the tenant's own that could not
// be destroyed is not taken for one that is shared.
func TestShreddingUnderASharedKEK(t *testing.T) {
	l := newLocal(t)
	must(t, l.kek.Create(t.Context(), idA))
	k := &sharing{sharedKEK: sharedKEK{l.kek}}
	r := openRing(t, k, l.store, &keys.Options{SuspendWithin: 10 * time.Millisecond})
	ids := many(t, l, 2)
	provision(t, r, ids...)
	told := func(oldest, newest int) error {
		return &keys.SharedKeyError{Keys: []keys.SharedKey{{Name: "b", Oldest: oldest, Newest: newest}, {Name: "a", Oldest: 1, Newest: 9}}}
	}
	for what, err := range map[string]error{
		"joined": errors.Join(told(1, 2), errors.New("permission denied")), "wrapped with another": fmt.Errorf("%w: %w", errors.New("permission denied"), told(1, 2)),
		"about no key": &keys.SharedKeyError{},
	} {
		k.err = err
		if _, err := r.ShredWithReport(t.Context(), ids[0], ""); err == nil || !strings.Contains(err.Error(), "still exists") {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantStatus(t, openRing(t, k, l.store, nil), ids[0], keys.StatusShredded)
	k.err = fmt.Errorf("with a word before: %w", told(1, 2))
	s, err := openRing(t, k, l.store, nil).ShredWithReport(t.Context(), ids[0], "")
	must(t, err)
	want := []keys.SharedVersions{{Name: "a", Through: 9}, {Name: "b", Through: 2}}
	if !slices.Equal(s.Shared, want) || s.Tried || len(s.Keys) == 0 {
		t.Errorf("%+v", s)
	}
	k.err = told(3, 5) // versions since do not concern the tenant
	s, err = r.ShredWithReport(t.Context(), ids[0], "")
	must(t, err)
	want[1].Destroyed = true
	if !slices.Equal(s.Shared, want) {
		t.Errorf("%+v", s)
	}
	// One whose record is opened by none of those keys is tried, and does not open.
	k.err = told(1, 2)
	gone := &sharing{sharedKEK: sharedKEK{unopening{l.kek}}, err: told(1, 2)}
	s, err = openRing(t, gone, l.store, nil).ShredWithReport(t.Context(), ids[1], "")
	must(t, err)
	if !s.Tried || len(s.Shared) != 2 {
		t.Errorf("%+v", s)
	}
	// A tenant that two processes provision at once, and one shreds, leaves no error about a key that is not its own.
	if err := r.Provision(t.Context(), ids[1]); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("%v", err)
	}
}

// unopening opens nothing.
type unopening struct{ keys.KEK }

func (unopening) Unwrap(context.Context, tenant.ID, []byte) ([]byte, error) {
	return nil, fmt.Errorf("not this: %w", keys.ErrIntegrity)
}
