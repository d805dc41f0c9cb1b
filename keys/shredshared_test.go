package keys_test

import (
	"context"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// shares is a KEK provider with keys that tenants share.
type shares struct {
	sharedKEK
	keys []keys.SharedKey
}

func (s *shares) Destroy(context.Context, tenant.ID) error { return &keys.SharedKeyError{Keys: s.keys} }

// TestWhatIsLeftOfSharedKeys: a tombstone names every shared key that there turned out to be, each once, so that it can be read again
// and no report leaves one out; and for one that it names already, the version of then.
func TestWhatIsLeftOfSharedKeys(t *testing.T) {
	a := func(newest int) keys.SharedKey { return keys.SharedKey{Name: "a", Oldest: 1, Newest: newest} }
	b := func(newest int) keys.SharedKey { return keys.SharedKey{Name: "b", Oldest: 1, Newest: newest} }
	type left = keys.SharedVersions
	for name, c := range map[string]struct {
		first, then []keys.SharedKey
		want        []left
	}{
		// As through a router that has two names for one provider, whose key is rotated between the two answers.
		"one key twice":                  {[]keys.SharedKey{a(3), a(4)}, []keys.SharedKey{a(4), a(4)}, []left{{Name: "a", Through: 4}}},
		"one key twice, descending":      {[]keys.SharedKey{a(4), b(1), a(3)}, nil, []left{{Name: "a", Through: 4}, {Name: "b", Through: 1}}},
		"one that was not known of":      {[]keys.SharedKey{b(2)}, []keys.SharedKey{a(7), b(9)}, []left{{Name: "a", Through: 7}, {Name: "b", Through: 2}}},
		"one that is not named any more": {[]keys.SharedKey{a(3)}, []keys.SharedKey{b(5)}, []left{{Name: "a", Through: 3}, {Name: "b", Through: 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLocal(t)
			must(t, l.kek.Create(t.Context(), idA))
			k := &shares{sharedKEK{l.kek}, c.first}
			ring := openRing(t, k, l.store, nil)
			provision(t, ring, idB)
			report, err := ring.ShredWithReport(t.Context(), idB, "left")
			must(t, err)
			for range 2 {
				if c.then != nil {
					k.keys = c.then
				}
				ring = openRing(t, k, l.store, nil)
				report, err = ring.ShredWithReport(t.Context(), idB, "")
				must(t, err)
			}
			if !slices.Equal(report.Shared, c.want) {
				t.Errorf("%+v are left, want %+v", report.Shared, c.want)
			}
			wantStatus(t, openRing(t, k, l.store, nil), idB, keys.StatusShredded)
		})
	}
}
