package offboard

import (
	"context"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// sharing is a KEK provider whose key other tenants share.
type sharing struct {
	keys.KEK
	oldest *int
}

func (s sharing) Destroy(context.Context, tenant.ID) error {
	return &keys.SharedKeyError{Keys: []keys.SharedKey{{Name: "transit/keys/strongroom", Oldest: *s.oldest, Newest: 3}}}
}

// TestACertificateTellsOfASharedKey that was not destroyed, and, written again once it was, that it is.
func TestACertificateTellsOfASharedKey(t *testing.T) {
	oldest := 1
	w := newWorldOn(t, func(k keys.KEK) keys.KEK { return sharing{k, &oldest} })
	signer, verifier := signerOf(t, keysetOf(t, make([]byte, 32)))
	w.plan.Signer = signer
	for _, destroyed := range []bool{false, true} {
		if destroyed {
			oldest = 4
		}
		done, err := Run(as(leaving), leaving, w.plan)
		must(t, err)
		c, err := Verify(done.Envelope, verifier)
		must(t, err)
		want := []SharedKey{{Name: "transit/keys/strongroom", Through: 3, Destroyed: destroyed}}
		if !slices.Equal(c.Keys.Shared, want) || c.Keys.TriedInVain || c.Keys.Before != destroyed || len(c.Keys.Destroyed) == 0 {
			t.Errorf("%+v, want %+v", c.Keys, want)
		}
	}
}
